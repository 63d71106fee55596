"""The kind of an input (image, series, letters ...), and its name."""

from __future__ import annotations

import enum
from collections.abc import Sequence

# From here on a list of numbers is drawn as a curve: as bars they would be thinner than two pixels.
LONG = 220
# Up to here channels are curves that can be told apart; more are a heat map.
FEW = 4
# Least side of a square array that is drawn upright, as the picture that it mostly is.
_SQUARE = 8


class Kind(enum.Enum):
    """How an input is drawn."""

    PICTURE = "picture"  # [H, W, 1 or 3]
    LETTERS = "sequence"  # rows of letters along an axis
    SERIES = "series"  # [T, C], or [T] with a rate or very long
    MAP = "map"  # [H, W], square
    VECTOR = "vector"  # [D]
    CHANNELS = "stack of channels"  # [H, W, C], other channels than those of a picture
    VOLUME = "volume"  # [D, H, W, C]
    ARRAY = "array"  # any other


_PLURAL = {Kind.SERIES: "series", Kind.CHANNELS: "stacks of channels"}


def kind_of(shape: Sequence[int], letters: bool = False, rate: float | None = None) -> Kind:
    """The kind of inputs of a shape, without the batch axis.

    Args:
        shape: of one input.
        letters: whether it was made as rows of letters or probabilities.
        rate: times a second, if it is a wave.
    """
    if letters:
        return Kind.LETTERS
    rank = len(shape)
    if rank == 1:
        return Kind.SERIES if rate is not None or shape[0] > LONG else Kind.VECTOR
    if rank == 2:
        square = shape[0] == shape[1] >= _SQUARE
        return Kind.MAP if square and rate is None else Kind.SERIES
    if rank == 3:
        return Kind.PICTURE if shape[-1] in (1, 3) else Kind.CHANNELS
    return Kind.VOLUME if rank == 4 else Kind.ARRAY


def nouns(kind: Kind, count: int) -> str:
    """`1 picture`, `3 sequences`."""
    word = kind.value if count == 1 else _PLURAL.get(kind, f"{kind.value}s")
    return f"{count} {word}"
