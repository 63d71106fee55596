"""Sets of allowed images. Each is a differentiable map onto the set, a projection on it, or both.

If params are images (`Pixels`), the loop projects them after every update. Every other
parameterization needs a constraint that maps, such as `Sigmoid`.
"""

from actmax.constraints.base import Constraint
from actmax.constraints.bounds import Bound
from actmax.constraints.columns import Columns
from actmax.constraints.contrasts import Contrast
from actmax.constraints.intersection import Intersection
from actmax.constraints.letters import OneHot, Rows, Simplex
from actmax.constraints.linear import LinearEquations, Mixture
from actmax.constraints.measured import Measured
from actmax.constraints.norms import L2Ball, LInfBall, PixelBall
from actmax.constraints.ranges import Box, Rescale, Sigmoid, Unbounded, from_range, width

__all__ = [
    "Bound",
    "Box",
    "Columns",
    "Constraint",
    "Contrast",
    "Intersection",
    "L2Ball",
    "LInfBall",
    "LinearEquations",
    "Measured",
    "Mixture",
    "OneHot",
    "PixelBall",
    "Rescale",
    "Rows",
    "Sigmoid",
    "Simplex",
    "Unbounded",
    "from_range",
    "width",
]
