"""Keeps the params of the highest J so far, for problems whose J goes up and down."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from actmax.loop.tensors import choose, same_shape
from actmax.problem import Problem
from actmax.types import Params


class Highest(NamedTuple):
    """Params and their J, `[N]`."""

    params: Params
    objective: tf.Tensor


def remembers(problem: Problem) -> bool:
    """Whether a problem keeps them: for letters without transforms. With transforms it is chance."""
    sets = [entry.constraint for entry in problem.inputs if entry.constraint.discrete]
    hard = any(getattr(each, "straight_through", True) for each in sets)
    return hard and not problem.transformed


def remembered(problem: Problem, params: Params) -> Any:
    """The kept params before the first step. Nothing if the problem keeps none."""
    if not remembers(problem):
        return ()
    rows = tf.shape(tf.nest.flatten(params)[0])[:1]
    return Highest(params, tf.fill(rows, tf.constant(-float("inf"), problem.dtype)))


def higher(best: Any, params: Params, objective: tf.Tensor, live: tf.Tensor) -> Any:
    """The kept params after a step: the step's params if J was higher and the row is live."""
    if not isinstance(best, Highest):
        return best
    better = live & (objective > best.objective)  # False where J is not a number
    kept = tf.nest.map_structure(
        lambda new, old: same_shape(choose(better, new, old), old), params, best.params
    )
    return Highest(kept, same_shape(tf.where(better, objective, best.objective), best.objective))
