"""Floating-point operations of a pass, counted in its graph, and what the device can do.

Products are counted (convolutions and matrix products, two operations per multiplication and addition);
the rest is a few per cent in these networks. The count is the work of the model, so a faster way to
compute the same result has a higher rate.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

# Large enough that the product is limited by arithmetic, small enough for a slow machine.
MATRIX = 1024
_CONVOLUTIONS = {
    # operation: (input of the filter, input or None for the result, whose positions are visited)
    "Conv2D": None,
    "DepthwiseConv2dNative": None,
    "Conv2DBackpropInput": 2,
    "DepthwiseConv2dNativeBackpropInput": 2,
}


def count(function: Callable[..., Any], *signature: tf.TensorSpec) -> float:
    """Operations of one call of a function with static shapes.

    Raises:
        ValueError: if a product's shape is not known in the graph.
    """
    graph = tf.function(function, autograph=False).get_concrete_function(*signature).graph
    # Count only what the results need. The graph may contain unused gradients, which never run.
    needed: dict[str, tf.Operation] = {}
    waiting = [tensor.op for tensor in graph.outputs]
    while waiting:
        operation = waiting.pop()
        if operation.name not in needed:
            needed[operation.name] = operation
            waiting += [tensor.op for tensor in operation.inputs]
    return sum(_operations(operation) for operation in needed.values())


def _operations(operation: tf.Operation) -> float:
    if operation.type in _CONVOLUTIONS:
        at = _CONVOLUTIONS[operation.type]
        visited = _sizes(operation.outputs[0] if at is None else operation.inputs[at], operation)
        kernel = _sizes(operation.inputs[1], operation)
        # Every visited value is a sum over the kernel's window and, unless depthwise, input channels.
        window = kernel[:2] if operation.type.startswith("Depthwise") else kernel[:3]
        return 2.0 * math.prod(visited) * math.prod(window)
    if operation.type in ("MatMul", "BatchMatMulV2", "BatchMatMulV3"):
        result = _sizes(operation.outputs[0], operation)
        left = _sizes(operation.inputs[0], operation)
        flipped = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
        return 2.0 * math.prod(result) * left[-2 if flipped else -1]
    if operation.type == "Einsum":
        equation = operation.get_attr("equation").decode()
        terms = equation.split("->")[0].split(",")
        shapes = [_sizes(tensor, operation) for tensor in operation.inputs]
        sizes = {
            letter: size
            for term, shape in zip(terms, shapes, strict=True)
            for letter, size in zip(term, shape, strict=True)
        }
        return 2.0 * math.prod(sizes.values()) if len(terms) == 2 else 0.0
    return 0.0


def _sizes(tensor: tf.Tensor, operation: tf.Operation) -> list[int]:
    if not tensor.shape.is_fully_defined():
        raise ValueError(
            f"Expected static shapes. Received: {tensor.shape} in {operation.name} "
            f"({operation.type})."
        )
    return tensor.shape.as_list()


def matrix_rate(place: str = "CPU:0", dtype: str = "float32", repeats: int = 9) -> float:
    """Operations per second of the fastest of `repeats` matrix products on the device."""
    size = MATRIX * (8 if place.startswith("GPU") else 1)
    with tf.device(place):
        values = tf.constant(np.random.default_rng(0).standard_normal([size, size]), dtype)

        @tf.function(autograph=False)
        def product(left: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(tf.matmul(left, values))

        product(values).numpy()
        return 2.0 * size**3 / min(_seconds(lambda: product(values).numpy(), repeats))


def _seconds(run: Callable[[], Any], repeats: int) -> list[float]:
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        spent.append(time.perf_counter() - started)
    return spent
