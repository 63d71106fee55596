"""The work that every loop needs: the score and its gradient with respect to the images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from actmax.problem import Problem
from actmax.types import Images


def bare_floor(
    problem: Problem, images: Images, fixed: Images, targets: tf.Tensor
) -> Callable[[int], None]:
    """The pass in one `tf.function`, called from Python once per step.

    Returns:
        A function of the number of steps, which returns when the last gradient is on the host.
    """

    @tf.function(autograph=False)
    def step(images: Images) -> tuple[tf.Tensor, Images]:
        return _pass(problem, images, fixed, targets)

    def run(steps: int) -> None:
        for _ in range(steps):
            found = step(images)
        _fetch(found)

    return run


def strict_floor(
    problem: Problem, images: Images, fixed: Images, targets: tf.Tensor
) -> Callable[[int], None]:
    """The same pass inside a `tf.while_loop`: no Python between steps.

    Each pass starts from the images plus `rate` times the gradient. The rate is zero, but the graph
    does not know this. Otherwise all passes would be equal, and a compiler could run only one of them.
    """

    @tf.function(autograph=False)
    def loop(images: Images, count: tf.Tensor, rate: tf.Tensor) -> Any:
        def body(step: tf.Tensor, images: Images, _: tf.Tensor) -> tuple[Any, ...]:
            scores, gradient = _pass(problem, images, fixed, targets)
            moved = tf.nest.map_structure(lambda x, g: x + rate * g, images, gradient)
            return step + 1, moved, scores

        rows = tf.shape(tf.nest.flatten(images)[0])[:1]
        first = (tf.constant(0), images, tf.zeros(rows, problem.dtype))
        return tf.while_loop(
            lambda step, images, scores: step < count, body, first, parallel_iterations=1
        )

    nothing = tf.constant(0.0, problem.dtype)

    def run(steps: int) -> None:
        _fetch(loop(images, tf.constant(steps), nothing))

    return run


def _pass(
    problem: Problem, images: Images, fixed: Images, targets: tf.Tensor
) -> tuple[tf.Tensor, Images]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        scores = problem.score(images, fixed, targets)
    return scores, tape.gradient(scores, images)


def _fetch(found: Any) -> None:
    """Waits for all results. A device works in order, so the last result comes after all others."""
    for leaf in tf.nest.flatten(found):
        leaf.numpy()
