"""Stateless random draws, one independent stream per image: `seeds [N, 2] -> [N, ...]`.

Every number is a hash of its row's seed and its own position, so a row's draws depend neither on
the other rows nor on the batch size. Bits, integers and uniform draws on (0, 1) are equal bytes in
eager mode, in a graph and under XLA; other draws differ by rounding. (`tf.random.stateless_uniform`
takes one seed per call, and gives other numbers inside XLA.)

The hash is two rounds of the 32-bit integer hash with multipliers 0x7feb352d and 0x846ca68b found
by C. Wellons' hash prospector, 2018, https://nullprogram.com/blog/2018/07/31/. It is computed in
int64, where products and bit operations have kernels on every device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from regularizers.lanes import LANES

Shape: TypeAlias = Sequence[int] | tf.Tensor

_MASK = 0xFFFFFFFF
# 2^32 over the golden ratio: spreads consecutive counters over the whole range (Knuth, TAOCP 3).
_GOLDEN = 0x9E3779B9


class _Constants(NamedTuple):
    """The numbers of the hash: one of each in a graph, not one for every use."""

    mask: tf.Tensor
    long: tf.Tensor
    short: tf.Tensor
    first: tf.Tensor
    second: tf.Tensor

    @classmethod
    def here(cls) -> _Constants:
        """In the graph that is being traced, or on the device."""
        return cls(*tf.unstack(tf.constant([_MASK, 16, 15, 0x7FEB352D, 0x846CA68B], tf.int64)))


def _mix(x: tf.Tensor, number: _Constants) -> tf.Tensor:
    """A bijection of 32-bit integers, held in int64, in which every bit depends on every bit."""
    shift, xor, both = tf.bitwise.right_shift, tf.bitwise.bitwise_xor, tf.bitwise.bitwise_and
    x = xor(x, shift(x, number.long))
    x = both(x * number.first, number.mask)
    x = xor(x, shift(x, number.short))
    x = both(x * number.second, number.mask)
    return xor(x, shift(x, number.long))


def mirror(seeds: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Seeds that give mirrored random numbers. `[N, 2], [N] -> [N, 3]`.

    A uniform or integer draw x on (low, high) becomes `low + high - x`, and a normal draw becomes
    `2 mean - x`. These are antithetic variates: the mean of a pair has no noise (Hammersley and
    Morton, 1956, https://doi.org/10.1017/S0305004100031455). The third number says whether a draw
    is mirrored. `bits` ignores it, and `fold_in` keeps it.

    Args:
        seeds: int32 `[N, 2]`.
        chosen: bool `[N]`, True for the rows to mirror.

    Example:
        >>> import tensorflow as tf
        >>> from regularizers import random
        >>> pair = random.mirror(tf.constant([[3, 4], [3, 4]]), tf.constant([False, True]))
        >>> float(tf.reduce_sum(random.uniform(pair, [], -1.0, 1.0)))
        0.0
    """
    return tf.concat([seeds[..., :2], tf.cast(chosen, tf.int32)[..., None]], axis=-1)


def _mirrored(seeds: tf.Tensor, values: tf.Tensor, opposite: tf.Tensor) -> tf.Tensor:
    """The opposite values in the rows whose seeds ask for it. `[N, 2 or 3], [N, ...] -> [N, ...]`."""
    if seeds.shape[-1] == 2:
        return values
    ones = tf.ones([tf.rank(values) - 1], tf.int32)
    flags = tf.reshape(seeds[:, 2] > 0, tf.concat([tf.shape(seeds)[:1], ones], axis=0))
    return tf.where(flags, opposite, values)


