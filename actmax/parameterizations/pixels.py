"""Params that are images, and params that are blurred to make images."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.gradients import along_axis, blur_axis, blur_matrix
from actmax.parameterizations.base import SHARPEST, Parameterization, Shape
from actmax.types import Params
from regularizers import random


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


@dataclasses.dataclass(frozen=True)
class Blurred(Parameterization):
    """A Gaussian blur of the params. `[N, H, W, C] -> [N, H, W, C]`; also 1 or 3 spatial axes.

    Images are smooth by construction, so no penalty is needed for this. Fine structure is possible,
    but needs large params.

    Args:
        sigma: standard deviation of the blur in pixels.
        std: standard deviation of the params at the start, before the blur and the constraint's map.
        mean: mean of the params at the start: 0 is the middle of the range, -2 is dark, at 0.12 of the
            range.
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
            if np.linalg.cond(blur) > SHARPEST:
                raise ValueError(
                    checks.message(
                        "a blur that can be undone, to start from given images",
                        f"sigma={self.sigma}",
                        "Use sigma of at most 1, or actmax.Pixels().",
                    )
                )
            images = along_axis(tf.constant(np.linalg.inv(blur), images.dtype), images, axis)
        return images
