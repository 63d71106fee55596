"""Different sets for different columns or channels of one input."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.constraints.base import Constraint
from actmax.constraints.bounds import Bound
from actmax.constraints.ranges import from_range


@dataclasses.dataclass(frozen=True)
class Columns(Constraint):
    """Different sets for different columns (the last axis) of an input, side by side.

    Each set acts on its own columns, as if they were the whole image. Examples: a box for some columns,
    a one-hot site for others and a mixture for the rest; or a contrast for one channel and a fixed
    value for another.

    Args:
        parts: columns to a set, as a dict or a list of pairs. Columns are a number, a tuple of them, a
            range or a slice with both ends; a set is a constraint, or a pair (low, high). Every column
            must be given exactly once.

    Example:
        >>> import actmax
        >>> row = actmax.Columns({0: (0, 5), (1, 2, 3): actmax.Mixture()})
        >>> row.project([[7.0, 2.0, 0.0, 0.0]]).numpy().round(6).tolist()
        [[5.0, 1.0, 0.0, 0.0]]
    """

    parts: Any

    def __post_init__(self) -> None:
        given = self.parts.items() if isinstance(self.parts, Mapping) else self.parts
        found = tuple((_numbers(columns), from_range(part)) for columns, part in given)
        numbers = sorted(number for columns, _ in found for number in columns)
        if not found or numbers != list(range(len(numbers))):
            raise ValueError(
                checks.message(
                    "every column once, counted from 0",
                    f"{numbers}",
                    "Give the columns that are free a set as well: actmax.Unbounded().",
                )
            )
        object.__setattr__(self, "parts", found)

    @property
    def count(self) -> int:
        """How many columns there are."""
        return sum(len(columns) for columns, _ in self.parts)

    @property
    def projects(self) -> bool:  # type: ignore[override]
        return any(part.projects for _, part in self.parts)

    @property
    def by_value(self) -> bool:  # type: ignore[override]
        return all(part.by_value for _, part in self.parts)

    @property
    def solves(self) -> bool:  # type: ignore[override]
        return all(part.projects and (part.by_value or part.solves) for _, part in self.parts)

    @property
    def convex(self) -> bool:
        return all(part.convex for _, part in self.parts)

    @property
    def low(self) -> Bound:
        return self._ends("low", -np.inf)

    @property
    def high(self) -> Bound:
        return self._ends("high", np.inf)

    def _ends(self, name: str, opens: float) -> Bound:
        ends = np.full(self.count, opens)
        for columns, part in self.parts:
            bound = getattr(part, name)
            if np.ndim(bound) > 1:
                return None
            if bound is not None:
                ends[list(columns)] = bound
        return tuple(ends.tolist()) if np.any(np.isfinite(ends)) else None

    @property
    def rows(self) -> int | None:
        found = {part.rows for _, part in self.parts if part.rows is not None}
        if len(found) > 1:
            raise ValueError(
                checks.message("values for as many images as one another", f"{sorted(found)}")
            )
        return next(iter(found), None)

    @property
    def needs_start(self) -> bool:
        return any(part.needs_start for _, part in self.parts)

    def at(self, start: tf.Tensor) -> Constraint:
        if not self.needs_start:
            return self
        found = tuple(
            (columns, part.at(_some(start, columns)) if part.needs_start else part)
            for columns, part in self.parts
        )
        return dataclasses.replace(self, parts=found)

    def _each(self, name: str, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        if images.shape[-1] != self.count:
            raise ValueError(
                checks.message(
                    f"an input of {self.count} columns",
                    f"one of {images.shape[-1]}",
                    "Give each a set.",
                )
            )
        return self._joined(
            [getattr(part, name)(_some(images, columns)) for columns, part in self.parts]
        )

    def _joined(self, found: list[tf.Tensor]) -> tf.Tensor:
        """The columns of all parts, joined in the order of the input."""
        order = [number for columns, _ in self.parts for number in columns]
        joined = tf.concat(found, -1)
        if order == sorted(order):
            return joined
        return tf.gather(joined, np.argsort(order), axis=-1)

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        return self._each("apply", images)

    def invert(self, images: tf.Tensor) -> tf.Tensor:
        return self._each("invert", images)

    def project(self, images: tf.Tensor) -> tf.Tensor:
        return self._each("project", images)

    def nearest(
        self,
        images: tf.Tensor,
        low: tf.Tensor | None = None,
        high: tf.Tensor | None = None,
        part: tf.Tensor | None = None,
    ) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        if not self.solves:
            return super().nearest(images, low, high, part)
        given = [
            None if value is None else tf.broadcast_to(value, tf.shape(images))
            for value in (low, high, part)
        ]
        found = [
            own.nearest(
                _some(images, columns),
                *(None if value is None else _some(value, columns) for value in given),
            )
            for columns, own in self.parts
        ]
        return self._joined(found)

    def start(self, noise: tf.Tensor) -> tf.Tensor:
        return self._each("start", noise)

    def clip(self, images: tf.Tensor) -> tf.Tensor:
        return self._each("clip", images)

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        """The largest distance of the parts."""
        images = tf.convert_to_tensor(images)
        found = [part.distance(_some(images, columns)) for columns, part in self.parts]
        return tf.reduce_max(tf.stack(found), 0)

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        """The units of every part, for its own columns."""
        found = np.ones(self.count)
        for columns, part in self.parts:
            own = part.units((*shape[:-1], len(columns)))
            flat = np.asarray(own, float)
            found[list(columns)] = flat if flat.ndim < 2 else float(np.mean(flat))
            if not part.by_value and part.in_units(np.ones(len(columns))) is None:
                found[list(columns)] = float(np.mean(flat))
        return float(found[0]) if np.all(found == found[0]) else found

    def in_units(self, units: np.ndarray) -> Constraint | None:
        """Not known if a part that couples values has columns with different units."""
        spread = (
            np.broadcast_to(np.asarray(units, float), (self.count,)) if np.ndim(units) < 2 else None
        )
        if spread is None:
            return None
        found = []
        for columns, part in self.parts:
            own = spread[list(columns)]
            scaled = Scaled(part, float(own[0])) if np.all(own == own[0]) else part.in_units(own)
            if scaled is None:
                return None
            found.append((columns, scaled))
        return Columns(tuple(found))

    def mapped(self) -> Constraint | None:
        found = [(columns, part.mapped()) for columns, part in self.parts]
        if any(part is None for _, part in found):
            return None
        return Columns(tuple(found))


@dataclasses.dataclass(frozen=True)
class Scaled(Constraint):
    """`x / units` for every x of a set, with one number as units.

    Args:
        inner: the set.
        units: positive.
    """

    inner: Constraint
    scale: float

    @property
    def by_value(self) -> bool:  # type: ignore[override]
        return self.inner.by_value

    @property
    def solves(self) -> bool:  # type: ignore[override]
        return self.inner.solves

    @property
    def convex(self) -> bool:
        return self.inner.convex

    def project(self, images: tf.Tensor) -> tf.Tensor:
        scale = tf.constant(self.scale, images.dtype)
        return self.inner.project(images * scale) / scale

    def nearest(
        self,
        images: tf.Tensor,
        low: tf.Tensor | None = None,
        high: tf.Tensor | None = None,
        part: tf.Tensor | None = None,
    ) -> tf.Tensor:
        scale = tf.constant(self.scale, images.dtype)
        least, most = (None if end is None else end * scale for end in (low, high))
        return self.inner.nearest(images * scale, least, most, part) / scale


def _numbers(columns: Any) -> tuple[int, ...]:
    if isinstance(columns, slice):
        if columns.stop is None:
            raise ValueError(checks.message("a slice of columns with an end", repr(columns)))
        columns = range(columns.start or 0, columns.stop, columns.step or 1)
    if isinstance(columns, (Sequence, np.ndarray, range)) and not isinstance(columns, str):
        return tuple(checks.integer(number, "a column") for number in columns)
    return (checks.integer(columns, "a column"),)


def _some(images: tf.Tensor, columns: tuple[int, ...]) -> tf.Tensor:
    first, last = columns[0], columns[-1] + 1
    if columns == tuple(range(first, last)):
        return images[..., first:last]
    return tf.gather(images, list(columns), axis=-1)