def _words(seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    words = tf.bitwise.bitwise_and(tf.cast(seeds, tf.int64), _MASK)
    first, second, *_ = tf.unstack(words, axis=-1)  # fewer operations than slices
    return first, second


def _hash(first: tf.Tensor, second: tf.Tensor, counter: tf.Tensor) -> tf.Tensor:
    """32 random bits of a two-word seed and a counter, broadcast against each other. int64."""
    both, xor = tf.bitwise.bitwise_and, tf.bitwise.bitwise_xor
    number = _Constants.here()
    # The +1 keeps the all-zero seed away from zero, which the hash maps to itself.
    counted = both((counter + 1) * _GOLDEN, number.mask)
    return _mix(both(second + _mix(xor(first, counted), number), number.mask), number)


def fold_in(seeds: tf.Tensor, value: Any) -> tf.Tensor:
    """New seeds from seeds and an integer. `[..., N, 2], [] or [..., N] -> [..., N, 2]`.

    Args:
        seeds: int32 `[N, 2]`, or several such lists; `[N, 3]` of mirrored ones stays so.
        value: an integer, one for all rows or one for each; it broadcasts.

    Example:
        >>> import tensorflow as tf
        >>> from regularizers import random
        >>> seeds = random.fold_in(tf.zeros([3, 2], tf.int32), tf.range(3))
        >>> seeds.shape
        TensorShape([3, 2])
    """
    first, second = _words(seeds)
    value = tf.bitwise.bitwise_and(tf.cast(value, tf.int64), _MASK)
    # The upper half of the counters is for new seeds, the lower half for draws.
    counter = 0x80000000 + 2 * tf.expand_dims(value, -1) + tf.constant([0, 1], tf.int64)
    words = _hash(tf.expand_dims(first, -1), tf.expand_dims(second, -1), counter)
    # To the signed range, which is what int32 can hold.
    folded = tf.cast(words - 0x80000000, tf.int32)
    if seeds.shape[-1] == 2:
        return folded
    flags = tf.broadcast_to(seeds[..., 2:], tf.concat([tf.shape(folded)[:-1], [1]], axis=0))
    return tf.concat([folded, flags], axis=-1)


def bits(seeds: tf.Tensor, shape: Shape) -> tf.Tensor:
    """32 random bits per value, in int64. `[N, 2] -> [N, *shape]`."""
    shape = tf.convert_to_tensor(shape, tf.int32)
    first, second = _words(seeds)
    counter = tf.range(tf.cast(tf.reduce_prod(shape), tf.int64))
    values = _hash(tf.expand_dims(first, 1), tf.expand_dims(second, 1), counter)
    values = tf.reshape(values, tf.concat([tf.shape(seeds)[:1], shape], axis=0))
    static = tf.get_static_value(shape)
    if static is not None:
        values.set_shape([seeds.shape[0], *(int(size) for size in static)])
    return values


def uniform(
    seeds: tf.Tensor,
    shape: Shape = (),
    low: Any = 0.0,
    high: Any = 1.0,
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
    """Uniform draws in `[low, high)`, in steps of 2^-24 of the width. `[N, 2] -> [N, *shape]`.

    float16 and bfloat16 are drawn in float32 and rounded, which may reach `high`.

    Example:
        >>> import tensorflow as tf
        >>> from regularizers import random
        >>> random.uniform(tf.constant([[0, 1], [0, 2]]), [5, 5]).shape
        TensorShape([2, 5, 5])
    """
    wide = _wide(dtype)
    fraction = tf.cast(tf.bitwise.right_shift(bits(seeds, shape), tf.constant(8, tf.int64)), wide)
    low, high = _number(low, wide), _number(high, wide)
    values = low + (high - low) * (fraction * tf.cast(2.0**-24, wide))
    return tf.cast(_mirrored(seeds, values, (low + high) - values), dtype)


def _number(value: Any, dtype: tf.DType) -> tf.Tensor:
    """A number or tensor in a dtype; `tf.cast` would take a Python number through float32."""
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.convert_to_tensor(value, dtype)


def _wide(dtype: tf.DType) -> tf.DType:
    """float32 for half precision, in which the 24 bits of a draw overflow."""
    dtype = tf.as_dtype(dtype)
    return tf.float32 if dtype.size < tf.float32.size else dtype


def integers(seeds: tf.Tensor, shape: Shape, low: Any, high: Any) -> tf.Tensor:
    """Integer draws on `low, ..., high`, both ends included. int32. `[N, 2] -> [N, *shape]`.

    Every value has probability within 2^-24 of `1 / (high - low + 1)`.
    """
    low, high = tf.cast(low, tf.int64), tf.cast(high, tf.int64)
    draw = tf.bitwise.right_shift(bits(seeds, shape), tf.constant(8, tf.int64))
    scaled = tf.bitwise.right_shift(draw * (high - low + 1), tf.constant(24, tf.int64))
    values = tf.cast(low + scaled, tf.int32)
    return _mirrored(seeds, values, tf.cast(low + high, tf.int32) - values)


def normal(
    seeds: tf.Tensor,
    shape: Shape = (),
    mean: Any = 0.0,
    std: Any = 1.0,
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
    """Normal draws, in pairs by Box and Muller's transform (1958). `[N, 2] -> [N, *shape]`.

    Example:
        >>> import tensorflow as tf
        >>> from regularizers import random
        >>> random.normal(tf.constant([[0, 1], [0, 2]]), [5, 5], std=0.1).shape
        TensorShape([2, 5, 5])
    """
    wide = _wide(dtype)
    static = tf.get_static_value(shape) if tf.is_tensor(shape) else shape
    shape = tf.convert_to_tensor(shape, tf.int32)
    count = tf.reduce_prod(shape) if static is None else math.prod(int(size) for size in static)
    pairs = (count + 1) // 2
    # Whole vectors of lanes for every row: the tail of an array is rounded by other code.
    lanes = [(pairs + LANES - 1) // LANES * LANES]
    # Of both at once, which is half of the operations.
    plain = seeds if seeds.shape[-1] == 2 else seeds[..., :2]
    both = fold_in(tf.expand_dims(plain, 0), tf.constant([[0], [1]]))
    fractions = uniform(tf.reshape(both, [-1, 2]), lanes, dtype=wide)
    first, second = tf.split(fractions, 2)
    # 1 - u lies in (0, 1], so the logarithm is finite; the largest draw is 5.77 deviations.
    radius = tf.sqrt(-2.0 * tf.math.log(1.0 - first))
    angle = _number(2.0 * math.pi, wide) * second
    radius *= _number(std, wide)
    even, odd = (radius * tf.cos(angle))[:, :pairs], (radius * tf.sin(angle))[:, :pairs]
    values = tf.concat([even, odd], axis=1)[:, :count]
    values = tf.reshape(values, tf.concat([tf.shape(seeds)[:1], shape], axis=0))
    if static is not None:
        values.set_shape([seeds.shape[0], *(int(size) for size in static)])
    return tf.cast(_number(mean, wide) + _mirrored(seeds, values, -values), dtype)
