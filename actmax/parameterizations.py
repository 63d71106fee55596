"""Image parameterizations: what the optimizer moves, and how it becomes images.

Every leaf of params has the leading dimension N. `init` gives zero-mean noise, in units of the range's
width for `Pixels` and before the constraint's map for the others.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.gradients import along_axis, blur_axis, blur_matrix
from actmax.types import Params
from regularizers import random

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Parameterization(abc.ABC):
    """A map from params to raw images.

    Attributes:
        are_images: True if params are the images themselves, so that a constraint can project them.
        couples_images: True if one row's params change another row's image.
    """

    are_images: ClassVar[bool] = False
    couples_images: ClassVar[bool] = False

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

    def encode(self, images: tf.Tensor) -> Params:
        """Params whose raw images are `images`. `[N, ...] ->`.

        Raises:
            ValueError: if this parameterization has no inverse.
        """
        raise ValueError(
            checks.message(
                "a parameterization that can start from given images",
                type(self).__name__,
                "Leave initial_images out, or use actmax.Pixels() or actmax.Fourier().",
            )
        )


@dataclasses.dataclass(frozen=True)
class Pixels(Parameterization):
    """Params are images. `[N, ...] -> [N, ...]`.

    Args:
        std: standard deviation of the noise at the start, in units of the range's width.
    """

    are_images: ClassVar[bool] = True

    std: float = 0.01

    def __post_init__(self) -> None:
        checks.number(self.std, "std", low=0.0)

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        return random.normal(seed, shape, std=self.std, dtype=dtype)

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        del shape
        return params

    def encode(self, images: tf.Tensor) -> Params:
        return images


# Largest amplification by which a blur is undone: beyond it float32 has no digits left.
_SHARPEST = 1e3


@dataclasses.dataclass(frozen=True)
class Blurred(Parameterization):
    """A Gaussian blur of the params. `[N, H, W, C] -> [N, H, W, C]`; also 1 or 3 spatial axes.

    A smooth image by construction: no penalty has to fight for it, and fine structure costs large
    params instead of being forbidden.

    Args:
        sigma: standard deviation of the blur in pixels.
        std: standard deviation of the params at the start, before the blur and the constraint's map.
        mean: mean of the params at the start: 0 is the middle of the range, -2 is dark, at 0.12 of it.
    """

    sigma: float = 0.8
    std: float = 0.05
    mean: float = 0.0

    def __post_init__(self) -> None:
        checks.number(self.sigma, "sigma", low=0.0)
        checks.number(self.std, "std", low=0.0)
        checks.number(self.mean, "mean")

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        return random.normal(seed, shape, self.mean, self.std, dtype)

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        for axis in range(1, len(shape)):
            params = blur_axis(params, self.sigma, axis)
        return params

    def encode(self, images: tf.Tensor) -> Params:
        for axis in range(1, images.shape.rank - 1):
            blur = blur_matrix(images.shape[axis], self.sigma, tf.float64).numpy()
            if np.linalg.cond(blur) > _SHARPEST:
                raise ValueError(
                    checks.message(
                        "a blur that can be undone, to start from given images",
                        f"sigma={self.sigma}",
                        "Use sigma of at most 1, or actmax.Pixels().",
                    )
                )
            images = along_axis(tf.constant(np.linalg.inv(blur), images.dtype), images, axis)
        return images


@dataclasses.dataclass(frozen=True)
class Fourier(Parameterization):
    """Images as the inverse real Fourier transform of scaled coefficients. `-> [N, H, W, C]`.

    `x = irfft2(scale * z)`, `scale(f) ~ 1 / max(f, 1 / max(H, W))^decay`, where `f` is the frequency
    in cycles per pixel. The scale is normalized so that coefficients of unit variance give pixels of
    unit variance, at every size and decay; `z` starts with standard deviation `std`.

    Source: Olah, Mordvintsev and Schubert, Feature Visualization, Distill 2017,
    https://doi.org/10.23915/distill.00007.

    Args:
        decay: exponent of the fall with frequency: 0 white, 1 as natural images.
        std: standard deviation of the raw image at the start.
    """

    decay: float = 1.0
    std: float = 0.05

    def __post_init__(self) -> None:
        checks.number(self.decay, "decay")
        checks.number(self.std, "std", low=0.0)

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        height, width, channels = _image_shape(shape, self)
        half = width // 2 + 1
        return random.normal(seed, [height, half, channels, 2], std=self.std, dtype=dtype)

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        height, width, _ = _image_shape(shape, self)
        scale = tf.constant(spectrum_scale(height, width, self.decay), params.dtype)
        scaled = tf.transpose(params * scale[None, :, :, None, None], [4, 0, 3, 1, 2])
        spectrum = tf.complex(scaled[0], scaled[1])  # [N, C, H, W // 2 + 1]
        images = tf.signal.irfft2d(spectrum, fft_length=[height, width])
        return tf.transpose(images, [0, 2, 3, 1])

    def encode(self, images: tf.Tensor) -> Params:
        height, width, _ = _image_shape(tuple(images.shape[1:]), self)
        scale = tf.constant(spectrum_scale(height, width, self.decay), images.dtype)
        spectrum = tf.signal.rfft2d(tf.transpose(images, [0, 3, 1, 2]))
        parts = tf.stack([tf.math.real(spectrum), tf.math.imag(spectrum)], axis=-1)
        return tf.transpose(parts, [0, 2, 3, 1, 4]) / scale[None, :, :, None, None]


# Directions in which the colors of ImageNet's images vary independently, as columns of RGB, divided by
# the largest column's norm. Source: Olah, Mordvintsev and Schubert, lucid, 2017,
# https://github.com/tensorflow/lucid/blob/master/lucid/optvis/param/color.py.
_COLORS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
IMAGENET_COLORS = tuple(
    tuple(float(v) for v in row) for row in _COLORS / np.linalg.norm(_COLORS, axis=0).max()
)


@dataclasses.dataclass(frozen=True)
class Decorrelated(Parameterization):
    """Another parameterization in decorrelated colors: `rgb = M base`. `-> [N, H, W, 3]`.

    Channels of natural images vary together, so a step along one channel alone leads to garish
    colors; in these coordinates a step of one size means the same in all three.

    Source: Olah, Mordvintsev and Schubert, Feature Visualization, Distill 2017,
    https://doi.org/10.23915/distill.00007.

    Args:
        base: the parameterization of the decorrelated channels.
        matrix: 3 x 3, invertible, a row per channel of the image; by default that of ImageNet's colors.
    """

    base: Parameterization = Fourier()
    matrix: tuple[tuple[float, ...], ...] = IMAGENET_COLORS

    def __post_init__(self) -> None:
        if np.shape(self.matrix) != (3, 3) or np.linalg.matrix_rank(self.matrix) < 3:
            raise ValueError(
                checks.message("an invertible 3 x 3 matrix", f"{self.matrix!r}", "Give three rows.")
            )
        object.__setattr__(self, "matrix", tuple(tuple(map(float, row)) for row in self.matrix))

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        if shape[-1] != len(self.matrix):
            raise ValueError(
                checks.message(
                    "images of three channels for Decorrelated",
                    f"shape {shape}",
                    "Use its base alone for images without color.",
                )
            )
        return self.base.init(shape, seed, dtype)

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        images = self.base.decode(params, shape)
        return tf.tensordot(images, tf.constant(self.matrix, images.dtype), axes=[[-1], [1]])

    def encode(self, images: tf.Tensor) -> Params:
        inverse = tf.constant(np.linalg.inv(self.matrix), images.dtype)
        return self.base.encode(tf.tensordot(images, inverse, axes=[[-1], [1]]))


def _image_shape(shape: Shape, owner: Parameterization) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(
            checks.message(
                f"images (H, W, C) for {type(owner).__name__}",
                f"shape {shape}",
                "Use actmax.Pixels() for vectors, series and volumes.",
            )
        )
    return shape


def spectrum_scale(height: int, width: int, decay: float) -> np.ndarray:
    """Scale of every coefficient of `irfft2`, so that unit coefficients give unit pixels. `[H, W//2+1]`.

    With z of unit variance in both parts, `Var x = sum_k m_k s_k^2 / (H W)^2`. An interior column of
    the half spectrum stands for itself and its mirror, so it adds `(2 s_k)^2`, m = 4; the columns
    `kx = 0` and Nyquist are their own mirrors, m = 1.
    """
    rows = np.fft.fftfreq(height)[:, None]
    columns = np.fft.rfftfreq(width)[None, :]
    frequency = np.sqrt(rows**2 + columns**2)
    scale = 1.0 / np.maximum(frequency, 1.0 / max(height, width)) ** decay
    count = np.full_like(scale, 4.0)
    edges = [0, width // 2] if width % 2 == 0 else [0]
    count[:, edges] = 1.0
    variance = np.sum(count * scale**2) / (height * width) ** 2
    return np.asarray(scale / math.sqrt(variance))
