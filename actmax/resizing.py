"""Images at another size, as products with one matrix per axis: exact in every dtype, and for XLA."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.gradients import along_axis

__all__ = ["resize", "resize_matrix"]

_IMAGES_RANK = 4


@functools.lru_cache(maxsize=256)
def resize_matrix(before: int, after: int) -> np.ndarray:
    """Linear interpolation with antialiasing of a line of values. `[after, before]`, rows sum to 1.

    Value j is at position j + 1/2, in the middle of its cell. The weights of output i are
    `max(0, 1 - |j + 1/2 - c| / s)` with `c = (i + 1/2) before / after` and `s = max(1, before / after)`,
    divided by their sum. If lines get shorter, this is a triangle with the width of the output's cell.
    If they get longer, the outermost value is repeated.

    Source: Turkowski, Filters for common resampling tasks, Graphics Gems I, 1990; the convention of
    `tf.image.resize(antialias=True)`.
    """
    ratio = before / after
    centers = (np.arange(after)[:, None] + 0.5) * ratio
    distance = np.abs(np.arange(before)[None, :] + 0.5 - centers)
    weights = np.maximum(0.0, 1.0 - distance / max(1.0, ratio))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def resize(images: tf.Tensor, shape: Sequence[Any]) -> tf.Tensor:
    """Bilinear resize with antialiasing, `[N, H, W, C] -> [N, *shape]`.

    Raises:
        ValueError: if the images have not two spatial axes of known sizes.
    """
    if images.shape.rank != _IMAGES_RANK or None in images.shape[1:3]:
        raise ValueError(
            checks.message(
                f"transformed inputs of the model's shape {tuple(shape)}",
                f"{tuple(images.shape[1:])}",
                "Only images [N, H, W, C] can be resized; take off transforms that change the size.",
            )
        )
    # The axis that gets shortest by it first: the other then has less to do.
    axes = sorted((1, 2), key=lambda axis: shape[axis - 1] / images.shape[axis])
    for axis in axes:
        before, after = int(images.shape[axis]), int(shape[axis - 1])
        if before != after:
            matrix = tf.constant(resize_matrix(before, after), images.dtype)
            images = along_axis(matrix, images, axis)
    return images
