"""Admissible sets of images, each as a differentiable map onto it, a projection on it, or both.

Where params are images (`Pixels`), the loop projects after every update; every other parameterization
needs a constraint that maps, such as `Sigmoid`.
"""

from actmax.constraints.base import Bound, Constraint, Intersection
from actmax.constraints.norms import Contrast, L2Ball, PixelBall
from actmax.constraints.ranges import Box, Rescale, Sigmoid, Unbounded, from_range, width

__all__ = [
    "Bound",
    "Box",
    "Constraint",
    "Contrast",
    "Intersection",
    "L2Ball",
    "PixelBall",
    "Rescale",
    "Sigmoid",
    "Unbounded",
    "from_range",
    "width",
]
