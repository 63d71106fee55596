"""Follows an input through a trace, up to the first operations that are not understood.

The walk goes forward from an input. Every value is written as `scale * x + offset` of the input x, and
every axis as an axis of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from actmax.models.constants import Constants
from actmax.models.layout import CALLS, FORMATTED, format_axis, inner_graph, moved

# Operations that keep values, and may change spatial axes.
SAME = frozenset(
    "Identity IdentityN StopGradient PreventGradient CheckNumerics EnsureShape Snapshot Cast "
    "ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea MaxPool AvgPool MaxPool3D AvgPool3D "
    "Pad PadV2 MirrorPad ClipByValue Relu6 Minimum Maximum Round SpaceToDepth BatchToSpaceND "
    "SpaceToBatchND ImageProjectiveTransformV3 Tile".split()
)
_MOVING = frozenset(
    "Transpose Reshape ExpandDims Squeeze StridedSlice Slice Reverse ReverseV2 GatherV2".split()
)
_ARITHMETIC = frozenset("Add AddV2 Sub Mul RealDiv Div DivNoNan BiasAdd".split())
_ABOUT_SHAPES = frozenset("Shape ShapeN Size Rank ZerosLike OnesLike".split())


class Step(NamedTuple):
    """A value after one operation, and the layer or the operation that computed it."""

    scale: np.ndarray
    offset: np.ndarray
    by: str


class Value(NamedTuple):
    """`scale * x + offset` of an input x. Both arrays broadcast over the value and its batch axis."""

    scale: np.ndarray
    offset: np.ndarray
    axes: tuple[int | None, ...]  # for each axis, the axis of the input
    steps: tuple[Step, ...] = ()  # its history: one entry per sum, product or quotient


class End(NamedTuple):
    """The input of an operation that is not understood, usually the first layer with weights."""

    value: Value
    operation: Any


def _needed(outputs: Sequence[Any]) -> set[str]:
    """Names of the operations that outputs depend on."""
    stack = [output.op for output in outputs]
    names: set[str] = set()
    while stack:
        operation = stack.pop()
        if operation.name in names:
            continue
        names.add(operation.name)
        stack.extend(entry.op for entry in operation.inputs)
    return names


def follow(
    graph: Any,
    values: dict[str, Value],
    outputs: Sequence[Any],
    outside: Callable[[int], Any] | None,
    returned: list[Value | None],
) -> list[End]:
    """Follows values through a graph. `values` and `returned` are filled.

    Args:
        graph: the graph of the operations.
        values: values of the tensors that depend on the input, by name.
        outputs: the outputs of the graph.
        outside: constants that the graph gets as arguments, by position. None for the outermost
            graph.
        returned: filled with the value of each output. None for an output without one.
    """
    needed = _needed(outputs)
    constants = Constants(graph, outside)
    ends: list[End] = []
    for operation in graph.get_operations():
        if operation.name not in needed or operation.type in _ABOUT_SHAPES:
            continue
        own = [entry for entry in operation.inputs if entry.name in values]
        if not own:
            continue
        if operation.type in CALLS and _into_call(operation, values, constants, ends):
            continue
        made = _next(operation, values, constants)
        if made is None:
            ends += [End(values[entry.name], operation) for entry in own]
            continue
        if operation.type in FORMATTED and operation.type in SAME:
            ends.append(End(values[own[0].name], operation))  # pooling shows the channel axis
        for result, value in zip(operation.outputs, made, strict=False):
            values[result.name] = value
    returned += [values.get(output.name) for output in outputs]
    return ends


def _into_call(
    operation: Any, values: dict[str, Value], constants: Constants, ends: list[End]
) -> bool:
    """Follows values into the called function. False if its graph cannot be read."""
    graph = inner_graph(operation)
    if graph is None:
        return False
    inner = {
        place.name: values[entry.name]
        for place, entry in zip(graph.inputs, operation.inputs, strict=False)
        if entry.name in values
    }
    returned: list[Value | None] = []
    ends += follow(graph, inner, graph.outputs, lambda k: constants(operation.inputs[k]), returned)
    for result, value in zip(operation.outputs, returned, strict=False):
        if value is not None:
            values[result.name] = value
    return True


def _next(operation: Any, values: dict[str, Value], constants: Constants) -> list[Value] | None:
    """Values of an operation's results, or None if the operation is not understood."""
    kind, result = operation.type, operation.outputs[0] if operation.outputs else None
    if result is None or result.shape.rank is None:
        return None
    mine = [entry.name in values for entry in operation.inputs]
    if kind in _ARITHMETIC:
        value = _calculated(operation, mine, values, constants)
        return None if value is None else [value]
    if kind == "Neg":
        value = values[operation.inputs[0].name]
        return [_stepped(value._replace(scale=-value.scale, offset=-value.offset), operation)]
    if kind == "IdentityN":
        return [values.get(entry.name) for entry in operation.inputs]  # type: ignore[misc]
    if not mine[0]:
        return None
    value = values[operation.inputs[0].name]
    if kind in ("MatMul", "Mean"):
        return _weighted(operation, value, result, constants)
    if kind in SAME:
        # These operations blur values that differ between positions. Use the mean.
        return [_even(value) if kind.startswith(("Resize", "Pad", "Mirror")) else value]
    if kind in _MOVING:
        moved_value = _moved(operation, value, result, constants)
        return None if moved_value is None else [moved_value]
    if kind in ("ConcatV2", "Pack") and all(mine[: len(mine) - (kind == "ConcatV2")]):
        return _joined(
            operation, [values[e.name] for e, m in zip(operation.inputs, mine, strict=True) if m]
        )
    return None


