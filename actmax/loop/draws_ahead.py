"""Runs steps, with the random draws of the transforms computed in advance for a block of steps.

A draw is a hash with dozens of operations on a few numbers, and does not depend on the images. In a
small network, starting these operations takes longer than the convolutions. So they run once per
block.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from actmax.loop.records import Bounds, Carry
from actmax.problem import Problem

# Number of steps per block. It is small, so the draws need little memory compared with the images.
BLOCK = 16


def drawn_at(problem: Problem, seeds: tf.Tensor, steps: tf.Tensor) -> Callable[[tf.Tensor], Any]:
    """The random draws of the transforms in the n-th of these steps, computed for all steps at once."""
    if not problem.transformed:
        return lambda number: seeds
    draws = problem.ahead(seeds, steps)
    return lambda number: tf.nest.map_structure(lambda many: tf.gather(many, number), draws)


def run_steps(
    problem: Problem,
    once: Callable[..., tuple[Any, ...]],
    seeds: tf.Tensor,
    bounds: Bounds,
    first: tuple[Carry, Any],
    *,
    ahead: bool,
) -> Any:
    """`(step, carry, history)` after the steps of `bounds`, or when no row is live.

    Args:
        problem: whose transforms draw.
        once: one step, `(seeds or draws, step, carry, history) -> (step, carry, history)`.
        seeds: `[T, K * N, 2]`, from `part_seeds`.
        bounds: which steps to run.
        first: `(carry, history)` before the first step.
        ahead: False to compute the draws in every step. XLA does so, because it fuses a draw into
            one kernel.
    """

    def until(last: tf.Tensor) -> Callable[..., tf.Tensor]:
        def goes_on(step: tf.Tensor, carry: Carry, history: Any) -> tf.Tensor:
            dead = tf.reduce_any(carry.live & ~carry.moved)
            over = bounds.alive & dead & tf.equal(step, bounds.start + 1)
            return (step < last) & (tf.reduce_any(carry.live) | bounds.still) & ~over

        return goes_on

    begun = (bounds.start, *first)
    if not (ahead and problem.transformed):
        body = functools.partial(once, seeds)
        return tf.while_loop(until(bounds.stop), body, begun, parallel_iterations=1)

    def block(begin: tf.Tensor, carry: Carry, history: Any) -> Any:
        draw_at = drawn_at(problem, seeds, begin + tf.range(BLOCK))

        def body(step: tf.Tensor, carry: Carry, history: Any) -> tuple[Any, ...]:
            return once(draw_at(step - begin), step, carry, history)

        last = tf.minimum(begin + BLOCK, bounds.stop)
        return tf.while_loop(until(last), body, (begin, carry, history), parallel_iterations=1)

    return tf.while_loop(until(bounds.stop), block, begun, parallel_iterations=1)
