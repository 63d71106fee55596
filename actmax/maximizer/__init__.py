"""`Maximizer`: compile once, run often. `maximize`: both in one call."""

from actmax.maximizer.core import Maximizer, ProbabilityWarning, maximize
from actmax.maximizer.ending import NonFiniteError

__all__ = ["Maximizer", "NonFiniteError", "ProbabilityWarning", "maximize"]
