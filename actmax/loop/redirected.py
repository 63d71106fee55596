"""For starts with an inactive ReLU: a gradient that passes through the ReLU, for a few steps.

Source: Olah, Mordvintsev and Schubert, Feature visualization, 2017, https://distill.pub/2017/feature-visualization,
whose code, lucid, calls it `redirected_relu_grad`.
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from actmax.loop.records import Arguments
from actmax.loop.tensors import choose, sizes
from actmax.problem import Problem
from actmax.types import Params

# As many as lucid's.
STEPS = 16
# Operations without a gradient outside a range, and the range.
_RECTIFIERS: dict[str, tuple[float, float]] = {"Relu": (0.0, float("inf")), "Relu6": (0.0, 6.0)}


def _redirect(low: float, high: float, op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    """The gradient of a rectifier. For rows without one, a gradient that leads back into its range.

    Args:
        low: below this value there is no gradient.
        high: above this value there is no gradient.
        op: the operation.
        gradient: gradient of the score with respect to its output.
    """
    given = op.inputs[0]
    below, above = given <= low, given >= high
    none = tf.zeros_like(gradient)
    plain = tf.where(below | above, none, gradient)
    away = (below & (gradient < 0)) | (above & (gradient > 0))
    axes = list(range(1, gradient.shape.rank or 1))
    passes = tf.reduce_any(plain != 0, axes, keepdims=True)
    return tf.where(passes, plain, tf.where(away, none, gradient))


@functools.cache
def _registered() -> dict[str, str]:
    """Registers the rule of every rectifier under a name that graphs can use."""
    names = {}
    for kind, (low, high) in _RECTIFIERS.items():
        names[kind] = f"ActmaxRedirected{kind}"
        tf.RegisterGradient(names[kind])(functools.partial(_redirect, low, high))
    return names


def revive(
    problem: Problem, params: Params, arguments: Arguments, dead: tf.Tensor
) -> tuple[Params, tf.Tensor]:
    """Moves rows with a dead start until their score has a gradient, and returns the params.

    Every step is a step of the optimizer along the redirected gradient of the score (without penalties),
    with the random draws and the learning rate of the first step. A row does not depend on other rows.

    Args:
        problem: the problem with the score.
        params: params before the first step.
        arguments: of the run.
        dead: bool `[N]`, rows whose score has no gradient at the start.

    Returns:
        `(params, steps)`. `steps` is int32 `[N]`: the number of steps after which a row had a gradient. It
        is 0 for rows that were not dead, and for rows without success, which stay at their start.
    """
    first, state = params, problem.optimizer.init(params)
    taken = tf.zeros(tf.shape(dead), tf.int32)
    step = tf.function(functools.partial(_step, problem), autograph=False)
    for number in range(STEPS + 1):
        moved, state, own, reached = step(params, state, arguments)
        if number == STEPS or not tf.reduce_any(dead & reached):
            break
        params = tf.nest.map_structure(functools.partial(choose, dead & reached), moved, params)
        taken += tf.cast(dead & reached, tf.int32)
    revived = dead & own
    params = tf.nest.map_structure(functools.partial(choose, dead & ~revived), first, params)
    return params, tf.where(revived, taken, 0)


def _step(
    problem: Problem, params: Params, state: Any, arguments: Arguments
) -> tuple[Params, Any, tf.Tensor, tf.Tensor]:
    """Params after one redirected step, and whether the score's gradient and the redirected one are not 0."""
    own = _slope(problem, params, arguments)
    with arguments.seeds.graph.gradient_override_map(_registered()):
        # Operations are marked when they are made, including those of the model's layers.
        ascent = _slope(problem, params, arguments)
    descent = tf.nest.map_structure(tf.negative, ascent)
    reached = sizes(descent) > 0
    images = problem.decode(params, arguments.kept)
    given = arguments.given(problem, tf.constant(0))
    descent = problem.shape_gradients(descent, images, given)
    moved, state = problem.update(descent, state, params, arguments.rates[0], given)
    return problem.settle(moved, params, arguments.kept), state, sizes(own) > 0, reached


def _slope(problem: Problem, params: Params, arguments: Arguments) -> Params:
    """The gradient of the score of all rows."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(params)
        total = _total(problem, params, arguments)
    return tape.gradient(total, params, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _total(problem: Problem, params: Params, arguments: Arguments) -> tf.Tensor:
    """The score of all rows, with the draws of the first step. `[]`."""
    images = problem.decode(params, arguments.kept)
    seeds = problem.part_seeds(arguments.seeds)
    copies = problem.transform(images, seeds, tf.constant(0))
    targets, count = arguments.targets, problem.copies
    if count > 1:
        targets = tf.tile(targets, [count] + [1] * (targets.shape.rank - 1))
    return tf.reduce_sum(problem.score(copies, arguments.fixed, targets, copies=count))
