"""Image parameterizations: the params that the optimizer moves, and their map to images."""

from actmax.parameterizations.base import Parameterization
from actmax.parameterizations.color import IMAGENET_COLORS, Decorrelated
from actmax.parameterizations.contrast import LimitedContrast
from actmax.parameterizations.cppn import CPPN
from actmax.parameterizations.fourier import Fourier
from actmax.parameterizations.generator import Generator
from actmax.parameterizations.maco import Maco
from actmax.parameterizations.pixels import Blurred, Pixels
from actmax.parameterizations.pyramid import LaplacianPyramid, LowResolutionSum
from actmax.parameterizations.strokes import Strokes

__all__ = [
    "Blurred",
    "CPPN",
    "Decorrelated",
    "Fourier",
    "Generator",
    "IMAGENET_COLORS",
    "LaplacianPyramid",
    "LimitedContrast",
    "LowResolutionSum",
    "Maco",
    "Parameterization",
    "Pixels",
    "Strokes",
]
