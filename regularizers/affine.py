"""Rotation, scale and sub-pixel shift: affine transforms. Several in a row are resampled only once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from regularizers import lanes, random
from regularizers.base import Strength, check_strength, value_at
from regularizers.warp import Affine, check_along


def _linear(rows: Sequence[Sequence[tf.Tensor]]) -> tf.Tensor:
    """A map without an offset, from its entries `[N]`. `-> [N, K, K + 1]`."""
    zero = tf.zeros_like(rows[0][0])
    return tf.stack([tf.stack([*row, zero], axis=-1) for row in rows], axis=1)


def _times(factor: tf.Tensor, axes: int) -> tf.Tensor:
    """The map that multiplies positions along every axis by a factor `[N]`. `-> [N, K, K + 1]`."""
    zero = tf.zeros_like(factor)
    return _linear([[factor if row == at else zero for at in range(axes)] for row in range(axes)])


@dataclasses.dataclass(frozen=True)
class Rotate(Affine):
    """Rotates each image about its centre. `[N, H, W, C] -> [N, H, W, C]`.

    By an angle uniform on `(-degrees, degrees)`, one for each image. Bilinear, replicated border.

    Args:
        degrees: largest angle, at least 0, in degrees; a number or a schedule of the step.
        axes: the two axes of the plane that it turns in, counted as in a batch: (2, 3) for the space of
            films [N, T, H, W, C], two of (1, 2, 3) for volumes; one part for each plane. None for H and
            W of pictures.

    Raises:
        ValueError: if degrees is negative or not finite, axes are not two, or images of another rank than
            4 meet a part without axes.

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
        object.__setattr__(self, "axes", check_along(self.axes, self.name, plane=True))
        check_strength(self.degrees, f"degrees of {self.name}", at_least=0.0)

    def matrix(self, seeds: tf.Tensor, step: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        limit = value_at(self.degrees, step, dtype) * (math.pi / 180)
        angle = random.uniform(seeds, [], -limit, limit, dtype)
        cos, sin = lanes.by_row(tf.cos, angle), lanes.by_row(tf.sin, angle)
        return _linear([[cos, -sin], [sin, cos]])


@dataclasses.dataclass(frozen=True)
class Scale(Affine):
    """Magnifies each image about its centre, keeping its size. `[N, H, W, C] -> [N, H, W, C]`.

    The logarithm of the factor is uniform on `(log(low), log(high))`, with one factor for each
    image. So with `low = 1 / high`, twice the size is as likely as half the size. If the factor is
    above 1, the border is cut off. If it is below 1, the border is replicated. Bilinear.

    Args:
        low: smallest factor, above 0; a number or a schedule of the step.
        high: largest factor, at least low; a number or a schedule of the step.
        axes: the axes that it acts along, counted as in a batch: (1, 2, 3) for volumes [N, D, H, W, C],
            (2, 3) for the space of films [N, T, H, W, C]. None for H and W of pictures.

    Raises:
        ValueError: if not 0 < low <= high, or images of another rank than 4 meet a part without axes.

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
        object.__setattr__(self, "axes", check_along(self.axes, self.name))
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
        return _times(lanes.by_row(tf.exp, logarithm), len(self.along))


@dataclasses.dataclass(frozen=True)
class Shift(Affine):
    """Shifts each image by a fraction of pixels. `[N, H, W, C] -> [N, H, W, C]`.

    By an offset uniform on `(-pixels, pixels)`, one for each image and axis. Bilinear; what enters
    is the replicated border. `Jitter` shifts by whole pixels and wraps around.

    Args:
        pixels: largest offset, at least 0, in pixels; a number or a schedule of the step.
        axes: the axes that it acts along, counted as in a batch: (1, 2, 3) for volumes [N, D, H, W, C],
            (2, 3) for the space of films [N, T, H, W, C]. None for H and W of pictures.

    Raises:
        ValueError: if pixels is negative or not finite, or images of another rank than 4 meet a part
            without axes.

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
        object.__setattr__(self, "axes", check_along(self.axes, self.name))
        check_strength(self.pixels, f"pixels of {self.name}", at_least=0.0)

    def matrix(self, seeds: tf.Tensor, step: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        limit = value_at(self.pixels, step, dtype)
        axes = len(self.along)
        offset = random.uniform(seeds, [axes], -limit, limit, dtype)
        linear = tf.eye(axes, batch_shape=[tf.shape(seeds)[0]], dtype=dtype)
        return tf.concat([linear, tf.expand_dims(offset, 2)], axis=2)


@dataclasses.dataclass(frozen=True)
class RandomBox(Affine):
    """Shows a random box of each image at the image's full size. `[N, H, W, C] -> [N, H, W, C]`.

    The side of the box is uniform on `(low, high)`, relative to the sides of the image. So the box
    keeps their ratio, and it lies inside the image. Its centre is normal about the middle with
    standard deviation `center_std`, and is moved if the box would leave the image. With
    `center_std=None` the centre is uniform over all positions inside the image. Bilinear. Next to
    other affine transforms in a list, images are resampled only once.

    Args:
        low: smallest side, above 0 and at most 1; a number or a schedule of the step.
        high: largest side, at least low and at most 1; a number or a schedule of the step.
        center_std: standard deviation of the centre, at least 0, in units of the sides; a number, a
            schedule of the step, or None. The default is that of the MACO code.
        axes: the axes that it acts along, counted as in a batch: (1, 2, 3) for volumes [N, D, H, W, C],
            (2, 3) for the space of films [N, T, H, W, C]. None for H and W of pictures.

    Raises:
        ValueError: if not 0 < low <= high <= 1, center_std is negative, or images of another rank than 4
            meet a part without axes.

    Example:
        >>> import tensorflow as tf
        >>> seeds = tf.constant([[0, 1], [0, 2]])
        >>> RandomBox(0.2, 0.5)(tf.ones([2, 8, 8, 3]), seeds, tf.constant(0)).shape
        TensorShape([2, 8, 8, 3])

    Source:
        Fel et al. 2023, https://arxiv.org/abs/2306.06805; uniform places as in Hamblin et al. 2024,
        https://arxiv.org/abs/2402.10039.
    """

    low: Strength
    high: Strength
    center_std: Strength | None = 0.15

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", check_along(self.axes, self.name))
        check_strength(self.low, f"low of {self.name}", above=0.0)
        check_strength(self.high, f"high of {self.name}", above=0.0)
        if self.center_std is not None:
            check_strength(self.center_std, f"center_std of {self.name}", at_least=0.0)
        ends = [end for end in (self.low, self.high) if not callable(end)]
        if sorted(ends) != ends or any(end > 1 for end in ends):
            raise ValueError(
                f"Expected low <= high <= 1 in {self.name}, in units of the image's sides. "
                f"Received: low={self.low}, high={self.high}. Give the smaller side first."
            )

    def matrix(self, seeds: tf.Tensor, step: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        raise TypeError(
            f"Expected the sizes of the images in {self.name}, whose place depends on them. "
            "Received: none. Call matrix_at."
        )

    def box(
        self, seeds: tf.Tensor, step: tf.Tensor, dtype: tf.DType
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Sides, and centres (y, x), in units of the image's sides. `[N, 2], [] -> [N], [N, K]`."""
        low, high = value_at(self.low, step, dtype), value_at(self.high, step, dtype)
        side = random.uniform(random.fold_in(seeds, 0), [], low, high, dtype)
        half = tf.minimum(side / 2, 0.5)[:, None]
        places = random.fold_in(seeds, 1)
        if self.center_std is None:
            return side, random.uniform(places, [len(self.along)], half, 1 - half, dtype)
        spread = value_at(self.center_std, step, dtype)
        centre = 0.5 + random.normal(places, [len(self.along)], 0.0, spread, dtype)
        return side, tf.clip_by_value(centre, half, 1 - half)

    def matrix_at(
        self, sizes: tuple[int, ...], seeds: tf.Tensor, step: tf.Tensor, dtype: tf.DType
    ) -> tf.Tensor:
        side, centre = self.box(seeds, step, dtype)
        offset = (centre - 0.5) * tf.constant(sizes, dtype)
        linear = _times(side, len(sizes))
        return linear + tf.pad(offset[:, :, None], [[0, 0], [0, 0], [len(sizes), 0]])
