"""Gradient functions `[N, ...] -> [N, ...]`: they change the gradient before the optimizer uses it.

Each works on every image separately. A gradient function is a plain function, or an object that is
made by calling a class here with its settings. A class with `of_images = True` is for gradients in the
shape of the images, so params must be images (`Pixels`).
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import numpy as np
import tensorflow as tf

from actmax import checks
from regularizers.base import Strength, image_axes, spatial_axes


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

    Any number of spatial axes. With a constraint, the run converges to a point where the blurred
    gradient vanishes: on a sphere a linear unit with kernel w ends at the blurred w, not at w. To get
    the optimum, let the blur fall to 0: `BlurGradient(actmax.Linear(2.0, 0.0, 500))`.

    Source: Walker et al., Inception loops, Nature Neuroscience 2019,
    https://doi.org/10.1038/s41593-019-0517-x, which preconditions the gradient in this way.

    Args:
        sigma: standard deviation in pixels, for all spatial axes or one for each (frames and pixels are
            different); each a number, or a schedule of the step with its own number of steps. 0 does not
            change the gradient.
    """

    sigma: Strength | tuple[Strength, ...]
    of_images: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.sigma, (tuple, list)):
            for each in self.sigma:
                _strength(each, "every sigma")
            object.__setattr__(self, "sigma", tuple(self.sigma))
        else:
            _strength(self.sigma, "sigma")

    def __call__(self, gradients: tf.Tensor, step: tf.Tensor | None = None) -> tf.Tensor:
        axes = spatial_axes(gradients)
        sigmas = self.sigma if isinstance(self.sigma, tuple) else (self.sigma,) * len(axes)
        if len(sigmas) != len(axes):
            raise ValueError(
                checks.message(f"a sigma for each of {len(axes)} spatial axes", f"{len(sigmas)}")
            )
        for axis, sigma in zip(axes, sigmas, strict=True):
            gradients = blur_axis(gradients, _at(sigma, step), axis)
        return gradients


@dataclasses.dataclass(frozen=True)
class InverseFrequency:
    """Damps high frequencies of the gradient by a power law. `[N, H, W, C] -> [N, H, W, C]`.

    The gradient's spectrum times `1 / max(1, (fx^2 + fy^2)^power)`, frequencies in cycles per image,
    divided by the mean of that filter; over one, two or three spatial axes: series, images, video.

    Source: Walker et al., Inception loops, Nature Neuroscience 2019,
    https://doi.org/10.1038/s41593-019-0517-x, code https://github.com/cajal/inception_loop2019.

    Args:
        power: 0 or more, a number or a schedule of the step with its own number of steps; 0 does not
            change the gradient. The paper's code has 0.1.
    """

    power: Strength = 0.1
    of_images: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _strength(self.power, "power")

    def __call__(self, gradients: tf.Tensor, step: tf.Tensor | None = None) -> tf.Tensor:
        sizes = [int(size) for size in gradients.shape[1:-1]]
        if not 1 <= len(sizes) <= 3:
            raise ValueError(
                checks.message(
                    "gradients [N, ..., C] with one to three spatial axes",
                    f"shape {tuple(gradients.shape)}",
                )
            )
        grids = np.meshgrid(*(np.fft.fftfreq(n, 1.0 / n) for n in sizes), indexing="ij")
        square = sum(grid**2 for grid in grids)
        if callable(self.power):
            power = tf.cast(_at(self.power, step), tf.float64)
            whole = 1.0 / tf.maximum(tf.ones([], tf.float64), tf.constant(square) ** power)
            keep = tf.cast(whole / tf.reduce_mean(whole), gradients.dtype)
        else:
            fixed = 1.0 / np.maximum(1.0, square**self.power)
            keep = tf.constant(fixed / fixed.mean(), gradients.dtype)
        kept = keep[..., : sizes[-1] // 2 + 1]
        order = [0, len(sizes) + 1, *range(1, len(sizes) + 1)]
        forth, back = _FOURIER[len(sizes)]
        spectrum = forth(tf.transpose(gradients, order))
        filtered = back(spectrum * tf.cast(kept, spectrum.dtype), fft_length=sizes)
        return tf.transpose(filtered, [0, *range(2, len(sizes) + 2), 1])


# Of as many spatial axes.
_FOURIER = {
    1: (tf.signal.rfft, tf.signal.irfft),
    2: (tf.signal.rfft2d, tf.signal.irfft2d),
    3: (tf.signal.rfft3d, tf.signal.irfft3d),
}


def _strength(value: Any, name: str) -> None:
    if not callable(value):
        checks.number(value, name, low=0.0)


def _at(value: Strength, step: tf.Tensor | None) -> Any:
    """A number as it is, a schedule at the step."""
    if not callable(value):
        return value
    if step is None:
        raise ValueError(
            checks.message("a step for a schedule", "none", "Give step=, as the loop does.")
        )
    return tf.cast(value(step), tf.float64)


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
