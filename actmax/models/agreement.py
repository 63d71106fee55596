"""Compares our own gradient of an operation with TensorFlow's, before it is used.

Each operation is compared once per process, at small arrays of random numbers without ties. The gradient
depends on kernel sizes, strides, paddings and remainders of sizes, so these are those of the operation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax.models.pooling import Windows
from actmax.models.products import Product

# Gradients agree up to this many roundings of their largest value.
_ROUNDINGS = 1e3
# Channels of the compared arrays, and rows and columns of the compared matrices.
_CHANNELS, _MATRIX = 8, 32

# What was found, by all that the comparison depends on. Empty if the gradients agree.
_KNOWN: dict[Any, str] = {}


def product_differs(product: Product, kernel: tf.TensorShape, given: tf.TensorShape) -> str:
    """How our gradient of a product differs from TensorFlow's. Empty if they agree.

    Args:
        product: with the gradient to compare.
        kernel: shape of the kernel, `[h, w, I, O]`, or of the matrix.
        given: shape of the input in the layout of the trace.
    """
    product = dataclasses.replace(product, turned=False)
    if product.kind == "MatMul":
        sizes = [min(size, _MATRIX) for size in kernel]
        shape = [2, sizes[0]]
    else:
        sizes = [*kernel[:2], *(min(size, _CHANNELS) for size in kernel[2:])]
        space = given[1:3] if product.last else given[2:4]
        strides = product.strides[1:3]
        shape = [2, *map(_small, space, kernel[:2], strides), sizes[2]]
    key = (product, tuple(sizes), tuple(shape))
    if key not in _KNOWN:
        values, weights = _draws(shape, sizes)
        _KNOWN[key] = _difference(
            product.kind,
            values,
            lambda given: product.apply(given, tf.constant(weights)),
            lambda given, slope: product.slope(given, product.prepare(tf.constant(weights)), slope),
        )
    return _KNOWN[key]


def pooling_differs(windows: Windows) -> str:
    """How our gradient of a max pooling of images differs from TensorFlow's. Empty if they agree."""
    height, width = map(_small, (windows.height, windows.width), windows.size, windows.size)
    windows = dataclasses.replace(
        windows, height=height, width=width, channels=min(windows.channels, 2)
    )
    if windows not in _KNOWN:
        (draw,) = _draws([2, windows.height, windows.width, windows.channels])
        _KNOWN[windows] = _difference(
            "MaxPool",
            draw,
            windows.apply,
            lambda given, slope: windows.slope(given, windows.apply(given), slope),
        )
    return _KNOWN[windows]


def _small(size: int | None, kernel: int, stride: int) -> int:
    """The smallest size with the same remainder after steps of the stride, and several windows."""
    least = 2 * kernel + stride
    if size is None:
        return least + 1
    return min(size, least + (size - least) % stride)


def _draws(*shapes: Sequence[int]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(size=shape).astype("float32") for shape in shapes]


def _difference(
    kind: str,
    given: np.ndarray,
    apply: Callable[[tf.Tensor], tf.Tensor],
    slope: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> str:
    def both(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        result = apply(values)
        upstream = tf.constant(_draws(result.shape)[0])
        # A tape records nothing while a gradient of our own is defined.
        (theirs,) = tf.gradients(result, values, upstream)
        return theirs, slope(values, upstream)

    with tf.init_scope():
        compiled = tf.function(both, autograph=False).get_concrete_function(
            tf.TensorSpec(given.shape)
        )
        theirs, ours = (gradient.numpy() for gradient in compiled(tf.constant(given)))
    if ours.shape != theirs.shape:
        return f"{kind}: a gradient of shape {ours.shape}, where TensorFlow's has {theirs.shape}"
    gap = np.abs(ours - theirs).max() / np.abs(theirs).max()
    if gap <= _ROUNDINGS * np.finfo(theirs.dtype).eps:
        return ""
    return f"{kind}: a gradient that differs from TensorFlow's by {gap:.2g} of its largest value"
