"""Max pooling with a gradient that goes to the first of the largest values of a window, and nowhere else.

TensorFlow's CPU kernel for volumes gives the full gradient to every value within 1e-5 of the largest one.
So for equal values of a window, the total gradient is up to 8 or 27 times too large. For images the kernel
is right, but slow if oneDNN is off.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax.models.program import Made, Node, Program


def of_volumes(program: Program, node: Node) -> Callable[[Sequence[tf.Tensor]], Made] | None:
    """`MaxPool3D` with our own gradient. None if channels are first."""
    if node.value("data_format") != b"NDHWC":
        return None
    sizes, strides = node.value("ksize")[1:4], node.value("strides")[1:4]
    padding = node.value("padding").decode()
    settings = {"ksize": [1, *sizes, 1], "strides": [1, *strides, 1], "padding": padding}

    def build(given: Sequence[tf.Tensor]) -> Made:
        volumes = given[0]
        result = tf.raw_ops.MaxPool3D(input=volumes, **settings)

        def backward(upstream: tf.Tensor) -> list[tf.Tensor]:
            return [_spread(volumes, result, upstream, sizes, strides, padding)]

        return Made([result], backward)

    return build


def _spread(
    volumes: tf.Tensor,
    result: tf.Tensor,
    upstream: tf.Tensor,
    sizes: Sequence[int],
    strides: Sequence[int],
    padding: str,
) -> tf.Tensor:
    shape, made = tf.shape(volumes), tf.shape(result)
    size, step = tf.constant(sizes, tf.int32), tf.constant(strides, tf.int32)
    reach = (made[1:4] - 1) * step + size
    before = (
        tf.maximum(reach - shape[1:4], 0) // 2 if padding == "SAME" else tf.zeros([3], tf.int32)
    )
    after = tf.maximum(reach - shape[1:4] - before, 0)
    margins = tf.pad(tf.stack([before, after], 1), [[1, 1], [0, 0]])
    low = tf.constant(volumes.dtype.min, volumes.dtype)
    padded = tf.pad(volumes, margins, constant_values=low)
    whole = tf.shape(padded)
    open_windows = tf.ones_like(result, tf.bool)
    total = tf.zeros_like(padded)
    for offset in itertools.product(*(range(s) for s in sizes)):
        begin = tf.constant([0, *offset, 0], tf.int32)
        end = begin + tf.concat([made[:1], (made[1:4] - 1) * step + 1, made[4:]], 0)
        every = tf.constant([1, *strides, 1], tf.int32)
        seen = tf.strided_slice(padded, begin, end, every)
        chosen = open_windows & tf.equal(seen, result)
        open_windows &= ~chosen
        part = tf.where(chosen, upstream, tf.zeros([], upstream.dtype))
        total += tf.raw_ops.StridedSliceGrad(
            shape=whole, begin=begin, end=end, strides=every, dy=part
        )
    return tf.slice(total, tf.pad(before, [[1, 1]]), shape)


@dataclasses.dataclass(frozen=True)
class Windows:
    """Max pooling of images over windows without overlap, with a forward pass as gradient.

    Attributes:
        height, width, channels: of the images, `[N, height, width, channels]`.
        size: rows and columns of a window.
        padding: "SAME" or "VALID".
    """

    height: int
    width: int
    channels: int
    size: tuple[int, int]
    padding: str

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        """The largest value of every window."""
        size = [1, *self.size, 1]
        return tf.raw_ops.MaxPool(input=images, ksize=size, strides=size, padding=self.padding)

    def slope(self, images: tf.Tensor, result: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        """The gradient with respect to the images."""
        high, wide = self.size
        rows, columns = self.height // high, self.width // wide
        windows = [-1, rows, high, columns, wide, self.channels]
        whole = [-1, rows * high, columns * wide, self.channels]
        # The first of several equally large values, row by row, as in TensorFlow.
        order: Any = np.arange(high * wide, 0, -1).reshape([1, 1, high, 1, wide, 1])
        zero = tf.zeros([], upstream.dtype)
        seen = tf.reshape(images[:, : rows * high, : columns * wide], windows)
        largest = tf.equal(seen, result[:, :, None, :, None])
        rank = tf.where(largest, tf.constant(order, upstream.dtype), zero)
        first = tf.nn.max_pool2d(tf.reshape(rank, whole), [high, wide], [high, wide], "VALID")
        chosen = largest & tf.equal(rank, first[:, :, None, :, None])
        gradient = tf.where(chosen, upstream[:, :, None, :, None], zero)
        margins = [[0, 0], [0, self.height - rows * high], [0, self.width - columns * wide], [0, 0]]
        return tf.pad(tf.reshape(gradient, whole), margins)

    def build(self, given: Sequence[tf.Tensor]) -> Made:
        """The pooling and its gradient."""
        result = self.apply(given[0])
        return Made([result], lambda upstream: [self.slope(given[0], result, upstream)])


def windows_of(program: Program, node: Node) -> Windows | None:
    """The windows of a `MaxPool`. None if they overlap, or if the size of the images is open."""
    traced = program.tensors[node.inputs[0]].shape
    size, strides = node.value("ksize"), node.value("strides")
    padding = node.value("padding").decode()
    if node.value("data_format") != b"NHWC" or size != strides or size[0] != 1 or size[3] != 1:
        return None
    if traced.rank != 4 or None in traced[1:] or padding not in ("SAME", "VALID"):
        return None
    high, wide = size[1:3]
    found = Windows(traced[1], traced[2], traced[3], (high, wide), padding)
    left = found.height % found.size[0] or found.width % found.size[1]
    return None if padding == "SAME" and left else found
