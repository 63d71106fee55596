"""Images with a fixed amplitude spectrum; only the phases are free."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.parameterizations.base import Parameterization, Shape, image_shape
from actmax.types import FixedArray, Params
from regularizers import random
from regularizers.lanes import by_row


@dataclasses.dataclass(frozen=True)
class Maco(Parameterization):
    """Images of a fixed amplitude spectrum: only the phase is free. `-> [N, H, W, C]`.

    `x = irfft2(r exp(i phase))`. The amplitudes `r` are those of natural images, so the network
    cannot increase single frequencies. They are scaled so that the raw image has mean 0 and standard
    deviation `std`. They are exact in the raw image, before the constraint's map and before a
    `Decorrelated` around it. (Up to four frequencies are their own mirror. There the coefficient is
    real, with amplitude `r |cos(phase)|`.) Params are phases in radians, uniform on `(-pi, pi)` at
    the start. Use a learning rate of 0.05 to 1.

    Only images with this spectrum could be encoded, so a run cannot start from given images.

    Source: Fel et al., Unlocking Feature Visualization for Deeper Networks with MAgnitude
    Constrained Optimization, NeurIPS 2023, https://arxiv.org/abs/2306.06805.

    Args:
        spectrum: amplitudes `[H, W // 2 + 1, C]` as of `numpy.fft.rfft2`, at least 0, for images
            `(H, W, C)`; the frequency 0 is not used. `Maco.from_images` makes it. None for
            `1 / frequency^decay` at every size.
        decay: exponent if no spectrum is given; for natural images it is about 1.
        std: standard deviation of the raw image. With 1, values fill a sigmoid's range as those of
            photographs do.

    Raises:
        ValueError: if the spectrum is negative, not finite, all zero, or of another size than images.

    Example:
        >>> import tensorflow as tf
        >>> import actmax
        >>> part = actmax.Maco()
        >>> params = part.init((8, 8, 3), tf.constant([[0, 1], [0, 2]]))
        >>> part.decode(params, (8, 8, 3)).shape
        TensorShape([2, 8, 8, 3])
    """

    spectrum: Any = None
    decay: float = 1.0
    std: float = 1.0

    def __post_init__(self) -> None:
        checks.number(self.decay, "decay")
        checks.number(self.std, "std", low=0.0)
        if self.spectrum is not None and not isinstance(self.spectrum, FixedArray):
            object.__setattr__(self, "spectrum", FixedArray(_checked(self.spectrum)))

    @classmethod
    def from_images(cls, images: Any, std: float = 1.0) -> Maco:
        """With the mean amplitudes of given images, `r = mean |rfft2(image)|`, channel by channel.

        For colors: `color = Decorrelated.from_images(images)`, then
        `Decorrelated(Maco.from_images(color.decorrelate(images)), color.matrix)`.

        Args:
            images: `[N, H, W, C]` of the size that is to be made, in any range.
            std: as above.

        Raises:
            ValueError: if they are not images, or all are constant.

        Example:
            >>> import numpy as np
            >>> import actmax
            >>> photos = np.random.default_rng(0).uniform(size=(4, 8, 8, 3))
            >>> actmax.Maco.from_images(photos).spectrum.values.shape
            (8, 5, 3)
        """
        array = checks.finite(np.asarray(images, np.float64), "images")
        if array.ndim != 4 or not array.size:
            raise ValueError(
                checks.message("images [N, H, W, C] for a spectrum", f"shape {array.shape}")
            )
        amplitudes = np.abs(np.fft.rfft2(array, axes=(1, 2))).mean(axis=0)
        return cls(amplitudes, std=std)

    def amplitudes(self, shape: Shape) -> np.ndarray:
        """Amplitudes of the raw image, as `numpy.fft.rfft2` would find them. `[H, W // 2 + 1, C]`."""
        height, width, channels = image_shape(shape, self)
        half = width // 2 + 1
        if self.spectrum is None:
            rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
            frequency = np.sqrt(rows**2 + columns**2)[:, :, None]
            floor = np.maximum(frequency, 1.0 / max(height, width))
            found = np.repeat(floor**-self.decay, channels, axis=2)
        else:
            found = np.array(self.spectrum.values)
            if found.shape != (height, half, channels):
                raise ValueError(
                    checks.message(
                        f"a spectrum {(height, half, channels)} for images {tuple(shape)}",
                        f"shape {found.shape}",
                        "Make it of images of this size: Maco.from_images(images).",
                    )
                )
        found[0, 0] = 0.0
        for edge in _mirrored(width):
            # Both halves of such a column are one number, conjugated.
            found[1:, edge] = (found[1:, edge] + found[1:, edge][::-1]) / 2
        count = np.full((1, half, 1), 2.0)
        count[:, _mirrored(width)] = 1.0
        variance = np.sum(count * found**2) / channels / (height * width) ** 2
        scale = self.std / math.sqrt(variance) if variance > 0 else 0.0
        return np.asarray(found * scale)

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        self.amplitudes(shape)  # so that a spectrum of another size is refused here
        height, width, channels = image_shape(shape, self)
        size = [height, width // 2 + 1, channels]
        return random.uniform(seed, size, -math.pi, math.pi, dtype)

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        height, width, _ = image_shape(shape, self)
        amplitudes = self.amplitudes(shape)
        for edge in _mirrored(width):
            # The inverse transform takes the mean of both halves: one of them carries all.
            amplitudes[1 : (height + 1) // 2, edge] *= 2.0
            amplitudes[height // 2 + 1 :, edge] = 0.0
        scale = tf.constant(amplitudes, params.dtype)
        parts = [
            tf.transpose(scale * by_row(wave, params), [0, 3, 1, 2]) for wave in (tf.cos, tf.sin)
        ]
        images = tf.signal.irfft2d(tf.complex(*parts), fft_length=[height, width])
        return tf.transpose(images, [0, 2, 3, 1])


def _mirrored(width: int) -> list[int]:
    """Columns of the half spectrum that are their own mirrors."""
    return [0, width // 2] if width % 2 == 0 else [0]


def _checked(value: Any) -> np.ndarray:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            checks.message("a spectrum, an array [H, W // 2 + 1, C]", repr(value)[:80])
        ) from error
    if array.ndim != 3 or not array.size:
        raise ValueError(
            checks.message("a spectrum of shape [H, W // 2 + 1, C]", f"shape {array.shape}")
        )
    checks.finite(array, "spectrum")
    if np.any(array < 0) or not np.any(array.reshape(-1, array.shape[-1])[1:] > 0):
        raise ValueError(
            checks.message(
                "amplitudes of at least 0, some of them above 0 beyond frequency 0",
                f"values in {array.min():g} .. {array.max():g}",
                "Give mean |rfft2| of images that are not constant.",
            )
        )
    return array
