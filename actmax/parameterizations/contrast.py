"""Wraps another parameterization and limits the contrast of its images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import tensorflow as tf

from actmax import checks
from actmax.constraints.ranges import Sigmoid
from actmax.parameterizations.base import Parameterization, Shape, check_base
from actmax.parameterizations.fourier import Fourier
from actmax.types import Params
from regularizers.lanes import by_row
from regularizers.slopes import custom_gradient

# Of a range of width 1: the least has a square far from underflow, the largest is half black, half white.
_LEAST, _MOST = 1e-3, 0.5


@dataclasses.dataclass(frozen=True)
class LimitedContrast(Parameterization):
    """Another parameterization's images with a limit on their contrast. `-> [N, H, W, C]` in (0, 1).

    With `s = sigmoid(base)`, the mean `m` of each channel over the image, and the contrast
    `c = sqrt(mean((s - m)^2))` over all values,

        x = m + (s - m) min(1, limit / c).

    For most networks the score rises with contrast, and a sigmoid allows this until the picture is
    black and white. Here the base may go there, which makes areas even and edges sharp. The picture
    itself keeps the contrast of natural images, around 0.2. Steps can be long, because the contrast
    cannot grow.

    Params are `base`, those of the base, and `limit` `[N]`, a constant. If a row starts from an image
    with more contrast, its limit is the contrast of that image. So the run starts at this image, up to
    rounding, as with any other parameterization.

    Source: contrast as the root of the mean square, Peli, Contrast in complex images, Journal of the
    Optical Society of America A 7, 1990, https://doi.org/10.1364/JOSAA.7.002032; a most exciting image
    under a contrast that is fixed, Walker et al., Inception loops, Nature Neuroscience 2019,
    https://doi.org/10.1038/s41593-019-0517-x.

    Args:
        base: the parameterization of the raw images before the sigmoid; with one or more spatial axes.
        std: the limit, in units of the range's width, 0.001 to 0.5; 0.5 limits nothing.

    Raises:
        TypeError: if the base is no parameterization.
        ValueError: if the images of the base have their own range, or inputs have no spatial axis.

    Example:
        >>> import tensorflow as tf
        >>> import actmax
        >>> part = actmax.LimitedContrast(actmax.Pixels(), std=0.1)
        >>> stripes = tf.constant([[[[0.9], [0.1]], [[0.9], [0.1]]]])
        >>> params = {**part.encode(stripes), "limit": tf.constant([0.1])}
        >>> part.decode(params, (2, 2, 1)).numpy().round(3).ravel().tolist()
        [0.6, 0.4, 0.6, 0.4]
    """

    constants: ClassVar[tuple[str, ...]] = ("limit",)

    base: Parameterization = dataclasses.field(default_factory=Fourier)
    std: float = 0.2

    def __post_init__(self) -> None:
        checks.number(self.std, "std", low=_LEAST, high=_MOST)
        check_base(self.base, self)

    @property
    def invertible(self) -> bool:
        return self.base.invertible

    @property
    def image_range(self) -> tuple[float, float]:
        return (0.0, 1.0)

    @property
    def rate(self) -> float | None:
        return self.base.rate

    @property
    def couples_images(self) -> bool:  # type: ignore[override]
        return self.base.couples_images

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        if len(shape) < 2:
            raise ValueError(
                checks.message("at least one spatial axis for LimitedContrast", f"shape {shape}")
            )
        limit = tf.fill(tf.shape(seed)[:1], tf.constant(self.std, dtype))
        return {"base": self.base.init(shape, seed, dtype), "limit": limit}

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        images = Sigmoid().apply(self.base.decode(params["base"], shape))
        limit = tf.reshape(_held(params["limit"]), [-1] + [1] * len(shape))
        mean, square = _moments(images)
        # Images below the limit have no root taken: at a constant image its slope is infinite.
        contrast = by_row(tf.sqrt, tf.maximum(square, tf.square(limit)))
        return mean + (images - mean) * (limit / contrast)

    def encode(self, images: tf.Tensor) -> Params:
        own = tf.reshape(tf.sqrt(_moments(images)[1]), [-1])
        limit = tf.maximum(own, tf.constant(self.std, images.dtype))
        return {"base": self.base.encode(Sigmoid().invert(images)), "limit": limit}


def _moments(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean of each channel, and mean square of what differs from it. `-> [N, 1.., C], [N, 1.., 1]`."""
    rank = images.shape.rank
    mean = tf.reduce_mean(images, list(range(1, rank - 1)), keepdims=True)
    return mean, tf.reduce_mean(tf.square(images - mean), list(range(1, rank)), keepdims=True)


@custom_gradient
def _held(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Values that no optimizer moves."""
    return tf.identity(values), tf.zeros_like
