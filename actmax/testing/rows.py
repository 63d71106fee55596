"""Laws of all parts of actmax, because every part is a function of rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import tensorflow as tf

from actmax import checks
from regularizers import random

# `function(values, others) -> output`: structures of tensors whose first axis is N. Values are
# differentiated and spoilt; others (targets, rates) are only cut into rows.
RowFunction: TypeAlias = Callable[[Any, Any], Any]

# Rounding between kernels in float32, and in float64, in units of the largest value.
FLOAT32_ROUNDING, FLOAT64_ROUNDING = 1e-5, 1e-10
# Central differences in float64: the step balances rounding (1e-16 / h) against h^2.
STEP, SLOPE_TOLERANCE = 1e-5, 1e-4


class ContractError(AssertionError):
    """A part breaks a law.

    Attributes:
        law: name of the law.
    """

    def __init__(self, law: str, message: str) -> None:
        super().__init__(message)
        self.law = law


@dataclasses.dataclass
class Part:
    """A part under test: its name, and the place where it is just being tried."""

    name: str
    place: str = ""

    def require(self, law: str, kept: Any, expected: str, received: Any, do: str) -> None:
        """Raises ContractError unless `kept`."""
        if not bool(kept):
            where = f" {self.place}" if self.place else ""
            text = checks.message(expected, received, do)
            raise ContractError(law, f"{self.name} breaks the law of {law}{where}. {text}")

    @contextmanager
    def trying(self, law: str, do: str) -> Iterator[None]:
        """Turns whatever the part raises into a ContractError of this law."""
        try:
            yield
        except ContractError:
            raise
        except Exception as error:  # what a plug-in raises may be anything
            where = f" {self.place}" if self.place else ""
            text = checks.message("a result", f"{type(error).__name__}: {error}".rstrip("."), do)
            message = f"{self.name} breaks the law of {law}{where}. {text}"
            raise ContractError(law, message) from error


def seeds(count: int, stream: int = 0) -> tf.Tensor:
    """Different seeds for every row. `[N, 2]`."""
    return random.fold_in(tf.fill([count, 2], stream), tf.range(count))


def draw(like: Any, stream: int, low: float = -1.0, high: float = 1.0) -> Any:
    """Uniform numbers in the structure, shapes and dtypes of `like`."""

    def one(leaf: tf.Tensor) -> tf.Tensor:
        # From the trailing sizes, so that no two leaves of one structure are the same numbers.
        key = stream + sum(int(size) for size in leaf.shape[1:])
        sizes = [int(size) for size in leaf.shape[1:]]
        return random.uniform(seeds(int(leaf.shape[0]), key), sizes, low, high, leaf.dtype)

    return tf.nest.map_structure(one, like)


def difference(first: Any, second: Any) -> float:
    """Largest difference in units of the second's largest value; infinite for NaN or other shapes."""
    worst = 0.0
    for a, b in zip(tf.nest.flatten(first), tf.nest.flatten(second), strict=True):
        if a.shape != b.shape:
            return float("inf")
        x, y = tf.cast(a, tf.float64), tf.cast(b, tf.float64)
        # Values far below 1e-3 are compared absolutely: zero has no digits to agree in.
        gap = tf.reduce_max(tf.abs(x - y)) / (tf.reduce_max(tf.abs(y)) + 1e-3)
        worst = max(worst, float(gap)) if bool(tf.math.is_finite(gap)) else float("inf")
    return worst


def all_finite(values: Any) -> bool:
    """Whether no floating leaf has NaN or infinity."""
    return all(
        bool(tf.reduce_all(tf.math.is_finite(leaf)))
        for leaf in tf.nest.flatten(values)
        if leaf.dtype.is_floating
    )


def pick(structure: Any, rows: Any) -> Any:
    """Rows of every leaf."""
    return tf.nest.map_structure(lambda leaf: tf.gather(leaf, rows), structure)


def along(values: Any, pattern: Any) -> tf.Tensor:
    """Sum of `values * pattern` over everything but the rows. `-> [N]`."""
    products = [
        tf.reduce_sum(leaf * weight, axis=list(range(1, leaf.shape.rank)))
        for leaf, weight in zip(tf.nest.flatten(values), tf.nest.flatten(pattern), strict=True)
    ]
    return tf.add_n(products)


def gradient_of(function: RowFunction, values: Any, others: Any) -> Any:
    """Gradient of the sum over rows of a linear function of the output; None where there is none."""
    with tf.GradientTape() as tape:
        tape.watch(values)
        output = function(values, others)
        product = along(output, draw(output, 3))
    return tape.gradient(product, values)


