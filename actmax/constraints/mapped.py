"""Sets whose projection is used as a map, for params that are not images."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from actmax.constraints.base import Constraint


@dataclasses.dataclass(frozen=True)
class Mapped(Constraint):
    """A sphere or a contrast as a map, `x = project(raw)`, for params that are not images.

    The gradient flows through the map, so also an optimizer per value stops only at an optimum.

    Args:
        inner: the set.
    """

    projects: ClassVar[bool] = False

    inner: Constraint

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

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        return self.inner.project(images)

    def start(self, noise: tf.Tensor) -> tf.Tensor:
        return noise

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        return self.inner.distance(images)
