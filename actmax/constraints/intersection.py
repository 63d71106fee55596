"""The intersection of several sets."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.constraints.base import Constraint, euclidean, scalar
from actmax.constraints.bounds import Bound, check_order, tightest, widths

# Parts hold up to this fraction of the size of an image, in float32 and float64.
_ROUNDING = {tf.float32: 5e-7, tf.float64: 1e-12}


def intersect(first: Constraint, second: Constraint) -> Constraint:
    """`first & second`. The parts of intersections form one flat list."""
    return Intersection((*_parts(first), *_parts(second)))


def _parts(constraint: Constraint) -> tuple[Constraint, ...]:
    return constraint.parts if isinstance(constraint, Intersection) else (constraint,)


@dataclasses.dataclass(frozen=True)
class Intersection(Constraint):
    """The intersection of several constraints that project, such as `Box(0, 1) & Contrast(0.2)`.

    Bounds together with a ball, a sphere, a contrast or linear equations are solved exactly, by the
    set's own `nearest`. For other convex sets, Dykstra's algorithm (Boyle and Dykstra, 1986,
    https://doi.org/10.1007/978-1-4613-9940-7_3) converges to the nearest common point. For sets that
    are not convex, the images are projected on one set after the other, which converges to a common
    point near by. The rounds end when all sets hold up to rounding, or after `rounds` rounds. The
    bounds come last, so the range holds exactly. `result.distance` has the distance to the other
    sets.
    """

    rounds: ClassVar[int] = 1000

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
        check_order(self.low, self.high)

    @property
    def low(self) -> Bound:
        return tightest([part.low for part in self.parts], np.maximum)

    @property
    def high(self) -> Bound:
        return tightest([part.high for part in self.parts], np.minimum)

    @property
    def convex(self) -> bool:
        return all(part.convex for part in self.parts)

    @property
    def by_value(self) -> bool:  # type: ignore[override]
        return all(part.by_value for part in self.parts)

    @property
    def is_bounds(self) -> bool:  # type: ignore[override]
        return all(part.is_bounds for part in self.parts)

    @property
    def solves(self) -> bool:  # type: ignore[override]
        others = self._others()
        return not others or (len(others) == 1 and others[0].solves)

    @property
    def rows(self) -> int | None:
        found = {part.rows for part in self.parts if part.rows is not None}
        if len(found) > 1:
            raise ValueError(
                checks.message("values for as many images as one another", f"{sorted(found)}")
            )
        return next(iter(found), None)

    @property
    def needs_start(self) -> bool:
        return any(part.needs_start for part in self.parts)

    def at(self, start: tf.Tensor) -> Constraint:
        if not self.needs_start:
            return self
        return dataclasses.replace(self, parts=tuple(part.at(start) for part in self.parts))

    def _others(self) -> list[Constraint]:
        """The parts that are not bounds. Linear equations are merged into one part."""
        others = [part for part in self.parts if not part.is_bounds]
        joined = None if len(others) < 2 else others[0].joined(tuple(others[1:]))
        return others if joined is None else [joined]

    def project(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        if self.solves:
            return self.clip(self.nearest(images))
        return self.clip(self._rounds(images))

    def nearest(
        self,
        images: tf.Tensor,
        low: tf.Tensor | None = None,
        high: tf.Tensor | None = None,
        part: tf.Tensor | None = None,
    ) -> tf.Tensor:
        if not self.solves:
            return super().nearest(images, low, high, part)
        for bounds in (each for each in self.parts if each.is_bounds):
            least, most = bounds.limits(images.dtype)
            if least is not None:
                low = least if low is None else tf.maximum(low, least)
            if most is not None:
                high = most if high is None else tf.minimum(high, most)
        others = self._others()
        if others:
            return others[0].nearest(images, low, high, part)
        moved = images if low is None else tf.maximum(images, low)
        moved = moved if high is None else tf.minimum(moved, high)
        return moved if part is None else tf.where(part, moved, images)

    def _rounds(self, images: tf.Tensor) -> tf.Tensor:
        """Rounds of Dykstra's algorithm, or of projections in turn, until every part holds."""
        convex, count = self.convex, len(self.parts)
        limit = _ROUNDING.get(images.dtype, 1e-2)

        def again(
            number: tf.Tensor, x: tf.Tensor, busy: tf.Tensor, *corrections: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            del x, corrections
            return (number < self.rounds) & tf.reduce_any(busy)

        def once(
            number: tf.Tensor, x: tf.Tensor, busy: tf.Tensor, *corrections: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            known, moved = list(corrections), x
            gap = tf.zeros_like(busy, x.dtype)
            for place, part in enumerate(self.parts):
                given = moved + known[place]
                found = part.project(given)
                # Distance between the parts. It is 0 at a common point.
                gap = tf.maximum(gap, euclidean(found - moved))
                if convex:
                    known[place] = given - found
                moved = found
            size = euclidean(moved)
            rows = tf.reshape(busy, [-1] + [1] * (x.shape.rank - 1))
            # A row that holds does not change, even if other rows need more rounds.
            x, known = (
                tf.where(rows, moved, x),
                [tf.where(rows, new, old) for new, old in zip(known, corrections, strict=True)],
            )
            return number + 1, x, busy & (gap > limit * size), *known

        rest = [tf.zeros_like(images) for _ in range(count)]
        busy = tf.ones(tf.shape(images)[:1], tf.bool)
        return tf.while_loop(again, once, (tf.constant(0), images, busy, *rest))[1]

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        """The largest distance of the parts."""
        found = [part.distance(images) for part in self.parts]
        return tf.reduce_max(tf.stack(found), axis=0)

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        """The units of the bounds, if there are only bounds. Else the smallest units of the parts."""
        if self.in_units(np.ones(shape)) is not None:
            return widths(self.low, self.high)
        sizes = [part.units(shape) for part in self.parts if not _is_open(part)]
        if any(np.ndim(size) == len(shape) + 1 for size in sizes):  # a size for every image
            known = [size if np.ndim(size) > len(shape) else scalar(size) for size in sizes]
            return np.min(np.broadcast_arrays(*known), axis=0)
        return min((scalar(size) for size in sizes), default=1.0)

    def in_units(self, units: np.ndarray) -> Constraint | None:
        found = [part.in_units(units) for part in self.parts]
        if any(part is None for part in found):
            return None
        return Intersection(tuple(part for part in found if part is not None))

    def mapped(self) -> Constraint | None:
        others = self._others()
        if len(others) == 1 and self.low is not None and self.high is not None:
            return others[0].mapped_within(self.low, self.high)
        return None


def _is_open(part: Constraint) -> bool:
    return part.by_value and (part.low is None or part.high is None)


Constraint.intersect = intersect
