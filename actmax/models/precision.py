"""Computes a program's operations in another dtype. Its variables stay unchanged."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.framework import kernels, ops

from actmax import checks
from actmax.models.program import GRADIENT, Made, Node, Program
from actmax.models.replay import Replay, Values, again, compiled

_WIDE = (tf.float32, tf.float64)
_PRODUCTS = ("MatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Conv2D", "XlaDotV2")


class Retyped(Replay):
    """A pass that computes in another dtype everything that depends on the inputs.

    Tensors that depend only on weights are computed in their own dtype and rounded once.

    Attributes:
        moving: numbers of tensors that depend on the inputs.
        dtype: dtype of the computation.
    """

    moving: set[int]
    dtype: tf.DType

    def another(self, program: Program, given: Values) -> Replay:
        replay = Retyped(program, given)
        replay.moving, replay.dtype = program.behind(given), self.dtype
        return replay

    def _built(self, node: Node, given: Sequence[tf.Tensor]) -> Made:
        if self.moving.isdisjoint(node.inputs):
            return super()._built(node, given)
        if not has_kernel(node.operation.type, "T", self.dtype):
            own = node.operation.inputs[0].dtype
            return _cast_back(super()._built(node, [_like(v, own) for v in given]), given, node)
        return super()._built(node, [_like(v, self.dtype) for v in given])

    def _again(self, node: Node, given: Sequence[tf.Tensor]) -> Made:
        if node.own_gradient is not None and node.kind == "IdentityN":
            return Made(list(given))
        if self.moving.isdisjoint(node.inputs) or node.own_gradient is not None:
            known = [_like(v, t.dtype) for v, t in zip(given, node.operation.inputs, strict=True)]
            return _cast_back(again(node, known), given, node)
        if node.inner is not None:
            known = [_like(v, t.dtype) for v, t in zip(given, node.operation.inputs, strict=True)]
            return _cast_back(compiled(node.inner, known), given, node)
        self._refuse_whole_numbers(node)
        return computed_in(node, given, self.dtype)

    def _refuse_whole_numbers(self, node: Node) -> None:
        """Raises ValueError for a product of whole numbers in float16, because its sums are too large."""
        maker = self.program.makers.get(node.inputs[0]) if node.kind == "Cast" else None
        whole = maker is not None and maker.kind in _PRODUCTS and given_type(node).is_integer
        if whole and self.dtype == tf.float16:
            raise ValueError(
                checks.message(
                    "a precision that holds the sums of a quantized layer",
                    f"'float16' for the product of whole numbers {node.operation.name!r}",
                    "float16 ends at 65504: use precision='bfloat16' or 'mixed', or leave it out.",
                )
            )


def given_type(node: Node) -> tf.DType:
    """The dtype of an operation's first input."""
    return node.operation.inputs[0].dtype


def computed_in(node: Node, given: Sequence[tf.Tensor], dtype: tf.DType) -> Made:
    """One operation in another dtype, or in its own dtype if TensorFlow does not support the other."""
    attributes = dict(node.attributes)
    changed = set()
    for attribute in node.operation.op_def.attr:
        value = attributes.get(attribute.name)
        if attribute.type != "type" or value is None or tf.as_dtype(value.type) not in _WIDE:
            continue
        allowed = attribute.allowed_values.list.type
        if allowed and dtype.as_datatype_enum not in allowed:
            continue
        if not has_kernel(node.operation.type, attribute.name, dtype):
            continue
        attributes[attribute.name] = attr_value_pb2.AttrValue(type=dtype.as_datatype_enum)
        changed.add(attribute.name)
    functions = any(value.HasField("func") for value in attributes.values())
    if functions or not changed or _has_lists(node.operation):
        known = [_like(v, t.dtype) for v, t in zip(given, node.operation.inputs, strict=True)]
        return _cast_back(again(node, known), given, node)
    known = list(_arguments(node, given, changed, dtype))
    graph = ops.get_default_graph()
    wanted = list(_results(node, changed, dtype))
    operation = graph._create_op_internal(
        node.kind, known, wanted, None, node.operation.name, attributes, node.operation.op_def
    )
    for tensor, old in zip(operation.outputs, node.operation.outputs, strict=True):
        if old.shape.rank is not None and tensor.shape.rank is None:
            tensor.set_shape([None, *old.shape[1:]] if old.shape.rank else old.shape)
    return _cast_back(Made(operation.outputs, None, operation), given, node)


@functools.cache
def has_kernel(kind: str, attribute: str, dtype: tf.DType) -> bool:
    """Whether TensorFlow can run an operation in a dtype on a device of this machine.

    The definition of an operation may allow a dtype for which a device has no kernel, as `MaxPool3D` allows
    float16. Operations without any kernel are made of others, so they are not judged.
    """
    present = {device.device_type for device in tf.config.list_logical_devices()}
    known = [
        kernel
        for kernel in kernels.get_registered_kernels_for_op(kind).kernel
        if kernel.device_type in present
    ]
    wanted = dtype.as_datatype_enum
    return not known or any(
        all(c.name != attribute or wanted in c.allowed_values.list.type for c in kernel.constraint)
        for kernel in known
    )


def _has_lists(operation: tf.Operation) -> bool:
    """Whether it reads or makes a list of tensors, as recurrent layers do. Loops keep the type of lists."""
    return any(tensor.dtype == tf.variant for tensor in (*operation.inputs, *operation.outputs))


def _arguments(node: Node, given: Sequence[tf.Tensor], changed: set[str], dtype: tf.DType) -> Any:
    place = 0
    for argument in node.operation.op_def.input_arg:
        count = 1
        if argument.number_attr:
            count = node.attributes[argument.number_attr].i
        elif argument.type_list_attr:
            count = len(node.attributes[argument.type_list_attr].list.type)
        for _ in range(count):
            old = node.operation.inputs[place].dtype
            yield _like(given[place], dtype if argument.type_attr in changed else old)
            place += 1


def _results(node: Node, changed: set[str], dtype: tf.DType) -> Any:
    place = 0
    for argument in node.operation.op_def.output_arg:
        count = 1
        if argument.number_attr:
            count = node.attributes[argument.number_attr].i
        elif argument.type_list_attr:
            count = len(node.attributes[argument.type_list_attr].list.type)
        for _ in range(count):
            old = node.operation.outputs[place].dtype
            yield dtype if argument.type_attr in changed else old
            place += 1


def _like(value: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    if value.dtype == dtype or not (value.dtype.is_floating and dtype.is_floating):
        return value
    return tf.cast(value, dtype)


def _cast_back(made: Made, given: Sequence[tf.Tensor], node: Node) -> Made:
    """The gradients of an operation, each in the dtype of its input."""
    operation: Any = made.operation

    def backward(*slopes: tf.Tensor | None) -> list[tf.Tensor | None]:
        arrived = [
            slope if slope is None else _like(slope, result.dtype)
            for slope, result in zip(slopes, made.results, strict=True)
        ]
        if made.backward is not None:
            found = made.backward(*arrived)
        else:
            function = ops.get_gradient_function(operation)
            if function is None:
                return [None] * len(given)
            found = function(operation, *arrived)
        found = found if isinstance(found, (list, tuple)) else [found]
        return [
            None if slope is None else _like(tf.convert_to_tensor(slope), value.dtype)
            for slope, value in zip(found, given, strict=True)
        ]

    if GRADIENT in node.attributes:
        return made
    return Made(made.results, backward, operation)
