"""Finds a softmax that is made of exponentials, sums and logarithms, over one or more axes.

Keras writes `Softmax(axis=(1, 2))` in this way, and so do people who write a softmax by hand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from actmax.models.program import Node, Program

# They keep the values, and may change the shape.
_SAME = (
    "Identity", "StopGradient", "Cast", "Reshape", "ExpandDims", "Squeeze", "EnsureShape",
)  # fmt: skip
_CHOSEN = ("Select", "SelectV2")


class Written(NamedTuple):
    """A softmax, or its logarithm.

    Attributes:
        given: number of the logits' tensor.
        axes: axes of the softmax, counted from the front. The batch axis is never one of them.
    """

    given: int
    axes: tuple[int, ...]


class _Raised(NamedTuple):
    """`exp(x - m)` or its sum over axes. m is 0 or a maximum of x.

    Attributes:
        given: number of the tensor x.
        moved: number of `x - m`, or of x if m is 0.
        axes: axes of the sum.
    """

    given: int
    moved: int
    axes: tuple[int, ...] = ()


def softmax(program: Program, node: Node) -> Written | None:
    """The softmax whose last operation is given: `exp(x - log sum exp x)`, or `exp x / sum exp x`."""
    if node.kind == "Exp":
        inner = program.makers.get(node.inputs[0])
        return None if inner is None else log_softmax(program, inner)
    if node.kind != "RealDiv":
        return None
    raised = _exponential(program, program.makers.get(node.inputs[0]))
    total = _sum(program, _behind(program, node.inputs[1]))
    if raised is None or total is None or raised.moved != total.moved:
        return None
    return _beside(program, node, total)


def log_softmax(program: Program, node: Node) -> Written | None:
    """The logarithm of a softmax whose last operation is given: `x - log sum exp x`."""
    if node.kind != "Sub":
        return None
    given, number = node.inputs
    node_of_log = _behind(program, number)
    plain = _log_sum(program, node_of_log)
    if plain is not None and plain.moved == given:
        # Either x, or x - m together with the logarithm of the sum of exp(x - m).
        return _beside(program, node, plain)
    if node_of_log is None or node_of_log.kind not in ("AddV2", "Add"):
        return None
    for first, second in (node_of_log.inputs, node_of_log.inputs[::-1]):
        total = _log_sum(program, _behind(program, first))
        if total is not None and total.given == given != total.moved:
            return _beside(program, node, total) if _is_maximum(program, second, given) else None
    return None


def _beside(program: Program, node: Node, total: _Raised) -> Written | None:
    """The softmax, if the sum kept its axes with size 1. Otherwise the shapes do not match."""
    first, second = (program.tensors[number].shape for number in node.inputs)
    if first.rank is None or first.rank != second.rank:
        return None
    alone = all(second[axis] == 1 for axis in total.axes)
    return Written(total.given, total.axes) if alone else None


def _log_sum(program: Program, node: Node | None) -> _Raised | None:
    """`log sum exp(x - m)`."""
    if node is None or node.kind != "Log":
        return None
    return _sum(program, _behind(program, node.inputs[0]))


def _sum(program: Program, node: Node | None) -> _Raised | None:
    """`sum exp(x - m)` over constant axes without the batch axis."""
    if node is None or node.kind != "Sum":
        return None
    raised = _exponential(program, program.makers.get(node.inputs[0]))
    axes = tf.get_static_value(program.tensors[node.inputs[1]])
    rank = program.tensors[node.inputs[0]].shape.rank
    if raised is None or axes is None or rank is None:
        return None
    found = tuple(sorted({int(axis) % rank for axis in np.ravel(axes)}))
    return None if not found or 0 in found else raised._replace(axes=found)


def _exponential(program: Program, node: Node | None) -> _Raised | None:
    """`exp(x - m)`, where m is a maximum of x, or `exp x`."""
    if node is None or node.kind != "Exp":
        return None
    (moved,) = node.inputs
    inner = program.makers.get(moved)
    if (
        inner is not None
        and inner.kind == "Sub"
        and _is_maximum(program, inner.inputs[1], inner.inputs[0])
    ):
        return _Raised(inner.inputs[0], moved)
    return _Raised(moved, moved)


def _is_maximum(program: Program, number: int, given: int) -> bool:
    """Whether a tensor is a maximum of another one. Infinite maxima may be replaced by a number."""
    node = _behind(program, number)
    if node is not None and node.kind in _CHOSEN:
        node = _behind(program, node.inputs[1])
    return node is not None and node.kind == "Max" and node.inputs[0] == given


def _behind(program: Program, number: int) -> Node | None:
    """The operation that computed a value, without later changes of shape."""
    node = program.makers.get(number)
    while node is not None and node.kind in _SAME:
        node = program.makers.get(node.inputs[0])
    return node
