"""Several transforms as one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from regularizers.base import Transform


def compose(
    transforms: Sequence[Transform],
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """Transforms in list order as one function `(images, seeds [T, N, 2], step) -> images`."""

    def composed(images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        for position, transform in enumerate(transforms):
            images = transform(images, seeds[position], step)
        return images

    return composed
