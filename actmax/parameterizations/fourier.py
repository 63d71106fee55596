"""Images as the inverse Fourier transform of scaled coefficients."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.parameterizations.base import SHARPEST, Parameterization, Shape, image_shape
from actmax.types import Params
from regularizers import random


@dataclasses.dataclass(frozen=True)
class Fourier(Parameterization):
    """Images as the inverse real Fourier transform of scaled coefficients. `-> [N, H, W, C]`.

    `x = irfft2(scale * z)`, `scale(f) ~ exp(-2 (pi blur f)^2) / max(f, 1 / max(H, W))^decay`, where
    `f` is the frequency in cycles per pixel. The scale is normalized so that coefficients of unit
    variance give pixels of unit variance, at every size, decay and blur; `z` starts with standard
    deviation `std`.

    Source: Olah, Mordvintsev and Schubert, Feature Visualization, Distill 2017,
    https://doi.org/10.23915/distill.00007.

    Args:
        decay: exponent of the decrease with frequency: 0 is white noise, 1 is as in natural images.
        std: standard deviation of the raw image at the start.
        blur: standard deviation in pixels of a Gaussian blur of the raw image, which wraps around
            its borders. With 0.7 the finest pattern has 0.01 of the amplitude without blur.
    """

    decay: float = 1.0
    std: float = 0.05
    blur: float = 0.0

    def __post_init__(self) -> None:
        checks.number(self.decay, "decay")
        checks.number(self.std, "std", low=0.0)
        checks.number(self.blur, "blur", low=0.0)

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        height, width, channels = image_shape(shape, self)
        half = width // 2 + 1
        return random.normal(seed, [height, half, channels, 2], std=self.std, dtype=dtype)

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        height, width, _ = image_shape(shape, self)
        scale = tf.constant(spectrum_scale(height, width, self.decay, self.blur), params.dtype)
        scaled = tf.transpose(params * scale[None, :, :, None, None], [4, 0, 3, 1, 2])
        spectrum = tf.complex(scaled[0], scaled[1])  # [N, C, H, W // 2 + 1]
        images = tf.signal.irfft2d(spectrum, fft_length=[height, width])
        return tf.transpose(images, [0, 2, 3, 1])

    def encode(self, images: tf.Tensor) -> Params:
        if math.exp((math.pi * self.blur) ** 2) > SHARPEST:  # at the finest pattern, f^2 = 1/2
            raise ValueError(
                checks.message(
                    "a blur that can be undone, to start from given images",
                    f"blur={self.blur}",
                    "Use a blur of at most 0.8, or none.",
                )
            )
        height, width, _ = image_shape(tuple(images.shape[1:]), self)
        scale = tf.constant(spectrum_scale(height, width, self.decay, self.blur), images.dtype)
        spectrum = tf.signal.rfft2d(tf.transpose(images, [0, 3, 1, 2]))
        parts = tf.stack([tf.math.real(spectrum), tf.math.imag(spectrum)], axis=-1)
        return tf.transpose(parts, [0, 2, 3, 1, 4]) / scale[None, :, :, None, None]


def spectrum_scale(height: int, width: int, decay: float, blur: float = 0.0) -> np.ndarray:
    """Scale of every coefficient of `irfft2`, so that unit coefficients give unit pixels. `[H, W//2+1]`.

    With z of unit variance in both parts, `Var x = sum_k m_k s_k^2 / (H W)^2`. An interior column of the
    half spectrum represents itself and its mirror, so it adds `(2 s_k)^2`, m = 4. The columns `kx = 0`
    and Nyquist are their own mirrors, m = 1.
    """
    rows = np.fft.fftfreq(height)[:, None]
    columns = np.fft.rfftfreq(width)[None, :]
    frequency = np.sqrt(rows**2 + columns**2)
    scale = 1.0 / np.maximum(frequency, 1.0 / max(height, width)) ** decay
    scale *= np.exp(-2.0 * (math.pi * blur * frequency) ** 2)
    count = np.full_like(scale, 4.0)
    edges = [0, width // 2] if width % 2 == 0 else [0]
    count[:, edges] = 1.0
    variance = np.sum(count * scale**2) / (height * width) ** 2
    return np.asarray(scale / math.sqrt(variance))
