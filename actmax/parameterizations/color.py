"""Wraps another parameterization, whose channels then vary independently."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.parameterizations.base import Parameterization, Shape, check_base
from actmax.parameterizations.fourier import Fourier
from actmax.types import Params

# Directions in which the colors of ImageNet's images vary independently, as columns of RGB, divided by
# the largest column's norm. Source: Olah, Mordvintsev and Schubert, lucid, 2017,
# https://github.com/tensorflow/lucid/blob/master/lucid/optvis/param/color.py.
_COLORS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
IMAGENET_COLORS = tuple(
    tuple(float(v) for v in row) for row in _COLORS / np.linalg.norm(_COLORS, axis=0).max()
)
# Condition number from which a matrix of channels cannot be undone in float32.
_LARGEST_CONDITION = 1e4


@dataclasses.dataclass(frozen=True)
class Decorrelated(Parameterization):
    """Another parameterization in decorrelated channels: `image = M base`. `-> [N, ..., C]`.

    Channels of natural images vary together, so a step along one channel alone leads to garish
    colors. In decorrelated channels, a step of the same size means the same in all directions.

    Source: Olah, Mordvintsev and Schubert, Feature Visualization, Distill 2017,
    https://doi.org/10.23915/distill.00007.

    Args:
        base: the parameterization of the decorrelated channels.
        matrix: C x C, invertible, a row per channel of the image; by default the published one of
            ImageNet's colors. `Decorrelated.from_images` takes it from images of your own.

    Raises:
        TypeError: if the base is no parameterization.
        ValueError: if the matrix is not square and invertible, the images have another number of
            channels, or the images of the base have their own range.

    Example:
        >>> import actmax
        >>> actmax.Decorrelated(actmax.Fourier(decay=1.5)).matrix[0][0] > 0
        True
    """

    base: Parameterization = dataclasses.field(default_factory=Fourier)
    matrix: tuple[tuple[float, ...], ...] = IMAGENET_COLORS

    def __post_init__(self) -> None:
        check_base(self.base, self)
        given = _matrix(self.matrix)
        object.__setattr__(self, "matrix", tuple(tuple(map(float, row)) for row in given))

    @classmethod
    def from_images(cls, images: Any, base: Parameterization | None = None) -> Decorrelated:
        """With the matrix of given images: the root of the covariance of their channels.

        `M = U sqrt(S) / max(sqrt(S))`, where `U S U'` is the covariance over all pixels of all
        images. Its columns are the axes along which the colors vary, the strongest first.

        Args:
            images: `[N, H, W, C]`, in any range: the matrix does not depend on it. A few hundred
                are enough.
            base: the parameterization of the decorrelated channels; None for `Fourier()`.

        Raises:
            ValueError: if channels do not vary, or vary only together (gray images with three
                channels).

        Example:
            >>> import numpy as np
            >>> import actmax
            >>> photos = np.random.default_rng(0).uniform(size=(4, 8, 8, 3))
            >>> np.shape(actmax.Decorrelated.from_images(photos).matrix)
            (3, 3)
        """
        array = checks.finite(np.asarray(images, np.float64), "images")
        if array.ndim < 3 or not array.size:
            raise ValueError(
                checks.message("images [N, H, W, C] to decorrelate", f"shape {array.shape}")
            )
        pixels = array.reshape(-1, array.shape[-1])
        covariance = np.atleast_2d(np.cov(pixels, rowvar=False, bias=True))
        variances, axes = np.linalg.eigh(covariance)
        if variances[0] <= variances[-1] / _LARGEST_CONDITION**2:
            raise ValueError(
                checks.message(
                    "images whose channels vary, and not only together",
                    f"variances {variances[::-1].tolist()} along the axes of their colors",
                    "Gray images in three channels have one: give them one channel, or use the "
                    "published matrix.",
                )
            )
        # eigh fixes an axis up to its sign: the largest entry is made positive.
        largest = axes[np.abs(axes).argmax(axis=0), np.arange(len(axes))]
        columns = (axes * np.sign(largest))[:, ::-1] * np.sqrt(variances[::-1] / variances[-1])
        matrix = tuple(tuple(map(float, row)) for row in columns)
        return cls(Fourier() if base is None else base, matrix)

    @property
    def invertible(self) -> bool:
        return self.base.invertible

    @property
    def rate(self) -> float | None:
        return self.base.rate

    @property
    def couples_images(self) -> bool:  # type: ignore[override]
        return self.base.couples_images

    def decorrelate(self, images: tf.Tensor) -> tf.Tensor:
        """Decorrelated channels of images: `M^-1 image`. `[N, ..., C] -> [N, ..., C]`."""
        images = tf.convert_to_tensor(images)
        inverse = tf.constant(np.linalg.inv(self.matrix), images.dtype)
        return tf.tensordot(images, inverse, axes=[[-1], [1]])

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        if shape[-1] != len(self.matrix):
            raise ValueError(
                checks.message(
                    f"images of {len(self.matrix)} channels for Decorrelated",
                    f"shape {shape}",
                    "Take the matrix from images of these channels, or use its base alone.",
                )
            )
        return self.base.init(shape, seed, dtype)

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        images = self.base.decode(params, shape)
        return tf.tensordot(images, tf.constant(self.matrix, images.dtype), axes=[[-1], [1]])

    def encode(self, images: tf.Tensor) -> Params:
        return self.base.encode(self.decorrelate(images))


def _matrix(value: Any) -> np.ndarray:
    """A checked square, invertible matrix."""
    try:
        given = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        given = np.zeros(0)
    square = given.ndim == 2 and given.shape[0] == given.shape[1] and np.all(np.isfinite(given))
    if not square or np.linalg.matrix_rank(given) < len(given):
        raise ValueError(
            checks.message(
                "an invertible matrix C x C, such as 3 x 3 for colors",
                f"{value!r}",
                "Give a row per channel.",
            )
        )
    return given
