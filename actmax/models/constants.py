"""Values of tensors that are the same in every run: constants, and values computed from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf


class Constants:
    """Gives the value of a tensor. None if it depends on an input, is trained, or is unknown.

    Args:
        graph: the graph of the tensors.
        outside: values of the graph's arguments by position, if it is the graph of a called function.
            None for arguments that are inputs.
    """

    _UNARY: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "Identity": lambda a: a, "StopGradient": lambda a: a, "Sqrt": np.sqrt, "Neg": np.negative,
        "Rsqrt": lambda a: 1.0 / np.sqrt(a), "Square": np.square, "Reciprocal": np.reciprocal,
        "Exp": np.exp, "Log": np.log, "Abs": np.abs,
    }  # fmt: skip
    _BINARY: ClassVar[dict[str, Callable[[Any, Any], Any]]] = {
        "Add": np.add, "AddV2": np.add, "Sub": np.subtract, "Mul": np.multiply, "Maximum": np.maximum,
        "RealDiv": np.divide, "Div": np.divide, "Minimum": np.minimum, "Pow": np.power,
        "Reshape": lambda a, shape: np.reshape(a, np.asarray(shape, int)),
        "ExpandDims": lambda a, axis: np.expand_dims(a, int(axis)),
        "Transpose": lambda a, order: np.transpose(a, np.asarray(order, int)),
    }  # fmt: skip

    def __init__(self, graph: Any, outside: Callable[[int], Any] | None) -> None:
        self._known: dict[str, Any] = {}
        self._outside = outside
        self._places = {entry.name: place for place, entry in enumerate(graph.inputs)}
        captures = getattr(graph, "captures", ()) if outside is None else ()
        self._captured = {inside.name: given for given, inside in captures}
        # A trainable variable belongs to a layer. It is not a unit of the images.
        self._trained = {
            id(variable.handle) for variable in getattr(graph, "trainable_variables", ())
        }

    def __call__(self, tensor: Any) -> Any:
        if tensor.name not in self._known:
            try:
                self._known[tensor.name] = self._value(tensor)
            except (TypeError, ValueError, tf.errors.OpError):
                self._known[tensor.name] = None
        return self._known[tensor.name]

    def _value(self, tensor: Any) -> Any:
        if hasattr(tensor, "numpy"):
            return self._of_capture(tensor)
        operation = tensor.op
        kind = operation.type
        if kind == "Placeholder":
            if tensor.name in self._captured:
                return self._of_capture(self._captured[tensor.name])
            return None if self._outside is None else self._outside(self._places[tensor.name])
        if kind == "ReadVariableOp":
            held = self(operation.inputs[0])
            return held
        if kind == "Cast":
            value = self(operation.inputs[0])
            return None if value is None else np.asarray(value, tensor.dtype.as_numpy_dtype)
        if kind in self._UNARY:
            value = self(operation.inputs[0])
            return None if value is None else self._UNARY[kind](value)
        if kind == "Squeeze":
            value = self(operation.inputs[0])
            dims = tuple(operation.get_attr("squeeze_dims")) or None
            return None if value is None else np.squeeze(value, dims)
        if kind in self._BINARY:
            pair = [self(entry) for entry in operation.inputs]
            return None if any(one is None for one in pair) else self._BINARY[kind](*pair)
        return tf.get_static_value(tensor)

    def _of_capture(self, given: Any) -> Any:
        """The value that a graph captured: an array, or a variable that is not trained."""
        if not hasattr(given, "numpy"):
            return None
        if given.dtype != tf.resource:
            return given.numpy()
        if id(given) in self._trained:
            return None
        kind = given._handle_data.shape_and_type[0].dtype
        with tf.init_scope():
            return tf.raw_ops.ReadVariableOp(resource=given, dtype=kind).numpy()
