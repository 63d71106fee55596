"""Custom gradients, in place of those that TensorFlow derives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow.python.framework import ops

# The name of one entry in TensorFlow's registry of gradients, for all functions of all graphs.
NAME = "ActmaxWrittenGradient"
_KEPT = "_actmax_written_gradients"


def custom_gradient(function: Callable[..., tuple[tf.Tensor, Callable[..., Any]]]) -> Any:
    """As `tf.custom_gradient`, for tensors alone; a graph that it is used in can be freed.

    `tf.custom_gradient` adds every use in a graph to TensorFlow's registry of gradients. The
    registry is never emptied and keeps the graph (TensorFlow 2.21), which is 25 MB for every run of
    a small network. Here the gradient is stored in the graph itself.

    Args:
        function: `(*tensors) -> (tensor, gradient)`, where `gradient(upstream)` returns the gradient
            with respect to the tensor given, or a tuple of them for several.

    Returns:
        A function of the same tensors that returns the tensor.

    Example:
        >>> import tensorflow as tf
        >>> @custom_gradient
        ... def clipped(values):
        ...     return values, lambda upstream: tf.clip_by_value(upstream, -1.0, 1.0)
        >>> values = tf.constant([1.0, 2.0])
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(values)
        ...     total = tf.reduce_sum(5.0 * clipped(values))
        >>> tape.gradient(total, values).numpy()
        array([1., 1.], dtype=float32)
    """
    eager = tf.custom_gradient(function)

    @functools.wraps(function)
    def run(*given: Any) -> tf.Tensor:
        tensors = [tf.convert_to_tensor(value) for value in given]
        if tf.executing_eagerly():
            return eager(*tensors)
        return _in_graph(function, tensors)

    return run


def _in_graph(function: Callable[..., Any], given: Sequence[tf.Tensor]) -> tf.Tensor:
    graph = ops.get_default_graph()
    result, gradient = function(*given)
    inside = [result, *given]

    def back(*slopes: Any) -> list[Any]:
        found = gradient(slopes[0])
        return [None, *(found if isinstance(found, (list, tuple)) else [found])]

    # Recorded below, with the gradient that was written, and not with that of the operation.
    with record.stop_recording(), graph.gradient_override_map({"IdentityN": NAME}):
        outside = tf.identity_n(inside)
    kept = getattr(graph, _KEPT, None)
    if kept is None:
        kept = {}
        setattr(graph, _KEPT, kept)
    kept[outside[0].op.name] = back
    record.record_operation(NAME, outside, inside, back)
    return outside[0]


def _written(operation: tf.Operation, *slopes: Any) -> list[Any]:
    """What TensorFlow calls where it differentiates a graph that was built before."""
    known = getattr(operation.graph, _KEPT, {})
    if operation.name not in known:
        raise LookupError(
            f"Expected the graph in which {operation.name!r} was built, which keeps its gradient. "
            "Received a copy of it. Do take the gradient before the function is saved or copied."
        )
    return known[operation.name](*slopes)


# Once for a process, also where a notebook loads this module again.
if NAME not in ops.gradient_registry.list():
    ops.RegisterGradient(NAME)(_written)
