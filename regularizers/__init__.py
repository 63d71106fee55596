"""Regularizers of activation maximization: penalties and transforms, on TensorFlow alone."""

from regularizers import random, testing
from regularizers.base import Penalty, Transform
from regularizers.decorated import penalty, transform
from regularizers.letters import Edits, Entropy
from regularizers.norms import PixelNorm
from regularizers.penalties import L1, L2, AlphaNorm, Bound, LInf, LogSum, TotalVariation
from regularizers.transforms import (
    Affine,
    Blur,
    ColorShift,
    Flip,
    Jitter,
    Noise,
    Pad,
    RandomBox,
    RandomCrop,
    Rotate,
    Scale,
    Shift,
    compose,
)

__all__ = [
    "Affine",
    "AlphaNorm",
    "Blur",
    "Bound",
    "ColorShift",
    "Edits",
    "Entropy",
    "Flip",
    "Jitter",
    "L1",
    "L2",
    "LInf",
    "LogSum",
    "Noise",
    "Pad",
    "Penalty",
    "PixelNorm",
    "RandomBox",
    "RandomCrop",
    "Rotate",
    "Scale",
    "Shift",
    "TotalVariation",
    "Transform",
    "compose",
    "penalty",
    "random",
    "testing",
    "transform",
]
