"""Balls: sets that bound the distance of an image, its pixels or its values from a centre."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.constraints.base import Constraint, euclidean
from actmax.constraints.bounds import Bound
from actmax.constraints.mapped import Mapped
from actmax.constraints.solving import clipped, scaled_to_radius
from actmax.types import FixedArray
from regularizers.base import image_axes

# A number for all images, or one for each.
PerImage: TypeAlias = float | tuple[float, ...]
# A number, an image, or each row's own start.
Center: TypeAlias = Any


def positive(value: Any, name: str) -> float:
    """Checks a number above 0."""
    if checks.number(value, name, low=0.0) == 0.0:
        raise ValueError(checks.message(f"{name} to be positive", repr(value)))
    return float(value)


def per_image(value: Any, name: str) -> PerImage:
    """A positive number, or a sequence with one for every image as a tuple."""
    if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (str, bytes)):
        if np.ndim(value) == 1 and len(value):
            return tuple(positive(each, f"every value of {name}") for each in value)
        if np.ndim(value) != 0:
            raise ValueError(
                checks.message(
                    f"{name} as a number, or one for every image", f"shape {np.shape(value)}"
                )
            )
        value = np.asarray(value).item()
    return positive(value, name)


def check_center(center: Any, name: str = "center") -> Center:
    """Checks a centre: a number, `"start"`, or an array, which is stored."""
    if isinstance(center, FixedArray) or (tf.is_tensor(center) and not hasattr(center, "numpy")):
        return center
    if isinstance(center, str) and center == "start":
        return center
    if isinstance(center, (Sequence, np.ndarray)) and not isinstance(center, (str, bytes)):
        return FixedArray(checks.finite(np.asarray(center, np.float64), name))
    if tf.is_tensor(center):
        return center
    return checks.number(center, name)


def center_of(center: Center, images: tf.Tensor) -> tf.Tensor:
    """The centre as a tensor that broadcasts against images.

    Raises:
        ValueError: if it is each row's own start, but no start was given.
    """
    if isinstance(center, FixedArray):
        return tf.constant(center.values, images.dtype)
    if isinstance(center, str):
        raise ValueError(
            checks.message(
                "a start image for every row of a set around it",
                "none",
                "Give initial_images=, or constraint.at(images).",
            )
        )
    if tf.is_tensor(center):
        return tf.cast(center, images.dtype)
    return tf.constant(center, images.dtype)


def of_rows(value: PerImage, images: tf.Tensor) -> tf.Tensor:
    """A number, or one per image as `[N, 1, ...]`. N may be unknown."""
    found = tf.constant(value, images.dtype)
    if found.shape.rank == 0:
        return found
    rows = tf.gather(found, tf.range(tf.shape(images)[0]))
    return tf.reshape(rows, [-1] + [1] * (images.shape.rank - 1))


def sized(value: PerImage, factor: float, shape: tuple[int, ...]) -> float | np.ndarray:
    """`factor * value` as units: a number, or one for every image."""
    if isinstance(value, tuple):
        return factor * np.reshape(np.asarray(value, np.float64), [-1] + [1] * len(shape))
    return factor * value


@dataclasses.dataclass(frozen=True)
class L2Ball(Constraint):
    """`||x - center||_2 <= radius` for every image, over all of its values.

    The projection is `center + (x - center) * min(1, radius / ||x - center||)`; on the `surface` the
    factor is always `radius / ||x - center||`, as in Erhan et al., 2009, Visualizing higher-layer
    features of a deep network, TR 1341, Universite de Montreal. The centre itself has no nearest
    point on the surface, so it does not move. With bounds (`Box(0, 1) & L2Ball(...)`) the nearest
    point in both sets is found exactly. With a mask, the norm is that of the optimized part.

    Args:
        radius: positive, in units of images times the square root of the number of values; a number, or
            a sequence with one for every image.
        center: a number, an image `[...]`, or `"start"`: each row's own start image, which
            `initial_images=` gives.
        surface: if True, the sphere instead of the ball.

    Example:
        >>> import actmax
        >>> actmax.L2Ball(5.0, center=[1.0, 0.0]).project([[7.0, 8.0]]).numpy().tolist()
        [[4.0, 4.0]]
    """

    solves: ClassVar[bool] = True

    radius: PerImage
    center: Center = 0.0
    surface: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", per_image(self.radius, "radius"))
        object.__setattr__(self, "center", check_center(self.center))

    @property
    def convex(self) -> bool:
        return not self.surface

    @property
    def rows(self) -> int | None:
        return len(self.radius) if isinstance(self.radius, tuple) else None

    @property
    def needs_start(self) -> bool:
        return isinstance(self.center, str)

    def at(self, start: tf.Tensor) -> Constraint:
        return dataclasses.replace(self, center=start) if self.needs_start else self

    def project(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        radius, center = of_rows(self.radius, images), center_of(self.center, images)
        return _onto_ball(images, radius, center, image_axes(images), self.surface)

    def nearest(
        self,
        images: tf.Tensor,
        low: tf.Tensor | None = None,
        high: tf.Tensor | None = None,
        part: tf.Tensor | None = None,
    ) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        axes = image_axes(images)
        center, radius = center_of(self.center, images), of_rows(self.radius, images)
        given = images if part is None else tf.where(part, images, center)
        if low is None and high is None:
            found = _onto_ball(given, radius, center, axes, self.surface)
        else:
            least = None if low is None else low - center
            most = None if high is None else high - center
            if part is not None:  # held values are not part of the norm, for any bounds
                least = None if least is None else tf.where(part, least, tf.zeros_like(given))
                most = None if most is None else tf.where(part, most, tf.zeros_like(given))
            offset = given - center
            found = center + scaled_to_radius(offset, radius, least, most, axes)
            found = clipped(found, *(None if e is None else e + center for e in (least, most)))
            if not self.surface:
                near = clipped(given, *(None if e is None else e + center for e in (least, most)))
                size = tf.sqrt(tf.reduce_sum(tf.square(near - center), axes, keepdims=True))
                found = tf.where(size <= radius, near, found)
        return found if part is None else tf.where(part, found, images)

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        """In units of the radius: `||x - center|| - radius` if positive; its absolute value on a sphere."""
        images = tf.convert_to_tensor(images)
        size = euclidean(images - center_of(self.center, images))
        off = size - tf.reshape(of_rows(self.radius, images), [-1])
        return tf.abs(off) if self.surface else tf.maximum(off, 0.0)

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        return sized(self.radius, 2.0 / math.sqrt(max(math.prod(shape), 1)), shape)

    def mapped(self) -> Constraint | None:
        return Mapped(self) if self.surface else None

    def meets(self, low: Bound, high: Bound) -> bool | None:
        if not isinstance(self.center, (float, int, FixedArray)):
            return None
        center = np.asarray(
            self.center.values if isinstance(self.center, FixedArray) else self.center
        )
        ends = [
            np.asarray(opens if end is None else end, float)
            for end, opens in ((low, -np.inf), (high, np.inf))
        ]
        if all(np.ndim(value) < 2 and value.size < 2 for value in (center, *ends)):
            # One number and one bound serve images of any size: the centre is inside the bounds or
            # not.
            inside = float(ends[0]) <= float(center) <= float(ends[1])
            return True if inside and not self.surface else None
        return None


@dataclasses.dataclass(frozen=True)
class LInfBall(Constraint):
    """`|x - center| <= radius` for every value: a box around a number, an image, or each row's start.

    Args:
        radius: positive, in units of images; a number, or one per channel.
        center: a number, an image, or `"start"`: each row's own start image.

    Example:
        >>> import actmax
        >>> actmax.LInfBall(0.5, center=[1.0, 3.0]).project([[0.0, 3.25]]).numpy().tolist()
        [[0.5, 3.25]]
    """

    by_value: ClassVar[bool] = True
    solves: ClassVar[bool] = True
    is_bounds: ClassVar[bool] = True

    radius: float | tuple[float, ...]
    center: Center = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", per_image(self.radius, "radius"))
        object.__setattr__(self, "center", check_center(self.center))

    @property
    def low(self) -> Bound:
        return self._end(-1.0)

    @property
    def high(self) -> Bound:
        return self._end(1.0)

    def _end(self, sign: float) -> Bound:
        if isinstance(self.center, str) or tf.is_tensor(self.center):
            return None  # each row has its own, see `limits`
        values = self.center.values if isinstance(self.center, FixedArray) else self.center
        found = values + sign * np.asarray(self.radius)
        if found.ndim == 0:
            return float(found)
        return tuple(found.tolist()) if found.ndim == 1 else found

    @property
    def needs_start(self) -> bool:
        return isinstance(self.center, str)

    def at(self, start: tf.Tensor) -> Constraint:
        return dataclasses.replace(self, center=start) if self.needs_start else self

    def limits(self, dtype: tf.DType) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        center = center_of(self.center, tf.zeros([], dtype))
        radius = tf.constant(self.radius, dtype)
        return center - radius, center + radius

    def project(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        return clipped(images, *self.limits(images.dtype))

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        return tf.reduce_max(tf.abs(images - self.project(images)), image_axes(images))

    def start(self, noise: tf.Tensor) -> tf.Tensor:
        center = center_of(self.center, noise)
        return self.project(center + 2.0 * tf.constant(self.radius, noise.dtype) * noise)

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        found = 2.0 * np.asarray(self.radius)
        return float(found) if found.ndim == 0 else found

    def in_units(self, units: np.ndarray) -> Constraint | None:
        return None


@dataclasses.dataclass(frozen=True)
class PixelBall(Constraint):
    """`||x[pixel] - center||_2 <= radius` for every pixel, over its channels.

    Source: Mahendran and Vedaldi, 2016, https://arxiv.org/abs/1512.02017 (their bound B+).

    Args:
        radius: positive.
        center: a number, an image, or `"start"`: each row's own start image.
    """

    solves: ClassVar[bool] = True

    radius: float
    center: Center = 0.0

    def __post_init__(self) -> None:
        positive(self.radius, "radius")
        object.__setattr__(self, "center", check_center(self.center))

    @property
    def needs_start(self) -> bool:
        return isinstance(self.center, str)

    def at(self, start: tf.Tensor) -> Constraint:
        return dataclasses.replace(self, center=start) if self.needs_start else self

    def project(self, images: tf.Tensor) -> tf.Tensor:
        return self.nearest(images)

    def nearest(
        self,
        images: tf.Tensor,
        low: tf.Tensor | None = None,
        high: tf.Tensor | None = None,
        part: tf.Tensor | None = None,
    ) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        center, radius = center_of(self.center, images), tf.constant(self.radius, images.dtype)
        given = images if part is None else tf.where(part, images, center)
        if low is None and high is None:
            found = _onto_ball(given, radius, center, (-1,), surface=False)
        else:
            ends = [None if end is None else end - center for end in (low, high)]
            near = clipped(given, low, high)
            size = tf.sqrt(tf.reduce_sum(tf.square(near - center), -1, keepdims=True))
            onto = center + scaled_to_radius(given - center, radius, ends[0], ends[1], (-1,))
            found = tf.where(size <= radius, near, clipped(onto, low, high))
        return found if part is None else tf.where(part, found, images)

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        """In units of the radius, at the pixel that is farthest outside."""
        images = tf.convert_to_tensor(images)
        size = tf.norm(images - center_of(self.center, images), axis=-1)
        off = tf.maximum(size - tf.constant(self.radius, images.dtype), 0.0)
        return tf.reduce_max(tf.reshape(off, [tf.shape(images)[0], -1]), -1)

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        return 2.0 * self.radius / float(np.sqrt(shape[-1] if shape else 1))


def _onto_ball(
    images: tf.Tensor, limit: tf.Tensor, center: tf.Tensor, axes: tuple[int, ...], surface: bool
) -> tf.Tensor:
    offset = images - center
    # Scaled by the largest value first, so that the square of a huge image does not overflow.
    largest = tf.reduce_max(tf.abs(offset), axes, keepdims=True)
    unit = tf.math.divide_no_nan(offset, largest)
    size = tf.sqrt(tf.reduce_sum(tf.square(unit), axes, keepdims=True))
    direction = tf.math.divide_no_nan(unit, size)
    moved = center + limit * direction
    outside = largest * size > limit
    return tf.where((size > 0) if surface else outside, moved, images)
