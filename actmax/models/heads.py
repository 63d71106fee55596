"""The head of a model: its softmax or sigmoid, and the logits before it.

The search goes back from the output over operations that only move, join or round values. These
operations are applied again to the logits, so that a logit is at the position of its probability.
`groups` finds the units that compete.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from actmax.models import exponentials
from actmax.models.groups import NO_CLASSES, Classes, classes_of
from actmax.models.program import Made, Node, Program

# They move values and do not change them.
MOVES = (
    "Identity", "Cast", "Reshape", "Squeeze", "ExpandDims", "Transpose", "StridedSlice", "Slice",
    "GatherV2", "StopGradient", "Snapshot", "PreventGradient", "EnsureShape", "Tile", "BroadcastTo",
    "ReverseV2", "CheckNumerics",
)  # fmt: skip
JOINS = {"ConcatV2": slice(0, -1), "Pack": slice(None)}
# They clip values at bounds that are reached only by rounding. Outside, their gradient is 0.
_CLIPS = ("Minimum", "Maximum", "ClipByValue")
# A head that is multiplied by a number, or shifted by one, is still bounded.
_SCALES = ("Mul", "RealDiv", "AddV2", "Add", "Sub", "Neg")
_HEADS = {
    "Softmax": "softmax", "LogSoftmax": "logsoftmax", "Sigmoid": "sigmoid",
    "Tanh": "tanh", "Softplus": "softplus",
}  # fmt: skip
# A clip of probabilities this near to 0 or 1 only protects against rounding.
_GUARD = 1e-2
# The heads that have logits as inputs.
WITH_LOGITS = ("softmax", "logsoftmax", "sigmoid", "logsigmoid")
# Upper bound of TensorFlow's Relu6.
_SIX = 6.0
# A slope below this fraction of the maximum slope means saturated.
_FLAT = 0.02


class Part(NamedTuple):
    """An operation at the end of a model: a head, or an operation that moves or joins heads.

    Attributes:
        kind: as in `Head`, for all heads that it contains.
        node: the operation.
        parts: the parts that it moves or joins. Empty for a head.
        given: number of the input tensor of a head.
        bounds: bounds of a clip.
        axes: axes of a softmax that is made of exponentials. None for the last axis.
    """

    kind: str
    node: Node
    parts: tuple[Part, ...]
    given: int
    bounds: tuple[float, float] = (0.0, 1.0)
    axes: tuple[int, ...] | None = None

    def heads(self) -> list[Part]:
        """The heads."""
        return [self] if not self.parts else [head for part in self.parts for head in part.heads()]


@dataclasses.dataclass(frozen=True)
class Head:
    """The function at the end of an output.

    Attributes:
        kind: "softmax", "logsoftmax", "sigmoid" or "logsigmoid". "tanh", "softplus" or "bounded" (a
            hard sigmoid, or a head times a number) if the output itself is maximized. "linear" if
            there is no head.
        part: the operations that were found. None for "linear".
        classes: the units of the output that share a softmax.
    """

    kind: str
    part: Part | None = None
    classes: Classes = NO_CLASSES


def head_of(program: Program, output: int) -> Head:
    """The function at the end of an output."""
    part = _read(program, output)
    if part is None:
        return Head("linear")
    if part.kind not in ("softmax", "logsoftmax"):
        return Head(part.kind, part)
    classes = classes_of(program, part, output)
    # A softmax over several axes may cover values that are no units of the output, such as positions of
    # a map. Then no unit has a logit of its own.
    return Head("linear") if classes.scattered else Head(part.kind, part, classes)


def _read(program: Program, number: int, logarithm: bool = False) -> Part | None:
    node = program.makers.get(number)
    if node is None:
        return None
    if node.kind == "Neg" and (found := _log_sigmoid(program, node)) is not None:
        return None if logarithm else found
    if (written := _written(program, node, logarithm)) is not None:
        return written
    if node.kind in _HEADS:
        kind = _HEADS[node.kind]
        if logarithm and kind not in ("softmax", "sigmoid"):
            return None
        return Part("log" * logarithm + kind, node, (), node.inputs[0])
    if node.kind == "Log" and not logarithm:
        return _read(program, node.inputs[0], True)
    if node.kind in MOVES:
        part = _read(program, node.inputs[0], logarithm)
        return part and Part(part.kind, node, (part,), number)
    if node.kind in JOINS:
        parts = [_read(program, n, logarithm) for n in node.inputs[JOINS[node.kind]]]
        kinds = {part.kind if part else None for part in parts}
        if None in kinds or len(kinds) > 1 or not kinds <= set(WITH_LOGITS):
            return None
        return Part(str(kinds.pop()), node, tuple(p for p in parts if p), number)
    if node.kind in _CLIPS:
        return _clipped(program, node, logarithm)
    if node.kind == "SelectV2" and _where_not_finite(program, node.inputs[0]):
        return _read(program, node.inputs[2], logarithm)  # `nan_to_num`: no probability is replaced
    return None if logarithm else _scaled(program, node)


def _written(program: Program, node: Node, logarithm: bool) -> Part | None:
    """A softmax made of exponentials and sums, or its logarithm."""
    found = exponentials.softmax(program, node)
    kind = "log" * logarithm + "softmax"
    if found is None and not logarithm:
        found, kind = exponentials.log_softmax(program, node), "logsoftmax"
    return None if found is None else Part(kind, node, (), found.given, axes=found.axes)


def _log_sigmoid(program: Program, node: Node) -> Part | None:
    """`-softplus(-x)`, which is the logarithm of a sigmoid."""
    inner = program.makers.get(node.inputs[0])
    if inner is None or inner.kind != "Softplus":
        return None
    first = program.makers.get(inner.inputs[0])
    if first is None or first.kind != "Neg":
        return None
    return Part("logsigmoid", node, (), first.inputs[0])


def _clipped(program: Program, node: Node, logarithm: bool) -> Part | None:
    """The input of a clip with constant bounds, or the clip itself if it is the head."""
    bounds = [_constant(program, number) for number in node.inputs]
    place = next((n for n, bound in enumerate(bounds) if bound is None), None)
    known = [bound for bound in bounds if bound is not None]
    if place is None or len(known) != len(bounds) - 1:
        return None
    part = _read(program, node.inputs[place], logarithm)
    # A bound inside (0, 1) does not protect against rounding. It is part of the function.
    guard = all(min(abs(bound), abs(bound - 1)) < _GUARD for bound in known)
    if part is not None:
        return part if guard else None
    inner = program.makers.get(node.inputs[place])
    given = node.inputs[place]
    if node.kind != "ClipByValue":
        if inner is None or inner.kind not in ("Minimum", "Maximum") or inner.kind == node.kind:
            return None
        constants = {n: _constant(program, n) for n in inner.inputs}
        free = [n for n, bound in constants.items() if bound is None]
        if len(free) != 1 or len(constants) != 2:
            return None
        given = free[0]
        known += [bound for bound in constants.values() if bound is not None]
    return None if logarithm else Part("bounded", node, (), given, (min(known), max(known)))


def _where_not_finite(program: Program, number: int) -> bool:
    """Whether a condition holds only for values that are NaN or infinite."""
    node = program.makers.get(number)
    if node is None:
        return False
    if node.kind in ("LogicalAnd", "LogicalOr"):
        every = all if node.kind == "LogicalOr" else any
        return every(_where_not_finite(program, entry) for entry in node.inputs)
    return node.kind in ("IsNan", "IsInf")


def _scaled(program: Program, node: Node) -> Part | None:
    """A head multiplied or shifted by numbers. It is no probability, but it saturates like the head."""
    if node.kind not in _SCALES:
        return None
    free = [number for number in node.inputs if _constant(program, number) is None]
    if len(free) != 1:
        return None
    inner = program.makers.get(free[0])
    if inner is not None and inner.kind == "Relu6":
        # Alone it is a rectifier. With an added number, as in a hard sigmoid, it is bounded.
        return Part("bounded", inner, (), inner.inputs[0])
    part = _read(program, free[0])
    if part is None or part.kind in ("logsoftmax", "logsigmoid", "softplus"):
        return None
    return part._replace(kind="bounded")


def _constant(program: Program, number: int) -> float | None:
    node = program.makers.get(number)
    if node is None or node.kind not in ("Const", "Cast", "Identity"):
        return None
    if node.kind != "Const":
        return _constant(program, node.inputs[0])
    value = tf.make_ndarray(node.attributes["value"].tensor)
    if not np.issubdtype(value.dtype, np.number):
        return None
    return float(value.reshape(-1)[0]) if value.size == 1 else None


def in_front(program: Program, output: int, head: Head) -> tuple[int, int, int]:
    """Numbers of the tensors of an output's logits, log-probabilities and probabilities.

    Each has the layout of the output: operations that move values after the head are applied to each.
    For an output without logits, all three are the output.
    """
    if head.part is None or head.kind not in WITH_LOGITS:
        return output, output, output
    logits = _again(program, head.part, lambda part: part.given)
    logarithms = _again(
        program, head.part, lambda part: _added(program, part.given, *_logarithm(part))
    )
    if not head.kind.startswith("log"):
        return logits, logarithms, output
    return logits, logarithms, _added(program, output, tf.exp, lambda x, y, dy: dy * y)


def saturated(program: Program, head: Head) -> int | None:
    """Number of a tensor with the layout of the output. It is 1 where the head is flat, else 0."""
    if head.part is None or head.kind in ("logsoftmax", "logsigmoid"):
        return None
    return _again(
        program, head.part, lambda part: _added(program, part.given, _flat(part), _no_slope)
    )


def _again(program: Program, part: Part, leaf: Callable[[Part], int]) -> int:
    """Applies the operations that move and join the heads to other tensors."""
    if not part.parts:
        return leaf(part)
    numbers = [_again(program, inner, leaf) for inner in part.parts]
    node = part.node
    rest = node.inputs[len(numbers) :]
    traced = program.tensors[node.outputs[0]]
    made = program.add(traced, (*numbers, *rest), node.operation, node.place)
    return made.outputs[0]


def _added(program: Program, number: int, function: Any, slope: Any) -> int:
    def build(given: Sequence[tf.Tensor]) -> Made:
        result = function(given[0])
        return Made([result], lambda upstream: [slope(given[0], result, upstream)])

    traced = program.tensors[number]
    return program.add(traced, (number,), traced.op, 0, build).outputs[0]


def _flat(part: Part) -> Callable[[tf.Tensor], tf.Tensor]:
    """1 where the derivative of the head is nearly 0, else 0."""
    kind = part.node.kind

    def flat(given: tf.Tensor) -> tf.Tensor:
        if kind == "Softmax" or part.axes is not None:
            sure = tf.exp(_log_softmax(part.axes)(given))
            slope = 4.0 * sure * (1.0 - sure)
        elif kind == "Sigmoid":
            slope = 4.0 * tf.sigmoid(given) * tf.sigmoid(-given)
        elif kind == "Tanh":
            slope = 1.0 - tf.square(tf.tanh(given))
        elif kind == "Softplus":
            slope = tf.sigmoid(given)
        elif kind == "Relu6":
            slope = tf.cast((given > 0.0) & (given < _SIX), given.dtype)
        else:
            low, high = part.bounds
            slope = tf.cast((given > low) & (given < high), given.dtype)
        return tf.cast(slope < _FLAT, given.dtype)

    return flat


def _no_slope(given: tf.Tensor, _: tf.Tensor, __: tf.Tensor) -> tf.Tensor:
    return tf.zeros_like(given)


def _logarithm(part: Part) -> tuple[Any, Any]:
    """The logarithm of a head's probabilities, and its slope."""
    if "softmax" in part.kind:
        return _log_softmax(part.axes), _log_softmax_slope(part.axes)
    return tf.math.log_sigmoid, _log_sigmoid_slope


def _log_softmax(axes: tuple[int, ...] | None) -> Callable[[tf.Tensor], tf.Tensor]:
    if axes is None:
        return tf.nn.log_softmax
    return lambda given: given - tf.reduce_logsumexp(given, axes, keepdims=True)


def _log_softmax_slope(axes: tuple[int, ...] | None) -> Any:
    def slope(_: tf.Tensor, result: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        total = tf.reduce_sum(upstream, -1 if axes is None else axes, keepdims=True)
        return upstream - tf.exp(result) * total

    return slope


def _log_sigmoid_slope(given: tf.Tensor, _: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    return upstream * tf.sigmoid(-given)
