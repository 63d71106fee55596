"""Curves, heat maps and bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from actmax.drawing.canvas import (
    COLORS,
    INK,
    LINE,
    SIZE,
    SOFT,
    Plot,
    Span,
    fit,
    font,
    opened,
    ticks,
)

WIDTH, HEIGHT = 520, 240
_ROW = 18  # pixels, of a bar with its name
_NAMED = 60  # bars that still have a line of text each
_PALE = ((255, 255, 255), (158, 202, 225), (33, 113, 181), (8, 29, 88))
_BLUE_RED = ((33, 102, 172), (247, 247, 247), (178, 24, 43))


def curves(
    values: np.ndarray, span: Span, across: Span, names: Sequence[str] | None = None
) -> np.ndarray:
    """Lines over one axis. `[T, C] -> uint8 [H, W, 3]`.

    Where there are more points than pixels, every pixel shows the least and the largest.
    """
    plot = Plot(WIDTH, HEIGHT, top=8 if names is None else 8 + SIZE + 6)
    plot.up(span)
    plot.across(across, whole=across.name == "position")
    x0, _, x1, _ = plot.frame
    count = len(values)
    at = plot.x(np.linspace(across.low, across.high, count) if count > 1 else [across.low], across)
    for number, line in enumerate(values.T):
        color = COLORS[number % len(COLORS)]
        up = plot.y(line, span)
        if count > 2 * (x1 - x0):
            for column, part in enumerate(np.array_split(up, x1 - x0)):
                ends = [(x0 + column, part.min()), (x0 + column, part.max() + 1)]
                plot.pen.line(ends, fill=color)
        elif count == 1:
            plot.pen.ellipse([at[0] - 2, up[0] - 2, at[0] + 2, up[0] + 2], fill=color)
        else:
            points = list(zip(at.tolist(), up.tolist(), strict=True))
            plot.pen.line(points, fill=color, width=2, joint="curve")
    left = float(x0)
    for number, name in enumerate(names or ()):
        word = fit(name, (x1 - x0) // max(len(names or ()), 1) - 20)
        plot.pen.rectangle([left, 10, left + 10, 20], fill=COLORS[number % len(COLORS)])
        plot.text((left + 14, 15), word, "lm", INK)
        left += 28 + font().getlength(word)
    return plot.pixels()


def heat(
    values: np.ndarray,
    span: Span,
    across: Span,
    up: Span,
    names: Sequence[str] | None = None,
) -> np.ndarray:
    """A map of colors with a scale beside it. `[rows, columns] -> uint8 [H, W, 3]`."""
    rows, columns = values.shape
    height = HEIGHT
    if names is not None and rows <= _NAMED:
        height = max(HEIGHT, rows * (SIZE + 3) + 44)
    if not across.name and not up.name:  # both axes are of space: pixels are square
        height = int(np.clip((WIDTH - 122) * rows / columns + 42, 120, 640))
    left = 52 if names is None else _margin(names)
    plot = Plot(WIDTH, height, left=left, right=70)
    x0, y0, x1, y1 = plot.frame
    plot.image.paste(Image.fromarray(resized(tinted(values, span), y1 - y0, x1 - x0)), (x0, y0))
    plot.across(across, whole=True)
    if names is not None and rows <= _NAMED:
        plot.names(names, [y0 + (row + 0.5) * (y1 - y0) / rows for row in range(rows)])
    else:
        turned = Span(up.low, up.high, up.name)
        for tick in _whole(turned):
            at = y0 + (tick - up.low) / max(up.high - up.low, 1e-9) * (y1 - y0)
            plot.text((x0 - 6, at), f"{tick:g}", "rm")
        plot.sideways(up.name)
    scale = np.linspace(span.high, span.low, y1 - y0)[:, None].repeat(12, 1)
    plot.image.paste(Image.fromarray(tinted(scale, span)), (x1 + 10, y0))
    for number in (span.low, (span.low + span.high) / 2, span.high):
        plot.text((x1 + 26, float(plot.y(number, span))), f"{number:.3g}", "lm")
    return plot.pixels()


def _whole(span: Span) -> list[float]:
    return [t for t in ticks(*opened(span.low, span.high)[:2]) if t == int(t)]


def bars(values: np.ndarray, low: Any, high: Any, names: Sequence[str] | None = None) -> np.ndarray:
    """Numbers as bars, each in its own range. `[D] -> uint8 [H, W, 3]`.

    Args:
        values: the numbers.
        low: where a bar begins; a number, or one for each.
        high: where it ends; likewise.
        names: one for each.
    """
    count = len(values)
    lows, highs = (np.broadcast_to(np.asarray(end, float), (count,)) for end in (low, high))
    zero = np.clip(0.0, lows, highs)
    if count > _NAMED:
        span = Span(*opened(float(lows.min()), float(highs.max())), "value")
        plot = Plot(WIDTH, HEIGHT)
        plot.up(span)
        across = Span(-0.5, count - 0.5, "number")
        plot.across(across, whole=True)
        for number, value in enumerate(values):
            box = sorted([float(plot.y(zero[number], span)), float(plot.y(value, span))])
            x = [float(plot.x(number + off, span=across)) for off in (-0.4, 0.4)]
            plot.pen.rectangle([x[0], box[0], max(x[1], x[0] + 1), box[1]], fill=COLORS[0])
        return plot.pixels()
    words = [str(number) for number in range(count)] if names is None else list(names)
    plot = Plot(WIDTH, count * _ROW + 12, left=_margin(words), top=4, right=80, bottom=8)
    x0, y0, x1, _ = plot.frame
    for number, value in enumerate(values):
        own = Span(*opened(float(lows[number]), float(highs[number])))
        top = y0 + number * _ROW
        ends = sorted([float(plot.x(zero[number], own)), float(plot.x(value, own))])
        plot.pen.rectangle([x0, top + 2, x1, top + _ROW - 4], outline=LINE)
        plot.pen.rectangle([ends[0], top + 2, ends[1], top + _ROW - 4], fill=COLORS[0])
        plot.text((x1 + 8, top + _ROW / 2 - 1), f"{value:.4g}", "lm", INK)
    plot.names(words, [y0 + (number + 0.5) * _ROW - 1 for number in range(count)])
    plot.pen.line([(x0, y0), (x0, y0 + count * _ROW)], fill=SOFT)
    return plot.pixels()


def _margin(names: Sequence[str]) -> int:
    """Pixels that names need at the left, up to a third of the sheet."""
    return int(np.clip(max(font().getlength(str(name)) for name in names) + 12, 40, WIDTH // 3))


def tinted(values: np.ndarray, span: Span) -> np.ndarray:
    """Numbers as colors: white to blue, or blue over white to red where 0 is inside. `-> uint8 [..., 3]`."""
    around = span.low < 0 < span.high
    most = max(-span.low, span.high)
    low, high = (-most, most) if around else (span.low, span.high)
    stops = np.asarray(_BLUE_RED if around else _PALE, float)
    place = np.clip((values - low) / (high - low), 0, 1) * (len(stops) - 1)
    return np.stack(
        [np.interp(place, np.arange(len(stops)), stops[:, each]) for each in range(3)], -1
    ).astype(np.uint8)


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Larger by squares, smaller by means. uint8 `[h, w, 3] -> [height, width, 3]`."""
    smaller = pixels.shape[0] > height or pixels.shape[1] > width
    way = Image.Resampling.BOX if smaller else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(pixels).resize((width, height), way))
