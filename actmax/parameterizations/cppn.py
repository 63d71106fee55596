"""Images from a small network that maps a position to a color: one network for each image."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.parameterizations.base import Parameterization, Shape, image_shape
from actmax.types import Params
from regularizers import lanes, random

# Root mean squares of atan(x) and atan(x)^2 for a standard normal x, so that both halves of a layer's
# output are of size 1 (Mordvintsev et al., 2018).
_ODD, _EVEN = 0.67, 0.6


@dataclasses.dataclass(frozen=True)
class CPPN(Parameterization):
    """A compositional pattern-producing network of the position, one per image. `-> [N, H, W, C]`.

    `x(position) = W_out h_layers`, `h_(k+1) = [atan(a) / 0.67, atan(a)^2 / 0.6]`, `a = W_k h_k + b_k`,
    `h_0 = (y, x)` in the middle of each pixel, the longer side from -sqrt(3) to sqrt(3). Params are the
    networks' weights, so they have no resolution: `decode` computes images of any size. The output
    starts at 0, which is gray. The hidden weights are drawn from each image's own seed. Use small
    learning rates, about 0.005 for Adam, which is the default here. No image can be encoded.

    Source: Mordvintsev, Pezzotti, Schubert and Olah, Differentiable Image Parameterizations, Distill
    2018, https://doi.org/10.23915/distill.00012; Stanley, Compositional pattern producing networks,
    2007, https://doi.org/10.1007/s10710-007-9028-8.

    Args:
        layers: number of hidden layers, at least 1.
        units: of each hidden layer, before it is doubled.

    Raises:
        ValueError: for inputs that are not images, or if start images are given.

    Example:
        >>> import tensorflow as tf
        >>> import actmax
        >>> part = actmax.CPPN(layers=2, units=8)
        >>> params = part.init((8, 8, 3), tf.constant([[0, 1], [0, 2]]))
        >>> part.decode(params, (8, 8, 3)).shape, part.decode(params, (30, 20, 3)).shape
        (TensorShape([2, 8, 8, 3]), TensorShape([2, 30, 20, 3]))
    """

    layers: int = 8
    units: int = 24

    def __post_init__(self) -> None:
        checks.integer(self.layers, "layers", low=1)
        checks.integer(self.units, "units", low=1)

    @property
    def rate(self) -> float:
        return 0.005

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        _, _, channels = image_shape(shape, self)
        inputs = [2] + [2 * self.units] * (self.layers - 1)
        count = tf.shape(seed)[0]
        return {
            "kernels": [
                random.normal(
                    random.fold_in(seed, layer), [size, self.units], 0.0, size**-0.5, dtype
                )
                for layer, size in enumerate(inputs)
            ],
            "biases": [tf.zeros([count, 1, self.units], dtype) for _ in inputs],
            "output": tf.zeros([count, 2 * self.units, channels], dtype),
        }

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        height, width, channels = image_shape(shape, self)
        hidden = tf.constant(_positions(height, width), params["output"].dtype)[None]
        for kernel, bias in zip(params["kernels"], params["biases"], strict=True):
            waves = tf.atan(tf.matmul(hidden, kernel) + bias)
            hidden = tf.concat([waves / _ODD, tf.square(waves) / _EVEN], axis=-1)
        values = tf.matmul(hidden, params["output"])[:, : height * width]
        return tf.reshape(values, [-1, height, width, channels])


def _positions(height: int, width: int) -> np.ndarray:
    """`(y, x)` of every pixel, and zeros up to whole vectors of lanes. `[>= H * W, 2]`."""
    unit = 2.0 * math.sqrt(3.0) / max(height, width)
    y = (np.arange(height) + 0.5 - height / 2) * unit
    x = (np.arange(width) + 0.5 - width / 2) * unit
    places = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
    # The tail of an array is rounded by other code than its body: without it a row would depend, in
    # its last bit, on where in the batch it stands.
    missing = -len(places) % lanes.LANES
    return np.concatenate([places, np.zeros((missing, 2))])
