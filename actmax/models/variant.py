"""A model computed in another way: folded, in another type, in segments, with gradients of our own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

import tensorflow as tf

from actmax import checks
from actmax.models.adjoint import adjoints
from actmax.models.fold import Fold, find_folds, overrides
from actmax.models.overriding import Override, overridden
from actmax.models.segments import Again, Segments
from actmax.models.structure import layers
from actmax.models.taps import TRACING, Inputs, Taps

Compute: TypeAlias = Literal["float64", "bfloat16", "float16", "mixed"]

_WAY_OUT = "Use compile='plain' and precision=None, or give a Keras model."


class Variant:
    """The activations of a model by name, computed with folds or in another type.

    It traces the model's own layers, whose variables it shares, so that it follows the weights. While
    it traces, layers call other functions and have other dtype policies; afterwards nothing remains.

    Args:
        taps: the activations wanted.
        fold: whether batch norm goes into the layer before it.
        compute: type of the layers' computation; None for their own. "mixed" for convolutions and
            products with matrices in bfloat16, and everything else in float32.
        again: what makes the gradient run a segment of the model again; None to keep activations.
        adjoint: whether gradients of convolutions, products and max poolings are forward passes.

    Raises:
        ValueError: if the model is no Keras model, or with `again` none that can be cut.
    """

    def __init__(
        self,
        taps: Taps,
        *,
        fold: bool = False,
        compute: Compute | None = None,
        again: Again | None = None,
        adjoint: bool = False,
    ) -> None:
        if not taps.keras:
            raise ValueError(
                checks.message(
                    "a Keras model, whose layers can be computed in another way",
                    f"{getattr(taps.model, '__name__', type(taps.model).__name__)}, a plain callable",
                    _WAY_OUT,
                )
            )
        self.taps = taps
        self.fold = fold
        self.compute = compute
        self.adjoint = adjoint
        self.folds: tuple[Fold, ...] = ()
        self.segments = None if again is None else Segments(taps.model, taps.tapped(), again)
        self._found = not fold and again is None
        self._layers = layers(taps.model)
        self._open: list[Override] | None = None
        self._graph = tf.function(self._in_graph, autograph=False, reduce_retracing=True)

    def __call__(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """Activations of every name. `inputs -> {name: [N, ...]}`."""
        inputs = dict(inputs)
        if tf.executing_eagerly():
            return self._graph(inputs)
        return self._in_graph(inputs)

    def _in_graph(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        self.look(inputs)
        with TRACING, self._policies():
            calls = self._overrides() if self._open is None else self._open

        @contextlib.contextmanager
        def during() -> Iterator[None]:
            with TRACING, self._policies(), overridden(calls):
                yield

        def forward(inputs: Inputs) -> Any:
            if self.segments is None:
                return self.taps.forward(dict(inputs))
            return self.segments(next(iter(inputs.values())), during)

        with during():
            return self.taps.collect(inputs, forward)

    def look(self, inputs: Mapping[str, Any]) -> None:
        """Finds what can be folded and where to cut, once, from a trace of its own."""
        if self._found:
            return
        kept = self.taps.tapped()

        def trace(like: dict[str, tf.Tensor]) -> None:
            if self.fold:
                self.folds = find_folds(lambda: self.taps.forward(like), self._layers, kept)
            if self.segments is not None:
                self.segments.measure(next(iter(like.values())))

        like = {
            name: tf.TensorSpec([None, *value.shape[1:]], value.dtype)
            for name, value in inputs.items()
        }
        # In a graph of its own, of which nothing is run.
        with TRACING, tf.init_scope():
            tf.function(trace, autograph=False).get_concrete_function(like)
        self._found = True

    def _overrides(self) -> list[Override]:
        """What layers call instead, with what that takes of their weights computed here and now."""
        found = overrides(self.folds, adjoint=self.adjoint)
        if self.adjoint:
            taken = {id(override.layer) for override in found}
            unique = {id(layer): layer for layer in self._layers.values()}
            found += adjoints(layer for key, layer in unique.items() if key not in taken)
        return found

    @contextlib.contextmanager
    def prepared(self, inputs: Mapping[str, Any]) -> Iterator[None]:
        """While open, kernels are those computed here: once, in front of a loop."""
        if self._open is not None:
            yield
            return
        self.look(inputs)
        with TRACING, self._policies():
            self._open = self._overrides()
        try:
            yield
        finally:
            self._open = None

    @contextlib.contextmanager
    def _policies(self) -> Iterator[None]:
        """While open, layers compute in another type; their variables stay what they are."""
        if self.compute is None:
            yield
            return
        every = {id(layer): layer for layer in (self.taps.model, *self._layers.values())}
        own = {key: layer.dtype_policy for key, layer in every.items()}
        try:
            for layer in every.values():
                layer.dtype_policy = _policy(layer, self.compute)
            yield
        finally:
            for key, layer in every.items():
                layer.dtype_policy = own[key]


def _policy(layer: Any, compute: Compute) -> Any:
    import keras

    class Policy(keras.DTypePolicy):
        """Computes in the type of its name, of variables that are cast as they are read."""

        @property
        def variable_dtype(self) -> str:
            # Not the type of the name: Keras casts variables only where the two differ.
            return "float32" if self.compute_dtype != "float32" else "float64"

    if compute != "mixed":
        return Policy(compute)
    kinds = keras.layers
    products = (
        kinds.Conv1D, kinds.Conv2D, kinds.Conv3D, kinds.Conv1DTranspose, kinds.Conv2DTranspose,
        kinds.Conv3DTranspose, kinds.DepthwiseConv1D, kinds.DepthwiseConv2D, kinds.SeparableConv1D,
        kinds.SeparableConv2D, kinds.Dense, kinds.EinsumDense, kinds.MultiHeadAttention,
    )  # fmt: skip
    return Policy("bfloat16" if isinstance(layer, products) else "float32")
