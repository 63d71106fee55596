"""Every public regularizer, with settings and shapes at which it must keep the laws."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import regularizers
from regularizers import (
    L1,
    L2,
    AlphaNorm,
    Blur,
    Bound,
    ColorShift,
    Edits,
    Entropy,
    Flip,
    Jitter,
    LInf,
    LogSum,
    Noise,
    Pad,
    PixelNorm,
    RandomBox,
    RandomCrop,
    Rotate,
    Scale,
    Shift,
    TotalVariation,
)
from regularizers.base import Regularizer

IMAGES = ((8, 8, 3), (6, 10, 1))
OTHER_RANKS = ((12, 2), (4, 5, 6, 2))
VECTORS = ((12,),)
LETTERS = ((6, 4),)
ORIGINAL = np.eye(4)[[2, 0, 3, 1, 1, 0]]


class Entry(NamedTuple):
    """One regularizer and where it is tried."""

    part: Regularizer
    shapes: tuple[tuple[int, ...], ...] = IMAGES
    image_range: tuple[float, float] = (0.0, 1.0)

    @property
    def id(self) -> str:
        rank = "" if self.shapes is IMAGES else f"-rank{len(self.shapes[0]) + 1}"
        fields = [
            str(v) for k, v in vars(self.part).items() if k not in ("on", "weight", "original")
        ]
        return "-".join([self.part.name, *fields]) + rank


PENALTIES = (
    Entry(TotalVariation()),
    Entry(TotalVariation(), OTHER_RANKS),
    Entry(TotalVariation(beta=1.0)),
    Entry(TotalVariation(beta=1.5), OTHER_RANKS),
    Entry(TotalVariation(beta=2.0)),
    Entry(L1(), image_range=(-1.0, 1.0)),
    Entry(L1(), VECTORS),
    Entry(L2()),
    Entry(L2(), VECTORS),
    Entry(AlphaNorm()),
    Entry(AlphaNorm(alpha=1.5), image_range=(-2.0, 2.0)),
    Entry(AlphaNorm(), VECTORS),
    Entry(PixelNorm(center=0.5)),
    Entry(PixelNorm(alpha=2.5), OTHER_RANKS),
    Entry(LInf(), image_range=(-1.0, 1.0)),
    Entry(LInf(), VECTORS),
    Entry(LogSum(), image_range=(-1.0, 1.0)),
    Entry(LogSum(epsilon=0.5), VECTORS),
    Entry(LogSum(center=-1.0), image_range=(-1.0, 1.0)),
    Entry(Bound(), image_range=(-1.0, 2.0)),
    Entry(Bound(), VECTORS, image_range=(-1.0, 2.0)),
    Entry(Edits(original=ORIGINAL), LETTERS),
    Entry(Edits(original=ORIGINAL.T[None], axis=1), ((4, 6),)),
    Entry(Entropy(), ((8, 8, 3), (6, 10, 4))),
    Entry(Entropy(), LETTERS),
)
TRANSFORMS = (
    Entry(Jitter(2)),
    Entry(Jitter(3), OTHER_RANKS),
    Entry(Rotate(20)),
    Entry(Scale(0.8, 1.3)),
    Entry(Shift(1.5)),
    Entry(Flip()),
    Entry(Flip("vertical")),
    Entry(Flip(), OTHER_RANKS),
    Entry(Noise(0.1)),
    Entry(Noise(0.1), VECTORS),
    Entry(Pad(2)),
    Entry(Pad(1, value=0.5), OTHER_RANKS),
    Entry(Blur(1.0)),
    Entry(Blur(0.7), OTHER_RANKS),
    Entry(RandomBox(0.3, 0.9)),
    Entry(RandomBox(0.5, 0.5, center_std=None)),
    Entry(RandomCrop((5, 4))),
    Entry(RandomCrop((3, 4, 2)), ((4, 5, 6, 2),)),
    Entry(ColorShift(1.0, 0.5)),
    Entry(ColorShift(0.5, 0.1), VECTORS),
)
CATALOGUE = PENALTIES + TRANSFORMS


def public_classes() -> set[type[Regularizer]]:
    """Every regularizer that `regularizers` exports and that can be made."""
    exported = (getattr(regularizers, name) for name in regularizers.__all__)
    return {
        part
        for part in exported
        if isinstance(part, type)
        and issubclass(part, Regularizer)
        and not getattr(part, "__abstractmethods__", None)
    }
