"""Ways of running the same loop: which compiler compiles which part, and in which dtype."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from actmax import checks
from actmax.loop.records import Arguments, Carry
from actmax.loop.tensors import choose, sizes
from actmax.models import Compute, Taps, Variant
from actmax.problem import Problem
from actmax.types import Images

# Number of steps in one XLA program. XLA needs a fixed length of the history, so the last chunk is
# cut.
CAPACITY = 64
# float16 covers 6e-8 to 65504. Gradients of a score with respect to activations and pixels are far
# below 1, so the backward pass starts from 2^14. If this overflows, it starts from 1/16 of it, and
# so on.
_SCALE = 2.0**14
_BACKOFF = 16.0
_TRIES = 4


@dataclasses.dataclass(frozen=True)
class Way:
    """How the loop runs. The problem says what it computes.

    Attributes:
        compiled: False to run every operation eagerly.
        fold: True for batch norm folded into the layer before it.
        compute: dtype of the model's computation. None for the model's own.
        recompute: True if the backward pass computes most activations again and few are kept.
        tail: True if XLA compiles everything after the model.
        xla: True if XLA compiles everything.
        apart: True if the models' pass is a separate function in the loop's graph.
        adjoint: True for gradients of layers as forward passes.
    """

    compiled: bool = True
    fold: bool = False
    compute: Compute | None = None
    recompute: bool = False
    tail: bool = False
    xla: bool = False
    apart: bool = True
    adjoint: bool = False

    @property
    def scaled(self) -> bool:
        """Whether the backward pass needs a scale."""
        return self.compute == "float16"

    def models(self, problem: Problem) -> tuple[Taps | Variant, ...]:
        """The models computed in this way."""
        if not (self.fold or self.recompute or self.adjoint) and self.compute is None:
            return problem.models
        return tuple(
            Variant(
                taps,
                fold=self.fold,
                compute=self.compute,
                recompute=self.recompute,
                adjoint=self.adjoint,
            )
            for taps in problem.models
        )

    def called(
        self, function: Callable[..., Any], models: tuple[Taps | Variant, ...]
    ) -> Callable[..., Any]:
        """`function`, or with `apart` a function that graphs call. It is traced once for equal calls.

        oneDNN uses the fast gradient of max pooling only if it finds the pooling before its gradient.
        The graph of a loop is a cycle. There the order depends on memory addresses, and the gradient
        takes 70 or 390 us of a step of 1.9 ms by chance. The graph of a function has an order.
        TensorFlow optimizes such a function twice. So models without these operations have none.
        """
        if not (self.compiled and self.apart) or self.xla:
            return function

        def compiled() -> Callable[..., Any]:
            attributes = {"_noinline": True}
            return tf.function(function, autograph=False, experimental_attributes=attributes)

        def afresh(*arguments: Any) -> Any:
            return compiled()(*arguments)

        # A variant prepares tensors of one graph. A function of another graph cannot capture them.
        own = afresh if any(isinstance(model, Variant) for model in models) else compiled()

        def chosen(*arguments: Any) -> Any:
            paired = any(model.paired for model in models)
            return own(*arguments) if paired else function(*arguments)

        return chosen

    @contextlib.contextmanager
    def prepared(
        self, models: tuple[Taps | Variant, ...], problem: Problem, fixed: Mapping[str, tf.Tensor]
    ) -> Iterator[None]:
        """In this context, values that depend only on the models' weights are computed once."""
        inputs: dict[str, Any] = dict(fixed)
        for entry in problem.inputs:
            shape = entry.own_shape if None in entry.model_shape else entry.model_shape
            inputs[entry.name] = tf.TensorSpec([None, *shape], problem.dtype)
        with contextlib.ExitStack() as stack:
            for model in models:
                if isinstance(model, Variant):
                    stack.enter_context(model.prepared(inputs))
            yield


PLAIN = Way()


def scaled_back(
    ascend: Callable[[tf.Tensor], tuple[tf.Tensor, Images]],
    rows: tf.Tensor,
    images: Images,
    heard: tf.Tensor,
) -> tuple[tf.Tensor, Images]:
    """Scores and gradients from backward passes that start from a scale. The scale is removed again.

    A row whose gradient overflows is tried again with a smaller scale. The scale of a row does not
    depend on the other rows. The returned gradient has no scale.

    Args:
        ascend: `scale [N] -> (scores [N], gradients times scale)`.
        rows: N.
        images: examples for the shapes of the gradients.
        heard: example for the shape of the scores and of values computed with them.
    """

    def attempt(
        tries: tf.Tensor, scale: tf.Tensor, fine: tf.Tensor, _: tf.Tensor, kept: Images
    ) -> tuple[Any, ...]:
        score, raw = ascend(scale)
        found = {
            name: value
            / tf.reshape(tf.cast(scale, value.dtype), [-1] + [1] * (value.shape.rank - 1))
            for name, value in raw.items()
        }
        kept = {name: choose(fine, kept[name], found[name]) for name in kept}
        fine |= tf.math.is_finite(sizes(raw))
        return tries + 1, tf.where(fine, scale, scale / _BACKOFF), fine, score, kept

    dtype = next(iter(images.values())).dtype
    first = (
        tf.constant(0),
        tf.fill([rows], tf.constant(_SCALE, dtype)),
        tf.zeros([rows], tf.bool),
        heard,
        tf.nest.map_structure(tf.zeros_like, images),
    )
    *_, score, ascent = tf.while_loop(
        lambda tries, scale, fine, score, kept: (tries < _TRIES) & ~tf.reduce_all(fine),
        attempt,
        first,
        parallel_iterations=1,
    )
    return score, ascent


def run_in_chunks(
    chunk: Callable[..., tuple[Carry, tf.Tensor]],
    carry: Carry,
    arguments: Arguments,
    start: int,
    stop: int,
) -> tuple[Carry, tf.Tensor]:
    """Steps `start, ..., stop - 1` in programs of `CAPACITY` steps each.

    Raises:
        ValueError: if something in the loop does not compile under XLA, with the operations.
    """
    pieces = []
    for first in range(start, stop, CAPACITY):
        last = min(first + CAPACITY, stop)
        try:
            carry, rows = chunk(carry, arguments, first, last)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            named = sorted(set(re.findall(r"(\w+) \(No registered", str(error))))
            if not named and "XLA" not in str(error) and "tf2xla" not in str(error):
                raise
            raise ValueError(
                checks.message(
                    "operations that XLA can compile",
                    ", ".join(named) or str(error).strip().splitlines()[0][:200],
                    "Use compile='plain', or leave out the regularizer or layer that has them.",
                )
            ) from error
        pieces.append(rows[: last - first])
    return carry, tf.concat(pieces, axis=0)
