"""Masks choose the part of an image that is optimized: one for all images or one for each."""

from __future__ import annotations

import tensorflow as tf

from actmax.constraints import Constraint
from actmax.constraints.base import euclidean
from actmax.types import FixedArray


def rows(mask: FixedArray | None, shape: tuple[int, ...]) -> int | None:
    """How many images a mask is for, one each; None for any number."""
    if mask is None or mask.values.ndim != len(shape) + 1:
        return None
    return int(mask.values.shape[0])


def spread(mask: FixedArray, shape: tuple[int, ...], images: tf.Tensor) -> tf.Tensor:
    """A mask as a tensor that broadcasts against images, of which it may be one for each."""
    values = mask.values[..., None] if mask.values.ndim < len(shape) else mask.values
    found = tf.constant(values, images.dtype)
    if rows(mask, shape) is None:
        return found
    return tf.gather(found, tf.range(tf.shape(images)[0]))


def project(
    constraint: Constraint, mask: FixedArray | None, shape: tuple[int, ...], images: tf.Tensor
) -> tf.Tensor:
    """The nearest images in a set; if the set couples values, over the part of the mask only."""
    if mask is None or constraint.by_value or not constraint.projects:
        return constraint.project(images)
    return constraint.nearest(images, part=spread(mask, shape, images) > 0)


def distance(
    constraint: Constraint, mask: FixedArray | None, shape: tuple[int, ...], images: tf.Tensor
) -> tf.Tensor:
    """How far images are outside of a set, in its own units; with a mask the Euclidean distance. `[N]`."""
    if mask is None or constraint.by_value or not constraint.projects:
        return constraint.distance(images)
    return euclidean(images - project(constraint, mask, shape, images))
