"""A set with a projection in the units of its columns."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from actmax.constraints.base import Constraint
from actmax.constraints.bounds import Bound
from actmax.types import FixedArray


@dataclasses.dataclass(frozen=True)
class Measured(Constraint):
    """The same set with a projection in units of its columns: to the x that is nearest in `|x / units|`.

    If steps are measured relative to the width of each column, the projection must use the same
    units. Otherwise a step and a projection can cancel at a point that is not an optimum.

    Args:
        inner: a set with `in_units`.
        sizes: the size of one unit, as an array that broadcasts against images.
    """

    inner: Constraint
    sizes: Any

    def __post_init__(self) -> None:
        if not isinstance(self.sizes, FixedArray):
            object.__setattr__(self, "sizes", FixedArray(np.asarray(self.sizes, np.float64)))

    @property
    def low(self) -> Bound:
        return self.inner.low

    @property
    def high(self) -> Bound:
        return self.inner.high

    @property
    def convex(self) -> bool:
        return self.inner.convex

    @property
    def rows(self) -> int | None:
        return self.inner.rows

    @property
    def needs_start(self) -> bool:
        return self.inner.needs_start

    def at(self, start: tf.Tensor) -> Constraint:
        return dataclasses.replace(self, inner=self.inner.at(start)) if self.needs_start else self

    @property
    def solves(self) -> bool:  # type: ignore[override]
        return self._scaled.solves

    @property
    def _scaled(self) -> Constraint:
        """The set of `x / sizes`, or the set itself if it is not known in these units."""
        scaled = self.inner.in_units(self.sizes.values)
        return self.inner if scaled is None else scaled

    def project(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        scaled = self._scaled
        if scaled is self.inner:
            return self.inner.project(images)
        sizes = tf.constant(self.sizes.values, images.dtype)
        return self.clip(scaled.project(images / sizes) * sizes)

    def nearest(
        self,
        images: tf.Tensor,
        low: tf.Tensor | None = None,
        high: tf.Tensor | None = None,
        part: tf.Tensor | None = None,
    ) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        scaled = self._scaled
        if scaled is self.inner:
            return self.inner.nearest(images, low, high, part)
        sizes = tf.constant(self.sizes.values, images.dtype)
        least, most = (None if end is None else end / sizes for end in (low, high))
        found = self.clip(scaled.nearest(images / sizes, least, most, part) * sizes)
        return found if part is None else tf.where(part, found, images)  # to the bit

    def start(self, noise: tf.Tensor) -> tf.Tensor:
        return self.project(self.inner.start(noise))

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        return self.inner.distance(images)

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        return self.sizes.values
