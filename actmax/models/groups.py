"""Finds the units of an output that compete in a softmax, also if other operations follow the softmax.

It replaces the probabilities by the number of their softmax, and applies the same operations to these
numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax.models.program import Node, Program

# Replaces an unknown size if sizes do not matter.
_OPEN = 2
_SHAPED = ("Reshape", "Squeeze", "ExpandDims")
_AS_IT_IS = (
    "Identity",
    "Cast",
    "StopGradient",
    "Snapshot",
    "PreventGradient",
    "EnsureShape",
    "CheckNumerics",
)


@dataclasses.dataclass(frozen=True)
class Classes:
    """Where the classes of a softmax are in an output.

    Attributes:
        axis: axis of the classes, counted with the batch axis. None if the layout of the output
            gives it.
        groups: the number of its softmax for every unit along that axis. None if one softmax has
            all units and no other ones.
        scattered: whether a softmax over several axes also has classes along another axis.
    """

    axis: int | None = None
    groups: tuple[int, ...] | None = None
    scattered: bool = False


NO_CLASSES = Classes()


def classes_of(program: Program, part: Any, output: int) -> Classes:
    """The classes of an output that ends with softmaxes found by `heads`."""
    shape = program.tensors[output].shape
    several = any(len(_axes(program, head)) > 1 for head in part.heads())
    plain = all(each.kind in _AS_IT_IS for each in _movers(part))
    if plain and not any(head.axes for head in part.heads()):
        return Classes(None if shape.rank is None else shape.rank - 1)
    found = None
    for rows in _rows(program, part, shape):
        try:
            with tf.init_scope():
                found = _numbered(program, part, rows, [0])
        except (AttributeError, TypeError, ValueError, tf.errors.OpError):
            continue
        if found is not None and len(found) == 1:
            break
    if found is None or found.ndim != shape.rank or len(found) != 1:
        return dataclasses.replace(NO_CLASSES, scattered=several)
    if found.ndim == 1:
        return Classes(None, (0,), several)
    sizes = {head: _size(program, head) for head in part.heads()}
    whole = max(size for size in sizes.values())
    # The axis along which all units are in one softmax. The last axis is tried first.
    for axis in range(found.ndim - 1, 0, -1):
        moved = np.moveaxis(found[0], axis - 1, -1).reshape(-1, found.shape[axis])
        if several and moved.shape[1] < whole:
            continue  # one of several softmax axes does not hold all classes
        if moved.shape[1] > 1 and np.all(moved == moved[:, :1]):
            complete = len(sizes) == 1 and moved.shape[1] == whole
            return Classes(axis, None if complete else (0,) * moved.shape[1])
    rows = found[0].reshape(-1, found.shape[-1])
    _, first = np.unique(rows[0], return_inverse=True)
    same = all(np.array_equal(np.unique(row, return_inverse=True)[1], first) for row in rows)
    scattered = several and (not same or np.bincount(first).min() < whole)
    return Classes(found.ndim - 1, tuple(int(n) for n in first) if same else None, scattered)


def _rows(program: Program, part: Any, shape: tf.TensorShape) -> list[int]:
    """Number of softmax rows per row of the output. Axes may be merged into the first one."""
    inner = [program.tensors[head.given].shape[1:].num_elements() for head in part.heads()]
    outer = shape[1:].num_elements()
    if len(inner) != 1 or not inner[0] or not outer or outer % inner[0] or outer == inner[0]:
        return [1]
    return [1, outer // inner[0]]


def _movers(part: Any) -> list[Node]:
    if not part.parts:
        return []
    return [part.node, *(node for inner in part.parts for node in _movers(inner))]


def _axes(program: Program, head: Any) -> tuple[int, ...]:
    """The axes of a softmax."""
    rank = program.tensors[head.given].shape.rank
    return head.axes or (-1 if rank is None else rank - 1,)


def _size(program: Program, head: Any) -> int:
    shape = program.tensors[head.given].shape
    sizes = [shape[axis] for axis in _axes(program, head)]
    return int(np.prod([_OPEN if size is None else size for size in sizes]))


def _numbered(program: Program, part: Any, rows: int, used: list[int]) -> np.ndarray | None:
    """For one row: the number of the softmax of every value. `-> [1, ...]`."""
    if not part.parts:
        shape = [_OPEN if s is None else s for s in program.tensors[part.given].shape.as_list()]
        shape[0] = rows
        axes = {axis % len(shape) for axis in _axes(program, part)}
        single = [1 if axis in axes else size for axis, size in enumerate(shape)]
        count = int(np.prod(single))
        numbers = np.arange(used[0], used[0] + count).reshape(single)
        used[0] += count
        return np.broadcast_to(numbers, shape)
    inner = [_numbered(program, each, rows, used) for each in part.parts]
    if any(value is None for value in inner):
        return None
    return _moved(program, part.node, [value for value in inner if value is not None])


def _moved(program: Program, node: Node, values: list[np.ndarray]) -> np.ndarray | None:
    given = values[0]
    if node.kind in _AS_IT_IS:
        return given
    if node.kind in _SHAPED:
        shape = program.tensors[node.outputs[0]].shape
        if shape.rank is None:
            return None
        sizes = [-1 if size is None else size for size in shape.as_list()]
        if sizes and sizes[0] == -1:
            sizes[0] = 1 if sizes.count(-1) > 1 else -1
        if sizes.count(-1) > 1:
            return None
        return given.reshape(sizes)
    rest = [_known(program, number) for number in node.inputs[len(values) :]]
    if any(value is None for value in rest):
        return None
    if node.kind == "ConcatV2":
        return np.concatenate(values, int(rest[0]))
    if node.kind == "Pack":
        return np.stack(values, node.value("axis"))
    if node.kind == "Transpose":
        return np.transpose(given, np.asarray(rest[0]))
    if node.kind == "GatherV2":
        if node.value("batch_dims"):
            return None
        return np.take(given, rest[0], axis=int(rest[1]))
    return _run(node, [*values, *rest])


def _known(program: Program, number: int) -> Any:
    """A tensor's value for one row, if constants and shapes determine it. Otherwise None."""
    tensor = program.tensors[number]
    value = tf.get_static_value(tensor)
    node = program.makers.get(number)
    if value is not None or node is None:
        return value
    if node.kind in ("Shape", "Rank", "Size"):
        shape = program.tensors[node.inputs[0]].shape
        if shape.rank is None:
            return None
        if node.kind == "Rank":
            return np.int32(shape.rank)
        sizes = [1, *shape.as_list()[1:]] if shape.rank else []
        if None in sizes:
            return None
        return np.asarray(sizes if node.kind == "Shape" else np.prod(sizes), np.int32)
    if not node.inputs or node.build is not None or node.operation.op_def.is_stateful:
        return None
    given = [_known(program, entry) for entry in node.inputs]
    return None if any(entry is None for entry in given) else _run(node, given)


def _run(node: Node, given: Sequence[Any]) -> Any:
    """Runs one operation on values immediately."""
    definition = node.operation.op_def
    counts = {each.number_attr for each in definition.input_arg}
    arguments: dict[str, Any] = {
        each.name: node.value(each.name)
        for each in definition.attr
        if each.type != "type" and each.name not in counts
    }
    rest = list(given)
    for each in definition.input_arg:
        count = node.value(each.number_attr) if each.number_attr else 1
        values, rest = rest[:count], rest[count:]
        arguments[each.name] = values if each.number_attr else values[0]
    result = getattr(tf.raw_ops, node.kind)(**arguments)
    return result.numpy() if tf.is_tensor(result) else None
