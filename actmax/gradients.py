"""Gradient functions `[N, ...] -> [N, ...]`: what happens to the gradient before the optimizer.

Each works on every image by itself. A gradient function is a plain function; those with settings are
made by calling the function here with its settings.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import tensorflow as tf

from actmax import checks
from regularizers.base import image_axes, spatial_axes


@dataclasses.dataclass(frozen=True)
class Normalize:
    """`g / norm(g)` for every image; a zero gradient stays zero. `[N, ...] -> [N, ...]`.

    Args:
        norm: "l2" (square root of the sum of squares), "rms" (square root of the mean of squares),
            or "mean_abs" (mean of absolute values, as DeepDream: Mordvintsev et al., 2015,
            https://github.com/google/deepdream).

    Example:
        >>> import tensorflow as tf
        >>> import actmax
        >>> actmax.Normalize("mean_abs")(tf.constant([[3.0, 9.0], [0.0, 0.0]])).numpy().tolist()
        [[0.5, 1.5], [0.0, 0.0]]
    """

    norm: Literal["l2", "rms", "mean_abs"] = "rms"

    def __post_init__(self) -> None:
        checks.one_of(self.norm, "norm", ("l2", "rms", "mean_abs"))

    def __call__(self, gradients: tf.Tensor) -> tf.Tensor:
        axes = image_axes(gradients)
        # Scaled by the largest value first, so that squares neither overflow nor vanish.
        largest = tf.reduce_max(tf.abs(gradients), axes, keepdims=True)
        unit = tf.math.divide_no_nan(gradients, largest)
        if self.norm == "mean_abs":
            size = tf.reduce_mean(tf.abs(unit), axes, keepdims=True)
        elif self.norm == "rms":
            size = tf.sqrt(tf.reduce_mean(tf.square(unit), axes, keepdims=True))
        else:
            size = tf.sqrt(tf.reduce_sum(tf.square(unit), axes, keepdims=True))
        return tf.math.divide_no_nan(unit, size)


@dataclasses.dataclass(frozen=True)
class ClipNorm:
    """Scales the gradient of an image down to L2 norm `limit` where it is longer. `[N, ...] -> [N, ...]`."""

    limit: float

    def __post_init__(self) -> None:
        checks.number(self.limit, "limit", low=0.0)

    def __call__(self, gradients: tf.Tensor) -> tf.Tensor:
        axes = image_axes(gradients)
        # Scaled by the largest value first, so that squares neither overflow nor vanish.
        largest = tf.reduce_max(tf.abs(gradients), axes, keepdims=True)
        unit = tf.math.divide_no_nan(gradients, largest)
        size = tf.sqrt(tf.reduce_sum(tf.square(unit), axes, keepdims=True))
        limit = tf.constant(self.limit, gradients.dtype)
        clipped = unit * tf.math.divide_no_nan(limit, size)
        return tf.where(largest * size > limit, clipped, gradients)


@dataclasses.dataclass(frozen=True)
class ClipValue:
    """Clips every value of the gradient to `[-limit, limit]`. `[N, ...] -> [N, ...]`."""

    limit: float

    def __post_init__(self) -> None:
        checks.number(self.limit, "limit", low=0.0)

    def __call__(self, gradients: tf.Tensor) -> tf.Tensor:
        limit = tf.constant(self.limit, gradients.dtype)
        return tf.clip_by_value(gradients, -limit, limit)


@dataclasses.dataclass(frozen=True)
class BlurGradient:
    """Gaussian blur of the gradient: ascent in a Sobolev-like metric. `[N, H, W, C] -> [N, H, W, C]`.

    Source: Walker et al., Inception loops, Nature Neuroscience 2019,
    https://doi.org/10.1038/s41593-019-0517-x, which preconditions the gradient in this way.

    Args:
        sigma: standard deviation in pixels; 0 leaves the gradient alone.
    """

    sigma: float

    def __post_init__(self) -> None:
        checks.number(self.sigma, "sigma", low=0.0)

    def __call__(self, gradients: tf.Tensor) -> tf.Tensor:
        for axis in spatial_axes(gradients):
            gradients = blur_axis(gradients, self.sigma, axis)
        return gradients


@dataclasses.dataclass(frozen=True)
class InverseFrequency:
    """Damps high frequencies of the gradient by a power law. `[N, H, W, C] -> [N, H, W, C]`.

    The gradient's spectrum times `1 / max(1, (fx^2 + fy^2)^power)`, frequencies in cycles per image,
    divided by the mean of that filter.

    Source: Walker et al., Inception loops, Nature Neuroscience 2019,
    https://doi.org/10.1038/s41593-019-0517-x, code https://github.com/cajal/inception_loop2019.

    Args:
        power: 0 or more; 0 leaves the gradient alone. 0.1 in the paper's code.
    """

    power: float = 0.1

    def __post_init__(self) -> None:
        checks.number(self.power, "power", low=0.0)

    def __call__(self, gradients: tf.Tensor) -> tf.Tensor:
        if gradients.shape.rank != 4:
            raise ValueError(
                checks.message("gradients [N, H, W, C]", f"shape {tuple(gradients.shape)}")
            )
        height, width = int(gradients.shape[1]), int(gradients.shape[2])
        rows = np.fft.fftfreq(height, 1.0 / height)[:, None]
        full = np.fft.fftfreq(width, 1.0 / width)[None, :]
        keep = 1.0 / np.maximum(1.0, (rows**2 + full**2) ** self.power)
        kept = tf.constant((keep / keep.mean())[:, : width // 2 + 1], gradients.dtype)
        spectrum = tf.signal.rfft2d(tf.transpose(gradients, [0, 3, 1, 2]))
        filtered = tf.signal.irfft2d(
            spectrum * tf.cast(kept, spectrum.dtype), fft_length=[height, width]
        )
        return tf.transpose(filtered, [0, 2, 3, 1])


def blur_matrix(size: int, sigma: float | tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Matrix that blurs a line of `size` values with a Gaussian; rows sum to 1. `[size, size]`.

    Built from distances, so the border is renormalized, not padded: a constant stays constant.
    """
    positions = tf.cast(tf.range(size), tf.float64)
    distance = positions[:, None] - positions[None, :]
    wide = sigma if tf.is_tensor(sigma) else tf.constant(sigma, tf.float64)
    spread = 2.0 * tf.square(tf.maximum(tf.cast(wide, tf.float64), 1e-6))
    weights = tf.exp(-tf.square(distance) / spread)
    return tf.cast(weights / tf.reduce_sum(weights, axis=1, keepdims=True), dtype)


def blur_axis(values: tf.Tensor, sigma: float | tf.Tensor, axis: int) -> tf.Tensor:
    """Gaussian blur along one spatial axis. `[N, ..., C] -> [N, ..., C]`."""
    if not tf.is_tensor(sigma) and sigma == 0:
        return values
    return along_axis(blur_matrix(values.shape[axis], sigma, values.dtype), values, axis)


def along_axis(matrix: tf.Tensor, values: tf.Tensor, axis: int) -> tf.Tensor:
    """A matrix `[m, m]` applied along one spatial axis of size m. `[N, ..., C] -> [N, ..., C]`."""
    moved = tf.tensordot(values, matrix, axes=[[axis], [1]])
    order = list(range(values.shape.rank - 1))
    order.insert(axis, values.shape.rank - 1)
    return tf.transpose(moved, order)
