"""Images as sums over scales: a Laplacian pyramid, and low-resolution layers on any base."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.gradients import along_axis
from actmax.parameterizations.base import Parameterization, Shape, check_base
from actmax.parameterizations.fourier import Fourier
from actmax.resizing import resize_matrix
from actmax.types import Params
from regularizers import random


@functools.lru_cache(maxsize=256)
def _reducing(large: int, small: int) -> np.ndarray:
    """Weighted means of a line of `large` values, with the weights of `resize_matrix`. `[small, large]`."""
    weights = resize_matrix(small, large).T
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _resized(
    images: tf.Tensor, sizes: Shape, matrix_of: Callable[[int, int], np.ndarray]
) -> tf.Tensor:
    """Images at other spatial sizes, axis by axis. `[N, ..., C] -> [N, *sizes, C]`."""
    for axis, size in enumerate(sizes, start=1):
        given = int(images.shape[axis])
        if given != size:
            matrix = matrix_of(given, size)
            images = along_axis(tf.constant(matrix, images.dtype), images, axis)
    return images


def _enlarged(images: tf.Tensor, sizes: Shape) -> tf.Tensor:
    return _resized(images, sizes, resize_matrix)


def _reduced(images: tf.Tensor, sizes: Shape) -> tf.Tensor:
    return _resized(images, sizes, _reducing)


def _check_spatial(shape: Shape, owner: Parameterization) -> Shape:
    """Spatial sizes of a shape `(..., C)`."""
    if len(shape) < 2:
        raise ValueError(
            checks.message(
                f"images with at least one spatial axis, (..., C), for {type(owner).__name__}",
                f"shape {shape}",
                "Use actmax.Pixels() for vectors.",
            )
        )
    return tuple(shape[:-1])


@functools.lru_cache(maxsize=256)
def _scales(sizes: tuple[Shape, ...]) -> list[float]:
    """`a_k` of every layer, from the mean over pixels of the variance that unit params give."""
    spreads = [np.eye(size) for size in sizes[0]]
    scales = [1.0]
    for larger, smaller in itertools.pairwise(sizes):
        pairs = zip(spreads, larger, smaller, strict=True)
        spreads = [spread @ resize_matrix(b, a) for spread, a, b in pairs]
        variance = math.prod(float(np.mean(np.sum(m**2, axis=1))) for m in spreads)
        scales.append(variance**-0.5)
    return [scale / math.sqrt(len(sizes)) for scale in scales]


@dataclasses.dataclass(frozen=True)
class LaplacianPyramid(Parameterization):
    """A sum of layers, each half as large as the last, enlarged step by step. `-> [N, ..., C]`.

    `x = a_0 z_0 + up(a_1 z_1 + up(a_2 z_2 + ...))`, where `up` doubles the sizes by linear
    interpolation. The `a_k` give every layer the same share of the variance, as in images with a
    `1/f` spectrum. Params of unit variance give pixels of unit variance, for every size and number
    of levels. It works for 1, 2 and 3 spatial axes.

    Every image can be encoded exactly: `z_k` is the difference to the enlarged next layer, as in
    Burt and Adelson, The Laplacian Pyramid as a Compact Image Code, 1983,
    https://doi.org/10.1109/TCOM.1983.1095851. As a parameterization: Mordvintsev, Pezzotti, Schubert
    and Olah, Differentiable Image Parameterizations, Distill 2018,
    https://doi.org/10.23915/distill.00012.

    Args:
        levels: number of layers, at least 1; 1 is pixels. The smallest layer must be smaller than
            the one before it.
        std: standard deviation of the raw image at the start.

    Raises:
        ValueError: if the image is too small for so many levels.

    Example:
        >>> import tensorflow as tf
        >>> import actmax
        >>> part = actmax.LaplacianPyramid(levels=3)
        >>> [leaf.shape[1:] for leaf in part.init((8, 6, 3), tf.constant([[0, 1]]))]
        [TensorShape([8, 6, 3]), TensorShape([4, 3, 3]), TensorShape([2, 2, 3])]
    """

    levels: int = 4
    std: float = 0.05

    def __post_init__(self) -> None:
        checks.integer(self.levels, "levels", low=1)
        checks.number(self.std, "std", low=0.0)

    def _sizes(self, shape: Shape) -> list[Shape]:
        """Spatial sizes of every layer, the largest first."""
        sizes = [_check_spatial(shape, self)]
        for _ in range(self.levels - 1):
            half = tuple(math.ceil(size / 2) for size in sizes[-1])
            if half == sizes[-1]:
                raise ValueError(
                    checks.message(
                        f"at most {len(sizes)} levels for images {shape}",
                        f"levels={self.levels}",
                        "A layer of one value cannot be halved.",
                    )
                )
            sizes.append(half)
        return sizes

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        return [
            random.normal(
                random.fold_in(seed, level), [*sizes, shape[-1]], std=self.std, dtype=dtype
            )
            for level, sizes in enumerate(self._sizes(shape))
        ]

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        sizes = self._sizes(shape)
        scales = _scales(tuple(sizes))
        images = scales[-1] * params[-1]
        for level in reversed(range(self.levels - 1)):
            images = scales[level] * params[level] + _enlarged(images, sizes[level])
        return images

    def encode(self, images: tf.Tensor) -> Params:
        shape = tuple(int(size) for size in images.shape[1:])
        sizes = self._sizes(shape)
        scales = _scales(tuple(sizes))
        params = []
        for level in range(self.levels - 1):
            smaller = _reduced(images, sizes[level + 1])
            params.append((images - _enlarged(smaller, sizes[level])) / scales[level])
            images = smaller
        return [*params, images / scales[-1]]


@dataclasses.dataclass(frozen=True)
class LowResolutionSum(Parameterization):
    """Another parameterization plus enlarged layers of low resolution. `-> [N, ..., C]`.

    `x = base + sum_k up_k(z_k)`, where `up_k` is linear interpolation from `1/factors[k]` of the size.
    The layers start at 0, so the start image is that of the base. With `shared`, all images of the
    batch use the mean of their layers, so they have the same coarse layout and colors. You can then
    compare pictures of different targets position by position, or cross-fade them. In this case one
    image's params change the other images, and `couples_images` is True.

    Source: Mordvintsev, Pezzotti, Schubert and Olah, Differentiable Image Parameterizations, Distill
    2018, https://doi.org/10.23915/distill.00012 ("aligned feature visualization interpolation").

    Args:
        base: the parameterization that every image has for itself.
        factors: by how much smaller each layer is, whole numbers above 1.
        shared: True if all images share the layers.

    Raises:
        TypeError: if the base is no parameterization.
        ValueError: if a factor is larger than the largest side, or the images of the base have their own
            range.

    Example:
        >>> import actmax
        >>> actmax.LowResolutionSum(shared=True).couples_images
        True
    """

    base: Parameterization = dataclasses.field(default_factory=Fourier)
    factors: tuple[int, ...] = (2, 4, 8)
    shared: bool = False

    def __post_init__(self) -> None:
        check_base(self.base, self)
        given: Any = self.factors
        if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
            raise TypeError(checks.message("factors to be a tuple of numbers", repr(given)))
        factors = tuple(checks.integer(f, "every one of factors", low=2) for f in given)
        if not factors:
            raise ValueError(checks.message("at least one factor", "none", "Use the base alone."))
        if not isinstance(self.shared, bool):
            raise TypeError(checks.message("shared to be True or False", repr(self.shared)))
        object.__setattr__(self, "factors", factors)

    @property
    def invertible(self) -> bool:
        return self.base.invertible

    @property
    def rate(self) -> float | None:
        return self.base.rate

    @property
    def couples_images(self) -> bool:  # type: ignore[override]
        return self.shared or self.base.couples_images

    def _sizes(self, shape: Shape) -> list[Shape]:
        spatial = _check_spatial(shape, self)
        if max(self.factors) > max(spatial):
            raise ValueError(
                checks.message(
                    f"factors of at most {max(spatial)} for images {shape}", f"{self.factors}"
                )
            )
        return [tuple(math.ceil(size / factor) for size in spatial) for factor in self.factors]

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        base = self.base.init(shape, seed, dtype)
        return {"base": base, "layers": self._layers(shape, tf.shape(seed)[0], dtype)}

    def _layers(self, shape: Shape, count: tf.Tensor, dtype: tf.DType) -> list[tf.Tensor]:
        return [tf.zeros([count, *sizes, shape[-1]], dtype) for sizes in self._sizes(shape)]

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        images = self.base.decode(params["base"], shape)
        *others, last = shape[:-1]
        axis = len(shape) - 1
        layers, matrices = [], []
        for layer in params["layers"]:
            common = tf.reduce_mean(layer, axis=0, keepdims=True) if self.shared else layer
            layers.append(_enlarged(common, tuple(others)))
            matrices.append(resize_matrix(int(layer.shape[axis]), last))
        # The last axis is the one at full size: one product for all layers side by side.
        matrix = tf.constant(np.concatenate(matrices, axis=1), images.dtype)
        return images + along_axis(matrix, tf.concat(layers, axis), axis)

    def encode(self, images: tf.Tensor) -> Params:
        shape = tuple(int(size) for size in images.shape[1:])
        layers = self._layers(shape, tf.shape(images)[0], images.dtype)
        return {"base": self.base.encode(images), "layers": layers}
