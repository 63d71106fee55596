"""Penalties, their weights and their gradients: in every step, or in every k-th step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from actmax.feeding import Given
from actmax.loop.connectivity import check_penalty
from actmax.loop.records import Arguments
from actmax.problem import Problem
from actmax.types import Images

# `(images, weight [N], what it may ask for) -> (penalty [N], gradient of their product by input)`.
Look: TypeAlias = Callable[
    [Images, tf.Tensor, Given], tuple[tf.Tensor, dict[str, tf.Tensor | None]]
]


def resist(
    problem: Problem,
    images: Images,
    arguments: Arguments,
    score: tf.Tensor,
    step: tf.Tensor,
    held: tuple[tf.Tensor, ...] | None,
    looks: Mapping[int, Look],
    inner: Sequence[tf.Tensor] = (),
) -> tuple[list[tf.Tensor], tf.Tensor, dict[str, Any]]:
    """Penalties, their weighted sum, and the gradient of those of clean images.

    Args:
        problem: whose penalties.
        images: `[N, ...]` by name.
        arguments: with their weights.
        score: `[N]`.
        step: int32 `[]`.
        held: what lazy penalties were when last looked at, which they are taken for at steps between;
            None to look at all of them now, with no weight but their own.
        looks: `look` at each lazy penalty, by place.
        inner: penalties of layers, `[N]` each, whose gradient is in that of the pass already.

    Returns:
        `([N] each, [N], images or None by name)`; None where no penalty depends on an input.
    """
    if not problem.penalties:
        return [], tf.zeros_like(score), dict.fromkeys(images)
    weights = weights_at(problem, arguments, step, tf.shape(score)[0])
    given = arguments.given(step)
    lazy = problem.lazy
    eager = [place for place in range(len(weights)) if place not in (*lazy, *problem.inner)]
    values: dict[int, tf.Tensor] = dict(zip(problem.inner, inner, strict=True))
    pulls = []
    if eager:
        own = [weights[place] for place in eager]
        found, pull = _look(problem, images, eager, own, given)
        values |= zip(eager, found, strict=True)
        pulls.append(pull)
    for number, place in enumerate(lazy):
        if held is None:
            values[place], seen = looks[place](images, weights[place], given)
            pulls.append(dict.fromkeys(images) | seen)
            continue
        values[place], pull = _now_and_then(
            problem, images, place, weights[place], given, held[number], looks[place]
        )
        pulls.append(pull)
    penalties = [values[place] for place in range(len(weights))]
    burden = tf.add_n([w * p for w, p in zip(weights, penalties, strict=True)])
    return penalties, burden, {name: _sum([pull[name] for pull in pulls]) for name in images}


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
    looks: Mapping[int, Look],
) -> tf.Tensor:
    """The weighted sum of all penalties but those of layers, looked at now. `[N]`."""
    rows = tf.shape(arguments.seeds)[0]
    total = tf.zeros([rows], problem.dtype)
    if not problem.penalties:
        return total
    given = arguments.given(step)
    for place, weight in enumerate(weights_at(problem, arguments, step, rows)):
        if place in problem.inner:
            continue
        if place in looks:
            value = looks[place](images, weight, given)[0]
        else:
            (value,) = problem.penalize(images, given, [place])
        total = total + weight * value
    return total


def look(
    problem: Problem,
    place: int,
    images: Images,
    weight: tf.Tensor,
    given: Given,
) -> tuple[tf.Tensor, dict[str, tf.Tensor | None]]:
    """One penalty `[N]`, and the gradient of its weighted sum by input; None if it has none."""
    (value,), pull = _look(problem, images, [place], [weight], given)
    return value, {name: pull[name] for name in seen_by(problem, place)}


def seen_by(problem: Problem, place: int) -> tuple[str, ...]:
    """Names of the inputs that a penalty is for."""
    on = problem.penalties[place][1]
    return (on,) if isinstance(on, str) else on


def check_pulls(
    problem: Problem, images: Images, arrays: Images, looks: Mapping[int, Look]
) -> None:
    """Raises ValueError if a penalty of images has no gradient."""
    for place, (name, _, _) in enumerate(problem.penalties):
        if place in problem.inner:
            continue
        at = looks.get(place) or functools.partial(look, problem, place)
        seen = seen_by(problem, place)
        rows = tf.shape(images[seen[0]])[0]
        weight = tf.ones([rows], problem.dtype)
        given = Given(tf.zeros([rows, 2], tf.int32), tf.constant(0), arrays)
        pulls = at(images, weight, given)[1]
        for input_name in seen:
            check_penalty(name, pulls[input_name])


def _look(
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
    # The weights enter behind the tape, which then has no broadcast to go back through.
    return penalties, tape.gradient(penalties, images, output_gradients=list(weights))


def _now_and_then(
    problem: Problem,
    images: Images,
    place: int,
    weight: tf.Tensor,
    given: Given,
    last: tf.Tensor,
    look: Look,
) -> tuple[tf.Tensor, dict[str, Any]]:
    """A lazy penalty and its pull, which is zero between looks."""
    every = problem.penalties[place][2].every
    seen = seen_by(problem, place)

    def now() -> tuple[tf.Tensor, dict[str, tf.Tensor | None]]:
        return look(images, every * weight, given)

    def rest() -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        return last, {name: tf.zeros_like(images[name]) for name in seen}

    value, pull = tf.cond(tf.equal(given.step % every, 0), now, rest)
    return value, dict.fromkeys(images) | pull


def _sum(pulls: Sequence[tf.Tensor | None]) -> tf.Tensor | None:
    """The sum of the gradients that there are."""
    given = [pull for pull in pulls if pull is not None]
    return tf.add_n(given) if len(given) > 1 else (given or [None])[0]
