"""What a constraint is, and what constraints have in common."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.constraints.bounds import Bound, as_bound, check_bound, check_order
from actmax.constraints.moments import asked_of, at_step, with_moment

__all__ = [
    "Bound",
    "Constraint",
    "as_bound",
    "check_bound",
    "check_order",
    "euclidean",
    "scalar",
]

# Distance of the points with which the size of an unknown set is measured.
_FAR = 1e6


@dataclasses.dataclass(frozen=True)
class Constraint(abc.ABC):
    """A set of images.

    `images = apply(raw)` is part of the graph, and the gradient flows through it. `project` runs
    after every update, on params that are images. Usually one of the two is the identity.

    Your own set only needs `project` (or `apply` with `projects = False`). Both can have the parameters
    `seeds`, int32 `[N, 2]`, new ones at every step, and `step`, int32 `[]`: a set that moves with the
    step, or that draws. Without a run they are those of step 0. These attributes make its runs better:

    Attributes:
        projects: True if `project` makes images of the set; False if `apply` does.
        by_value: True if the set bounds every value separately. Then parts of two images of the set
            form another image of the set. Then an optimizer may scale every value separately. With all
            other sets it must not do so: Adam divides each value by its own history, but the
            projection is Euclidean. A run that stops under both is not at an optimum.
            `actmax.testing.check_constraint` tests this attribute.
        solves: True if `nearest` takes bounds and a part, so that the set can be combined exactly with
            a Box and with a mask.
    """

    projects: ClassVar[bool] = True
    by_value: ClassVar[bool] = False
    solves: ClassVar[bool] = False
    is_bounds: ClassVar[bool] = False  # nothing but `limits`
    # True if the set is discrete, such as letters. `apply` then has the gradient of `relax`, or an
    # approximate one if `relax` is not given.
    discrete: ClassVar[bool] = False
    # Computes `first & second`. The module of intersections sets it, because it imports this class.
    intersect: ClassVar[Callable[[Constraint, Constraint], Constraint]]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        with_moment(cls)

    @property
    def asks(self) -> tuple[str, ...]:
        """Which of `seeds` and `step` it or a part of it asks for."""
        return asked_of(self, Constraint)

    def at_step(self, seeds: tf.Tensor, step: tf.Tensor) -> Constraint:
        """The set at a step, for a set that asks for seeds or the step. `[N, 2], []`."""
        return at_step(self, Constraint, {"seeds": seeds, "step": step})

    @property
    def convex(self) -> bool:
        """Whether the set is convex, so that the nearest image in it is unique."""
        return True

    @property
    def low(self) -> Bound:
        """Least value: a number, one per channel or per value (minus infinity where open); None if none."""
        return None

    @property
    def high(self) -> Bound:
        """Largest value, in the same form. None if there is none."""
        return None

    @property
    def rows(self) -> int | None:
        """Number of images for which the set has separate values. None for any number."""
        return None

    @property
    def needs_start(self) -> bool:
        """Whether the set is placed around each row's own start image."""
        return False

    def at(self, start: tf.Tensor) -> Constraint:
        """The set around given start images, if it needs them. `[N, ...]`."""
        del start
        return self

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        """Raw images to images in the set, differentiably. `[N, ...] -> [N, ...]`."""
        return images

    def relax(self, images: tf.Tensor) -> tf.Tensor | None:
        """For a discrete set: the smooth map whose gradient `apply` uses; None if there is none."""
        del images
        return None

    def invert(self, images: tf.Tensor) -> tf.Tensor:
        """Raw images that `apply` maps to `images`, up to rounding. `[N, ...] -> [N, ...]`."""
        return images

    def project(self, images: tf.Tensor) -> tf.Tensor:
        """The nearest images in the set. `[N, ...] -> [N, ...]`."""
        return images

    def nearest(
        self,
        images: tf.Tensor,
        low: tf.Tensor | None = None,
        high: tf.Tensor | None = None,
        part: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The nearest images in the set and within bounds. `[N, ...] -> [N, ...]`.

        Args:
            images: `[N, ...]`.
            low: lower bound that broadcasts against images. None for no bound.
            high: upper bound in the same form.
            part: bool array in the same form: the values that may move. A norm is then taken over
                this part only.

        Raises:
            ValueError: if more than images is given, but the set has no solver (`solves = False`).
        """
        if self.by_value:
            moved = self.project(images)
            moved = moved if low is None else tf.maximum(moved, low)
            moved = moved if high is None else tf.minimum(moved, high)
            return moved if part is None else tf.where(part, moved, images)
        if low is None and high is None and part is None:
            return self.project(images)
        raise ValueError(
            checks.message(
                "a set that is solved together with bounds or a part of the image",
                f"{self!r}",
                "Use L2Ball, Contrast or LinearEquations, or write nearest and solves = True.",
            )
        )

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        """Distance of images from the set, in units of the set. `[N, ...] -> [N]`.

        For your own set it is the Euclidean distance to `project(images)`.
        """
        return euclidean(images - self.project(images))

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        """The unit of a step of raw images: the size of the set, per value.

        For bounds it is their width (an array if columns differ). For a ball it is twice the radius
        divided by the root of the number of values. For a contrast it is twice the standard deviation.
        For a sigmoid it is a number of logits. For your own set without bounds it is measured: it is
        the root mean square difference between the projections of two images far outside, on opposite
        sides; 1 if the set is unbounded.

        Args:
            shape: of one image.
        """
        if not self.projects:
            return 1.0
        far = _FAR * np.random.default_rng(0).normal(size=(1, *shape))
        with tf.init_scope():  # a number, also where a graph is made
            ends = np.asarray(self.project(tf.constant(np.concatenate([far, -far]))), np.float64)
        size = float(np.sqrt(np.mean(np.square(ends[0] - ends[1]))))
        return size if np.isfinite(size) and 0 < size < 0.1 * _FAR else 1.0

    def in_units(self, units: np.ndarray) -> Constraint | None:
        """The set of `x / units` for all x of this set. None if it is not known.

        Needed if columns have different units. The projection is then the nearest point in these units.
        """
        del units
        return None

    def mapped(self) -> Constraint | None:
        """The same set as a constraint that maps, for params that are not images; None if there is none."""
        return None if self.projects else self

    def mapped_within(self, low: Bound, high: Bound) -> Constraint | None:
        """The intersection of this set and bounds, as a constraint that maps; None if there is none."""
        del low, high
        return None

    def meets(self, low: Bound, high: Bound) -> bool | None:
        """Whether the set has a point within bounds; None if this is not known."""
        del low, high
        return None

    def joined(self, others: tuple[Constraint, ...]) -> Constraint | None:
        """One set that replaces this one and others. None if there is none."""
        del others
        return None

    def limits(self, dtype: tf.DType) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """`low` and `high` as tensors that broadcast against images."""
        return tuple(None if end is None else as_bound(end, dtype) for end in (self.low, self.high))  # type: ignore[return-value]

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
        if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high))):
            closed = np.isfinite(low) & np.isfinite(high)
            low, high = (np.where(closed, end, at) for end, at in ((low, -0.5), (high, 0.5)))
        low_t, high_t = as_bound(low, noise.dtype), as_bound(high, noise.dtype)
        return self.project((low_t + high_t) / 2 + (high_t - low_t) * noise)

    def clip(self, images: tf.Tensor) -> tf.Tensor:
        """Images clipped to `[low, high]`. This only removes rounding errors."""
        if self.low is not None:
            images = tf.maximum(images, as_bound(self.low, images.dtype))
        if self.high is not None:
            images = tf.minimum(images, as_bound(self.high, images.dtype))
        return images

    def finish(self, images: tf.Tensor) -> tf.Tensor:
        """Images of `apply` in the form in which they are returned and scored. `[N, ...] -> [N, ...]`."""
        return self.clip(images)

    def __and__(self, other: Constraint) -> Constraint:
        if not isinstance(other, Constraint):
            return NotImplemented
        return Constraint.intersect(self, other)


def euclidean(difference: tf.Tensor) -> tf.Tensor:
    """Euclidean length of every row. `[N, ...] -> [N]`."""
    difference = tf.convert_to_tensor(difference)
    axes = list(range(1, difference.shape.rank))
    largest = tf.reduce_max(tf.abs(difference), axes, keepdims=True)
    unit = tf.math.divide_no_nan(difference, largest)
    size = tf.sqrt(tf.reduce_sum(tf.square(unit), axes))
    return size * tf.reshape(largest, [-1])


def scalar(units: float | np.ndarray) -> float:
    """One number for units: their mean."""
    return float(np.mean(units))
