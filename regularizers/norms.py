"""Norms of the pixels of an image, channels taken together."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from regularizers.base import Penalty, check_number
from regularizers.lanes import by_row


@dataclasses.dataclass(frozen=True)
class PixelNorm(Penalty):
    """Mean over pixels of a power of the norm over channels. `[N, ..., C] -> [N]`.

        mean over pixels of ( sum_c (x_c - center)^2 )^(alpha / 2)

    With alpha = 6, pixels of ordinary strength cost almost nothing, and few become much stronger.
    The gradient is finite everywhere, because alpha is at least 2.

    Args:
        weight: number, one number per image, or schedule. Mahendran and Vedaldi's `1 / B^alpha`
            makes the penalty 1 where every pixel has norm B; B = 80 on the scale of 0 to 255.
        alpha: power, at least 2.
        center: value that norms are measured from, in units of the images.

    Raises:
        ValueError: if alpha is less than 2, or a number is not finite.

    Example:
        >>> import tensorflow as tf
        >>> float(PixelNorm(alpha=4.0)(tf.constant([[[[1.0, 2.0]]]]))[0])
        25.0

    Source:
        Mahendran and Vedaldi, Visualizing deep convolutional neural networks using natural
        pre-images, IJCV 2016, https://arxiv.org/abs/1512.02017.
    """

    alpha: float = 6.0
    center: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.alpha, f"alpha of {self.name}", at_least=2.0)
        check_number(self.center, f"center of {self.name}")

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        half = images.dtype.size < tf.float32.size
        wide = tf.cast(images, tf.float32) if half else images
        squares = tf.reduce_sum(tf.square(wide - tf.constant(self.center, wide.dtype)), axis=-1)
        power = self.alpha / 2.0
        if power.is_integer():
            powers = squares
            for _ in range(int(power) - 1):
                powers *= squares
        else:
            powers = by_row(lambda values: tf.pow(values, power), squares)
        axes = list(range(1, powers.shape.rank))
        return tf.cast(tf.reduce_mean(powers, axes) if axes else powers, images.dtype)
