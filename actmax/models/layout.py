"""Finds the channel axis of an activation or of an input.

The layer's settings say it (`data_format`, the `axis` of a norm), or else the operations that computed the
activation: a convolution has a channel axis, and later operations move this axis or keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

# Operations that keep the axes of their first input.
ELEMENTWISE = frozenset(
    "Identity Cast StopGradient PreventGradient CheckNumerics EnsureShape Snapshot Neg Abs Square Sqrt "
    "Rsqrt Exp Expm1 Log Log1p Erf Erfc Tanh Sigmoid Relu Relu6 LeakyRelu Elu Selu Softplus Softsign "
    "Softmax LogSoftmax Reciprocal Inv Sign Floor Round Rint Sin Cos Pad PadV2 MirrorPad ResizeBilinear "
    "ResizeNearestNeighbor ResizeBicubic ResizeArea Reverse ReverseV2 Tile Cumsum QuantizeAndDequantizeV4 "
    "ClipByValue FakeQuantWithMinMaxVars SquaredDifference Add AddV2 Sub Mul RealDiv Div DivNoNan Maximum "
    "Minimum Pow Select SelectV2 AddN LRN".split()
)
# Their last axis holds the units.
_PRODUCTS = frozenset("BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum".split())
_UNITS_LAST = _PRODUCTS | {"MatMul", "_FusedMatMul"}
# They have an attribute `data_format`.
FORMATTED = frozenset(
    "Conv2D Conv3D DepthwiseConv2dNative Conv2DBackpropInput Conv3DBackpropInputV2 MaxPool MaxPoolV2 "
    "MaxPool3D AvgPool AvgPool3D FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 BiasAdd _FusedConv2D "
    "SpaceToDepth DepthToSpace".split()
)
_REDUCTIONS = frozenset("Mean Sum Max Min Prod All Any".split())
CALLS = frozenset("PartitionedCall StatefulPartitionedCall".split())
# If a layer has its own gradient, its result goes through one of these operations.
_BY_PLACE = frozenset(["IdentityN"])


def channel_axis(tensor: Any, layer: Any = None) -> int:
    """Axis of a traced activation that holds the channels, or units. `[N, ...] -> 1, ..., rank - 1`.

    The settings of the layer come first: `data_format`, or the axis of a norm. Without such settings, as
    for activations and sums, earlier operations are searched for one that shows the axis. If there is
    none, it is the last axis.

    Args:
        tensor: `[N, ...]`, in a graph. For an eager tensor, only the layer is used.
        layer: the Keras layer that returned it; None for none.
    """
    rank = tensor.shape.rank
    if rank is None or rank <= 2:
        return -1 if rank is None else rank - 1
    said = _said_by(layer, rank)
    if said is not None:
        return said
    found = None if hasattr(tensor, "numpy") else _followed(tensor, _no_argument)
    if found:
        return found
    # For a norm over one axis, this is the channel axis. A default axis is no evidence.
    return _axis_of_norm(layer, rank, _WEAK) or _said_before(layer, rank) or rank - 1


def to_channels_last(tensor: Any, layer: Any = None) -> Any:
    """A traced activation with channels last. `[N, C, ...] -> [N, ..., C]`, or unchanged."""
    axis = channel_axis(tensor, layer)
    rank = tensor.shape.rank
    if rank is None or axis in (-1, rank - 1):
        return tensor
    return tf.transpose(tensor, order_to_last(rank, axis))


def order_to_last(rank: int, axis: int) -> list[int]:
    """Order of axes with one of them moved to the end. `4, 1 -> [0, 2, 3, 1]`."""
    return [other for other in range(rank) if other != axis] + [axis]


def order_from_last(rank: int, axis: int) -> list[int]:
    """The inverse of `order_to_last`. `4, 1 -> [0, 3, 1, 2]`."""
    order = list(range(rank - 1))
    order.insert(axis, rank - 1)
    return order


def _said_by(layer: Any, rank: int) -> int | None:
    """The channel axis of a Keras layer's result, from its settings. None if they do not give it."""
    inner = getattr(layer, "layer", None)
    if inner is not None and type(layer).__name__ == "TimeDistributed":
        axis = _said_by(inner, rank - 1)
        return None if axis is None else axis + 1
    if inner is not None and type(layer).__name__ in ("SpectralNormalization", "Wrapper"):
        return _said_by(inner, rank)
    form = getattr(layer, "data_format", None)
    if form == "channels_first":
        # A layer that runs over time has the time axis in front.
        return 2 if type(layer).__name__.startswith("ConvLSTM") and rank == _full(layer) else 1
    if form == "channels_last":
        return rank - 1
    axis = _axis_of_norm(layer, rank, ("Softmax",))
    return axis if axis not in (None, rank - 1) else _axis_of_norm(layer, rank, _STRONG)


