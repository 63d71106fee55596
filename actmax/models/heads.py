"""What stands at the end of a model: its softmax or sigmoid, and the logits in front of it.

An output is walked back over operations that only move or round values. What moves values is applied
again to the logits, so that a logit stands where its probability stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from actmax.models.program import Made, Node, Program

# They move values, and leave them as they are.
_MOVES = (
    "Identity", "Cast", "Reshape", "Squeeze", "ExpandDims", "Transpose", "StridedSlice", "Slice",
    "GatherV2", "StopGradient", "Snapshot", "PreventGradient", "EnsureShape", "Tile", "BroadcastTo",
)  # fmt: skip
# They keep values inside of bounds that only rounding reaches, and have no gradient outside.
_CLIPS = ("Minimum", "Maximum", "ClipByValue")
_HEADS = {
    "Softmax": "softmax", "LogSoftmax": "logsoftmax", "Sigmoid": "sigmoid",
    "Tanh": "tanh", "Softplus": "softplus", "Relu6": "bounded",
}  # fmt: skip
# How near to 0 or 1 a clip of probabilities is that guards against rounding.
_GUARD = 1e-2
# The heads that logits stand in front of.
WITH_LOGITS = ("softmax", "logsoftmax", "sigmoid", "logsigmoid")


@dataclasses.dataclass(frozen=True)
class Head:
    """The end of an output.

    Attributes:
        kind: "softmax", "logsoftmax", "sigmoid", "logsigmoid"; "tanh", "softplus", "bounded" (a hard
            sigmoid or another clipped function) for what is the output itself; "linear" for none.
        logits: number of the tensor in front of the head; the output's own where there are no logits.
        moved: what stands between the head and the output, from the head on.
        last: whether the probabilities of one row of the output's last axis sum to 1.
        groups: how many softmaxes stand side by side along the last axis; 1 for one.
    """

    kind: str
    logits: int
    moved: tuple[Node, ...]
    last: bool
    groups: int


def head_of(program: Program, output: int) -> Head:
    """What an output ends with."""
    moved: list[Node] = []
    logs = 0
    number = output
    while True:
        node = program.makers.get(number)
        if node is None:
            return _none(output)
        if node.kind in _HEADS and not (logs and _HEADS[node.kind] not in ("softmax", "sigmoid")):
            break
        if node.kind == "Log" and not logs:
            logs += 1
            number = node.inputs[0]
        elif node.kind in _MOVES:
            moved.append(node)
            number = node.inputs[0]
        elif (following := _clipped(program, node)) is not None:
            number = following
        else:
            return _none(output)
    kind = _HEADS[node.kind]
    if logs:
        kind = "log" + kind
    if kind not in WITH_LOGITS:
        return Head(kind, output, (), False, 1)
    moved.reverse()
    last, groups = _layout(program, node.outputs[0], output, moved)
    return Head(kind, node.inputs[0], tuple(moved), last, groups)


def _none(output: int) -> Head:
    return Head("linear", output, (), False, 1)


def _clipped(program: Program, node: Node) -> int | None:
    """What a clip keeps inside of constant bounds; None for what is no clip."""
    if node.kind not in _CLIPS:
        return None
    constant = [_constant(program, number) for number in node.inputs]
    if node.kind == "ClipByValue":
        return node.inputs[0] if constant[1] is not None and constant[2] is not None else None
    for one, other in ((0, 1), (1, 0)):
        bound = constant[other]
        # A bound inside of (0, 1) is no guard against rounding: it is a part of the function.
        near = bound is not None and min(abs(bound), abs(bound - 1)) < _GUARD
        if constant[one] is None and near:
            return node.inputs[one]
    return None


def _constant(program: Program, number: int) -> float | None:
    node = program.makers.get(number)
    if node is None or node.kind not in ("Const", "Cast", "Identity"):
        return None
    if node.kind != "Const":
        return _constant(program, node.inputs[0])
    value = tf.make_ndarray(node.attributes["value"].tensor)
    return float(value) if value.size == 1 else None


def _layout(program: Program, made: int, output: int, moved: list[Node]) -> tuple[bool, int]:
    """Whether classes lie along the output's last axis, and how many groups of them."""
    inner, outer = (program.tensors[number].shape for number in (made, output))
    kinds = {node.kind for node in moved} - {"Identity", "Cast", "Snapshot", "StopGradient"}
    if not kinds:
        return True, 1
    if inner.rank is None or outer.rank is None or None in (inner[-1], outer[-1]):
        return False, 1
    if kinds <= {"Reshape", "Squeeze", "ExpandDims"}:
        if inner[-1] == outer[-1]:
            return True, 1
        return False, outer[-1] // inner[-1] if outer[-1] % inner[-1] == 0 else 1
    return False, 1


def in_front(program: Program, output: int, head: Head) -> tuple[int, int, int]:
    """Numbers of an output's logits, logarithms of probabilities, and probabilities.

    Each stands where the output stands: what moves values behind the head is applied to it again. For
    an output without logits all three are the output.
    """
    if head.kind not in WITH_LOGITS:
        return output, output, output
    logits = _moved(program, head, head.logits)
    logarithms = _moved(program, head, _added(program, head.logits, *_LOGARITHMS[head.kind]))
    if not head.kind.startswith("log"):
        return logits, logarithms, output
    return logits, logarithms, _added(program, output, tf.exp, lambda x, y, dy: dy * y)


def _moved(program: Program, head: Head, number: int) -> int:
    for node in head.moved:
        traced = program.tensors[node.outputs[0]]
        made = program.add(traced, (number, *node.inputs[1:]), node.operation, node.place)
        number = made.outputs[0]
    return number


def _added(program: Program, number: int, function: Any, slope: Any) -> int:
    def build(given: Sequence[tf.Tensor]) -> Made:
        result = function(given[0])
        return Made([result], lambda upstream: [slope(given[0], result, upstream)])

    traced = program.tensors[number]
    return program.add(traced, (number,), traced.op, 0, build).outputs[0]


def _log_softmax_slope(_: tf.Tensor, result: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    return upstream - tf.exp(result) * tf.reduce_sum(upstream, -1, keepdims=True)


def _log_sigmoid_slope(given: tf.Tensor, _: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    return upstream * tf.sigmoid(-given)


_OF_SOFTMAX = (tf.nn.log_softmax, _log_softmax_slope)
_OF_SIGMOID = (tf.math.log_sigmoid, _log_sigmoid_slope)
_LOGARITHMS = {
    "softmax": _OF_SOFTMAX,
    "logsoftmax": _OF_SOFTMAX,
    "sigmoid": _OF_SIGMOID,
    "logsigmoid": _OF_SIGMOID,
}
