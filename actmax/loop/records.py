"""The state, arguments and results of the loop, as named tuples of tensors."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from actmax.feeding import Given
from actmax.problem import Problem
from actmax.types import Images, Params


class Cause(enum.IntEnum):
    """Where a row first stopped being finite."""

    NONE = 0
    IMAGE = 1
    SCORE = 2
    PENALTY = 3
    GRADIENT = 4
    GRADIENT_FUNCTION = 5
    UPDATE = 6


class Carry(NamedTuple):
    """The state that goes from step to step."""

    params: Params
    before: Params  # one update earlier, only for inputs whose params are not images
    state: Any
    live: tf.Tensor  # bool [N], False once a row has failed or was stopped
    moved: tf.Tensor  # bool [N], True once the score of a row had a gradient of its own
    still: tf.Tensor  # bool [N], True if the last gradient was zero
    cause: tf.Tensor  # int32 [N], a Cause
    done: tf.Tensor  # int32 [N], updates made
    steep: tf.Tensor  # [N, 2], sizes of the largest and of the last gradient that the optimizer got
    held: tuple[tf.Tensor, ...]  # [N] each, last computed values of lazy penalties
    best: Any = ()  # params of the highest J, for problems that keep them
    states: Any = ()  # of the penalties that have a state, by name


class Bounds(NamedTuple):
    """The steps of one call of the loop."""

    start: tf.Tensor  # int32 []
    stop: tf.Tensor  # int32 []
    # bool []: end after the first step if the score of a row has no gradient in it.
    alive: tf.Tensor
    # bool []: continue even if no row is live, for gradients at unchanged images.
    still: tf.Tensor


class Arguments(NamedTuple):
    """What stays the same during a run, as tensors."""

    targets: tf.Tensor  # [N] or [N, C]
    weights: tf.Tensor  # [P, 1 or steps, 1 or N]
    rates: tf.Tensor  # [1 or steps, 1 or N]
    seeds: tf.Tensor  # int32 [N, 2]
    fixed: Images  # by name, [1 or N, ...]
    kept: Images  # the values that masks keep, by name, [N, ...]
    arrays: Images  # of penalties, by feeding.array_key, [N, ...]
    states: Any = ()  # of the penalties that have a state, by name, at the step of the carry

    def given(self, problem: Problem, step: tf.Tensor) -> Given:
        """The arguments that penalties and gradient functions can take at a step."""
        states = self.states if problem.remembers else None
        if not problem.follows_rate:
            return Given(self.seeds, step, self.arrays, None, states)
        rates = tf.broadcast_to(self.rate(step), tf.shape(self.seeds)[:1])
        return Given(self.seeds, step, self.arrays, rates, states)

    def stateless(self) -> Arguments:
        """The arguments without states of penalties."""
        return self if self.states == () else self._replace(states=())

    def rate(self, step: tf.Tensor) -> tf.Tensor:
        """The learning rate of a step, `[1 or N]`."""
        at = tf.minimum(step, tf.shape(self.rates)[0] - 1)
        return tf.gather(self.rates, at)  # a slice would compile anew for every step

    def now(self, problem: Problem, carry: Carry, step: tf.Tensor) -> Arguments:
        """The arguments at a step, with what changes from step to step, for the parts that ask for it."""
        found = self._replace(states=carry.states) if problem.remembers else self
        if not problem.moves:
            return found
        return found._replace(kept=found.kept | problem.moment(self.seeds, step))


class Evaluation(NamedTuple):
    """J and its parts at one step, `[N]` each, and its gradients."""

    images: Images
    score: tf.Tensor
    objective: tf.Tensor
    penalties: list[tf.Tensor]
    held: tuple[tf.Tensor, ...]
    metrics: list[tf.Tensor]
    descent: Params  # of -J, with respect to params
    ascent: Images  # of the score alone, with respect to images
    slope: Images  # of -J, with respect to images


class RemainingGain(NamedTuple):
    """How much J of each image can still increase, `[N]` each."""

    objective: np.ndarray  # J without transforms
    gain: np.ndarray  # with the best of a few projected steps
    at_most: np.ndarray  # to first order, for any image of the set


def hidden(problem: Problem, params: Params) -> Params:
    """Params of the inputs whose params are not images. Their images are checked one step later."""
    return {e.name: params[e.name] for e in problem.inputs if not e.parameterization.are_images}
