"""A regularizer under test, with everything that the laws need."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from regularizers import random
from regularizers.base import Penalty
from regularizers.signatures import asks

# The test images, and their names in messages.
KINDS = {
    "random": "a random",
    "zero": "an all-zero",
    "constant": "a constant",
    "checkerboard": "a checkerboard",
    "rows": "an equal-rows",
    "faint": "a faint",
}
# For a part that always computes in float32, such as a network.
PRECISE, ROUGH = 1e-10, 1e-5
# Operations that a part in float32 may have: those of networks and spectra.
_WEIGHTS = ("ReadVariableOp", "Conv2D", "Conv3D", "DepthwiseConv2dNative", "MatMul", "FFT2D", "FFT")
_NARROW = tuple(
    dtype.as_datatype_enum for dtype in (tf.float32, tf.complex64, tf.float16, tf.bfloat16)
)


# Number of channels of the artificial activations, and the random stream of the artificial arrays.
_FEATURES, _ARRAYS, _STATES = 8, 1 << 22, 1 << 23
# What a part gets that asks for the learning rate.
_RATE = 0.05


class Fault(Exception):
    """A broken law: what was expected, what was received, and what to do. The law and the place are added."""


# Cached, because the draws take longer than the tests.
@functools.lru_cache(maxsize=256)
def _seeds(n: int, stream: int) -> tf.Tensor:
    return random.fold_in(tf.fill([n, 2], stream), tf.range(n))


@functools.lru_cache(maxsize=256)
def _uniform(
    n: int, stream: int, shape: tuple[int, ...], low: float, high: float, dtype: tf.DType
) -> tf.Tensor:
    return random.uniform(_seeds(n, stream), shape, low, high, dtype)


def read_global_seed() -> Any:
    """TensorFlow's global seed, or its default if none is set. It is not changed."""
    # No other public function returns it.
    return tf.compat.v1.get_seed(0)[0]  # noqa: TID251


class Untraceable(Exception):
    """The part cannot be traced. The law of graphs reports this."""


