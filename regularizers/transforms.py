"""Transforms: random changes of the images before the model sees them. `[N, ...] -> [N, ...]`.

All draws come from each row's own seeds, so a row's change does not depend on the other rows.
Strengths are numbers, or schedules: functions of the step, evaluated in the graph.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import tensorflow as tf

from regularizers import random
from regularizers.affine import RandomBox, Rotate, Scale, Shift
from regularizers.axes import Axes, check_axes, chosen_axes
from regularizers.base import (
    Strength,
    Transform,
    check_number,
    check_spatial,
    check_strength,
    image_sizes,
    value_at,
)
from regularizers.color import ColorShift
from regularizers.crop import RandomCrop
from regularizers.slopes import custom_gradient
from regularizers.warp import Affine, compose, coordinate_dtype

__all__ = [
    "Affine",
    "Blur",
    "ColorShift",
    "Flip",
    "Jitter",
    "Noise",
    "Pad",
    "RandomBox",
    "RandomCrop",
    "Rotate",
    "Scale",
    "Shift",
    "compose",
]


@dataclasses.dataclass(frozen=True)
class Jitter(Transform):
    """Shifts each image by whole pixels, around the border. `[N, ..., C] -> [N, ..., C]`.

    The shift is an integer, uniform on `-pixels, ..., pixels`, with one for each image and each
    spatial axis. Values that leave on one side enter on the other. The mean shift is 0, and both
    ends are included. The gradient is shifted back.

    Args:
        pixels: largest shift, a whole number of at least 0, in pixels; or a schedule of the step,
            rounded to the nearest whole number.
        axes: the axes that it acts along, counted as in a batch: (2, 3) for the space of films
            [N, T, H, W, C]. None for all between the first and the last.

    Raises:
        ValueError: if pixels is negative or not a whole number, or images have no spatial axis.

    Example:
        >>> import tensorflow as tf
        >>> seeds = tf.constant([[0, 1], [0, 2]])
        >>> Jitter(2)(tf.ones([2, 8, 8, 3]), seeds, tf.constant(0)).shape
        TensorShape([2, 8, 8, 3])

    Source:
        Mordvintsev, Olah, Tyka 2015, https://github.com/google/deepdream.
    """

    keeps_range: ClassVar[bool] = True
    keeps_shape: ClassVar[bool] = True

    pixels: Strength
    axes: Axes = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", check_axes(self.axes, self.name))
        check_strength(self.pixels, f"pixels of {self.name}", at_least=0.0)
        if not callable(self.pixels) and self.pixels != int(self.pixels):
            raise ValueError(
                f"Expected the pixels of {self.name} to be a whole number. Received: "
                f"{self.pixels!r}. Use Shift for fractions of pixels."
            )

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        chosen_axes(images, self.axes, self.name)
        return roll(images, self._shifts(images.shape.rank - 2, seeds, step))

    def _shifts(self, space: int, seeds: tf.Tensor, step: tf.Tensor | None) -> tf.Tensor:
        limit = tf.cast(tf.round(value_at(self.pixels, step, tf.float32)), tf.int32)
        axes = self.axes or tuple(range(1, space + 1))
        drawn = random.integers(seeds, [len(axes)], -limit, limit)
        if len(axes) == space:
            return drawn
        still = tf.zeros_like(drawn[:, 0])
        columns = dict(zip(axes, tf.unstack(drawn, axis=1), strict=True))
        return tf.stack([columns.get(axis, still) for axis in range(1, space + 1)], axis=1)

    def ahead(self, shape: tuple[int, ...], seeds: tf.Tensor, rows: tf.Tensor) -> tf.Tensor | None:
        """Where pixels come from and go to, `[M, 2 (H + W)]`; None if pixels is a schedule."""
        if callable(self.pixels) or len(shape) < 2 or max(self.axes or (0,)) >= len(shape):
            return None
        return _sources(self._shifts(len(shape) - 1, seeds, None), shape[:-1], rows)

    def apply(self, images: tf.Tensor, ahead: tf.Tensor) -> tf.Tensor:
        """Shifts by what was drawn ahead. `[N, ..., C], [N, 2 (H + W)] -> [N, ..., C]`."""
        return _permuted(images, ahead)


def roll(images: tf.Tensor, shifts: tf.Tensor) -> tf.Tensor:
    """`numpy.roll` of every image by its own shifts. `[N, ..., C], [N, axes] -> [N, ..., C]`.

    Args:
        images: with static sizes but N.
        shifts: int32, one for each image and spatial axis, of any size and sign.
    """
    sizes = image_sizes(images, "roll")[:-1]
    return _permuted(images, _sources(shifts, sizes, tf.shape(shifts)[0]))


def _sources(shifts: tf.Tensor, sizes: tuple[int, ...], rows: tf.Tensor) -> tf.Tensor:
    """Terms of the flat index of pixels, for every axis there and then for every axis back.

    `[M, axes] -> [M, 2 (H + W + ...)]`. The index of a pixel is the sum of one term for each axis;
    the first axis' terms hold where the image begins in a batch of `rows`.
    """
    first = tf.math.floormod(tf.range(tf.shape(shifts)[0]), rows)[:, None] * math.prod(sizes)
    terms = []
    for signed in (shifts, -shifts):
        for axis, size in enumerate(sizes):
            source = tf.math.floormod(tf.range(size) - signed[:, axis : axis + 1], size)
            source *= math.prod(sizes[axis + 1 :])
            terms.append(source + first if axis == 0 else source)
    return tf.concat(terms, axis=1)


def _permuted(images: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    """Images with their pixels gathered from `_sources`, and the gradient gathered back."""
    sizes = tuple(int(size) for size in images.shape[1:-1])
    terms = tf.split(sources, [*sizes, *sizes], axis=1)

    def rolled(images: tf.Tensor, terms: list[tf.Tensor]) -> tf.Tensor:
        index = 0
        for axis, term in enumerate(terms):
            shape = [1] * len(sizes)
            shape[axis] = sizes[axis]
            index += tf.reshape(term, [-1, *shape])
        flat = tf.reshape(images, [-1, images.shape[-1]])
        return tf.reshape(tf.gather(flat, tf.reshape(index, [-1])), [-1, *images.shape[1:]])

    @custom_gradient
    def permuted(images: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            upstream = tf.ensure_shape(upstream, [None, *images.shape[1:]])
            return rolled(upstream, terms[len(sizes) :])

        return rolled(images, terms[: len(sizes)]), gradient

    return permuted(images)


@dataclasses.dataclass(frozen=True)
class Flip(Transform):
    """Mirrors each image with probability 1/2. `[N, ..., C] -> [N, ..., C]`.

    Args:
        axis: "horizontal" exchanges left and right (the last spatial axis), "vertical" up and down
            (the one before it).

    Raises:
        ValueError: if axis is neither, or images lack it.

    Example:
        >>> import tensorflow as tf
        >>> seeds = tf.constant([[0, 1], [0, 2]])
        >>> Flip()(tf.ones([2, 8, 8, 3]), seeds, tf.constant(0)).shape
        TensorShape([2, 8, 8, 3])

    Source:
        Krizhevsky, Sutskever, Hinton 2012, https://doi.org/10.1145/3065386.
    """

    keeps_range: ClassVar[bool] = True
    keeps_shape: ClassVar[bool] = True

    axis: str = "horizontal"

    def __post_init__(self) -> None:
        if self.axis not in ("horizontal", "vertical"):
            raise ValueError(
                f"Expected the axis of {self.name} to be 'horizontal' or 'vertical'. Received: "
                f"{self.axis!r}. For both, give two flips."
            )

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        back = 1 if self.axis == "horizontal" else 2
        axis = check_spatial(images, f"{self.name} ({self.axis})", at_least=back)[-back]
        chosen = random.integers(seeds, [1] * (images.shape.rank - 1), 0, 1) > 0
        return tf.where(chosen, tf.reverse(images, [axis]), images)


@dataclasses.dataclass(frozen=True)
class Noise(Transform):
    """Adds normal noise, independent for every value. `[N, ...] -> [N, ...]`.

    Args:
        std: standard deviation, at least 0, in units of the images; a number or a schedule of the
            step.

    Raises:
        ValueError: if std is negative or not finite.

    Example:
        >>> import tensorflow as tf
        >>> seeds = tf.constant([[0, 1], [0, 2]])
        >>> Noise(0.1)(tf.ones([2, 8, 8, 3]), seeds, tf.constant(0)).shape
        TensorShape([2, 8, 8, 3])

    Source:
        Smilkov, Thorat, Kim, Viegas, Wattenberg 2017, https://arxiv.org/abs/1706.03825.
    """

    keeps_shape: ClassVar[bool] = True

    std: Strength

    def __post_init__(self) -> None:
        check_strength(self.std, f"std of {self.name}", at_least=0.0)

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        sizes = image_sizes(images, self.name)
        std = value_at(self.std, step, images.dtype)
        return images + random.normal(seeds, sizes, 0.0, std, images.dtype)


@dataclasses.dataclass(frozen=True)
class Pad(Transform):
    """Adds a border on all sides. `[N, H, W, C] -> [N, H + 2 pixels, W + 2 pixels, C]`.

    It is not random. Put it before `Jitter` or `Rotate`, so that pixels do not come in from the
    other side.

    Args:
        pixels: width of the border, a whole number of at least 0. It cannot be a schedule, because it
            sets the shape.
        value: value of the border, in units of the images: a number, a schedule of the step, "edge",
            which repeats the outermost values, or "reflect", which mirrors the image without repeating
            the outermost values, so that their gradient is not larger than that of their neighbours.
        axes: the axes that it acts along, counted as in a batch: (2, 3) for the space of films
            [N, T, H, W, C]. None for all between the first and the last.

    Raises:
        ValueError: if pixels is negative or not a whole number, images have no spatial axis, or are too
            small to be mirrored.

    Example:
        >>> import tensorflow as tf
        >>> seeds = tf.constant([[0, 1], [0, 2]])
        >>> Pad(2, value=0.5)(tf.ones([2, 8, 8, 3]), seeds, tf.constant(0)).shape
        TensorShape([2, 12, 12, 3])

    Source:
        Olah, Mordvintsev, Schubert 2017, https://doi.org/10.23915/distill.00007.
    """

    draws: ClassVar[bool] = False

    pixels: int
    value: Strength | str = "edge"
    axes: Axes = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", check_axes(self.axes, self.name))
        number = check_number(self.pixels, f"pixels of {self.name}", at_least=0.0)
        if number != int(number):
            raise ValueError(
                f"Expected the pixels of {self.name} to be a whole number. Received: "
                f"{self.pixels!r}. Round it."
            )
        if isinstance(self.value, str):
            if self.value not in ("edge", "reflect"):
                raise ValueError(
                    f"Expected the value of {self.name} to be a number, a schedule, 'edge' or 'reflect'. "
                    f"Received: {self.value!r}. Use 'edge' to repeat the outermost values."
                )
        else:
            check_strength(self.value, f"value of {self.name}")

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        axes = chosen_axes(images, self.axes, self.name)
        pixels = int(self.pixels)
        border = [[pixels, pixels] if axis in axes else [0, 0] for axis in range(images.shape.rank)]
        if not isinstance(self.value, str):
            value = value_at(self.value, step, images.dtype)
            return tf.pad(images, border, constant_values=value)
        if self.value == "reflect":
            short = [images.shape[axis] for axis in axes if images.shape[axis] <= pixels]
            if short:
                raise ValueError(
                    f"Expected sizes of more than {pixels}, which {self.name} can mirror. Received: "
                    f"{min(short)}. Use fewer pixels, or 'edge'."
                )
            return tf.pad(images, border, mode="REFLECT")
        for axis in axes:
            # Repeating the two edges has a cheaper gradient than a gather of the whole.
            first, *_, last = (
                tf.split(images, [1, images.shape[axis] - 2, 1], axis)
                if (images.shape[axis] > 1)
                else (images, images)
            )
            before, after = tf.repeat(first, pixels, axis), tf.repeat(last, pixels, axis)
            images = tf.concat([before, images, after], axis)
        return images


@dataclasses.dataclass(frozen=True)
class Blur(Transform):
    """Smooths each image with a Gaussian along every spatial axis. `[N, ..., C] -> [N, ..., C]`.

    The weight of a value at distance k is `exp(-k^2 / (2 sigma^2))`, divided by the sum of all
    weights. The border is replicated. The blur is not random. Each axis is one product with an
    `[n, n]` matrix, so sigma can change during the loop at no cost, and the gradient is the exact
    adjoint. On GPUs that multiply float32 as TF32, the weights have 10 bits.

    Args:
        sigma: standard deviation, at least 0, in pixels; a number or a schedule of the step.
        axes: the axes that it acts along, counted as in a batch: (2, 3) for the space of films
            [N, T, H, W, C]. None for all between the first and the last.

    Raises:
        ValueError: if sigma is negative or not finite, or images have no spatial axis.

    Example:
        >>> import tensorflow as tf
        >>> seeds = tf.constant([[0, 1], [0, 2]])
        >>> Blur(1.0)(tf.ones([2, 8, 8, 3]), seeds, tf.constant(0)).shape
        TensorShape([2, 8, 8, 3])

    Source:
        Yosinski, Clune, Nguyen, Fuchs, Lipson 2015, https://arxiv.org/abs/1506.06579.
    """

    keeps_range: ClassVar[bool] = True
    keeps_shape: ClassVar[bool] = True
    draws: ClassVar[bool] = False

    sigma: Strength
    axes: Axes = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", check_axes(self.axes, self.name))
        check_strength(self.sigma, f"sigma of {self.name}", at_least=0.0)

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        axes = chosen_axes(images, self.axes, self.name)
        dtype = coordinate_dtype(images)
        sigma = value_at(self.sigma, step, dtype)
        result = tf.cast(images, dtype)
        for axis in axes:
            result = _product(_gaussian(images.shape[axis], sigma), result, axis)
        return tf.cast(result, images.dtype)


def _gaussian(size: int, sigma: tf.Tensor) -> tf.Tensor:
    """Weights of inputs (columns) in outputs (rows), the replicated border folded in. `[n, n]`."""
    # One more image on either side: the weights beyond belong to the border as well.
    position = tf.range(-size, 2 * size, dtype=sigma.dtype)
    distance = tf.range(size, dtype=sigma.dtype)[:, None] - position
    # At sigma = 0 the exponent is 0 on the diagonal, and off it so low that the weight is 0.
    spread = tf.maximum(2 * tf.square(sigma), 1e-30)
    weights = tf.exp(-tf.square(distance) / spread)
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    before, inside, after = tf.split(weights, 3, axis=1)
    column = tf.range(size)
    first = tf.cast(column == 0, sigma.dtype) * tf.reduce_sum(before, axis=1, keepdims=True)
    last = tf.cast(column == size - 1, sigma.dtype) * tf.reduce_sum(after, axis=1, keepdims=True)
    return inside + first + last


def _product(matrix: tf.Tensor, images: tf.Tensor, axis: int) -> tf.Tensor:
    """A matrix times every line of images along an axis. `[n, n], [N, ..., C] -> [N, ..., C]`."""
    sizes = images.shape[1:]
    # With the axis second, all that comes after it is the long side of one product.
    order = list(range(len(sizes) + 1))
    order[1], order[axis] = order[axis], order[1]
    moved = tf.transpose(images, order) if axis > 1 else images
    shape = [-1, *moved.shape[1:]]
    product = tf.linalg.matmul(
        matrix, tf.reshape(moved, [-1, sizes[axis - 1], math.prod(shape[2:])])
    )
    product = tf.reshape(product, shape)
    return tf.transpose(product, order) if axis > 1 else product
