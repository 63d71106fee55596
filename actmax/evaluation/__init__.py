"""Metrics of pictures: pure functions, and `evaluate`, which computes all that it can."""

from actmax.evaluation.core import evaluate
from actmax.evaluation.networks import Judge
from actmax.evaluation.record import Evaluation, Measurement
from actmax.evaluation.sources import Natural

__all__ = ["Evaluation", "Judge", "Measurement", "Natural", "evaluate"]