@dataclasses.dataclass
class Probe:
    """A part, with everything that the laws ask."""

    part: Any
    shapes: tuple[tuple[int, ...], ...]
    low: float
    high: float
    half: bool = False
    place: str = ""
    activations: Callable[[tf.Tensor], Mapping[str, Any]] | None = None  # None for `features`
    arrays: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    graphs: dict[Any, Any] = dataclasses.field(default_factory=dict)
    global_seed: Any = dataclasses.field(default_factory=read_global_seed)
    first: tuple[int, ...] | None = None  # the shape of the first trace, before any eager call
    first_error: BaseException | None = None  # and what it raised
    fresh: bool = False  # whether a state is that of the first step, made of the images themselves

    @property
    def is_penalty(self) -> bool:
        return isinstance(self.part, Penalty)

    @property
    def dtypes(self) -> tuple[tf.DType, ...]:
        """The dtypes of a run's images. Half precision is included only on request."""
        return (tf.float16, tf.float32, tf.float64) if self.half else (tf.float32, tf.float64)

    @property
    def draws(self) -> bool:
        """Whether the part must give other results for other seeds."""
        return "seeds" in self.part.asks if self.is_penalty else bool(self.part.draws)

    @functools.cached_property
    def width(self) -> float:
        return self.high - self.low

    def images(self, kind: str, shape: Sequence[int], dtype: tf.DType, n: int = 1) -> tf.Tensor:
        """A batch of one kind. It becomes the place in messages. `[N, *shape]`."""
        self.place = f"on {KINDS[kind]} {dtype.name} batch of shape {(n, *shape)}"
        return self.sample(kind, tuple(shape), dtype, n)

    def sample(self, kind: str, shape: tuple[int, ...], dtype: tf.DType, n: int = 1) -> tf.Tensor:
        """A batch of one kind. `[N, *shape]`."""
        middle = (self.low + self.high) / 2
        if kind == "zero":
            return tf.zeros([n, *shape], dtype)
        if kind == "constant":
            return tf.fill([n, *shape], tf.cast(middle, dtype))
        if kind == "checkerboard":
            position = tf.zeros([1] * (len(shape) + 1), tf.int32)
            for axis, size in enumerate(shape[:-1] or shape):
                along = [1] * (len(shape) + 1)
                along[axis + 1] = size
                position += tf.reshape(tf.range(size), along)
            high = tf.broadcast_to(position % 2 == 1, [n, *shape])
            return tf.where(high, tf.cast(self.high, dtype), tf.cast(self.low, dtype))
        values = _uniform(n, 1, shape, self.low, self.high, dtype)
        if kind == "rows":
            return tf.zeros_like(values) + values[:, :1]
        if kind == "faint":
            return tf.cast(middle, dtype) + tf.cast(1e-3, dtype) * (values - tf.cast(middle, dtype))
        return values

    def seeds(self, n: int, stream: int = 0) -> tf.Tensor:
        """Different seeds for every row. `[N, 2]`."""
        return _seeds(n, stream)

    def direction(self, stream: int, shape: tuple[int, ...], n: int = 2) -> tf.Tensor:
        """A random change of images. float64 `[n, *shape]`."""
        return _uniform(n, stream, shape, -1.0, 1.0, tf.float64)

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """The output of a part of any kind."""
        step = tf.constant(3)
        if not self.is_penalty:
            return tf.convert_to_tensor(self.part(images, seeds, step))
        offered: dict[str, Any] = {"seeds": seeds, "step": step}
        if "learning_rate" in self.part.asks:
            offered["learning_rate"] = tf.fill(tf.shape(images)[:1], tf.cast(_RATE, images.dtype))
        if self.part.remembers:
            offered["state"] = self._state(images, seeds, offered)
        for number, name in enumerate(self.part.array_names):
            # Rows depend on the seeds, so that every law can tell rows apart.
            shape = self.arrays.get(name, tuple(images.shape[1:]))
            own = random.fold_in(seeds, _ARRAYS + number)
            offered[name] = random.uniform(own, shape, self.low, self.high, images.dtype)
        if self.part.inner_layers:
            made = self.activations or self.features
            offered["activations"] = dict(made(images))
        given = {name: offered[name] for name in self.part.asks}
        return tf.convert_to_tensor(self.part(images, **given))

    def _state(self, images: tf.Tensor, seeds: tf.Tensor, offered: Mapping[str, Any]) -> Any:
        """Of a penalty with a state: that of the first step, or after an update with other images."""

        def called(kind: str, method: str, *arguments: Any) -> Any:
            function = getattr(self.part, method)
            named = {name: offered[name] for name in asks(kind, function)}
            return function(*arguments, **named)

        if self.fresh:
            return _held(called("init of a penalty", "init", images))
        earlier = [
            random.uniform(
                random.fold_in(seeds, _STATES + number),
                tuple(images.shape[1:]),
                self.low,
                self.high,
                images.dtype,
            )
            for number in range(2)
        ]
        first = _held(called("init of a penalty", "init", earlier[0]))
        rows = {leaf.shape[0] if leaf.shape.rank else 1 for leaf in tf.nest.flatten(first)}
        if any(leaf.shape.rank == 0 for leaf in tf.nest.flatten(first)) or rows - {images.shape[0]}:
            raise Fault(
                "Expected init to return tensors [N, ...], a row for each image. Received "
                f"{_like(first)}. Make a row for each of tf.shape(images)[0] images."
            )
        after = _held(called("update of a penalty", "update", earlier[1], first))
        if _like(first) != _like(after):
            raise Fault(
                f"Expected update to return a state like that of init, {_like(first)}. Received "
                f"{_like(after)}. Return the same structure, with the same shapes and types."
            )
        return after

    def features(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Artificial activations of a layer: 8 smooth, positive features of every pixel."""
        found = {}
        for number, name in enumerate(self.part.inner_layers):
            with tf.init_scope():  # The mixture is kept, so it must not belong to a graph.
                sizes = (int(images.shape[-1]), _FEATURES)
                mixture = _uniform(1, 20 + number, sizes, -3.0, 3.0, images.dtype)[0]
            found[name] = tf.nn.softplus(tf.tensordot(images, mixture, 1))
        return found

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
            gradient = tf.zeros_like(images)  # The law of connected gradients reports it.
        return output, tf.convert_to_tensor(gradient)

    def compiled(self, shape: tuple[int, ...], dtype: tf.DType = tf.float32, kind: str = "") -> Any:
        """`differentiated` in a graph, for batches of unknown N; traced once."""
        self.place = f"in a tf.function of a {dtype.name} batch of shape {(None, *shape)}"
        key = (shape, dtype, kind)
        if key not in self.graphs:
            images = tf.TensorSpec([None, *shape], dtype)
            seeds = tf.TensorSpec([None, 2], tf.int32)
            traced = self.__call__ if kind == "forward" else self.differentiated
            function = tf.function(traced, autograph=False)  # as loops compile
            try:
                self.graphs[key] = function.get_concrete_function(images, seeds)
            except Exception as error:  # A plug-in may raise any error.
                raise Untraceable(error) from error
        return self.graphs[key]

    @functools.cached_property
    def rough(self) -> bool:
        """Whether the part computes in float32 on purpose, like a network. The graph shows this.

        Such a part has weights, convolutions or spectra of float32, although its images are
        float64. A plain computation that casts to float32 has none of these, and is tested with the
        accuracy of float64.
        """
        try:
            graph = self.compiled(self.shapes[0], tf.float64, "forward").graph.as_graph_def()
        except Untraceable:
            return False
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        return any(
            node.op in _WEIGHTS
            and any(node.attr[name].type in _NARROW for name in ("T", "dtype", "Tcomplex"))
            for node in nodes
        )

    @property
    def rounding(self) -> float:
        """Allowed difference of equal values in float64, in units of the largest value."""
        return ROUGH if self.rough else PRECISE


def _held(state: Any) -> Any:
    return tf.nest.map_structure(lambda leaf: tf.stop_gradient(tf.convert_to_tensor(leaf)), state)


def _like(state: Any) -> str:
    """Structure, types and shapes of a state in words."""
    words = tf.nest.map_structure(lambda leaf: f"{leaf.dtype.name} {leaf.shape}", state)
    return str(words)


def require(kept: Any, expected: str, received: Any, do: str) -> None:
    """Raises a `Fault` if the law is broken."""
    if not bool(kept):
        raise Fault(f"Expected {expected}. Received {received}. {do}".rstrip())


def distance(first: tf.Tensor, second: tf.Tensor) -> float:
    """Largest difference, relative to the largest value of the second; infinite for NaN."""
    if first.shape != second.shape:
        return float("inf")
    first, second = tf.cast(first, tf.float64), tf.cast(second, tf.float64)
    # Values far below 1e-3 are compared absolutely: zero has no digits to agree in.
    largest = tf.reduce_max(tf.abs(first - second)) / (tf.reduce_max(tf.abs(second)) + 1e-3)
    return float(largest) if bool(tf.math.is_finite(largest)) else float("inf")


def difference(off: float) -> str:
    """The difference of two results as a text."""
    if off == float("inf"):
        return "NaN or infinity"
    return f"a difference of {off:.1e} of the largest value"
