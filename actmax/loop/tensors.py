"""Signatures, sizes per row and choices between rows: small functions of tensors."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from actmax.loop.records import Arguments, Cause, Evaluation
from actmax.types import Params


def spec(argument: Any, *, open_rows: bool, closed: bool = False) -> Any:
    """Signature of an argument: rows open unless told otherwise, steps of the tables always open.

    With `closed` every size is what it is, as XLA wants it.
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


def minus(ascent: tf.Tensor, resistance: tf.Tensor | None) -> tf.Tensor:
    """Gradient of -J: what the penalties push against less what the score gains."""
    return -ascent if resistance is None else resistance - ascent


def sizes(params: Params) -> tf.Tensor:
    """Sum of absolute values over all leaves, per row; NaN or infinite as soon as one value is. `[N]`."""
    sizes = [
        tf.reduce_sum(tf.abs(leaf), axis=list(range(1, leaf.shape.rank)))
        for leaf in tf.nest.flatten(params)
    ]
    return sizes[0] if len(sizes) == 1 else tf.add_n(sizes)


def sums(params: Params) -> tf.Tensor:
    """Sum of values over all leaves, per row; not finite as soon as one value is not. `[N]`."""
    sums = [
        tf.reduce_sum(leaf, axis=list(range(1, leaf.shape.rank)))
        for leaf in tf.nest.flatten(params)
    ]
    return sums[0] if len(sums) == 1 else tf.add_n(sums)


def first_cause(
    found: Evaluation, size: tf.Tensor, shaped: tf.Tensor, updated: tf.Tensor
) -> tf.Tensor:
    """The first thing in the order of a step that is not finite. int32 `[N]`."""
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
    """`new`, whose static shape may have been lost, with that of `old`."""
    new.set_shape(old.shape)
    return new