def check_repeat(part: Part, function: RowFunction, values: Any, others: Any) -> None:
    """The same call gives the same bytes, and leaves its arguments as they are."""
    before = tf.nest.map_structure(lambda leaf: leaf.numpy(), values)
    first, second = (tf.nest.flatten(function(values, others)) for _ in range(2))
    same = all(
        a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(first, second, strict=True)
    )
    do = "Keep no state and draw nothing but from the seeds given."
    part.require("repeat", same, "the same bytes from the same call", "other bytes", do)
    after = tf.nest.map_structure(lambda leaf: leaf.numpy(), values)
    kept = all(
        (a == b).all() for a, b in zip(tf.nest.flatten(before), tf.nest.flatten(after), strict=True)
    )
    part.require("repeat", kept, "arguments as they were", "changed arguments", do)


def check_graph(part: Part, function: RowFunction, values: Any, others: Any) -> None:
    """A `tf.function` of unknown N agrees with eager mode, and serves every N with one trace."""
    traces = []

    def counted(values: Any, others: Any) -> Any:
        traces.append(1)
        return function(values, others)

    def spec(leaf: tf.Tensor) -> tf.TensorSpec:
        return tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype)

    signature = tf.nest.map_structure(spec, [values, others])
    do = "Use TensorFlow operations, and tf.shape(x)[0] where the number of images is needed."
    with part.trying("graph", do):
        compiled = tf.function(counted, input_signature=signature, autograph=False)
        for count in (2, 3):
            rows = list(range(count))
            eager = function(pick(values, rows), pick(others, rows))
            gap = difference(compiled(pick(values, rows), pick(others, rows)), eager)
            expected = "the same in a tf.function of unknown N as in eager mode"
            received = f"a difference of {gap:.1e} of the largest value"
            part.require("graph", gap <= FLOAT32_ROUNDING, expected, received, do)
    once = len(traces) == 1
    part.require("graph", once, "one trace for every N", f"{len(traces)} traces", do)


def check_independent(part: Part, function: RowFunction, values: Any, others: Any) -> None:
    """A row alone is that row in a batch, in any order, and next to a row of NaN."""
    count = int(tf.nest.flatten(values)[0].shape[0])
    together = function(values, others)
    do = (
        "Reduce over all axes but the first. If it couples images on purpose, set "
        "`couples_images: ClassVar[bool] = True`."
    )
    for row in range(count):
        alone = function(pick(values, [row]), pick(others, [row]))
        gap = difference(pick(together, [row]), alone)
        expected, received = f"row {row} as it is alone", f"a difference of {gap:.1e}"
        part.require("independent", gap <= FLOAT64_ROUNDING, expected, received, do)
    backwards = list(reversed(range(count)))
    gap = difference(
        function(pick(values, backwards), pick(others, backwards)), pick(together, backwards)
    )
    expected, received = "the same rows in another order", f"a difference of {gap:.1e}"
    part.require("independent", gap <= FLOAT64_ROUNDING, expected, received, do)

    def spoil(leaf: tf.Tensor) -> tf.Tensor:
        bad = tf.fill([1, *leaf.shape[1:]], tf.cast(float("nan"), leaf.dtype))
        return tf.concat([leaf[:1], bad, leaf[2:]], axis=0)

    kept = [row for row in range(count) if row != 1]
    with part.trying("isolated", "Let a row of NaN pass through as it is, without an error."):
        spoilt = function(tf.nest.map_structure(spoil, values), others)
    gap = difference(pick(spoilt, kept), pick(together, kept))
    part.require(
        "isolated",
        gap <= FLOAT64_ROUNDING,
        "the rows beside a row of NaN to stay as they are",
        f"a difference of {gap:.1e}",
        "Let no row be multiplied into another, not even by 0.",
    )


def check_gradient(
    part: Part, function: RowFunction, values: Any, others: Any, *, coupled: bool = False
) -> None:
    """The gradient exists, is finite, and equals central differences; values in float64.

    Of every row by itself, or of their sum where rows depend on one another.
    """
    gradient = gradient_of(function, values, others)
    connected = all(leaf is not None for leaf in tf.nest.flatten(gradient))
    do = "Use operations that have a gradient: not tf.round, integers, NumPy or tf.stop_gradient."
    part.require("connected", connected, "a gradient", "None", do)
    do = "Guard roots, norms, logarithms and divisions, inside and before they apply."
    finite = all_finite(gradient)
    part.require("finite", finite, "a gradient that is finite", "NaN or infinity", do)
    pattern = draw(function(values, others), 3)
    combined = tf.reduce_sum if coupled else tf.identity
    for stream in (11, 12):
        direction = draw(values, stream)

        def moved(step: float, direction: Any = direction) -> tf.Tensor:
            there = tf.nest.map_structure(lambda v, d: v + step * d, values, direction)
            return combined(along(function(there, others), pattern))

        expected = (moved(STEP) - moved(-STEP)) / (2 * STEP)
        received = combined(along(gradient, direction))
        largest = tf.maximum(tf.abs(expected), tf.abs(received))
        part.require(
            "gradient",
            tf.reduce_all(tf.abs(expected - received) <= SLOPE_TOLERANCE * largest + 1e-8),
            f"the slope of central differences, {expected.numpy()}",
            f"{received.numpy()} from the gradient",
            "Correct the custom gradient, or a float32 cast inside a float64 computation.",
        )
