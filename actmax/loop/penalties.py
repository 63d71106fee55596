"""Penalties, their weights and their gradients: in every step, or in every k-th step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from actmax.feeding import Given, first_states
from actmax.loop.connectivity import check_penalty
from actmax.loop.records import Arguments
from actmax.problem import Problem
from actmax.types import Images

# `(images, weight [N], what it may ask for) -> (penalty [N], gradient of their product by input)`.
PenaltyAndGradient: TypeAlias = Callable[
    [Images, tf.Tensor, Given], tuple[tf.Tensor, dict[str, tf.Tensor | None]]
]


def weigh_penalties(
    problem: Problem,
    images: Images,
    arguments: Arguments,
    score: tf.Tensor,
    step: tf.Tensor,
    held: tuple[tf.Tensor, ...] | None,
    computed: Mapping[int, PenaltyAndGradient],
    inner: Sequence[tf.Tensor] = (),
) -> tuple[list[tf.Tensor], tf.Tensor, dict[str, Any]]:
    """Penalties, their weighted sum, and the gradient of the penalties of images without transforms.

    Args:
        problem: the problem with the penalties.
        images: `[N, ...]` by name.
        arguments: arguments with the weights.
        score: `[N]`.
        step: int32 `[]`.
        held: last values of lazy penalties, used between their steps. None to compute all of them
            now, with their unchanged weights.
        computed: `penalty_and_gradient` of each lazy penalty, by position.
        inner: penalties of layers, `[N]` each. The gradient of the pass contains theirs.

    Returns:
        `([N] each, [N], gradient or None by name)`. None for an input on which no penalty depends.
    """
    if not problem.penalties:
        return [], tf.zeros_like(score), dict.fromkeys(images)
    weights = weights_at(problem, arguments, step, tf.shape(score)[0])
    given = arguments.given(problem, step)
    lazy = problem.lazy
    eager = [place for place in range(len(weights)) if place not in (*lazy, *problem.inner)]
    values: dict[int, tf.Tensor] = dict(zip(problem.inner, inner, strict=True))
    gradients_of = []
    if eager:
        own = [weights[place] for place in eager]
        found, gradient = _penalties_and_gradient(problem, images, eager, own, given)
        values |= zip(eager, found, strict=True)
        gradients_of.append(gradient)
    for number, place in enumerate(lazy):
        if held is None:
            values[place], seen = computed[place](images, weights[place], given)
            gradients_of.append(dict.fromkeys(images) | seen)
            continue
        values[place], gradient = _now_and_then(
            problem, images, place, weights[place], given, held[number], computed[place]
        )
        gradients_of.append(gradient)
    penalties = [values[place] for place in range(len(weights))]
    burden = tf.add_n([w * p for w, p in zip(weights, penalties, strict=True)])
    return (
        penalties,
        burden,
        {name: _sum([gradient[name] for gradient in gradients_of]) for name in images},
    )


def weights_at(
    problem: Problem, arguments: Arguments, step: tf.Tensor, rows: tf.Tensor
) -> list[tf.Tensor]:
    """The weight of every penalty for every row at a step, `[N]` each."""
    at = tf.minimum(step, tf.shape(arguments.weights)[1] - 1)
    shape = [len(problem.penalties), rows]
    return tf.unstack(tf.broadcast_to(tf.gather(arguments.weights, at, axis=1), shape))


def burden(
    problem: Problem,
    images: Images,
    arguments: Arguments,
    step: tf.Tensor,
    computed: Mapping[int, PenaltyAndGradient],
) -> tf.Tensor:
    """The weighted sum of all penalties except those of layers, computed now. `[N]`."""
    rows = tf.shape(arguments.seeds)[0]
    total = tf.zeros([rows], problem.dtype)
    if not problem.penalties:
        return total
    given = arguments.given(problem, step)
    for place, weight in enumerate(weights_at(problem, arguments, step, rows)):
        if place in problem.inner:
            continue
        if place in computed:
            value = computed[place](images, weight, given)[0]
        else:
            (value,) = problem.penalize(images, given, [place])
        total = total + weight * value
    return total


def penalty_and_gradient(
    problem: Problem,
    place: int,
    images: Images,
    weight: tf.Tensor,
    given: Given,
) -> tuple[tf.Tensor, dict[str, tf.Tensor | None]]:
    """One penalty `[N]`, and the gradient of its weighted sum by input. None without a gradient."""
    (value,), gradient = _penalties_and_gradient(problem, images, [place], [weight], given)
    return value, {name: gradient[name] for name in inputs_of(problem, place)}


def inputs_of(problem: Problem, place: int) -> tuple[str, ...]:
    """Names of the inputs that a penalty is for."""
    on = problem.penalties[place][1]
    return (on,) if isinstance(on, str) else on


def check_penalty_gradients(
    problem: Problem, images: Images, arrays: Images, computed: Mapping[int, PenaltyAndGradient]
) -> None:
    """Raises ValueError if a penalty of images has no gradient."""
    for place, (name, _, _) in enumerate(problem.penalties):
        if place in problem.inner:
            continue
        at = computed.get(place) or functools.partial(penalty_and_gradient, problem, place)
        seen = inputs_of(problem, place)
        rows = tf.shape(images[seen[0]])[0]
        weight = tf.ones([rows], problem.dtype)
        seeds = tf.zeros([rows, 2], tf.int32)
        rates = tf.ones([rows], problem.dtype) if problem.follows_rate else None
        states = first_states(problem.penalties, images, seeds) if problem.remembers else None
        given = Given(seeds, tf.constant(0), arrays, rates, states)
        gradients_of = at(images, weight, given)[1]
        for input_name in seen:
            check_penalty(name, gradients_of[input_name])


def _penalties_and_gradient(
    problem: Problem,
    images: Images,
    which: Sequence[int],
    weights: Sequence[tf.Tensor],
    given: Given,
) -> tuple[list[tf.Tensor], dict[str, Any]]:
    """Some penalties, and the gradient of their weighted sum."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        penalties = problem.penalize(images, given, which)
    # The weights are applied outside the tape, so the backward pass has no broadcast.
    return penalties, tape.gradient(penalties, images, output_gradients=list(weights))


def _now_and_then(
    problem: Problem,
    images: Images,
    place: int,
    weight: tf.Tensor,
    given: Given,
    last: tf.Tensor,
    compute: PenaltyAndGradient,
) -> tuple[tf.Tensor, dict[str, Any]]:
    """A lazy penalty and its gradient, which is zero in the other steps."""
    every = problem.penalties[place][2].every
    seen = inputs_of(problem, place)

    def now() -> tuple[tf.Tensor, dict[str, tf.Tensor | None]]:
        return compute(images, every * weight, given)

    def rest() -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        return last, {name: tf.zeros_like(images[name]) for name in seen}

    value, gradient = tf.cond(tf.equal(given.step % every, 0), now, rest)
    return value, dict.fromkeys(images) | gradient


def _sum(gradients_of: Sequence[tf.Tensor | None]) -> tf.Tensor | None:
    """The sum of the gradients that are not None."""
    given = [gradient for gradient in gradients_of if gradient is not None]
    return tf.add_n(given) if len(given) > 1 else (given or [None])[0]
