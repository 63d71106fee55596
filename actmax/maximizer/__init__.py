"""`Maximizer`: compile once, run often. `maximize`: both in one call."""

from actmax.maximizer.core import Maximizer
from actmax.maximizer.ending import NonFiniteError
from actmax.maximizer.laws import BrokenLawWarning
from actmax.maximizer.looking import ProbabilityWarning
from actmax.maximizer.once import maximize
from actmax.maximizer.wrong_range import InputRangeWarning

__all__ = [
    "BrokenLawWarning",
    "InputRangeWarning",
    "Maximizer",
    "NonFiniteError",
    "ProbabilityWarning",
    "maximize",
]
