"""Turns pictures into a network's input, always in the same order: size, layout, preprocessing.

Runs, judges, priors, natural images and checks all use `prepare`. All Keras layers are called in
inference mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.resizing import resize

__all__ = ["channels_last", "from_last", "in_inference", "prepare", "prepared", "to_last"]


def prepare(
    images: tf.Tensor,
    shape: Sequence[int | None] | None,
    channels: int | None = None,
    preprocess: Callable[[Any], Any] | None = None,
) -> Any:
    """Pictures as input of a network. `[N, H, W, C] -> [N, ...]`.

    Args:
        images: channels last, in the input range.
        shape: of the network's input in its own layout, without the batch axis; None if unknown.
        channels: axis of the channels in it, counted with the batch axis; None for the last.
        preprocess: images in the network's layout to what it takes, called in inference mode; None for
            nothing.
    """
    wanted = None if shape is None else to_last(tuple(shape), channels)
    if wanted is not None and len(wanted) == images.shape.rank - 1:
        # Sizes alone: a preprocessing may make other channels of them.
        sizes = tuple(images.shape[1:-1])
        if None not in wanted[:-1] and sizes != wanted[:-1]:
            images = resize(images, wanted)
    if channels is not None and channels != images.shape.rank - 1:
        order = list(range(images.shape.rank - 1))
        order.insert(channels, images.shape.rank - 1)
        images = tf.transpose(images, order)
    return prepared(images, preprocess)


def prepared(images: Any, preprocess: Callable[[Any], Any] | None) -> Any:
    """Images after preprocessing, in inference mode; unchanged if there is none.

    Raises:
        TypeError: if preprocessing returns None.
    """
    found = images if preprocess is None else in_inference(preprocess, images)
    if found is None:
        raise TypeError(
            checks.message(
                "preprocess to return images", "None", "Put a return before its last line."
            )
        )
    return found


def channels_last(images: Any, axis: int | None) -> np.ndarray:
    """Images with their channels moved to the end. `[N, C, H, W], 1 -> [N, H, W, C]`; None for nothing.

    Example:
        >>> channels_last(np.zeros([2, 3, 8, 9]), 1).shape
        (2, 8, 9, 3)
    """
    array = np.asarray(images)
    return array if axis is None else np.moveaxis(array, axis, -1)


def to_last(shape: tuple[Any, ...], channels: int | None) -> tuple[Any, ...]:
    """A shape without the batch, its channels moved to the end. `(3, 8, 9), 1 -> (8, 9, 3)`."""
    if channels is None:
        return shape
    sizes = list(shape)
    size = sizes.pop(channels - 1)
    return (*sizes, size)


def from_last(shape: tuple[Any, ...], channels: int | None) -> tuple[Any, ...]:
    """The inverse of `to_last`. `(8, 9, 3), 1 -> (3, 8, 9)`."""
    if channels is None:
        return shape
    sizes = list(shape[:-1])
    sizes.insert(channels - 1, shape[-1])
    return tuple(sizes)


def in_inference(function: Callable[[Any], Any], value: Any) -> Any:
    """`function(value)`, with every Keras layer that it calls in inference mode.

    A layer that is called without `training` uses the value of the outer call. So the function is
    called inside a call with `training=False`. Otherwise layers such as `Resizing` and `RandomFlip`
    would run in training mode.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> drop = keras.layers.Dropout(0.5)
        >>> in_inference(lambda x: drop(2.0 * x), np.ones([1, 4])).numpy().tolist()
        [[2.0, 2.0, 2.0, 2.0]]
    """
    import keras

    found: list[Any] = []
    raised: list[BaseException] = []

    class Inference(keras.Layer):
        """A call that others are part of."""

        def call(self, given: Any, training: bool | None = None) -> Any:
            del training  # in the signature, so that Keras hands it on
            try:
                found.append(function(value))
            except BaseException as error:  # Keras would write into its message
                raised.append(error)
            return given

    Inference(name="inference", autocast=False)(tf.zeros([1]), training=False)
    if raised:
        raise raised[0]
    return found[0]
