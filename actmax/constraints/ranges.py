"""Sets that bound every value on its own: a box, a sigmoid onto it, and no bound at all."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.constraints.base import Constraint
from actmax.constraints.bounds import Bound, as_bound, check_bound, check_order, widths
from actmax.types import FixedArray
from regularizers.base import image_axes
from regularizers.lanes import by_row


@dataclasses.dataclass(frozen=True)
class Box(Constraint):
    """`low <= x <= high`, by clipping. A pair given as `input_range` is a Box.

    Args:
        lower: a number, one per column or channel, or an array of the image's shape. None, or minus
            infinity, means no lower bound, for all or for single columns: `Box((0, None), (1, 5))`.
        upper: likewise, above `lower`. If both are equal, the column or value is fixed.

    Raises:
        ValueError: if a bound is not a number, `lower > upper` anywhere, or all are equal.

    Example:
        >>> import actmax
        >>> actmax.Box(0, 1).project([[-2.0, 0.5, 3.0]]).numpy().tolist()
        [[0.0, 0.5, 1.0]]
    """

    by_value: ClassVar[bool] = True
    solves: ClassVar[bool] = True
    is_bounds: ClassVar[bool] = True

    lower: Bound = 0.0
    upper: Bound = 1.0

    def __post_init__(self) -> None:
        for name, opens in (("lower", -math.inf), ("upper", math.inf)):
            bound = check_bound(bare(getattr(self, name)), name, opens)
            # In this form, an array is compared and recorded by value.
            kept = FixedArray(bound) if np.ndim(bound) > 1 else bound
            object.__setattr__(self, name, kept)
        check_order(self.low, self.high)

    @property
    def low(self) -> Bound:
        return bare(self.lower)

    @property
    def high(self) -> Bound:
        return bare(self.upper)

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        """In units of images: the largest distance of a value from the range."""
        images = tf.convert_to_tensor(images)
        return tf.reduce_max(tf.abs(images - self.project(images)), image_axes(images))

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        return widths(self.low, self.high)

    def in_units(self, units: np.ndarray) -> Constraint | None:
        ends = (None if end is None else np.divide(end, units) for end in (self.low, self.high))
        return Box(*ends)

    def mapped(self) -> Constraint | None:
        if self.low is None or self.high is None:
            return None
        if not (np.all(np.isfinite(self.low)) and np.all(np.isfinite(self.high))):
            return None
        return Sigmoid(self.low, self.high)

    def project(self, images: tf.Tensor) -> tf.Tensor:
        return self.clip(tf.convert_to_tensor(images))


@dataclasses.dataclass(frozen=True)
class Sigmoid(Constraint):
    """`low + (high - low) * sigmoid(raw)`. It maps any raw image into the range.

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
            value = check_bound(bare(getattr(self, name)), name)
            if value is None:
                raise ValueError(
                    checks.message(
                        f"{name} of Sigmoid to be finite", None, "Use Box for an open end."
                    )
                )
            object.__setattr__(self, name, FixedArray(value) if np.ndim(value) > 1 else value)
        check_order(self.low, self.high)

    @property
    def low(self) -> Bound:
        return bare(self.lower)

    @property
    def high(self) -> Bound:
        return bare(self.upper)

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        """Units are logits: the slope in the middle of the range is 1/4, so four logits equal its width."""
        return 4.0

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        low, high = as_bound(self.low, images.dtype), as_bound(self.high, images.dtype)
        return low + (high - low) * by_row(tf.sigmoid, images)

    def invert(self, images: tf.Tensor) -> tf.Tensor:
        low, high = as_bound(self.low, images.dtype), as_bound(self.high, images.dtype)
        width = tf.where(high > low, high - low, tf.ones_like(high))  # 0 where a column is held
        fraction = tf.clip_by_value((images - low) / width, 1e-6, 1.0 - 1e-6)
        return by_row(tf.math.log, fraction) - by_row(tf.math.log1p, -fraction)

    def start(self, noise: tf.Tensor) -> tf.Tensor:
        # The slope of the sigmoid at its middle is 1/4.
        return 4.0 * noise


