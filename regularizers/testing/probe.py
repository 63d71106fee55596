"""A regularizer, and all that the laws ask of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from regularizers import random
from regularizers.base import Penalty

KINDS = {
    "random": "a random",
    "zero": "an all-zero",
    "constant": "a constant",
    "checkerboard": "a checkerboard",
}


class Fault(Exception):
    """What was expected, what received, and what to do; the law and the place are added."""


# Kept, because drawing takes longer than what is tried on the draws.
@functools.lru_cache(maxsize=256)
def _seeds(n: int, stream: int) -> tf.Tensor:
    return random.fold_in(tf.fill([n, 2], stream), tf.range(n))


@functools.lru_cache(maxsize=256)
def _uniform(
    n: int, stream: int, shape: tuple[int, ...], low: float, high: float, dtype: tf.DType
) -> tf.Tensor:
    return random.uniform(_seeds(n, stream), shape, low, high, dtype)


def read_global_seed() -> Any:
    """TensorFlow's global seed, or its default where none is set; reading changes nothing."""
    # No other public function tells it.
    return tf.compat.v1.get_seed(0)[0]  # noqa: TID251


class Untraceable(Exception):
    """The part cannot be traced at all, which is for the law of graphs to tell."""


@dataclasses.dataclass
class Probe:
    """A part, and all that the laws ask of it."""

    part: Any
    shapes: tuple[tuple[int, ...], ...]
    low: float
    high: float
    place: str = ""
    graphs: dict[tuple[int, ...], Callable[..., Any]] = dataclasses.field(default_factory=dict)
    global_seed: Any = dataclasses.field(default_factory=read_global_seed)

    @property
    def is_penalty(self) -> bool:
        return isinstance(self.part, Penalty)

    def images(self, kind: str, shape: Sequence[int], dtype: tf.DType, n: int = 1) -> tf.Tensor:
        """A batch of one kind, which becomes the place of a fault. `[N, *shape]`."""
        self.place = f"on {KINDS[kind]} {dtype.name} batch of shape {(n, *shape)}"
        if kind == "zero":
            return tf.zeros([n, *shape], dtype)
        if kind == "constant":
            return tf.fill([n, *shape], tf.cast((self.low + self.high) / 2, dtype))
        if kind == "checkerboard":
            position = tf.zeros([1] * (len(shape) + 1), tf.int32)
            for axis, size in enumerate(shape[:-1] or shape):
                along = [1] * (len(shape) + 1)
                along[axis + 1] = size
                position += tf.reshape(tf.range(size), along)
            high = tf.broadcast_to(position % 2 == 1, [n, *shape])
            return tf.where(high, tf.cast(self.high, dtype), tf.cast(self.low, dtype))
        return _uniform(n, 1, tuple(shape), self.low, self.high, dtype)

    def seeds(self, n: int, stream: int = 0) -> tf.Tensor:
        """Different seeds for every row. `[N, 2]`."""
        return _seeds(n, stream)

    def direction(self, stream: int, shape: tuple[int, ...]) -> tf.Tensor:
        """A random change of two images. float64 `[2, *shape]`."""
        return _uniform(2, stream, shape, -1.0, 1.0, tf.float64)

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """The part's output, whatever its kind."""
        if self.is_penalty:
            return tf.convert_to_tensor(self.part(images))
        return tf.convert_to_tensor(self.part(images, seeds, tf.constant(3)))

    def product(self, output: tf.Tensor) -> tf.Tensor:
        """One number per image: the penalty, or a linear function of the transformed image."""
        if self.is_penalty:
            return output
        sizes = [int(size) for size in output.shape[1:]]
        with tf.init_scope():  # The pattern is kept, so it must not belong to a graph.
            pattern = _uniform(1, 2, tuple(sizes), -1.0, 1.0, output.dtype)
        return tf.reduce_sum(output * pattern, axis=list(range(1, len(sizes) + 1)))

    def differentiated(self, images: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The output, and the gradient of its `product` with respect to the images."""
        with tf.GradientTape() as tape:
            tape.watch(images)
            output = self(images, seeds)
            product = self.product(output)
        gradient = tape.gradient(product, images)
        if gradient is None:
            gradient = tf.zeros_like(images)  # The law of connected gradients speaks about it.
        return output, tf.convert_to_tensor(gradient)

    def compiled(self, shape: tuple[int, ...]) -> Callable[..., Any]:
        """`differentiated` in a graph, for float32 batches of unknown N; traced once."""
        self.place = f"in a tf.function of a float32 batch of shape {(None, *shape)}"
        if shape not in self.graphs:
            images = tf.TensorSpec([None, *shape], tf.float32)
            seeds = tf.TensorSpec([None, 2], tf.int32)
            function = tf.function(self.differentiated, autograph=False)  # as loops compile
            try:
                self.graphs[shape] = function.get_concrete_function(images, seeds)
            except Exception as error:  # What a plug-in raises may be anything.
                raise Untraceable(error) from error
        return self.graphs[shape]


def require(kept: Any, expected: str, received: Any, do: str) -> None:
    """Raises a `Fault` unless the law is kept."""
    if not bool(kept):
        raise Fault(f"Expected {expected}. Received {received}. {do}")


def distance(first: tf.Tensor, second: tf.Tensor) -> float:
    """Largest difference, in units of the largest value of the second; infinite for NaN."""
    if first.shape != second.shape:
        return float("inf")
    first, second = tf.cast(first, tf.float64), tf.cast(second, tf.float64)
    # Values far below 1e-3 are compared absolutely: zero has no digits to agree in.
    largest = tf.reduce_max(tf.abs(first - second)) / (tf.reduce_max(tf.abs(second)) + 1e-3)
    return float(largest) if bool(tf.math.is_finite(largest)) else float("inf")