def _said_before(layer: Any, rank: int) -> int | None:
    """The channel axis given by the nearest earlier layer of a functional model."""
    for _ in range(_FAR):
        nodes = getattr(layer, "_inbound_nodes", None)
        given = nodes[0].arguments.keras_tensors if nodes else ()
        if not given or len(given[0].shape) != rank:
            return None
        layer = given[0]._keras_history.operation
        if type(layer).__name__ in ("Permute", "Reshape", "Transpose", "Moveaxis", "InputLayer"):
            return None
        said = _said_by(layer, rank) or _axis_of_norm(layer, rank, _WEAK)
        if said is not None:
            return said
    return None


# Maximum number of layers to go back. A layer with a known axis is usually near.
_FAR = 64
# Norms with parameters per channel, and norms over all values at a position.
_STRONG = ("BatchNormalization", "SyncBatchNormalization", "GroupNormalization")
_WEAK = ("LayerNormalization", "UnitNormalization", "RMSNormalization")


def _axis_of_norm(layer: Any, rank: int, kinds: Sequence[str]) -> int | None:
    if type(layer).__name__ not in kinds:
        return None
    axis = getattr(layer, "axis", None)
    axes = list(axis) if isinstance(axis, Sequence) else [axis]
    if len(axes) != 1 or not isinstance(axes[0], int) or isinstance(axes[0], bool):
        return None
    return axes[0] % rank or None


def _full(layer: Any) -> int:
    """Rank of a convolutional LSTM's result with sequences."""
    return int(getattr(layer, "rank", 2)) + 3


def _no_argument(place: int) -> int | None:
    del place
    return None


def format_axis(operation: Any, rank: int) -> int:
    """Axis of the channels by an operation's `data_format`."""
    form = operation.get_attr("data_format")
    form = form.decode() if isinstance(form, bytes) else str(form)
    return 1 if form.startswith("NC") else rank - 1


def inner_graph(operation: Any) -> Any:
    """The graph of the function that an operation calls. None if it cannot be read."""
    try:
        return operation.graph._get_function(operation.get_attr("f").name).graph
    except Exception:
        return None


def constant(tensor: Any) -> Any:
    """The value of a tensor that is known while tracing, as a list or number; None if it is not."""
    value = tf.get_static_value(tensor)
    return None if value is None else value.tolist()


def _followed(tensor: Any, argument: Callable[[int], int | None]) -> int | None:
    """Channel axis of a tensor in a graph, from the operations before it. None if unknown.

    Args:
        tensor: in a graph.
        argument: gives the channel axis of the graph's arguments, by position.
    """
    arguments = {
        entry.name: place for place, entry in enumerate(getattr(tensor.graph, "inputs", ()))
    }
    known: dict[str, int | None] = {}
    # An explicit stack, because a network of a thousand layers is deeper than Python's recursion
    # limit.
    stack = [tensor]
    while stack:
        current = stack[-1]
        if current.name not in known:
            known[current.name] = None  # stops cycles
            if _settled(current) is None:
                stack.extend(s for s in _sources(current) if s.name not in known)
                continue
        stack.pop()
        if known[current.name] is None:
            known[current.name] = _axis_of(current, known, arguments, argument)
    return known[tensor.name]


def _sources(tensor: Any) -> list[Any]:
    operation = tensor.op
    if operation.type in _BY_PLACE:
        return [operation.inputs[tensor.value_index]]
    if operation.type in ("ConcatV2", "Pack") or operation.type in ELEMENTWISE:
        return [entry for entry in operation.inputs if entry.shape.rank]
    if operation.type in CALLS:
        return list(operation.inputs)
    return list(operation.inputs)[:1]


def _settled(tensor: Any) -> int | None:
    """The channel axis, if the operation itself gives it."""
    operation, rank = tensor.op, tensor.shape.rank
    if rank is None:
        return None
    if operation.type in _UNITS_LAST or _is_attention(operation):
        return rank - 1
    if operation.type in FORMATTED and not (operation.type == "BiasAdd" and rank > 2):
        return format_axis(operation, rank)
    return None


def _is_attention(operation: Any) -> bool:
    """Whether it is an attention softmax of products: for each query over keys, on the last axis.

    The products may have been computed in the other order and then transposed.
    """
    if operation.type not in ("Softmax", "LogSoftmax"):
        return False
    for _ in range(_FAR):
        if operation.type in _PRODUCTS:
            return True
        kept = operation.type in ELEMENTWISE or operation.type in ("Transpose", "Reshape")
        ranked = [entry for entry in operation.inputs if entry.shape.rank != 0]
        if not kept or not ranked:
            return False
        operation = ranked[0].op
    return False


