"""`Maximizer`: compile once, run often. `maximize`: both in one call."""

from actmax.maximizer.core import Maximizer
from actmax.maximizer.first_checks import ProbabilityWarning
from actmax.maximizer.laws import BrokenLawWarning
from actmax.maximizer.one_call import maximize
from actmax.maximizer.range_checks import InputRangeWarning
from actmax.maximizer.statuses import NonFiniteError

__all__ = [
    "BrokenLawWarning",
    "InputRangeWarning",
    "Maximizer",
    "NonFiniteError",
    "ProbabilityWarning",
    "maximize",
]
