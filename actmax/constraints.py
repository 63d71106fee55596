"""Admissible sets of images, each as a differentiable map onto it, a projection on it, or both.

Where params are images (`Pixels`), the loop projects after every update; every other parameterization
needs a constraint that maps, such as `Sigmoid`.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import tensorflow as tf

from actmax import checks
from regularizers.base import image_axes

# A bound: a number, one number per channel, or None for an open end.
Bound: TypeAlias = float | tuple[float, ...] | None


@dataclasses.dataclass(frozen=True)
class Constraint(abc.ABC):
    """A set of images.

    `images = apply(raw)` is inside the graph and differentiated through; `project` runs after every
    update, on params that are images. One of the two is usually the identity.
    """

    projects: ClassVar[bool] = True

    @property
    def convex(self) -> bool:
        """Whether the set is convex, so that the nearest image in it is unique."""
        return True

    @property
    def low(self) -> Bound:
        """Least value, None if there is none."""
        return None

    @property
    def high(self) -> Bound:
        """Largest value, None if there is none."""
        return None

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        """Raw images to images in the set, differentiably. `[N, ...] -> [N, ...]`."""
        return images

    def invert(self, images: tf.Tensor) -> tf.Tensor:
        """Raw images that `apply` maps to `images`, as nearly as numbers allow. `[N, ...] -> [N, ...]`."""
        return images

    def project(self, images: tf.Tensor) -> tf.Tensor:
        """The nearest images in the set. `[N, ...] -> [N, ...]`."""
        return images

    def start(self, noise: tf.Tensor) -> tf.Tensor:
        """Raw images for the first step, from zero-mean noise in units of the range's width.

        Args:
            noise: `[N, ...]`.

        Returns:
            `[N, ...]`; for a bounded set the noise around the middle of the range.
        """
        low, high = self.low, self.high
        if low is None or high is None:
            return self.project(noise)
        low_t, high_t = _bound(low, noise.dtype), _bound(high, noise.dtype)
        return self.project((low_t + high_t) / 2 + (high_t - low_t) * noise)

    def clip(self, images: tf.Tensor) -> tf.Tensor:
        """Images clipped to `[low, high]`, which takes rounding off and nothing else."""
        if self.low is not None:
            images = tf.maximum(images, _bound(self.low, images.dtype))
        if self.high is not None:
            images = tf.minimum(images, _bound(self.high, images.dtype))
        return images

    def __and__(self, other: Constraint) -> Constraint:
        if not isinstance(other, Constraint):
            return NotImplemented
        return Intersection((*_parts(self), *_parts(other)))


def _bound(bound: Bound, dtype: tf.DType) -> tf.Tensor:
    return tf.constant(bound, dtype)


def _parts(constraint: Constraint) -> tuple[Constraint, ...]:
    return constraint.parts if isinstance(constraint, Intersection) else (constraint,)


def _check_bound(bound: Any, name: str) -> Bound:
    if bound is None:
        return None
    if isinstance(bound, (Sequence, np.ndarray)) and not isinstance(bound, (str, bytes)):
        return tuple(checks.number(value, f"every value of {name}") for value in bound)
    return checks.number(bound, name)


def _check_order(low: Bound, high: Bound) -> None:
    if low is None or high is None:
        return
    if not np.all(np.less(low, high)):
        raise ValueError(
            checks.message("low < high", f"low={low}, high={high}", "Give the smaller bound first.")
        )


@dataclasses.dataclass(frozen=True)
class Box(Constraint):
    """`low <= x <= high`, by clipping. A pair given as `input_range` is a Box.

    Args:
        lower: a number, one per channel, or None for an open end.
        upper: likewise, above `lower`.

    Raises:
        ValueError: if a bound is not finite or `lower >= upper`.

    Example:
        >>> import actmax
        >>> actmax.Box(0, 1).project([[-2.0, 0.5, 3.0]]).numpy().tolist()
        [[0.0, 0.5, 1.0]]
    """

    lower: Bound = 0.0
    upper: Bound = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "lower", _check_bound(self.lower, "lower"))
        object.__setattr__(self, "upper", _check_bound(self.upper, "upper"))
        _check_order(self.lower, self.upper)

    @property
    def low(self) -> Bound:
        return self.lower

    @property
    def high(self) -> Bound:
        return self.upper

    def project(self, images: tf.Tensor) -> tf.Tensor:
        return self.clip(tf.convert_to_tensor(images))


@dataclasses.dataclass(frozen=True)
class Sigmoid(Constraint):
    """`low + (high - low) * sigmoid(raw)`: any raw image becomes one inside the range.

    `invert` is the logit; values within 1e-6 of the range's width from a bound are moved to that
    distance first, because the bounds themselves are at infinity.

    Args:
        lower: a number or one per channel.
        upper: likewise, above `lower`.
    """

    projects: ClassVar[bool] = False

    lower: Bound = 0.0
    upper: Bound = 1.0

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            value = _check_bound(getattr(self, name), name)
            if value is None:
                raise ValueError(
                    checks.message(
                        f"{name} of Sigmoid to be finite", None, "Use Box for an open end."
                    )
                )
            object.__setattr__(self, name, value)
        _check_order(self.lower, self.upper)

    @property
    def low(self) -> Bound:
        return self.lower

    @property
    def high(self) -> Bound:
        return self.upper

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        low, high = _bound(self.lower, images.dtype), _bound(self.upper, images.dtype)
        return low + (high - low) * tf.sigmoid(images)

    def invert(self, images: tf.Tensor) -> tf.Tensor:
        low, high = _bound(self.lower, images.dtype), _bound(self.upper, images.dtype)
        fraction = tf.clip_by_value((images - low) / (high - low), 1e-6, 1.0 - 1e-6)
        return tf.math.log(fraction) - tf.math.log1p(-fraction)

    def start(self, noise: tf.Tensor) -> tf.Tensor:
        # The slope of the sigmoid at its middle is 1/4.
        return 4.0 * noise


@dataclasses.dataclass(frozen=True)
class Unbounded(Constraint):
    """All images: no constraint. The objective must be bounded by its penalties."""

    projects: ClassVar[bool] = False


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


@dataclasses.dataclass(frozen=True)
class Intersection(Constraint):
    """What several projecting constraints have in common; `Box(0, 1) & Contrast(0.2)`.

    Convex sets by Dykstra's algorithm (Boyle and Dykstra, 1986,
    https://doi.org/10.1007/978-1-4613-9940-7_3), which converges to the nearest common point; others
    by projecting on one after the other, which converges to a common point near by. The bounds come
    last, so the range holds exactly and the other sets up to what 16 rounds leave.
    """

    rounds: ClassVar[int] = 16

    parts: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        if len(self.parts) < 2 or not all(part.projects for part in self.parts):
            names = [type(part).__name__ for part in self.parts]
            raise ValueError(
                checks.message(
                    "two or more projecting constraints to intersect",
                    names,
                    "Sigmoid maps instead of projecting: put Box in its place.",
                )
            )

    @property
    def low(self) -> Bound:
        return _tightest([part.low for part in self.parts], max)

    @property
    def high(self) -> Bound:
        return _tightest([part.high for part in self.parts], min)

    @property
    def convex(self) -> bool:
        return all(part.convex for part in self.parts)

    def project(self, images: tf.Tensor) -> tf.Tensor:
        # What each projection took off, given back before the next round: Dykstra's correction.
        corrections = [tf.zeros_like(images) for _ in self.parts]
        for _ in range(self.rounds):
            for number, part in enumerate(self.parts):
                moved = part.project(images + corrections[number])
                if self.convex:
                    corrections[number] += images - moved
                images = moved
        return self.clip(images)


def _tightest(bounds: list[Bound], choose: Any) -> Bound:
    given = [bound for bound in bounds if bound is not None]
    if not given:
        return None
    best = given[0]
    for bound in given[1:]:
        if isinstance(best, tuple) or isinstance(bound, tuple):
            length = len(best) if isinstance(best, tuple) else len(bound)  # type: ignore[arg-type]
            pairs = zip(_spread(best, length), _spread(bound, length), strict=True)
            best = tuple(choose(a, b) for a, b in pairs)
        else:
            best = choose(best, bound)
    return best


def _spread(bound: float | tuple[float, ...], length: int) -> tuple[float, ...]:
    return bound if isinstance(bound, tuple) else (bound,) * length


def from_range(input_range: Any) -> Constraint:
    """A pair `(low, high)` as a Box, a constraint as it is.

    Raises:
        TypeError: if it is neither.
        ValueError: if the pair is reversed or not finite.
    """
    if isinstance(input_range, Constraint):
        return input_range
    if isinstance(input_range, (tuple, list, np.ndarray)) and len(input_range) == 2:
        low, high = input_range
        return Box(low, high)
    raise TypeError(
        checks.message(
            "input_range to be a pair (low, high) or a constraint such as actmax.Sigmoid(0, 1)",
            f"{input_range!r} ({type(input_range).__name__})",
            "For images in 0..255 write input_range=(0, 255); for a set of your own, subclass "
            "actmax.Constraint.",
        )
    )


def width(constraint: Constraint) -> float | None:
    """Mean of `high - low` over channels, None for an open set."""
    if constraint.low is None or constraint.high is None:
        return None
    value = float(np.mean(np.subtract(constraint.high, constraint.low)))
    return value if math.isfinite(value) else None
