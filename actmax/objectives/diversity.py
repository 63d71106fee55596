"""How different the activations of a layer are between the images of one batch."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from actmax.objectives.base import (
    ROWS,
    Activations,
    Objective,
    channels_last,
    check_layer,
    of_units,
)

# Squares below this value count as 0. So a layer of zeros has Gram matrix 0, and its gradient is 0,
# not NaN.
_EPSILON = 1e-20


@dataclasses.dataclass(frozen=True)
class Diversity(Objective):
    """Minus the mean cosine between an image's Gram matrix and those of the other images. `-> [N]`.

    For activations `A_n`, positions by channels, of image n:

        G_n = A_n' A_n,    score_n = - mean over m != n of <G_n, G_m> / (|G_n| |G_m|)

    in -1 .. 0: -1 if all images have the same features, 0 if they have none in common. A Gram matrix
    says which channels respond together, but not where, so a shifted image counts as the same. Add it
    to another objective to get several different images for the same target:

        actmax.maximize(model, actmax.Channel("conv", 5) + 2.0 * actmax.Diversity("conv"), images=4)

    On purpose, each image depends on all other images of the call, whatever their targets. Sweeps
    and catalogs refuse it. One image alone has the score 0. Transformed copies of an image are not
    compared with each other. It takes no targets. Its cost is a matrix C x C for every image and
    copy.

    Source: Olah, Mordvintsev and Schubert, Feature Visualization, Distill 2017,
    https://doi.org/10.23915/distill.00007. There each image has the sum over the others, not the mean:
    its weight of 100 for four images is 300 here.

    Args:
        layer: path of the layer.

    Example:
        >>> import actmax
        >>> objective = actmax.Channel("conv", 5) + 2.0 * actmax.Diversity("conv")
        >>> objective.couples_images
        True
    """

    couples_images: ClassVar[bool] = True

    layer: str

    def __post_init__(self) -> None:
        check_layer(self.layer)

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer, ROWS)

    @property
    def taps(self) -> tuple[str, ...]:
        return (channels_last(self.layer), ROWS)

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        del targets
        given, rows = of_units(activations, self.layer), activations[ROWS]
        # Fourth powers of activations overflow in half precision.
        wide = tf.float32 if given.dtype.size < tf.float32.size else given.dtype
        count, channels = tf.shape(given)[0], given.shape[-1]
        values = tf.reshape(tf.cast(given, wide), [count, -1, channels])
        values = tf.math.l2_normalize(values, axis=[1, 2], epsilon=_EPSILON)
        grams = tf.linalg.matmul(values, values, transpose_a=True)
        grams = tf.math.l2_normalize(grams, axis=[1, 2], epsilon=_EPSILON)
        flat = tf.reshape(grams, [count, channels * channels])
        others = tf.cast(rows[:, None] != rows[None, :], wide)
        total = tf.reduce_sum(others * tf.linalg.matmul(flat, flat, transpose_b=True), axis=1)
        mean = tf.math.divide_no_nan(total, tf.reduce_sum(others, axis=1))
        return tf.cast(-mean, given.dtype)
