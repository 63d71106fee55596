"""The law of finite values and gradients, also under XLA."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from regularizers.testing.probe import KINDS, Probe, Untraceable, require

# Operations whose gradient is infinite somewhere: for these XLA is tried too, which computes 0 * inf
# where other kernels return 0.
_STEEP = {"Sqrt", "Rsqrt", "Pow", "Log", "RealDiv", "Reciprocal", "Xdivy", "Div"}


def check_finite(probe: Probe) -> None:
    """Finite values and gradients, on images of every kind."""
    do = "Guard roots, norms, logarithms and divisions, inside and before they apply."
    for shape in probe.shapes:
        for dtype in probe.dtypes:
            for kind, found in _tried(probe, shape, dtype, probe.differentiated):
                probe.place = f"on {KINDS[kind]} {dtype.name} batch of shape {(1, *shape)}"
                for what, values in zip(("finite values", "a finite gradient"), found, strict=True):
                    require(_all_finite(values), what, "NaN or infinity", do)
    if probe.is_penalty and probe.part.remembers:
        _finite_at_first(probe, do)
    _finite_under_xla(probe)


def _finite_at_first(probe: Probe, do: str) -> None:
    """At the first step a state is made of the very images: differences from it are 0."""
    first = dataclasses.replace(probe, fresh=True)
    found = first.differentiated(
        probe.images("random", probe.shapes[0], tf.float32), probe.seeds(1)
    )
    probe.place = "at the first step, with the state that init makes of the same images"
    for what, values in zip(("finite values", "a finite gradient"), found, strict=True):
        require(_all_finite(values), what, "NaN or infinity", do)


def _finite_under_xla(probe: Probe) -> None:
    """Under XLA, 0 times infinity is NaN, even where TensorFlow's own kernels return 0."""
    shape = probe.shapes[0]
    try:
        graph = probe.compiled(shape).graph.as_graph_def()
    except Untraceable:
        return
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    if probe.rough or not any(node.op in _STEEP for node in nodes):
        return
    compiled = tf.function(probe.differentiated, autograph=False, jit_compile=True)
    try:
        tried = list(_tried(probe, shape, tf.float32, compiled))
    except Exception:  # Some operations do not compile there, and they need not.
        return
    do = (
        "The branch of tf.where that is not taken makes NaN of 0 times infinity: guard what goes into "
        "the root, the logarithm or the division, tf.sqrt(x + eps), not what comes out of it."
    )
    for kind, found in tried:
        probe.place = f"under XLA on {KINDS[kind]} float32 batch of shape {(1, *shape)}"
        for what, values in zip(("finite values", "a finite gradient"), found, strict=True):
            require(_all_finite(values), what, "NaN or infinity", do)


def _tried(
    probe: Probe, shape: tuple[int, ...], dtype: tf.DType, function: Callable[..., Any]
) -> list[tuple[str, tuple[tf.Tensor, ...]]]:
    """Results for images of every kind: in one batch, or one by one if the part couples images."""
    samples = [probe.sample(kind, shape, dtype) for kind in KINDS]
    count = len(samples)
    if probe.part.couples_images:
        found = [function(sample, probe.seeds(1)) for sample in samples]
    else:
        probe.place = f"on {dtype.name} batches of shape {(count, *shape)}"
        values = function(tf.concat(samples, 0), probe.seeds(count))
        found = [tuple(value[row : row + 1] for value in values) for row in range(count)]
    return list(zip(KINDS, found, strict=True))


def _all_finite(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_all(tf.math.is_finite(values))