def _axis_of(
    tensor: Any,
    known: Mapping[str, int | None],
    arguments: Mapping[str, int],
    argument: Callable[[int], int | None],
) -> int | None:
    operation, rank = tensor.op, tensor.shape.rank
    if rank is None or rank == 0:
        return None
    settled = _settled(tensor)
    if settled is not None:
        return settled
    kind = operation.type
    if kind == "Placeholder":
        place = arguments.get(tensor.name)
        return None if place is None else argument(place)
    if kind in CALLS:
        return _through_call(tensor, known)
    if not operation.inputs:
        return None
    source = operation.inputs[tensor.value_index if kind in _BY_PLACE else 0]
    first = known.get(source.name)
    if kind in _BY_PLACE:
        return first
    if kind == "BiasAdd":
        # Dense layers have it at rank 3 and above, too. The operations before it are better
        # evidence.
        return first if first is not None else format_axis(operation, rank)
    if kind in ELEMENTWISE or kind in ("ConcatV2", "Pack"):
        votes = [
            known.get(entry.name)
            for entry in operation.inputs
            if entry.shape.rank == (rank - (kind == "Pack"))
        ]
        axis = next((vote for vote in votes if vote is not None), None)
        if kind == "Pack" and axis is not None:
            return axis + (operation.get_attr("axis") % rank <= axis)
        return axis
    return moved(operation, source, tensor, first)


def _through_call(tensor: Any, known: Mapping[str, int | None]) -> int | None:
    operation = tensor.op
    graph = inner_graph(operation)
    if graph is None or tensor.value_index >= len(graph.outputs):
        return None

    def argument(place: int) -> int | None:
        return known.get(operation.inputs[place].name) if place < len(operation.inputs) else None

    return _followed(graph.outputs[tensor.value_index], argument)


def moved(operation: Any, source: Any, result: Any, axis: int | None) -> int | None:
    """The new position of an axis after an operation that moves axes. None if it is lost.

    Args:
        operation: Transpose, Reshape, ExpandDims, Squeeze, StridedSlice, Slice or a reduction.
        source: its first input.
        result: what it returns.
        axis: an axis of the source.
    """
    if axis is None or source.shape.rank is None:
        return None
    kind = operation.type
    if kind == "Transpose":
        order = constant(operation.inputs[1])
        return None if order is None else order.index(axis)
    if kind == "ExpandDims":
        place = constant(operation.inputs[1])
        if place is None:
            return None
        return axis + (int(place) % result.shape.rank <= axis)
    if kind == "Squeeze":
        dims = [d % source.shape.rank for d in operation.get_attr("squeeze_dims")]
        dims = dims or [k for k, size in enumerate(source.shape) if size == 1]
        return None if axis in dims else axis - sum(d < axis for d in dims)
    if kind == "Reshape":
        return reshaped(tuple(source.shape), tuple(result.shape), axis)
    if kind in _REDUCTIONS:
        dims = constant(operation.inputs[1])
        if dims is None:
            return None
        dims = [d % source.shape.rank for d in (dims if isinstance(dims, list) else [dims])]
        if operation.get_attr("keep_dims"):
            return axis
        return None if axis in dims else axis - sum(d < axis for d in dims)
    if kind == "StridedSlice":
        return _sliced(operation, axis)
    if kind in ("Slice", "GatherV2", "Split", "SplitV"):
        return axis
    return None


def reshaped(before: tuple[Any, ...], after: tuple[Any, ...], axis: int) -> int | None:
    """The position of an axis after a reshape. None if the axis is divided or merged.

    Axes with equal sizes are matched from the front and from the end.
    """
    size = before[axis]
    if axis < len(after) and before[:axis] == after[:axis] and after[axis] == size and axis:
        return axis
    back = axis - len(before)
    place = len(after) + back
    if size is not None and place > 0 and before[back:] == after[back:]:
        return place
    # Axes of size 1 can be added or removed.
    ones = [k for k, other in enumerate(after) if other == size and k > 0]
    joined = [other for other in before[1:] if other != 1] == [o for o in after[1:] if o != 1]
    if joined and size != 1:
        rank = sum(other == size for other in before[1:axis])
        return ones[rank] if rank < len(ones) else None
    return None


def _sliced(operation: Any, axis: int) -> int | None:
    shrink, new = operation.get_attr("shrink_axis_mask"), operation.get_attr("new_axis_mask")
    if operation.get_attr("ellipsis_mask") and (shrink or new):
        return None
    if shrink >> axis & 1:
        return None
    if new:
        return None
    return axis - sum(shrink >> k & 1 for k in range(axis))
