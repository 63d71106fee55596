"""Sets that bound an image or its pixels as a whole: balls, and a fixed contrast."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from actmax import checks
from actmax.constraints.base import Constraint
from regularizers.base import image_axes


@dataclasses.dataclass(frozen=True)
class L2Ball(Constraint):
    """`||x - center||_2 <= radius` for every image, over all of its values.

    The projection is `center + (x - center) * min(1, radius / ||x - center||)`; on the `surface` the
    factor is always `radius / ||x - center||`, as in Erhan et al., 2009, Visualizing higher-layer
    features of a deep network, TR 1341, Universite de Montreal. The centre itself has no nearest
    point on the surface and stays where it is.

    Args:
        radius: positive, in units of images times the square root of the number of values.
        center: a number.
        surface: if True, the sphere instead of the ball.
    """

    radius: float
    center: float = 0.0
    surface: bool = False

    def __post_init__(self) -> None:
        _check_positive(self.radius, "radius")
        checks.number(self.center, "center")

    @property
    def convex(self) -> bool:
        return not self.surface

    def project(self, images: tf.Tensor) -> tf.Tensor:
        return _onto_ball(images, self.radius, self.center, image_axes(images), self.surface)


@dataclasses.dataclass(frozen=True)
class PixelBall(Constraint):
    """`||x[pixel] - center||_2 <= radius` for every pixel, over its channels.

    Source: Mahendran and Vedaldi, 2016, https://arxiv.org/abs/1512.02017 (their bound B+).

    Args:
        radius: positive.
        center: a number.
    """

    radius: float
    center: float = 0.0

    def __post_init__(self) -> None:
        _check_positive(self.radius, "radius")
        checks.number(self.center, "center")

    def project(self, images: tf.Tensor) -> tf.Tensor:
        return _onto_ball(images, self.radius, self.center, (-1,), surface=False)


def _check_positive(value: Any, name: str) -> None:
    if checks.number(value, name, low=0.0) == 0.0:
        raise ValueError(checks.message(f"{name} to be positive", repr(value)))


def _onto_ball(
    images: tf.Tensor, radius: float, center: float, axes: tuple[int, ...], surface: bool
) -> tf.Tensor:
    offset = images - tf.constant(center, images.dtype)
    # Scaled by the largest value first, so that the square of a huge image does not overflow.
    largest = tf.reduce_max(tf.abs(offset), axes, keepdims=True)
    unit = tf.math.divide_no_nan(offset, largest)
    size = tf.sqrt(tf.reduce_sum(tf.square(unit), axes, keepdims=True))
    direction = tf.math.divide_no_nan(unit, size)
    limit = tf.constant(radius, images.dtype)
    moved = tf.constant(center, images.dtype) + limit * direction
    outside = largest * size > limit
    return tf.where((size > 0) if surface else outside, moved, images)


@dataclasses.dataclass(frozen=True)
class Contrast(Constraint):
    """Images of a fixed standard deviation and, if given, mean over all of an image's values.

    `x -> mean + (x - mean(x)) * std / std(x)`; without `mean` the image keeps its own. A constant
    image has no contrast to scale and only its mean is set.

    Source: Walker et al., Inception loops, Nature Neuroscience 2019,
    https://doi.org/10.1038/s41593-019-0517-x.

    Args:
        std: positive, in units of images.
        mean: a number, or None to leave the mean free.
    """

    std: float
    mean: float | None = None

    def __post_init__(self) -> None:
        _check_positive(self.std, "std")
        if self.mean is not None:
            checks.number(self.mean, "mean")

    @property
    def convex(self) -> bool:
        return False

    def project(self, images: tf.Tensor) -> tf.Tensor:
        axes = image_axes(images)
        mean = tf.reduce_mean(images, axes, keepdims=True)
        centered = images - mean
        std = tf.sqrt(tf.reduce_mean(tf.square(centered), axes, keepdims=True))
        new_mean = mean if self.mean is None else tf.constant(self.mean, images.dtype)
        return new_mean + centered * tf.math.divide_no_nan(tf.constant(self.std, images.dtype), std)
