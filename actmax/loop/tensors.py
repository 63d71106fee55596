"""Small functions of tensors: the minus sign of the loop, signatures, sizes and choices per row."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from actmax.loop.records import Arguments, Cause, Evaluation
from actmax.problem import Problem
from actmax.types import Images, Params


def spec(argument: Any, *, open_rows: bool, closed: bool = False) -> Any:
    """Signature of an argument. The number of rows is open by default. The number of steps is always open.

    With `closed`, every size is fixed, as XLA requires.
    """
    if closed:
        return tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), argument)

    def open_spec(tensor: tf.Tensor) -> tf.TensorSpec:
        shape: list[int | None] = list(tensor.shape)
        if shape and open_rows:
            shape[0] = None
        return tf.TensorSpec(shape, tensor.dtype)

    specs = tf.nest.map_structure(open_spec, argument)
    if isinstance(argument, Arguments):
        tables = {
            "weights": tf.TensorSpec(
                [argument.weights.shape[0], None, None], argument.weights.dtype
            ),
            "rates": tf.TensorSpec([None, None], argument.rates.dtype),
        }
        specs = specs._replace(**tables)
    return specs


def arrays_spec(arrays: Images) -> tuple[Any, ...]:
    """Names, shapes per image and types of arrays."""
    return tuple((name, *value.shape[1:], value.dtype.name) for name, value in arrays.items())


def means(values: tf.Tensor, copies: int) -> tf.Tensor:
    """Means over copies. `[K * N] -> [N]`."""
    return values if copies == 1 else tf.reduce_mean(tf.reshape(values, [copies, -1]), axis=0)


def split_scores(problem: Problem, heard: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Splits the result of one pass into scores `[N]` and penalties of layers, `[N]` each."""
    if not problem.inner:
        return heard, []
    score, *inner = tf.unstack(heard, 1 + len(problem.inner))
    return score, inner


def silence(problem: Problem, rows: tf.Tensor) -> tf.Tensor:
    """Zeros with the shape of the results of one pass."""
    return tf.zeros([1 + len(problem.inner), rows] if problem.inner else [rows], problem.dtype)


def minus(ascent: tf.Tensor, penalty_slope: tf.Tensor | None) -> tf.Tensor:
    """Gradient of -J: the gradient of the penalties minus that of the score."""
    return -ascent if penalty_slope is None else penalty_slope - ascent


def sizes(params: Params) -> tf.Tensor:
    """Sum of absolute values over all leaves, per row. Not finite if any value is not. `[N]`."""
    sizes = [
        tf.reduce_sum(tf.abs(leaf), axis=list(range(1, leaf.shape.rank)))
        for leaf in tf.nest.flatten(params)
    ]
    return sizes[0] if len(sizes) == 1 else tf.add_n(sizes)


def sums(params: Params) -> tf.Tensor:
    """Sum of values over all leaves, per row. Not finite if any value is not. `[N]`."""
    sums = [
        tf.reduce_sum(leaf, axis=list(range(1, leaf.shape.rank)))
        for leaf in tf.nest.flatten(params)
    ]
    return sums[0] if len(sums) == 1 else tf.add_n(sums)


def first_cause(
    found: Evaluation, size: tf.Tensor, shaped: tf.Tensor, updated: tf.Tensor
) -> tf.Tensor:
    """The first value in the order of a step that is not finite. int32 `[N]`."""
    burden = found.score - found.objective
    cause = tf.zeros(tf.shape(size), tf.int32)
    for value, code in (
        (updated, Cause.UPDATE),
        (shaped, Cause.GRADIENT_FUNCTION),
        (size, Cause.GRADIENT),
        (burden, Cause.PENALTY),
        (found.score, Cause.SCORE),
        (sizes(found.images), Cause.IMAGE),
    ):
        cause = tf.where(tf.math.is_finite(value), cause, int(code))
    return cause


def choose(rows: tf.Tensor, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    """`new` where `rows` is True, else `old`. `[N], [N, ...], [N, ...] -> [N, ...]`."""
    chosen = tf.where(tf.reshape(rows, [-1] + [1] * (old.shape.rank - 1)), new, old)
    return same_shape(chosen, old)


def same_shape(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    """`new` with the static shape of `old`, because an operation may lose it."""
    new.set_shape(old.shape)
    return new
