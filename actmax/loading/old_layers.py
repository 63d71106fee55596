"""Parts of Keras 2 that Keras 3 removed or changed, as layers and functions of Keras 3.

They are made and registered with Keras by `register`, so that importing actmax does not import Keras.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from actmax.loading.errors import refuse
from actmax.loading.keras2 import ITSELF

# Pure functions of tensors. What is not here could read files or run code, or draws random numbers.
_FUNCTIONS = frozenset(
    "math.abs math.acos math.acosh math.add math.add_n math.argmax math.argmin math.asin math.asinh "
    "math.atan math.atan2 math.atanh math.ceil math.cos math.cosh math.cumprod math.cumsum math.divide "
    "math.divide_no_nan math.equal math.erf math.exp math.expm1 math.floor math.floordiv math.floormod "
    "math.greater math.greater_equal math.is_finite math.is_inf math.is_nan math.l2_normalize math.less "
    "math.less_equal math.lgamma math.log math.log1p math.log_sigmoid math.logical_and math.logical_not "
    "math.logical_or math.maximum math.minimum math.mod math.multiply math.multiply_no_nan math.negative "
    "math.not_equal math.pow math.reciprocal math.reciprocal_no_nan math.reduce_all math.reduce_any "
    "math.reduce_euclidean_norm math.reduce_logsumexp math.reduce_max math.reduce_mean math.reduce_min "
    "math.reduce_prod math.reduce_std math.reduce_sum math.reduce_variance math.round math.rsqrt "
    "math.sigmoid math.sign math.sin math.sinh math.softplus math.sqrt math.square math.squared_difference "
    "math.subtract math.tan math.tanh math.top_k math.truediv math.xlogy "
    "nn.avg_pool nn.bias_add nn.conv2d nn.depth_to_space nn.elu nn.gelu nn.l2_normalize nn.leaky_relu "
    "nn.local_response_normalization nn.log_softmax nn.max_pool nn.moments nn.relu nn.relu6 nn.selu "
    "nn.sigmoid nn.silu nn.softmax nn.softplus nn.softsign nn.space_to_depth nn.swish nn.tanh "
    "linalg.band_part linalg.diag linalg.diag_part linalg.einsum linalg.matmul linalg.matvec "
    "linalg.normalize linalg.trace "
    "image.adjust_brightness image.central_crop image.convert_image_dtype image.crop_to_bounding_box "
    "image.flip_left_right image.flip_up_down image.grayscale_to_rgb image.pad_to_bounding_box "
    "image.per_image_standardization image.resize image.rgb_to_grayscale image.rot90 "
    "__operators__.add __operators__.eq __operators__.getitem __operators__.ne "
    "broadcast_to cast clip_by_value compat.v1.transpose concat einsum expand_dims gather gather_nd "
    "identity matmul norm one_hot ones_like pad rank repeat reshape reverse roll shape size "
    "slice split squeeze stack stop_gradient strided_slice tensordot tile transpose unstack where zeros_like "
    "compat.v1.gather compat.v1.nn.conv2d compat.v1.nn.avg_pool compat.v1.nn.max_pool compat.v1.squeeze "
    "compat.v1.shape compat.v1.size compat.v1.pad compat.v1.where".split()
)


def hard_sigmoid_of_keras_2(x: Any) -> Any:
    """`clip(0.2 x + 0.5, 0, 1)`, of any shape: Keras 2's; Keras 3's is `relu6(x + 3) / 6`.

    Courbariaux, Bengio and David, "BinaryConnect", 2015, https://arxiv.org/abs/1511.00363
    """
    from keras import ops

    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


@functools.cache
def register() -> None:
    """Makes the parts known to Keras, once for the process, under names that begin with `actmax>`."""
    import keras
    import tensorflow as tf

    known = keras.saving.register_keras_serializable("actmax")
    known(hard_sigmoid_of_keras_2)

    class ThresholdedReLU(keras.layers.Layer):
        """`x` where it is above `theta`, else 0, of any shape (Konda, Memisevic and Krueger, 2014)."""

        def __init__(self, theta: Any = 1.0, **settings: Any) -> None:
            super().__init__(**settings)
            self.theta = float(
                np.asarray(theta["config"]["value"] if isinstance(theta, dict) else theta)
            )
            self.supports_masking = True

        def call(self, inputs: Any) -> Any:
            return inputs * tf.cast(inputs > self.theta, inputs.dtype)

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "theta": self.theta}

    class TensorOperation(keras.layers.Layer):
        """One function of TensorFlow on tensors, as a functional model of Keras 2 holds it."""

        def __init__(self, function: str = "identity", **settings: Any) -> None:
            super().__init__(**settings)
            if function not in _FUNCTIONS:
                raise refuse("operations of TensorFlow on tensors alone", f"tf.{function}", ITSELF)
            self.function = function

        def call(self, inputs: Any, **keywords: Any) -> Any:
            keywords = {key: value for key, value in keywords.items() if key != "name"}
            if self.function == "__operators__.getitem":
                return inputs[_slices(keywords["slice_spec"])]
            return _function(self.function)(inputs, **keywords)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "function": self.function}

    known(ThresholdedReLU)
    known(TensorOperation)


def _function(name: str) -> Any:
    import tensorflow as tf

    if name.startswith("__operators__."):
        operators = {"add": tf.add, "eq": tf.equal, "ne": tf.not_equal}
        return operators[name.rpartition(".")[2]]
    return functools.reduce(getattr, name.split("."), tf)


def _slices(written: Any) -> Any:
    """What stands between brackets: numbers, slices, an ellipsis, new axes."""
    if not isinstance(written, (list, tuple)):
        written = [written]
    return tuple(_one_slice(each) for each in written)


def _one_slice(each: Any) -> Any:
    if isinstance(each, dict) and "start" in each:
        return slice(each["start"], each["stop"], each["step"])
    if isinstance(each, str):  # Keras 2 writes an ellipsis as a text.
        return Ellipsis
    return each