@dataclasses.dataclass(frozen=True)
class Rescale(Constraint):
    """`low + (high - low) * (raw - a) / (b - a)`, clipped: images of one range `(a, b)` in another.

    It is used for a parameterization whose images have their own range, such as a generator.

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
        width = tf.where(high > low, high - low, tf.ones_like(high))
        return first + (last - first) * ((images - low) / width)

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        return self.source[1] - self.source[0]


@dataclasses.dataclass(frozen=True)
class Unbounded(Constraint):
    """All images: no constraint. The objective must be bounded by its penalties."""

    projects: ClassVar[bool] = False
    by_value: ClassVar[bool] = True
    solves: ClassVar[bool] = True
    is_bounds: ClassVar[bool] = True

    def in_units(self, units: np.ndarray) -> Constraint | None:
        return self


def bare(bound: Any) -> Bound:
    """A bound without the wrapper that makes arrays comparable."""
    return bound.values if isinstance(bound, FixedArray) else bound


def from_range(input_range: Any, columns: int | None = None) -> Constraint:
    """Converts a pair `(low, high)` and bounds of SciPy to a Box. A constraint is returned unchanged.

    Args:
        input_range: a constraint; a pair `(low, high)` of numbers, or of one number per channel each;
            `scipy.optimize.Bounds`; or a list with a pair `(low, high)` for every column.
        columns: number of columns or channels of an input. None if it is not known.

    Raises:
        TypeError: if it is none of these.
        ValueError: if a pair is reversed or not finite, or if two columns may be read both ways.
    """
    if isinstance(input_range, Constraint):
        return input_range
    if all(hasattr(input_range, name) for name in ("lb", "ub")):
        return Box(*_scipy_ends(input_range, columns))
    if isinstance(input_range, (tuple, list, np.ndarray)):
        pairs = _column_pairs(input_range, columns)
        if len(input_range) == 2:
            low, high = input_range
            if pairs is None:
                return Box(low, high)
            _refuse_two_readings(pairs, (low, high))
            return pairs if _reads(low, high) is None else Box(low, high)
        if pairs is not None:
            return pairs
    raise TypeError(
        checks.message(
            "input_range to be a pair (low, high) or a constraint such as actmax.Sigmoid(0, 1)",
            f"{input_range!r} ({type(input_range).__name__})",
            "For images in 0..255 write input_range=(0, 255); for a set of your own, subclass "
            "actmax.Constraint.",
        )
    )


def _scipy_ends(bounds: Any, columns: int | None) -> tuple[Any, Any]:
    ends = [np.asarray(end, float).ravel() for end in (bounds.lb, bounds.ub)]
    size = max([1 if columns is None else columns, *(end.size for end in ends)])
    return tuple(tuple(np.broadcast_to(end, size).tolist()) for end in ends)  # type: ignore[return-value]


def _reads(low: Any, high: Any) -> Box | None:
    try:
        return Box(low, high)
    except (TypeError, ValueError):
        return None


def _column_pairs(value: Any, columns: int | None) -> Box | None:
    """A list of pairs, one for every column, as a Box. None if it is not such a list."""
    if columns is None or len(value) != columns:
        return None
    if not all(isinstance(pair, (tuple, list, np.ndarray)) and len(pair) == 2 for pair in value):
        return None
    if any(np.ndim(end) for pair in value for end in pair if end is not None):
        return None
    if len(value) != 2:  # there is no other reading, so the error is shown to the user
        return Box(*zip(*value, strict=True))
    return _reads(*zip(*value, strict=True))


def _refuse_two_readings(by_column: Box, pair: tuple[Any, Any]) -> None:
    """Raises ValueError if two pairs for two columns have another meaning here than in SciPy."""
    other = _reads(*pair)
    if other is None or other == by_column:
        return
    first, second = (tuple(np.asarray(end).tolist()) for end in pair)
    raise ValueError(
        checks.message(
            "bounds of two columns that can be read in one way",
            f"{list(pair)}: either column 0 in {first} and column 1 in {second}, as SciPy reads it, or "
            f"low={first} and high={second}",
            f"Write actmax.Box({tuple(e[0] for e in (first, second))}, "
            f"{tuple(e[1] for e in (first, second))}) for the first, actmax.Box({first}, {second}) "
            "for the second.",
        )
    )


def width(constraint: Constraint) -> float | None:
    """Mean of `high - low` over channels that may move, None for an open set."""
    if constraint.low is None or constraint.high is None:
        return None
    found = np.subtract(np.asarray(constraint.high, float), np.asarray(constraint.low, float))
    value = float(np.mean(found[found > 0] if np.any(found > 0) else found))
    return value if math.isfinite(value) else None
