"""Chooses how an input is drawn, and draws many of them at one size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from actmax import images
from actmax.drawing import plots
from actmax.drawing.canvas import INK, SIZE, Span, crossed, fit, font, opened
from actmax.drawing.kinds import FEW, Kind, kind_of
from actmax.drawing.logos import logo

_SLICES = 16
_GAP = 6


@dataclasses.dataclass(frozen=True)
class Look:
    """What is known of an input beside its numbers.

    Attributes:
        low, high: of its range: a number, one per channel, or None.
        axis: of a batch, along which letters are written; None for no letters.
        letters: their names; empty if they have none.
        names: of the numbers of a vector, or of the channels of a series; None for numbers.
        rate: times a second, of a wave; None for none.
    """

    low: Any = None
    high: Any = None
    axis: int | None = None
    letters: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    rate: float | None = None

    def kind(self, shape: Sequence[int]) -> Kind:
        """Of inputs of a shape, without the batch axis."""
        return kind_of(shape, self.axis is not None, self.rate)


def draw(values: np.ndarray, look: Look) -> np.ndarray:
    """Inputs as pictures, crossed out where not finite. `[N, ...] -> uint8 [N, H, W, 3]`.

    Pictures keep their pixels; all else gets axes, and one range for all of the inputs.
    """
    values = np.asarray(values)
    fine = np.isfinite(values).reshape(len(values), -1).all(1)
    kind = look.kind(values.shape[1:])
    span = _span(values[fine], look)
    if kind is Kind.PICTURE:
        shown = np.where(fine[:, None, None, None], values, span.low)
        low, high = (
            (span.low, span.high)
            if look.low is None or look.high is None
            else (look.low, look.high)
        )
        drawn = list(np.broadcast_to(images.to_uint8(shown, low, high), (*values.shape[:-1], 3)))
    else:
        blank = np.zeros(values.shape[1:]) + span.low
        drawn = [
            _one(kind, np.asarray(each if good else blank, float), look, span)
            for each, good in zip(values, fine, strict=True)
        ]
    return np.stack(
        [each if good else crossed(*each.shape[:2]) for each, good in zip(drawn, fine, strict=True)]
    )


def side_by_side(drawn: Sequence[np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Drawings of several inputs beside each other, with their names. `[N, H, W, 3]` each."""
    grown = [_grown(each) for each in drawn]
    high = max(each.shape[1] for each in grown) + SIZE + 8
    sheets = []
    for each, name in zip(grown, names, strict=True):
        count, height, width, _ = each.shape
        sheet = np.full((count, high, width + _GAP, 3), 255, np.uint8)
        band = Image.new("RGB", (width, SIZE + 6), "white")
        ImageDraw.Draw(band).text((0, 0), fit(name, width), fill=INK, font=font())
        sheet[:, : SIZE + 6, :width] = np.asarray(band)
        sheet[:, SIZE + 8 : SIZE + 8 + height, :width] = each
        sheets.append(sheet)
    return np.concatenate(sheets, axis=2)


def _grown(drawn: np.ndarray) -> np.ndarray:
    """Small pictures with each pixel as a square, so large that a name fits above."""
    times = max(1, math.ceil(images.MIN_TILE / max(drawn.shape[1:3])))
    return drawn.repeat(times, 1).repeat(times, 2)


def _span(values: np.ndarray, look: Look) -> Span:
    """The range that is drawn: that of the input where it has two ends, else that of its numbers."""
    ends = []
    for bound, extreme in ((look.low, np.min), (look.high, np.max)):
        if bound is not None and np.all(np.isfinite(bound)):
            ends.append(float(extreme(bound)))
        else:
            ends.append(float(extreme(values)) if values.size else float(extreme is np.max))
    return Span(*opened(*sorted(ends)), "value")


def _one(kind: Kind, value: np.ndarray, look: Look, span: Span) -> np.ndarray:
    if kind is Kind.LETTERS:
        axis = look.axis or -1
        rows = np.moveaxis(value, axis - 1 if axis > 0 else axis, -1)
        return logo(rows.reshape(-1, rows.shape[-1]), look.letters)
    if kind is Kind.VECTOR:
        low = span.low if look.low is None else look.low
        high = span.high if look.high is None else look.high
        return plots.bars(value, low, high, look.names)
    if kind is Kind.SERIES:
        return _series(value if value.ndim == 2 else value[:, None], look, span)
    if kind is Kind.MAP:
        rows, columns = value.shape
        return plots.heat(value, span, Span(0, columns), Span(0, rows))
    if kind in (Kind.CHANNELS, Kind.VOLUME):
        slices = np.moveaxis(value, -1, 0)[..., None] if kind is Kind.CHANNELS else value
        word = "channel" if kind is Kind.CHANNELS else "slice"
        return _slices(slices, span, look.names if kind is Kind.CHANNELS else None, word)
    flat = value.reshape(-1, value.shape[-1]) if value.ndim else value.reshape(1, 1)
    return plots.heat(flat, span, Span(0, flat.shape[1], "last axis"), Span(0, len(flat), "others"))


def _series(value: np.ndarray, look: Look, span: Span) -> np.ndarray:
    count, channels = value.shape
    across = Span(0, max(count - 1, 1), "position")
    if look.rate is not None:
        across = Span(0, max(count - 1, 1) / look.rate, "seconds")
    names = look.names if look.names is not None and len(look.names) == channels else None
    if channels <= FEW:
        shown = names or (tuple(map(str, range(channels))) if channels > 1 else None)
        return plots.curves(value, span, across, shown)
    width = across.high if look.rate is not None else count
    return plots.heat(
        value.T, span, Span(0, width, across.name), Span(0, channels, "channel"), names
    )


def _slices(slices: np.ndarray, span: Span, names: Sequence[str] | None, word: str) -> np.ndarray:
    """Evenly spaced slices with their numbers. `[D, H, W, C] -> uint8 [H', W', 3]`."""
    places = np.unique(
        np.rint(np.linspace(0, len(slices) - 1, min(len(slices), _SLICES))).astype(int)
    )
    chosen = slices[places]
    if chosen.shape[-1] not in (1, 3):
        chosen = chosen.mean(-1, keepdims=True)
    words = [f"{word} {place}" if names is None else str(names[place]) for place in places]
    return images.grid(images.to_uint8(chosen, span.low, span.high), words)