def _weighted(
    operation: Any, value: Value, result: Any, constants: Constants
) -> list[Value] | None:
    """A weighted mean whose weights belong to no layer, such as gray from colors. None for other sums."""
    if value.scale.size > 1 or value.offset.size > 1:
        return None
    if operation.type == "MatMul":
        weights = constants(operation.inputs[1])
        if weights is None or np.ndim(weights) != 2:
            return None
        if not np.allclose(
            np.sum(weights, 1 if operation.get_attr("transpose_b") else 0), 1.0, atol=0.01
        ):
            return None
    if operation.type == "Mean":
        dims = tf.get_static_value(operation.inputs[1])
        if dims is None or not np.all(np.ravel(dims) % len(value.axes) == len(value.axes) - 1):
            return None
    rank = result.shape.rank
    scale, offset = (array.reshape([1] * rank) for array in (value.scale, value.offset))
    axes = tuple([*value.axes[:-1], None][:rank]) if rank == len(value.axes) else (None,) * rank
    return [value._replace(scale=scale, offset=offset, axes=axes)]


def _even(value: Value) -> Value:
    """A value that is constant along spatial axes. The second and the last axis may be channels."""
    axes = tuple(range(1, value.scale.ndim - 1))
    if value.scale.size == value.scale.shape[-1] and value.offset.size == value.offset.shape[-1]:
        return value
    return value._replace(
        scale=value.scale.mean(axes, keepdims=True), offset=value.offset.mean(axes, keepdims=True)
    )


def _calculated(
    operation: Any, mine: list[bool], values: dict[str, Value], constants: Constants
) -> Value | None:
    if sum(mine) != 1:
        return None
    place = mine.index(True)
    value = values[operation.inputs[place].name]
    number = constants(operation.inputs[1 - place])
    if number is None:
        return None
    number = np.asarray(number, np.float64)
    rank = value.scale.ndim
    if operation.type == "BiasAdd" and number.ndim == 1:
        shape = [1] * rank
        shape[format_axis(operation, rank)] = number.size
        number = number.reshape(shape)
    if number.ndim > rank:
        return None
    number = number.reshape([1] * (rank - number.ndim) + list(number.shape))
    scale, offset = value.scale, value.offset
    kind = operation.type
    with np.errstate(all="ignore"):
        if kind in ("Add", "AddV2", "BiasAdd"):
            offset = offset + number
        elif kind == "Sub":
            sign = 1.0 if place == 0 else -1.0
            scale, offset = sign * scale, sign * (offset - number)
        elif kind == "Mul":
            scale, offset = scale * number, offset * number
        elif place == 0:
            scale, offset = scale / number, offset / number
        else:
            return None
    if not (np.all(np.isfinite(scale)) and np.all(np.isfinite(offset))):
        return None
    return _stepped(value._replace(scale=scale, offset=offset), operation)


def _stepped(value: Value, operation: Any) -> Value:
    step = Step(value.scale, value.offset, _name(operation))
    return value._replace(steps=(*value.steps, step))


def _name(operation: Any) -> str:
    """The layer that contains an operation, from its name scope. Without one, the type of the operation."""
    places = operation.name.split("/")
    return places[-2] if len(places) > 2 else places[-1]


def _moved(operation: Any, value: Value, result: Any, constants: Constants) -> Value | None:
    source = operation.inputs[0]
    rank = result.shape.rank
    axes: list[int | None] = [None] * rank
    places: dict[int, int] = {}
    for axis in range(source.shape.rank):
        place = (
            moved(operation, source, result, axis)
            if operation.type not in ("Reverse", "ReverseV2")
            else axis
        )
        if place is not None and place < rank:
            places[axis] = place
            axes[place] = value.axes[axis]
    arrays = []
    for array in (value.scale, value.offset):
        kept = _kept(array, places, rank, operation, result)
        if kept is None:
            return None
        arrays.append(kept)
    return value._replace(scale=arrays[0], offset=arrays[1], axes=tuple(axes))


