"""Linear equations that an image fulfils, alone and within bounds; and mixtures."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.constraints.base import Constraint
from actmax.constraints.bounds import Bound, as_bound, check_bound, check_order
from actmax.constraints.ranges import bare
from actmax.constraints.solving import clipped, on_equations
from actmax.types import FixedArray
from regularizers.lanes import by_row
from regularizers.slopes import custom_gradient


@dataclasses.dataclass(frozen=True)
class LinearEquations(Constraint):
    """`matrix @ x = values` for every image. x is the flattened image.

    The projection is exact: `x - A^T (A A^T)^-1 (A x - b)`. It is also exact with bounds
    (`Box(low, high) & LinearEquations(A, b)`): `clip(x + A^T y)`, where y comes from Newton's
    method on the dual problem. With a mask, the held values are part of the equations.

    Args:
        matrix: `[m, *shape]`, or `[m, D]`; one equation may be given as `[*shape]` with a number.
        values: `[m]`, or a number.

    Example:
        >>> import actmax
        >>> mixture = actmax.Box(0, 1) & actmax.LinearEquations([1, 1, 1], 1)
        >>> mixture.project([[2.0, 0.5, 0.0]]).numpy().round(6).tolist()
        [[1.0, 0.0, 0.0]]
    """

    solves: ClassVar[bool] = True

    matrix: Any
    values: Any

    def __post_init__(self) -> None:
        matrix, values = (
            bare(part) if isinstance(part, FixedArray) else np.array(part, np.float64)
            for part in (self.matrix, self.values)
        )
        if values.ndim == 0:
            matrix, values = matrix[None], values[None]
        if values.ndim != 1 or matrix.ndim < 2 or len(matrix) != len(values) or not len(values):
            raise ValueError(
                checks.message(
                    "a matrix [m, ...] and values [m]",
                    f"shapes {np.shape(self.matrix)} and {np.shape(self.values)}",
                )
            )
        checks.finite(matrix, "matrix")
        checks.finite(values, "values")
        rows = matrix.reshape(len(matrix), -1)
        found = np.linalg.lstsq(rows, values, rcond=None)[0]
        if np.abs(rows @ found - values).max() > 1e-8 * (1.0 + np.abs(values).max()):
            raise ValueError(
                checks.message(
                    "equations that have a common solution",
                    f"some that are {np.abs(rows @ found - values).max():.3g} off at best",
                )
            )
        object.__setattr__(self, "matrix", FixedArray(matrix))
        object.__setattr__(self, "values", FixedArray(values))

    @property
    def _rows(self) -> np.ndarray:
        return self.matrix.values.reshape(len(self.values.values), -1)

    def _check(self, images: tf.Tensor) -> None:
        size = int(np.prod(images.shape[1:]))
        if self._rows.shape[1] != size:
            raise ValueError(
                checks.message(
                    f"equations of {size} values, those of an image {tuple(images.shape[1:])}",
                    f"{self._rows.shape[1]}",
                )
            )

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
        self._check(images)
        if part is not None:  # held values have equal bounds
            infinity = tf.constant(np.inf, images.dtype)
            low = tf.where(part, -infinity if low is None else low, images)
            high = tf.where(part, infinity if high is None else high, images)
        flat = tf.reshape(images, [-1, self._rows.shape[1]])

        def spread(end: tf.Tensor | None) -> tf.Tensor | None:
            if end is None:
                return None
            return tf.reshape(tf.zeros_like(images) + end, [-1, self._rows.shape[1]])

        found = on_equations(flat, self._rows, self.values.values, spread(low), spread(high))
        return tf.reshape(found, tf.shape(images))

    def joined(self, others: tuple[Constraint, ...]) -> Constraint | None:
        if not all(isinstance(other, LinearEquations) for other in others):
            return None
        parts: list[Any] = [self, *others]
        return LinearEquations(
            np.concatenate([part._rows for part in parts]),
            np.concatenate([part.values.values for part in parts]),
        )

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        """In units of `values`: the largest error of an equation."""
        flat = tf.cast(tf.reshape(images, [tf.shape(images)[0], -1]), tf.float64)
        off = tf.matmul(flat, tf.constant(self._rows), transpose_b=True) - self.values.values
        return tf.cast(tf.reduce_max(tf.abs(off), -1), tf.convert_to_tensor(images).dtype)

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        return 1.0

    def in_units(self, units: np.ndarray) -> Constraint | None:
        shape = self.matrix.values.shape[1:]
        spread = np.broadcast_to(
            np.asarray(units, float), np.broadcast_shapes(np.shape(units), shape)
        )
        if spread.size != self._rows.shape[1]:
            return None
        return LinearEquations(self._rows * spread.reshape(1, -1), self.values.values)


@dataclasses.dataclass(frozen=True)
class Mixture(Constraint):
    """`sum(x) = total` over the last axis, each part within bounds: shares of a recipe.

    The projection is exact: `clip(x + t)` with one t for every sum. If params are not images, the
    constraint is the map `x = lower + (upper - lower) sigmoid(raw + t)`. If upper bounds are
    missing, they are `total`.

    Args:
        total: of every sum.
        lower: a number, or one per column.
        upper: likewise; None for `total`.

    Example:
        >>> import actmax
        >>> actmax.Mixture(1.0, upper=(0.5, 1.0, 1.0)).project([[0.9, 0.3, 0.0]]).numpy().round(
        ...     6
        ... ).tolist()
        [[0.5, 0.4, 0.1]]
    """

    solves: ClassVar[bool] = True

    total: float = 1.0
    lower: Bound = 0.0
    upper: Bound = None

    def __post_init__(self) -> None:
        total = checks.number(self.total, "total")
        lower = check_bound(self.lower, "lower", -np.inf)
        upper = check_bound(self.upper, "upper", np.inf)
        if upper is None and lower is not None:
            least = np.asarray(lower, float)
            upper = float(total - np.sum(least) + np.min(least)) if least.ndim else None
            if upper is None and total > float(least) >= 0:
                upper = total
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)
        check_order(lower, upper)
        if np.ndim(lower) == np.ndim(upper) == 1 and not (
            np.sum(lower) <= total + 1e-9 and np.sum(upper) >= total - 1e-9
        ):
            raise ValueError(
                checks.message(
                    "bounds that let the parts add up",
                    f"parts that add up to {np.sum(lower):g} .. {np.sum(upper):g}, and a total of {total:g}: "
                    "no common point",
                )
            )

    @property
    def low(self) -> Bound:
        return self.lower

    @property
    def high(self) -> Bound:
        return self.upper

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
        own_low, own_high = self.limits(images.dtype)
        infinity = tf.constant(np.inf, images.dtype)
        ends = []
        for given, own, choose in ((low, own_low, tf.maximum), (high, own_high, tf.minimum)):
            found = own if given is None else given if own is None else choose(own, given)
            if part is not None:
                sign = -infinity if choose is tf.maximum else infinity
                found = tf.where(part, sign if found is None else found, images)
            ends.append(None if found is None else tf.zeros_like(images) + found)
        columns = images.shape[-1]
        flat, least, most = (
            None if value is None else tf.reshape(value, [-1, columns]) for value in (images, *ends)
        )
        found = on_equations(flat, np.ones((1, columns)), np.array([self.total]), least, most)
        found = clipped(found, least, most)
        return tf.reshape(found, tf.shape(images))

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        """In units of `total`: the largest error of a sum or of a bound."""
        images = tf.convert_to_tensor(images)
        off = tf.abs(tf.reduce_sum(tf.cast(images, tf.float64), -1) - self.total)
        rows = [tf.shape(images)[0], -1]
        out = tf.reduce_max(tf.abs(tf.reshape(images - self.clip(images), rows)), -1)
        sums = tf.reduce_max(tf.reshape(tf.cast(off, images.dtype), rows), -1)
        return tf.maximum(sums, out)

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        if self.low is not None and self.high is not None:
            width = np.subtract(self.high, self.low)
            return float(np.mean(width))
        return abs(self.total) or 1.0

    def mapped(self) -> Constraint | None:
        if self.lower is None or self.upper is None:
            return None
        return MappedMixture(self)


@dataclasses.dataclass(frozen=True)
class MappedMixture(Constraint):
    """A mixture as a map: `lower + (upper - lower) sigmoid(raw + t)` with one t for every sum.

    Args:
        inner: the mixture, with two bounds.
    """

    projects: ClassVar[bool] = False
    searches: ClassVar[int] = 80

    inner: Mixture

    @property
    def low(self) -> Bound:
        return self.inner.low

    @property
    def high(self) -> Bound:
        return self.inner.high

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        return 4.0

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        low, high = (as_bound(end, images.dtype) for end in (self.inner.low, self.inner.high))
        width = tf.ones_like(images) * (high - low)
        total = tf.constant(self.inner.total, images.dtype)

        @custom_gradient
        def onto(raw: tf.Tensor) -> Any:
            far = 40.0 + tf.reduce_max(tf.abs(raw), -1, keepdims=True)
            least, most = -far, far
            for _ in range(self.searches):
                middle = (least + most) / 2
                short = _sum(low + width * by_row(tf.sigmoid, raw + middle)) < total
                least, most = tf.where(short, middle, least), tf.where(short, most, middle)
            share = by_row(tf.sigmoid, raw + (least + most) / 2)
            slope = width * share * (1 - share)

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                # The shift changes with all other values: J^T g = d (g - <d, g> / sum d).
                mean = tf.math.divide_no_nan(_sum(slope * upstream), _sum(slope))
                return slope * (upstream - mean)

            found = low + width * share
            # The rounding error is added to the parts that are farthest from their bounds.
            room = slope / tf.maximum(_sum(slope), tf.constant(1e-30, slope.dtype))
            return found + room * (total - _sum(found)), gradient

        return onto(images)

    def invert(self, images: tf.Tensor) -> tf.Tensor:
        low, high = (as_bound(end, images.dtype) for end in (self.inner.low, self.inner.high))
        width = tf.where(high > low, high - low, tf.ones_like(high))
        share = tf.clip_by_value((images - low) / width, 1e-6, 1.0 - 1e-6)
        return by_row(tf.math.log, share) - by_row(tf.math.log1p, -share)

    def start(self, noise: tf.Tensor) -> tf.Tensor:
        return 4.0 * noise

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        return self.inner.distance(images)


def _sum(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(x, -1, keepdims=True)
