"""Plots with Matplotlib (the extra `plot`), without pyplot and its global state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from actmax import checks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TILE = 1.5  # inches, of one picture
_CURVES = 2.4  # inches, height of the curves


def sheet(size: tuple[float, float]) -> Figure:
    """An empty figure of a size in inches, which only draws into files.

    Raises:
        ModuleNotFoundError: if matplotlib is missing, naming the extra.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        do = "Install it: pip install 'actmax[plot]'."
        text = checks.message("matplotlib, the extra `plot`", "no such module", do)
        raise ModuleNotFoundError(text, name=error.name) from error
    found = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(found)
    return found


def figure(
    pictures: np.ndarray | None, names: Sequence[str], scores: np.ndarray, curves: np.ndarray
) -> Figure:
    """Pictures with titles above their score curves. `[N, H, W, C]` uint8, `[N]`, `[steps, N]`.

    Raises:
        ModuleNotFoundError: if matplotlib is missing, naming the extra.
    """
    # Half of a surrogate pair has no glyph, not even that of what has none.
    names = [str(name).encode("utf-8", "backslashreplace").decode() for name in names]
    columns = min(len(names), 5) if pictures is not None else 1
    rows = math.ceil(len(names) / columns) if pictures is not None else 0
    drawn = sheet((max(columns * _TILE, 4.8), rows * (_TILE + 0.35) + _CURVES))
    layout = drawn.add_gridspec(rows + 1, columns, height_ratios=[*[_TILE + 0.35] * rows, _CURVES])
    if pictures is not None:
        for row, name in enumerate(names):
            axes = drawn.add_subplot(layout[row // columns, row % columns])
            picture = pictures[row]
            axes.imshow(
                picture[..., 0] if picture.shape[-1] == 1 else picture,
                cmap="gray",
                vmin=0,
                vmax=255,
                interpolation="nearest",
            )
            # A label is text, never a formula: a lone dollar sign would be an error.
            axes.set_title(f"{name}  {scores[row]:.3g}", fontsize=8, parse_math=False)
            axes.set_axis_off()
    axes = drawn.add_subplot(layout[rows, :])
    for row, name in enumerate(names):
        label = f"\u200b{name}" if str(name).startswith("_") else str(name)
        axes.plot(curves[:, row], linewidth=1, label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("score")
    return drawn
