"""Elementwise functions that round a row in the same way at every position in the batch.

A kernel computes most of an array in whole vectors, and the last few values (the tail) one by one.
Sums, products and quotients give the same bytes both ways. Exponentials, logarithms, powers, sines and
similar functions differ in the last bit. So do the gradient of a square root, and a quotient by a root
(a graph turns it into a product with a reciprocal root). If a row does not fill whole vectors, the
number of following rows decides which of its values are in the tail. So the functions here first pad
every row, and there is no tail. Sizes that are a multiple of 16, such as 28 x 28 and 224 x 224 x 3,
need no padding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

# Values that the widest vector unit (512 bits) takes at once, in float32.
LANES = 16


def by_row(function: Callable[[tf.Tensor], tf.Tensor], values: tf.Tensor) -> tf.Tensor:
    """`function(values)`, rounded in the same way for every position of a row. `[N, ...] -> [N, ...]`.

    Args:
        function: elementwise; finite at 1, which rows are filled up with.
        values: rows along the first axis.

    Example:
        >>> import tensorflow as tf
        >>> by_row(tf.exp, tf.zeros([2, 3, 3, 1])).shape
        TensorShape([2, 3, 3, 1])
    """
    values = tf.convert_to_tensor(values)
    sizes = values.shape[1:]
    known = None not in sizes.as_list()
    size = math.prod(sizes) if known else tf.reduce_prod(tf.shape(values)[1:])
    missing = -size % LANES
    if known and not missing:
        return function(values)
    flat = tf.reshape(values, [-1, size])
    filled = tf.pad(flat, [[0, 0], [0, missing]], constant_values=tf.ones([], values.dtype))
    result = tf.reshape(function(filled)[:, :size], tf.shape(values))
    return tf.ensure_shape(result, values.shape)


def softmax(logits: tf.Tensor) -> tf.Tensor:
    """`tf.nn.softmax`, rounded in the same way for every position of a row. `[N, K] -> [N, K]`."""
    shares = by_row(tf.exp, _below_zero(logits))
    return tf.cast(shares / tf.reduce_sum(shares, axis=1, keepdims=True), logits.dtype)


def log_softmax(logits: tf.Tensor) -> tf.Tensor:
    """`tf.nn.log_softmax`, rounded in the same way for every position of a row. `[N, K] -> [N, K]`."""
    below = _below_zero(logits)
    total = tf.reduce_sum(by_row(tf.exp, below), axis=1, keepdims=True)
    return tf.cast(below - by_row(tf.math.log, total), logits.dtype)


def _below_zero(logits: tf.Tensor) -> tf.Tensor:
    """With the largest at 0, so that no exponential overflows; at least float32, for their sum."""
    wide = tf.cast(logits, tf.float32) if logits.dtype.size < tf.float32.size else logits
    # The same less for all classes changes no share, so it needs no gradient.
    return wide - tf.stop_gradient(tf.reduce_max(wide, axis=1, keepdims=True))
