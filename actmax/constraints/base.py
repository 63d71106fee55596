"""What a constraint is, and what several of them have in common."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import tensorflow as tf

from actmax import checks

# A bound: a number, one number per channel, or None for an open end.
Bound: TypeAlias = float | tuple[float, ...] | None


@dataclasses.dataclass(frozen=True)
class Constraint(abc.ABC):
    """A set of images.

    `images = apply(raw)` is inside the graph and differentiated through; `project` runs after every
    update, on params that are images. One of the two is usually the identity.
    """

    projects: ClassVar[bool] = True
    # True if the set is one of values, each on its own, so that parts of two of its images make a third.
    by_value: ClassVar[bool] = False

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
        low_t, high_t = as_bound(low, noise.dtype), as_bound(high, noise.dtype)
        return self.project((low_t + high_t) / 2 + (high_t - low_t) * noise)

    def clip(self, images: tf.Tensor) -> tf.Tensor:
        """Images clipped to `[low, high]`, which takes rounding off and nothing else."""
        if self.low is not None:
            images = tf.maximum(images, as_bound(self.low, images.dtype))
        if self.high is not None:
            images = tf.minimum(images, as_bound(self.high, images.dtype))
        return images

    def __and__(self, other: Constraint) -> Constraint:
        if not isinstance(other, Constraint):
            return NotImplemented
        return Intersection((*_parts(self), *_parts(other)))


def as_bound(bound: Bound, dtype: tf.DType) -> tf.Tensor:
    """A bound as a tensor, `[]` or `[C]`."""
    return tf.constant(bound, dtype)


def _parts(constraint: Constraint) -> tuple[Constraint, ...]:
    return constraint.parts if isinstance(constraint, Intersection) else (constraint,)


def check_bound(bound: Any, name: str) -> Bound:
    """A bound as given, a sequence as a tuple of floats."""
    if bound is None:
        return None
    if isinstance(bound, (Sequence, np.ndarray)) and not isinstance(bound, (str, bytes)):
        return tuple(checks.number(value, f"every value of {name}") for value in bound)
    return checks.number(bound, name)


def check_order(low: Bound, high: Bound) -> None:
    """Raises ValueError unless `low < high` in every channel."""
    if low is None or high is None:
        return
    _channels(low, high)
    if not np.all(np.less(low, high)):
        raise ValueError(
            checks.message("low < high", f"low={low}, high={high}", "Give the smaller bound first.")
        )


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
        check_order(self.low, self.high)

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
        length = _channels(best, bound)
        if length is None:
            best = choose(best, bound)
        else:
            pairs = zip(_spread(best, length), _spread(bound, length), strict=True)
            best = tuple(choose(a, b) for a, b in pairs)
    return best


def _channels(*bounds: Bound) -> int | None:
    """How many channels bounds have a number each for; None if each is one number for all.

    Raises:
        ValueError: if it is not the same for all that have.
    """
    lengths = {len(bound) for bound in bounds if isinstance(bound, tuple)}
    if len(lengths) > 1:
        raise ValueError(
            checks.message(
                "bounds of as many channels as one another",
                " and ".join(map(str, bounds)),
                "Give one number for every channel, or one for all.",
            )
        )
    return next(iter(lengths), None)


def _spread(bound: float | tuple[float, ...], length: int) -> tuple[float, ...]:
    return bound if isinstance(bound, tuple) else (bound,) * length
