"""Rotation, scale and sub-pixel shift: affine transforms, any run of which is resampled once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from regularizers import random
from regularizers.base import Strength, check_strength, value_at
from regularizers.warp import Affine


def _linear(rows: Sequence[Sequence[tf.Tensor]]) -> tf.Tensor:
    """A map without an offset, from its four entries `[N]`. `-> [N, 2, 3]`."""
    zero = tf.zeros_like(rows[0][0])
    return tf.stack([tf.stack([*row, zero], axis=-1) for row in rows], axis=1)


@dataclasses.dataclass(frozen=True)
class Rotate(Affine):
    """Rotates each image about its centre. `[N, H, W, C] -> [N, H, W, C]`.

    By an angle uniform on `(-degrees, degrees)`, one for each image. Bilinear, replicated border.

    Args:
        degrees: largest angle, at least 0, in degrees; a number or a schedule of the step.

    Raises:
        ValueError: if degrees is negative or not finite, or images are not of rank 4.

    Example:
        >>> import tensorflow as tf
        >>> seeds = tf.constant([[0, 1], [0, 2]])
        >>> Rotate(10)(tf.ones([2, 8, 8, 3]), seeds, tf.constant(0)).shape
        TensorShape([2, 8, 8, 3])

    Source:
        Olah, Mordvintsev, Schubert 2017, https://doi.org/10.23915/distill.00007.
    """

    degrees: Strength

    def __post_init__(self) -> None:
        check_strength(self.degrees, f"degrees of {self.name}", at_least=0.0)

    def matrix(self, seeds: tf.Tensor, step: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        limit = value_at(self.degrees, step, dtype) * (math.pi / 180)
        angle = random.uniform(seeds, [], -limit, limit, dtype)
        cos, sin = random.by_row(tf.cos, angle), random.by_row(tf.sin, angle)
        return _linear([[cos, -sin], [sin, cos]])


@dataclasses.dataclass(frozen=True)
class Scale(Affine):
    """Magnifies each image about its centre, keeping its size. `[N, H, W, C] -> [N, H, W, C]`.

    By a factor whose logarithm is uniform on `(log(low), log(high))`, one for each image, so that
    with `low = 1 / high` twice as large is as likely as half as large. Above 1 the border is cut
    off, below 1 it is replicated. Bilinear.

    Args:
        low: smallest factor, above 0; a number or a schedule of the step.
        high: largest factor, at least low; a number or a schedule of the step.

    Raises:
        ValueError: if not 0 < low <= high, or images are not of rank 4.

    Example:
        >>> import tensorflow as tf
        >>> seeds = tf.constant([[0, 1], [0, 2]])
        >>> Scale(0.9, 1.1)(tf.ones([2, 8, 8, 3]), seeds, tf.constant(0)).shape
        TensorShape([2, 8, 8, 3])

    Source:
        Olah, Mordvintsev, Schubert 2017, https://doi.org/10.23915/distill.00007.
    """

    low: Strength
    high: Strength

    def __post_init__(self) -> None:
        check_strength(self.low, f"low of {self.name}", above=0.0)
        check_strength(self.high, f"high of {self.name}", above=0.0)
        if not callable(self.low) and not callable(self.high) and self.low > self.high:
            raise ValueError(
                f"Expected low <= high in {self.name}. Received: low={self.low}, "
                f"high={self.high}. Give the smaller factor first."
            )

    def matrix(self, seeds: tf.Tensor, step: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        low, high = value_at(self.low, step, dtype), value_at(self.high, step, dtype)
        logarithm = random.uniform(seeds, [], -tf.math.log(low), -tf.math.log(high), dtype)
        inverse = random.by_row(tf.exp, logarithm)
        zero = tf.zeros_like(inverse)
        return _linear([[inverse, zero], [zero, inverse]])


@dataclasses.dataclass(frozen=True)
class Shift(Affine):
    """Shifts each image by a fraction of pixels. `[N, H, W, C] -> [N, H, W, C]`.

    By an offset uniform on `(-pixels, pixels)`, one for each image and axis. Bilinear; what enters
    is the replicated border. `Jitter` shifts by whole pixels and wraps around.

    Args:
        pixels: largest offset, at least 0, in pixels; a number or a schedule of the step.

    Raises:
        ValueError: if pixels is negative or not finite, or images are not of rank 4.

    Example:
        >>> import tensorflow as tf
        >>> seeds = tf.constant([[0, 1], [0, 2]])
        >>> Shift(1.5)(tf.ones([2, 8, 8, 3]), seeds, tf.constant(0)).shape
        TensorShape([2, 8, 8, 3])

    Source:
        Jaderberg, Simonyan, Zisserman, Kavukcuoglu 2015, https://arxiv.org/abs/1506.02025 (the
        bilinear sampler).
    """

    pixels: Strength

    def __post_init__(self) -> None:
        check_strength(self.pixels, f"pixels of {self.name}", at_least=0.0)

    def matrix(self, seeds: tf.Tensor, step: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        limit = value_at(self.pixels, step, dtype)
        offset = random.uniform(seeds, [2], -limit, limit, dtype)
        linear = tf.eye(2, batch_shape=[tf.shape(seeds)[0]], dtype=dtype)
        return tf.concat([linear, tf.expand_dims(offset, 2)], axis=2)
