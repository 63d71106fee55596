"""Sets that bound every value on its own: a box, a sigmoid onto it, and no bound at all."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.constraints.base import Bound, Constraint, as_bound, check_bound, check_order
from regularizers.lanes import by_row


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

    by_value: ClassVar[bool] = True

    lower: Bound = 0.0
    upper: Bound = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "lower", check_bound(self.lower, "lower"))
        object.__setattr__(self, "upper", check_bound(self.upper, "upper"))
        check_order(self.lower, self.upper)

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
    by_value: ClassVar[bool] = True

    lower: Bound = 0.0
    upper: Bound = 1.0

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            value = check_bound(getattr(self, name), name)
            if value is None:
                raise ValueError(
                    checks.message(
                        f"{name} of Sigmoid to be finite", None, "Use Box for an open end."
                    )
                )
            object.__setattr__(self, name, value)
        check_order(self.lower, self.upper)

    @property
    def low(self) -> Bound:
        return self.lower

    @property
    def high(self) -> Bound:
        return self.upper

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        low, high = as_bound(self.lower, images.dtype), as_bound(self.upper, images.dtype)
        return low + (high - low) * by_row(tf.sigmoid, images)

    def invert(self, images: tf.Tensor) -> tf.Tensor:
        low, high = as_bound(self.lower, images.dtype), as_bound(self.upper, images.dtype)
        fraction = tf.clip_by_value((images - low) / (high - low), 1e-6, 1.0 - 1e-6)
        return by_row(tf.math.log, fraction) - by_row(tf.math.log1p, -fraction)

    def start(self, noise: tf.Tensor) -> tf.Tensor:
        # The slope of the sigmoid at its middle is 1/4.
        return 4.0 * noise


@dataclasses.dataclass(frozen=True)
class Rescale(Constraint):
    """`low + (high - low) * (raw - a) / (b - a)`, clipped: images of one range `(a, b)` in another.

    It stands where a parameterization makes images of a range of its own, as a generator does.

    Args:
        lower: a number or one per channel.
        upper: likewise, above `lower`.
        source: the range `(a, b)` of the raw images.
    """

    projects: ClassVar[bool] = False
    by_value: ClassVar[bool] = True

    lower: Bound = 0.0
    upper: Bound = 1.0
    source: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_order(self.lower, self.upper)
        check_order(*self.source)

    @property
    def low(self) -> Bound:
        return self.lower

    @property
    def high(self) -> Bound:
        return self.upper

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        low, high = as_bound(self.lower, images.dtype), as_bound(self.upper, images.dtype)
        first, last = (tf.constant(end, images.dtype) for end in self.source)
        return self.clip(low + (high - low) * ((images - first) / (last - first)))

    def invert(self, images: tf.Tensor) -> tf.Tensor:
        low, high = as_bound(self.lower, images.dtype), as_bound(self.upper, images.dtype)
        first, last = (tf.constant(end, images.dtype) for end in self.source)
        return first + (last - first) * ((images - low) / (high - low))


@dataclasses.dataclass(frozen=True)
class Unbounded(Constraint):
    """All images: no constraint. The objective must be bounded by its penalties."""

    projects: ClassVar[bool] = False
    by_value: ClassVar[bool] = True


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
