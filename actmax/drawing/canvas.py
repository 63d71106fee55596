"""A white sheet with a plot on it: axes, ticks, text."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 13  # pixels, of the text
INK, SOFT, LINE = (28, 27, 25), (95, 92, 86), (222, 218, 210)
# Okabe and Ito, 2008: colors that people with any color vision tell apart.
COLORS = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233),
    (120, 94, 240), (100, 100, 100),
)  # fmt: skip


class Span(NamedTuple):
    """Numbers from low to high along an axis, and what they are."""

    low: float
    high: float
    name: str = ""


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that span `[low, high]`: steps of 1, 2 or 5 times a power of ten, inside it."""
    width = (high - low) / count
    power = 10.0 ** math.floor(math.log10(width))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= width * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def opened(low: float, high: float) -> tuple[float, float]:
    """A range of some width, also where all numbers are one."""
    if high - low > 1e-9 * max(abs(low), abs(high), 1e-30):
        return low, high
    half = max(abs(low), 1.0) * 0.5
    return low - half, high + half


@functools.lru_cache
def font(size: int = SIZE) -> Any:
    """The font that comes with Pillow."""
    return ImageFont.load_default(size)


@dataclasses.dataclass
class Plot:
    """A sheet with a frame for a plot inside.

    Attributes:
        width, height: of the sheet, in pixels.
        left, top, right, bottom: margins around the frame.
    """

    width: int
    height: int
    left: int = 52
    top: int = 8
    right: int = 10
    bottom: int = 34

    def __post_init__(self) -> None:
        self.image = Image.new("RGB", (self.width, self.height), "white")
        self.pen = ImageDraw.Draw(self.image)

    @property
    def frame(self) -> tuple[int, int, int, int]:
        """`(x0, y0, x1, y1)` of the frame."""
        return self.left, self.top, self.width - self.right, self.height - self.bottom

    def x(self, value: Any, span: Span) -> Any:
        """Where numbers stand across."""
        x0, _, x1, _ = self.frame
        return x0 + (np.asarray(value) - span.low) / (span.high - span.low) * (x1 - x0)

    def y(self, value: Any, span: Span) -> Any:
        """Where numbers stand up."""
        _, y0, _, y1 = self.frame
        return y1 - (np.asarray(value) - span.low) / (span.high - span.low) * (y1 - y0)

    def text(
        self, at: tuple[float, float], text: str, anchor: str = "mm", fill: Any = SOFT
    ) -> None:
        """One line of text."""
        self.pen.text(at, text, fill=fill, font=font(), anchor=anchor)

    def across(self, span: Span, *, whole: bool = False) -> None:
        """The axis below the frame."""
        x0, _, x1, y1 = self.frame
        self.pen.line([(x0, y1), (x1, y1)], fill=SOFT)
        for tick in ticks(span.low, span.high, 5):
            if whole and tick != int(tick):
                continue
            self.text((float(self.x(tick, span)), y1 + 9), f"{tick:.6g}")
        self.text(((x0 + x1) / 2, self.height - 8), span.name)

    def up(self, span: Span, rules: bool = True) -> None:
        """The axis at the left of the frame, with rules across."""
        x0, y0, x1, y1 = self.frame
        for tick in ticks(span.low, span.high):
            at = float(self.y(tick, span))
            if rules:
                self.pen.line([(x0, at), (x1, at)], fill=LINE)
            self.text((x0 - 6, at), f"{tick:.4g}", "rm")
        self.pen.line([(x0, y0), (x0, y1)], fill=SOFT)
        self.sideways(span.name)

    def sideways(self, name: str) -> None:
        """The name of the axis at the left, written upwards."""
        if not name:
            return
        _, y0, _, y1 = self.frame
        size = (int(font().getlength(name)) + 2, SIZE + 4)
        word = Image.new("RGB", size, "white")
        ImageDraw.Draw(word).text((1, 0), name, fill=SOFT, font=font())
        word = word.rotate(90, expand=True)
        self.image.paste(word, (0, max(0, (y0 + y1 - word.height) // 2)))

    def names(self, names: Sequence[str], places: Sequence[float]) -> None:
        """Names at the left of the frame, cut to its margin."""
        for name, at in zip(names, places, strict=True):
            self.text((self.left - 6, at), fit(name, self.left - 10), "rm", INK)

    def pixels(self) -> np.ndarray:
        """The sheet, uint8 `[H, W, 3]`."""
        return np.asarray(self.image)


def fit(text: str, width: int) -> str:
    """The text if it fits in `width` pixels, else its beginning and a dot."""
    text = " ".join(text.split())
    while len(text) > 1 and font().getlength(text) > width:
        text = text[:-2].rstrip() + "…" if text.endswith("…") else text[:-1].rstrip() + "…"
    return text


def crossed(height: int, width: int) -> np.ndarray:
    """What stands for an input that is not finite: a cross on white."""
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    pen.line([(0, 0), (width, height)], fill=INK)
    pen.line([(0, height), (width, 0)], fill=INK)
    return np.asarray(sheet)
