"""The axes of an image that a part acts along: all between the first and the last, or those given."""

from __future__ import annotations

from typing import Any, TypeAlias

import tensorflow as tf

from regularizers.base import check_spatial

Axes: TypeAlias = tuple[int, ...] | None


def check_axes(axes: Any, owner: str) -> Axes:
    """Axes as a tuple, counted as in a batch: 1 for the first behind it. None for all of space.

    Raises:
        TypeError: if they are not whole numbers.
        ValueError: if one is below 1 or given twice, or there is none.
    """
    if axes is None:
        return None
    whole = isinstance(axes, (tuple, list)) and all(
        isinstance(axis, int) and not isinstance(axis, bool) for axis in axes
    )
    if not whole:
        raise TypeError(
            f"Expected the axes of {owner} to be a tuple of whole numbers, counted as in a batch. "
            f"Received: {axes!r}. Of films [N, T, H, W, C], write axes=(2, 3) for space alone."
        )
    if not axes or min(axes) < 1 or len(set(axes)) < len(axes):
        raise ValueError(
            f"Expected the axes of {owner} to be different ones, at least 1. Received: {axes!r}. "
            "Axis 0 counts images; 1 is the first axis of an image."
        )
    return tuple(sorted(axes))


def chosen_axes(images: tf.Tensor, axes: Axes, owner: str) -> tuple[int, ...]:
    """The axes to act along: those given, or all spatial axes. `[N, H, W, C] -> (1, 2)`.

    Raises:
        ValueError: if images have no such axis, or it is the last one, the channel axis.
    """
    space = check_spatial(images, owner)
    if axes is None:
        return space
    if not set(axes) <= set(space):
        raise ValueError(
            f"Expected axes of {owner} in {space}, those between the first and the last of images "
            f"{images.shape}. Received: {axes}. Channels are last in all layouts."
        )
    return axes
