"""Gradients of layers with respect to their input, as forward passes.

A convolution's is a convolution with the kernel turned around and its channels exchanged; a dense
layer's is a product with the transposed matrix; of a max pooling, each window's goes to the first of
its largest values. TensorFlow computes the same sums. Its CPU kernels for them, where oneDNN is off,
take up to three and a half times as long as those of its forward passes. Kernels are turned around in
front of the loop, from the variables, whenever compiled steps begin: nothing can go stale when weights
change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from actmax.models.overriding import Override

Map: TypeAlias = Callable[[tf.Tensor], tf.Tensor]

# Of fewer channels the kernel's other side is so thin that TensorFlow's own way is the faster one.
_CHANNELS = 8
# Values in a matrix: from where on it pays, and up to where a second copy of it (64 MB) is no burden.
_SMALLEST, _LARGEST = 2**16, 2**24


def onednn() -> bool | None:
    """Whether TensorFlow runs oneDNN's kernels; None where it does not tell.

    The environment variable alone says nothing: unset, TensorFlow decides by the processor. What it
    decided is not in its public interface.
    """
    try:
        from tensorflow.python.util import _pywrap_util_port
    except ImportError:
        return None
    return bool(_pywrap_util_port.IsMklEnabled())


def with_gradient(forward: Map, backward: Callable[[tf.Tensor], Map]) -> Map:
    """`forward`, whose gradient is another function.

    Args:
        forward: `[N, ...] -> [N, ...]`.
        backward: of the result, the function `dy -> dx` that takes the place of TensorFlow's.
    """

    @tf.custom_gradient
    def through(given: tf.Tensor) -> tuple[tf.Tensor, Map]:
        result = forward(given)
        return result, backward(result)

    return lambda given: through(tf.convert_to_tensor(given))


def product(layer: Any, kernel: tf.Tensor) -> Map | None:
    """`x -> kernel * x`, with this kernel in the place of the layer's, its gradient a forward pass.

    None if the layer is of another kind, or TensorFlow's own gradient is no slower.
    """
    import keras

    if type(layer) is keras.layers.Dense:
        return _dense(kernel) if _SMALLEST <= kernel.shape.num_elements() <= _LARGEST else None
    if type(layer) is not keras.layers.Conv2D:
        return None
    whole = tuple(layer.strides) == (1, 1) or tuple(layer.kernel_size) == (1, 1)
    plain = layer.data_format == "channels_last" and tuple(layer.dilation_rate) == (1, 1)
    if not (whole and plain) or layer.groups > 1 or kernel.shape[2] < _CHANNELS:
        return None
    return _convolution(kernel, layer.padding, tuple(layer.strides))


def adjoints(layers: Iterable[Any]) -> list[Override]:
    """What layers call instead, their kernels turned around here and now."""
    import keras

    found = []
    for layer in layers:
        if type(layer) is keras.layers.MaxPooling2D:
            if layer.data_format == "channels_last" and layer.pool_size == layer.strides:
                found.append(Override(layer, "call", _pooling(layer)))
            continue
        if type(layer) not in (keras.layers.Conv2D, keras.layers.Dense) or not layer.built:
            continue
        if getattr(layer, "quantization_mode", None) is not None:
            continue  # its kernel is no matrix of numbers to multiply by, or is gone
        kernel = tf.convert_to_tensor(layer.kernel)
        if kernel.dtype != tf.as_dtype(layer.compute_dtype):
            continue
        multiply = product(layer, kernel)
        if multiply is None:
            continue
        if type(layer) is keras.layers.Dense:
            found.append(Override(layer, "call", _dense_call(layer, multiply)))
        else:
            # Its own call adds the bias and applies the activation.
            found.append(Override(layer, "convolution_op", _of_inputs(multiply)))
    return found


def _dense(matrix: tf.Tensor) -> Map:
    import keras

    turned = tf.transpose(matrix)

    def multiply(given: tf.Tensor) -> tf.Tensor:
        # In two dimensions: a product that repeats the matrix over more is another kernel.
        def backward(upstream: tf.Tensor) -> tf.Tensor:
            rows = tf.matmul(tf.reshape(upstream, [-1, matrix.shape[1]]), turned)
            return tf.reshape(rows, tf.shape(given))

        return with_gradient(lambda x: keras.ops.matmul(x, matrix), lambda _: backward)(given)

    return multiply


def _of_inputs(multiply: Map) -> Callable[..., tf.Tensor]:
    return lambda inputs, kernel: multiply(inputs)


def _dense_call(layer: Any, multiply: Map) -> Callable[..., tf.Tensor]:
    import keras

    def call(inputs: tf.Tensor, *_: Any, **__: Any) -> tf.Tensor:
        result = multiply(tf.convert_to_tensor(inputs))
        if layer.bias is not None:
            result = keras.ops.add(result, layer.bias)
        return result if layer.activation is None else layer.activation(result)

    return call


def _convolution(kernel: tf.Tensor, padding: str, strides: tuple[int, int]) -> Map:
    turned = _turned(kernel)
    margins = []
    for size in kernel.shape[:2]:
        before = (size - 1) // 2 if padding == "same" else 0
        after = size - 1 - before if padding == "same" else 0
        margins.append([size - 1 - before, size - 1 - after])
    back = [[0, 0], *margins, [0, 0]] if np.any(margins) else "VALID"

    def multiply(given: tf.Tensor) -> tf.Tensor:
        def backward(upstream: tf.Tensor) -> tf.Tensor:
            gradient = tf.nn.conv2d(upstream, turned, 1, back)
            # Only kernels of one pixel have strides here, and they see every so manieth pixel.
            return gradient if strides == (1, 1) else _apart(gradient, strides, tf.shape(given))

        return with_gradient(
            lambda x: tf.nn.conv2d(x, kernel, strides, padding.upper()), lambda _: backward
        )(given)

    return multiply


def _turned(kernel: tf.Tensor) -> tf.Tensor:
    """The kernel turned by half a circle, channels out first. `[h, w, I, O] -> [h, w, O, I]`."""
    height, width, given, made = kernel.shape
    # In three dimensions twice as fast as in four.
    places = tf.reshape(kernel, [height * width, given, made])
    if height * width > 1:
        places = tf.reverse(places, [0])
    return tf.reshape(tf.transpose(places, [0, 2, 1]), [height, width, made, given])


def _apart(images: tf.Tensor, strides: tuple[int, int], shape: tf.Tensor) -> tf.Tensor:
    """Pixels with zeros between them, `strides` apart. `[N, h, w, C] -> [N, H, W, C]`."""
    size, channels = tf.shape(images), images.shape[3]
    none, (down, along) = [0, 0], strides
    gaps = [none, none, [0, down - 1], none, [0, along - 1], none]
    spread = tf.pad(images[:, :, None, :, None], gaps)
    whole = [size[0], size[1] * down, size[2] * along, channels]
    return tf.reshape(spread, whole)[:, : shape[1], : shape[2]]


def _pooling(layer: Any) -> Callable[..., Any]:
    """Max pooling over windows side by side, `high` by `wide`."""
    own = layer.call
    high, wide = layer.pool_size

    def call(inputs: tf.Tensor, *_: Any, **__: Any) -> tf.Tensor:
        images = tf.convert_to_tensor(inputs)
        if None in images.shape[1:]:
            return own(inputs)
        height, width, channels = images.shape[1:]
        rows, columns = height // high, width // wide
        left = [height - rows * high, width - columns * wide]
        if layer.padding == "same" and any(left):
            return own(inputs)
        windows = [-1, rows, high, columns, wide, channels]
        whole = [-1, rows * high, columns * wide, channels]
        # The first of several largest values, row by row, as TensorFlow has it.
        order = np.arange(high * wide, 0, -1).reshape([1, 1, high, 1, wide, 1])

        def backward(result: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
            zero = tf.zeros([], upstream.dtype)
            seen = tf.reshape(images[:, : rows * high, : columns * wide], windows)
            largest = tf.equal(seen, result[:, :, None, :, None])
            rank = tf.where(largest, tf.constant(order, upstream.dtype), zero)
            first = tf.nn.max_pool2d(tf.reshape(rank, whole), [high, wide], [high, wide], "VALID")
            chosen = largest & tf.equal(rank, first[:, :, None, :, None])
            gradient = tf.where(chosen, upstream[:, :, None, :, None], zero)
            margins = [[0, 0], [0, left[0]], [0, left[1]], [0, 0]]
            return tf.pad(tf.reshape(gradient, whole), margins)

        return with_gradient(own, lambda result: lambda dy: backward(result, dy))(images)

    return call
