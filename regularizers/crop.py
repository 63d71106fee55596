"""Crops of whole pixels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import tensorflow as tf

from regularizers import random
from regularizers.base import Transform, check_number, check_spatial
from regularizers.slopes import custom_gradient


@dataclasses.dataclass(frozen=True)
class RandomCrop(Transform):
    """Cuts a box of whole pixels out of each image. `[N, H, W, C] -> [N, h, w, C]`.

    Also for 1 or 3 spatial axes. All positions of the box inside the image are equally likely, with
    one draw for each image and axis. Nothing is resampled, and the gradient goes back to the same
    pixels. If the model has another input size, the crop is resized.

    Args:
        size: of the crop, a whole number of at least 1 for each spatial axis, such as `(24, 24)`.

    Raises:
        ValueError: if size is not whole numbers of at least 1, has not one for each spatial axis, or
            is larger than the image.

    Example:
        >>> import tensorflow as tf
        >>> seeds = tf.constant([[0, 1], [0, 2]])
        >>> RandomCrop((6, 5))(tf.ones([2, 8, 8, 3]), seeds, tf.constant(0)).shape
        TensorShape([2, 6, 5, 3])

    Source:
        Mahendran, Vedaldi 2016, https://arxiv.org/abs/1512.02017 (jitter by crops of a larger image).
    """

    keeps_range: ClassVar[bool] = True

    size: tuple[int, ...]

    def __post_init__(self) -> None:
        given: Any = self.size
        if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
            raise TypeError(
                f"Expected the size of {self.name} to be a tuple, one number for each spatial axis. "
                f"Received: {self.size!r}. Write ({self.size!r}, {self.size!r}) for a square."
            )
        for number in given:
            if check_number(number, f"size of {self.name}", at_least=1.0) != int(number):
                raise ValueError(
                    f"Expected the size of {self.name} to be whole numbers. Received: {self.size!r}."
                )
        object.__setattr__(self, "size", tuple(int(number) for number in self.size))

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        axes = check_spatial(images, self.name)
        given = tuple(int(images.shape[axis]) for axis in axes)
        if len(given) != len(self.size) or any(
            own > size for own, size in zip(self.size, given, strict=True)
        ):
            raise ValueError(
                f"Expected a crop of at most {given}, the image's size, in {self.name}. Received: "
                f"{self.size}. Make it smaller, or the canvas larger."
            )
        room = tf.constant(
            [size - own for size, own in zip(given, self.size, strict=True)], tf.int32
        )
        return crop(images, random.integers(seeds, [len(axes)], 0, room), self.size)


def crop(images: tf.Tensor, corners: tf.Tensor, sizes: tuple[int, ...]) -> tf.Tensor:
    """The box of `sizes` from each image's own corner. `[N, ..., C], [N, axes] -> [N, *sizes, C]`.

    Args:
        images: with static sizes but N.
        corners: int32, first index along each spatial axis; the box must lie inside.
        sizes: of the box.
    """
    whole, channels = tuple(images.shape[1:-1]), images.shape[-1]

    @custom_gradient
    def cut(images: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # Gathered too: every pixel of the image reads where it went, or 0 outside of the box.
            places = [
                tf.range(size) - corners[:, axis : axis + 1] for axis, size in enumerate(whole)
            ]
            read = _gathered(
                upstream,
                [tf.clip_by_value(p, 0, own - 1) for p, own in zip(places, sizes, strict=True)],
            )
            for axis, (place, own) in enumerate(zip(places, sizes, strict=True)):
                shape = [-1, *(whole[axis] if other == axis else 1 for other in range(len(whole)))]
                inside = tf.reshape((place >= 0) & (place < own), [*shape, 1])
                read = tf.where(inside, read, tf.zeros([], read.dtype))
            return read

        places = [tf.range(own) + corners[:, axis : axis + 1] for axis, own in enumerate(sizes)]
        return tf.ensure_shape(_gathered(images, places), [None, *sizes, channels]), gradient

    return cut(images)


def _gathered(images: tf.Tensor, places: list[tf.Tensor]) -> tf.Tensor:
    """Pixels of each image at its own places along each axis. `[N, ..., C], axes x [N, n] -> ...`."""
    sizes = tuple(int(size) for size in images.shape[1:-1])
    index = tf.range(tf.shape(images)[0]) * math.prod(sizes)
    index = tf.reshape(index, [-1] + [1] * len(sizes))
    for axis, place in enumerate(places):
        shape = [1] * len(sizes)
        shape[axis] = int(place.shape[1])
        index += tf.reshape(place * math.prod(sizes[axis + 1 :]), [-1, *shape])
    flat = tf.reshape(images, [-1, images.shape[-1]])
    return tf.gather(flat, index)
