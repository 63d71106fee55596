"""Computes a model in another way: folded, in another dtype, in segments, or with our own gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from actmax.models.passes import Compute, TracedPass
from actmax.models.rewriting import Options
from actmax.models.taps import Inputs, Taps


class Variant:
    """The activations of a model by name, computed in another way.

    It makes the operations of the model's trace again. It shares the model's variables, so it
    follows changes of the weights. The model itself is not changed.

    Args:
        taps: the requested activations.
        fold: whether batch norm is folded into the layer before it.
        compute: type of the computation; None for the model's own. "mixed" for convolutions and
            products with matrices in bfloat16, and everything else in float32.
        recompute: whether the gradient runs segments of the model again to keep fewer activations.
        adjoint: whether gradients of convolutions, products and max poolings are forward passes.
    """

    def __init__(
        self,
        taps: Taps,
        *,
        fold: bool = False,
        compute: Compute | None = None,
        recompute: bool = False,
        adjoint: bool = False,
    ) -> None:
        self.taps = taps
        self.fold = fold
        self.compute = compute
        self.recompute = recompute
        self.adjoint = adjoint
        self.way = TracedPass(Options(fold=fold, adjoint=adjoint), compute, recompute=recompute)

    @property
    def paired(self) -> bool:
        """As in `Taps`."""
        return self.taps.paired

    @property
    def left_out(self) -> tuple[str, ...]:
        """Gradients of our own that differ from TensorFlow's and are not used. Known after the first call."""
        return self.way.left_out

    def __call__(self, inputs: Inputs) -> dict[str, Any]:
        """Activations of every name. `inputs -> {name: [N, ...]}`."""
        return self.taps.collect(inputs, self.way)

    @contextlib.contextmanager
    def prepared(self, inputs: Mapping[str, Any]) -> Iterator[None]:
        """In this context, tensors that depend only on weights are computed once, before a loop."""
        before = self.way.ready
        if before[0] is None:
            self.taps.ahead(inputs, self.way)
        try:
            yield
        finally:
            self.way.ready = before
