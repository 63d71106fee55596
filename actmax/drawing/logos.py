"""Letters: sequences as colored letters, probabilities as a sequence logo, words as text."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from actmax.drawing.canvas import COLORS, INK, LINE, SIZE, SOFT, Plot, font

_LINE_OF = 50  # letters in a line
_MOST = 40  # lines; of longer sequences the rest is a number
_CELL = 11  # pixels across a letter
_HIGH = 30  # pixels up, of a letter
_LOGO = 96  # pixels up, of a logo
_MARGIN = 46
# Bases as sequence logos have them; amino acids by their chemistry, as WebLogo (Crooks et al., 2004).
_BASES = {"A": (0, 158, 66), "C": (0, 92, 200), "G": (230, 150, 0), "T": (210, 30, 40)}
_BASES["U"] = _BASES["T"]
_ACIDS = {
    **dict.fromkeys("GSTYC", (0, 140, 60)),
    **dict.fromkeys("QN", (128, 0, 128)),
    **dict.fromkeys("KRH", (0, 80, 200)),
    **dict.fromkeys("DE", (210, 30, 40)),
    **dict.fromkeys("AVLIPWFM", (40, 40, 40)),
}


def logo(rows: np.ndarray, letters: Sequence[str]) -> np.ndarray:
    """Rows of letters or probabilities. `[L, A] -> uint8 [H, W, 3]`.

    Of probabilities every letter is as high as its share of the position's information,
    `p (log2 A + sum p log2 p)` bits (Schneider and Stephens, 1990, https://doi.org/10.1093/nar/18.20.6097).
    Rows that are neither, as a mask keeps, stay empty.
    """
    names = list(letters) or [str(number) for number in range(rows.shape[1])]
    known = np.all(rows >= 0, -1) & (np.abs(rows.sum(-1) - 1) < 1e-2)  # noqa: PLR2004
    hard = bool(np.all(((rows == 0) | (rows == 1))[known]))
    if any(len(name) > 1 for name in names):
        return _words(rows, known, names)
    lines = min(math.ceil(len(rows) / _LINE_OF), _MOST)
    high = _HIGH if hard else _LOGO
    shown = min(len(rows), lines * _LINE_OF)
    across = min(len(rows), _LINE_OF)
    more = len(rows) - shown
    step = high + SIZE + 5
    width = max(_MARGIN + across * _CELL + 10, 240)
    plot = Plot(width, lines * step + 8 + (SIZE + 6) * (more > 0), left=_MARGIN)
    share = np.where(rows > 0, rows, 1.0)
    bits = math.log2(len(names)) + (rows * np.log2(share)).sum(-1)
    for place in range(shown):
        line, column = divmod(place, _LINE_OF)
        left, base = _MARGIN + column * _CELL, 4 + line * step + high
        if column == 0:
            plot.text((_MARGIN - 5, base - high / 2), f"{place + 1}", "rm")
            if not hard:
                plot.pen.line([(_MARGIN - 2, base - high), (_MARGIN - 2, base)], fill=SOFT)
        plot.pen.line([(left, base + 1), (left + _CELL - 1, base + 1)], fill=LINE)
        if (place + 1) % 10 == 0:
            plot.text((left + _CELL / 2, base + SIZE - 3), f"{place + 1}")
        if not known[place]:
            continue
        whole = high if hard else high * bits[place] / math.log2(len(names))
        bottom = float(base)
        for number in np.argsort(rows[place], kind="stable"):
            tall = whole * rows[place, number]
            top = bottom - tall
            if round(bottom) - round(top) >= 1:
                cell = _glyph(names[number], _color(names[number], names))
                size = (_CELL - 1, round(bottom) - round(top))
                plot.image.paste(cell.resize(size, Image.Resampling.BOX), (left, round(top)))
            bottom = top
    if not hard:
        name = f"bits, 0 to {math.log2(len(names)):.3g}"
        plot.top, plot.bottom = 4, plot.height - step
        plot.sideways(name)
    if more:
        plot.text((_MARGIN, plot.height - SIZE), f"... and {more:,} letters more", "lm")
    return plot.pixels()


def _words(rows: np.ndarray, known: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Letters of several characters as text, the likeliest of every position."""
    said = [names[row.argmax()] if fine else "-" for row, fine in zip(rows, known, strict=True)]
    longest = max(len(name) for name in names)
    lines = textwrap.wrap(" ".join(said), 64)[:_MOST]
    # As high as the longest words would need, so that all sequences of a run have one size.
    most = min(math.ceil(len(rows) * (longest + 1) / 40) + 1, _MOST)
    plot = Plot(520, most * (SIZE + 6) + 12)
    for number, line in enumerate(lines[:most]):
        plot.pen.text((10, 6 + number * (SIZE + 6)), line, fill=INK, font=font())
    return plot.pixels()


def _color(letter: str, names: Sequence[str]) -> tuple[int, int, int]:
    bases = set(names) <= set("ACGTUNacgtun-")
    known = _BASES if bases else _ACIDS
    return known.get(letter.upper(), COLORS[sum(map(ord, letter)) % len(COLORS)])


@functools.lru_cache(maxsize=512)
def _glyph(letter: str, color: tuple[int, int, int]) -> Image.Image:
    """One letter that fills its box to the rim."""
    big = Image.new("L", (160, 160), 0)
    ImageDraw.Draw(big).text((80, 80), letter, fill=255, font=font(110), anchor="mm")
    box = big.getbbox() or (0, 0, 160, 160)
    mask = big.crop(box)
    cell = Image.new("RGB", mask.size, "white")
    cell.paste(Image.new("RGB", mask.size, color), mask=mask)
    return cell
