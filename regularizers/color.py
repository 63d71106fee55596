"""Random changes of the values of whole channels."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from regularizers import lanes, random
from regularizers.base import Strength, Transform, check_strength, image_sizes, value_at
from regularizers.warp import coordinate_dtype


@dataclasses.dataclass(frozen=True)
class ColorShift(Transform):
    """Scales and shifts each channel of each image: `x * exp(u) + v`. `[N, ..., C] -> [N, ..., C]`.

    Here `u` is uniform on `(-scale, scale)` and `v` on `(-shift, shift)`, with one pair for each
    image and channel. A picture that is still recognized after this change does not depend on its
    exact colors.

    Args:
        scale: largest logarithm of the factor, at least 0: 1 for factors of 0.37 to 2.7; a number or
            a schedule of the step.
        shift: largest summand, at least 0, in units of the images; a number or a schedule of the step.

    Raises:
        ValueError: if one is negative or not finite.

    Example:
        >>> import tensorflow as tf
        >>> seeds = tf.constant([[0, 1], [0, 2]])
        >>> ColorShift(1.0, 1.0)(tf.ones([2, 8, 8, 3]), seeds, tf.constant(0)).shape
        TensorShape([2, 8, 8, 3])

    Source:
        Ghiasi et al. 2022, Plug-In Inversion, https://arxiv.org/abs/2201.12961 (both 1, for images
        standardized to a deviation of about 1).
    """

    scale: Strength
    shift: Strength

    def __post_init__(self) -> None:
        check_strength(self.scale, f"scale of {self.name}", at_least=0.0)
        check_strength(self.shift, f"shift of {self.name}", at_least=0.0)

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        *spatial, channels = image_sizes(images, self.name)
        dtype = coordinate_dtype(images)
        scale, shift = value_at(self.scale, step, dtype), value_at(self.shift, step, dtype)
        logarithm = random.uniform(random.fold_in(seeds, 0), [channels], -scale, scale, dtype)
        factor = lanes.by_row(tf.exp, logarithm)
        summand = random.uniform(random.fold_in(seeds, 1), [channels], -shift, shift, dtype)
        shape = [-1, *([1] * len(spatial)), channels]
        changed = tf.cast(images, dtype) * tf.reshape(factor, shape) + tf.reshape(summand, shape)
        return tf.cast(changed, images.dtype)
