"""For a start at which a ReLU is inactive: for a few steps, a gradient that passes through it.

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
# Operations that a gradient does not pass outside a range, and the range.
_RECTIFIERS: dict[str, tuple[float, float]] = {"Relu": (0.0, float("inf")), "Relu6": (0.0, 6.0)}


def _redirect(low: float, high: float, op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    """The gradient of a rectifier; for rows in which nothing passes it, one that leads back into its range.

    Args:
        low: below it nothing passes.
        high: likewise, above it.
        op: the operation.
        gradient: of the score with respect to its output.
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
    """The rule of every rectifier, under a name by which a graph finds it."""
    names = {}
    for kind, (low, high) in _RECTIFIERS.items():
        names[kind] = f"ActmaxRedirected{kind}"
        tf.RegisterGradient(names[kind])(functools.partial(_redirect, low, high))
    return names


def revive(
    problem: Problem, params: Params, arguments: Arguments, dead: tf.Tensor
) -> tuple[Params, tf.Tensor]:
    """Params to which rows with a dead start were moved, until their score has a gradient of its own.

    Every step is a step of the optimizer along the redirected gradient of the score (without penalties),
    with the random draws and the learning rate of the first step. A row does not depend on other rows.

    Args:
        problem: whose score.
        params: before the first step.
        arguments: of the run.
        dead: bool `[N]`, rows whose score has no gradient at the start.

    Returns:
        `(params, steps)`: int32 `[N]`, steps that brought a row to life; 0 for rows that were not dead, and
        for those that nothing helped, which are at their start.
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
    """Params after one redirected step, and whether the score's own gradient, and this one, are not zero."""
    own = _slope(problem, params, arguments)
    with arguments.seeds.graph.gradient_override_map(_registered()):
        # Operations are marked when they are made, also those of the model's own layers.
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
