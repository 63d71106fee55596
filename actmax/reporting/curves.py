"""Curves over the steps as inline SVG, with axes and units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from actmax.drawing import ticks

WIDTH, HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 10, 34
# Maximum points of one curve. More are not visible at WIDTH pixels.
_POINTS = 320


def chart(values: np.ndarray, names: Sequence[str], title: str, unit: str) -> str:
    """Curves `[steps, N]` as one SVG; NaN leaves a gap. Returns an empty text without a number."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return ""
    low, high = float(finite.min()), float(finite.max())
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-30):
        low, high = low - max(abs(low), 1.0) * 0.5, high + max(abs(high), 1.0) * 0.5
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin
    last = max(len(values) - 1, 1)

    def x(step: float) -> float:
        return _LEFT + step / last * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title, quote=True)}">'
    ]
    for tick in ticks(low, high):
        parts.append(
            f'<line class="rule" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(tick):.1f}" '
            f'y2="{y(tick):.1f}"/><text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" '
            f'text-anchor="end">{tick:.4g}</text>'
        )
    for tick in ticks(0, last, 5):
        if tick != int(tick):
            continue
        parts.append(
            f'<text x="{x(tick):.1f}" y="{HEIGHT - _BOTTOM + 17}" '
            f'text-anchor="middle">{int(tick)}</text>'
        )
    base = HEIGHT - _BOTTOM
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 2}" text-anchor="middle">step</text>')
    parts.append(
        f'<text transform="translate(11 {_TOP + (base - _TOP) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(unit)}</text>'
    )
    for row in range(values.shape[1]):
        path = _path(values[:, row], x, y)
        if path:
            parts.append(
                f'<path class="curve" data-row="{row}" d="{path}">'
                f"<title>{escape(names[row])}</title></path>"
            )
    return "".join([*parts, "</svg>"])


def spark(values: np.ndarray) -> str:
    """One curve `[steps]` without axes, shown next to a picture. Screen readers skip it."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return ""
    low, high = float(finite.min()), float(finite.max())
    span, last = (high - low) or 1.0, max(len(values) - 1, 1)
    path = _path(values, lambda s: 1 + s / last * 98, lambda v: 2 + (high - v) / span * 20)
    return (
        '<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="{path}"/></svg>'
    )


def _path(values: np.ndarray, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    """Straight lines between the finite values, at most `_POINTS` of them, ends included."""
    count = len(values)
    steps = np.unique(np.rint(np.linspace(0, count - 1, min(count, _POINTS))).astype(int))
    parts, pen = [], "M"
    for step in steps:
        if not np.isfinite(values[step]):
            pen = "M"
            continue
        parts.append(f"{pen}{x(float(step)):.1f} {y(float(values[step])):.1f}")
        pen = "L"
    if len(parts) == 1:
        parts.append("h0.1")  # a single point becomes a dot under a round line cap
    return "".join(parts)