def _kept(
    array: np.ndarray, places: dict[int, int], rank: int, operation: Any, result: Any
) -> np.ndarray | None:
    """An array that broadcasts over a value. Its axes move together with those of the value."""
    wide = [axis for axis, size in enumerate(array.shape) if size > 1]
    if not wide:
        return array.reshape([1] * rank)
    if any(axis not in places for axis in wide):
        # The axis is divided or merged: numbers per channel are repeated or flattened.
        flat = array.reshape(-1)
        return np.full([1] * rank, flat[0]) if np.all(flat == flat[0]) else None
    shape = [1] * rank
    for axis in wide:
        shape[places[axis]] = array.shape[axis]
    order = sorted(wide, key=lambda axis: places[axis])
    squeezed = np.transpose(array, order + [a for a in range(array.ndim) if a not in order])
    made = squeezed.reshape(shape)
    if operation.type in ("StridedSlice", "Slice", "GatherV2", "Reverse", "ReverseV2"):
        return _chosen(made, operation, result)
    return made


def _chosen(array: np.ndarray, operation: Any, result: Any) -> np.ndarray | None:
    """The part of an array that remains after slices and reversed axes."""
    if operation.type == "StridedSlice":
        ends = [tf.get_static_value(entry) for entry in operation.inputs[1:]]
        if any(end is None for end in ends) or operation.get_attr("shrink_axis_mask"):
            return None
        slices: list[Any] = []
        for k, (begin, end, step) in enumerate(zip(*ends, strict=True)):
            if operation.get_attr("ellipsis_mask") >> k & 1:
                slices += [slice(None)] * (array.ndim - len(ends[0]) + 1)
                continue
            free = [operation.get_attr(f"{name}_mask") >> k & 1 for name in ("begin", "end")]
            slices.append(slice(None if free[0] else begin, None if free[1] else end, step))
        slices += [slice(None)] * (array.ndim - len(slices))
        whole = [
            s if size > 1 else slice(None) for s, size in zip(slices, array.shape, strict=True)
        ]
        return array[tuple(whole)]
    if operation.type == "ReverseV2":
        dims = tf.get_static_value(operation.inputs[1])
        return None if dims is None else np.flip(array, tuple(int(d) for d in np.ravel(dims)))
    if operation.type == "GatherV2":
        rows, axis = (tf.get_static_value(entry) for entry in operation.inputs[1:3])
        if rows is None or axis is None or np.ndim(rows) != 1:
            return None
        return array if array.shape[int(axis)] == 1 else np.take(array, rows, int(axis))
    begin = tf.get_static_value(operation.inputs[1])
    if begin is None:
        return None
    sizes = [None if size is None else int(size) for size in result.shape]
    return array[
        tuple(
            slice(None) if size == 1 or want is None else slice(int(b), int(b) + want)
            for b, size, want in zip(begin, array.shape, sizes, strict=True)
        )
    ]


def _joined(operation: Any, parts: list[Value]) -> list[Value] | None:
    """The value of a concatenation: one value if all are alike, else one per channel. None otherwise."""
    first = parts[0]
    alike = all(
        np.array_equal(part.scale, first.scale) and np.array_equal(part.offset, first.offset)
        for part in parts
    )
    if operation.type == "Pack":
        return (
            None
            if not alike or first.scale.size > 1 or first.offset.size > 1
            else [_packed(first, operation)]
        )
    if alike and first.scale.size == first.offset.size == 1:
        return [first]
    rank = first.scale.ndim
    axis = tf.get_static_value(operation.inputs[-1])
    if axis is None:
        return None
    axis = int(axis) % rank
    sizes = [entry.shape[axis] for entry in operation.inputs[:-1]]
    if None in sizes:
        return None
    arrays = []
    for name in ("scale", "offset"):
        pieces = []
        for part, size in zip(parts, sizes, strict=True):
            array = getattr(part, name)
            if any(n > 1 for k, n in enumerate(array.shape) if k != axis):
                return None
            pieces.append(np.broadcast_to(array, [size if k == axis else 1 for k in range(rank)]))
        arrays.append(np.concatenate(pieces, axis))
    value = first._replace(scale=arrays[0], offset=arrays[1])
    return [_stepped(value, operation)] if value.steps else [value]


def _packed(value: Value, operation: Any) -> Value:
    rank = value.scale.ndim + 1
    axes = list(value.axes)
    axes.insert(operation.get_attr("axis") % rank, None)
    shape = [1] * rank
    return value._replace(
        scale=value.scale.reshape(shape), offset=value.offset.reshape(shape), axes=tuple(axes)
    )
