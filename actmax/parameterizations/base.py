"""The base class of parameterizations: params that the optimizer moves, and their map to images.

The first axis of every array of params is N. `init` gives noise with mean 0. For `Pixels` it is in
units of the range's width, for the others in units before the constraint's map.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

import tensorflow as tf

from actmax import checks
from actmax.types import Params

Shape = tuple[int, ...]
# Largest amplification by which a blur is undone: beyond it float32 has no digits left.
SHARPEST = 1e3


@dataclasses.dataclass(frozen=True)
class Parameterization(abc.ABC):
    """A map from params to raw images.

    Attributes:
        are_images: True if params are the images themselves, so that a constraint can project them.
        couples_images: True if one row's params change another row's image.
        constants: names of params without a gradient in `decode`, so that no step moves them.
            `encode` uses them to store something about the start images.
    """

    are_images: ClassVar[bool] = False
    couples_images: ClassVar[bool] = False
    constants: ClassVar[tuple[str, ...]] = ()

    @property
    def invertible(self) -> bool:
        """Whether `encode` exists, so that a run can start from given images."""
        return type(self).encode is not Parameterization.encode

    @property
    def image_range(self) -> tuple[float, float] | None:
        """Range of the decoded images, if they have one; None for raw images."""
        return None

    @property
    def rate(self) -> float | None:
        """Learning rate of Adam for these params, if the user gives no optimizer; None for the default."""
        return None

    @abc.abstractmethod
    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        """Params for the first step.

        Args:
            shape: of one image, `(H, W, C)`, without the batch dimension.
            seed: int32 `[N, 2]`, one per image.
            dtype: of the images.
        """

    @abc.abstractmethod
    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        """Raw images of params, differentiable. `-> [N, *shape]`."""

    def check(self, params: Params, shape: Shape) -> None:
        """Raises ValueError if the images of params break a promise; called before a run."""

    def encode(self, images: tf.Tensor) -> Params:
        """Params whose raw images are `images`. `[N, ...] ->`.

        Raises:
            ValueError: if this parameterization has no inverse.
        """
        raise ValueError(
            checks.message(
                "a parameterization that can start from given images",
                f"{type(self).__name__}, which reaches only some images",
                "Leave initial_images out, or use actmax.Pixels() or actmax.Fourier().",
            )
        )


def image_shape(shape: Shape, owner: Parameterization) -> tuple[int, int, int]:
    """The shape `(H, W, C)` of one image; ValueError for inputs that are not images."""
    if len(shape) != 3:
        raise ValueError(
            checks.message(
                f"images (H, W, C) for {type(owner).__name__}",
                f"shape {shape}",
                "Use actmax.Pixels() for vectors, series and volumes.",
            )
        )
    return shape


def check_base(base: Parameterization, owner: Parameterization) -> None:
    """Raises unless `base` is a parameterization of raw images, which `owner` can go on with.

    Raises:
        TypeError: if it is no parameterization.
        ValueError: if its images have a range already.
    """
    name = type(owner).__name__
    if not isinstance(base, Parameterization):
        raise TypeError(
            checks.message(
                f"a parameterization as the base of {name}", repr(base), "Use actmax.Fourier()."
            )
        )
    if base.image_range is not None:
        raise ValueError(
            checks.message(
                f"a base of raw images for {name}",
                f"{type(base).__name__}, whose images are in {base.image_range}",
                "Use it alone, or around the others.",
            )
        )
