"""Replaces lookups of whole numbers by products: one-hot rows times the table.

A row with a 1 at position k represents the number k. The model's own operations compute the values of all
numbers once, as a table `[A, ...]`. The product of rows and this table gives the values of the rows, and
it has a gradient. The table of a quantized layer has whole numbers; there the product stands where they
become fractions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

from actmax import checks
from actmax.models.layer_calls import placeholder
from actmax.models.program import Made, Node, Program
from actmax.models.replay import Replay
from actmax.models.trace import Trace

# Operations that look up values, and the position of the numbers in their inputs.
_LOOKUPS = {"GatherV2": 1, "ResourceGather": 1, "OneHot": 0}
# Operations that make a float of a whole number that was looked up, or leave it as it is.
_OF_CODES = frozenset({"Cast", "Identity"})
# Operations on each number separately.
_EACH = frozenset(
    "Cast Identity StopGradient PreventGradient Add AddV2 Sub Mul Maximum Minimum FloorMod Mod Floor "
    "Round Rint Neg Abs Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr "
    "LogicalNot SelectV2 ClipByValue".split()
)
# Those of them that may combine several numbers.
_FEWER = frozenset({"Sub", "Minimum", "FloorMod", "Mod", "ClipByValue"})
# Operations that use only the shape of the numbers, not the values.
_SIZES = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})


@dataclasses.dataclass(frozen=True)
class Lettered:
    """How an input of whole numbers is given as one-hot rows.

    Attributes:
        axis: axis of a row, counted with the batch axis.
        size: length of a row, the number of possible values.
        dtype: dtype of the model's own input.
    """

    axis: int
    size: int
    dtype: str

    def numbers(self, shape: Sequence[int | None]) -> list[int | None]:
        """The shape of the numbers, from the shape of a batch of rows."""
        axis = self.axis % len(shape)
        return [side for place, side in enumerate(shape) if place != axis]


@dataclasses.dataclass(frozen=True)
class _Looked:
    """The part of a program that depends on an input of whole numbers.

    Attributes:
        each: operations on each number separately, and lookups of whole numbers.
        lookups: the operations that look up floats, or make floats of whole numbers that were looked up.
    """

    each: tuple[Node, ...]
    lookups: tuple[Node, ...]


def looked_up(program: Program, number: int) -> bool:
    """Whether lookups in tables are the only use of an input's numbers."""
    try:
        return bool(_followed(program, number, "").lookups)
    except ValueError:
        return False


def lettered(found: Trace, rows: Mapping[str, Lettered]) -> Trace:
    """The trace with one-hot rows instead of inputs of whole numbers. It is made once.

    Raises:
        ValueError: if the numbers have another use, or a table has fewer rows than there are values.
    """
    if not rows:
        return found
    key = ("rows", *sorted((name, *dataclasses.astuple(each)) for name, each in rows.items()))
    if key not in found.rewritten:
        program = found.program.copy(found.program.nodes)
        inputs = dict(found.inputs)
        for name, each in rows.items():
            inputs[name] = _in_rows(program, inputs[name], each, name)
        found.rewritten[key] = dataclasses.replace(
            found, program=program, inputs=inputs, heads={}, rewritten={}
        )
    return found.rewritten[key]


def _in_rows(program: Program, number: int, rows: Lettered, name: str) -> int:
    """The tensor number of the input of rows that replaces an input of whole numbers."""
    looked = _followed(program, number, name)
    tensor = program.tensors[number]
    sides = tensor.shape.as_list()
    axis = rows.axis % (len(sides) + 1)
    with FuncGraph("rows").as_default():
        like = placeholder(tf.float32, [*sides[:axis], rows.size, *sides[axis:]])
    (given,) = program.new([like])

    def numbers(values: Sequence[tf.Tensor]) -> Made:
        return Made([tf.cast(tf.argmax(values[0], axis), tensor.dtype)], lambda _: [None])

    first = looked.lookups[0]
    node = dataclasses.replace(
        first, kind="Built", inputs=(given,), outputs=(number,), controls=(), build=numbers
    )
    program.nodes.insert(0, node)
    program.makers[number] = node
    for lookup in looked.lookups:
        program.put(lookup, _as_product(program, lookup, looked, number, given, rows, axis, name))
    return given


def _as_product(
    program: Program,
    lookup: Node,
    looked: _Looked,
    number: int,
    given: int,
    rows: Lettered,
    axis: int,
    name: str,
) -> list[Node]:
    """A lookup as two nodes: the table of all numbers, and the product of rows and table."""
    made = {number, *(n for node in looked.each for n in node.outputs)}
    chain = [node for node in looked.each if _needs(program, lookup, node, made)]
    _check_size(program, lookup, chain, rows, name)
    outside = sorted({n for node in (*chain, lookup) for n in node.inputs} - made)
    dtype, rank = program.tensors[number].dtype, program.tensors[number].shape.rank

    def table(values: Sequence[tf.Tensor]) -> Made:
        # Of the rank of the model's own numbers, so that axes mean what they mean in the model.
        every = tf.reshape(tf.cast(tf.range(rows.size), dtype), [rows.size, *[1] * (rank - 1)])
        replay = Replay(program, {number: every, **dict(zip(outside, values, strict=True))})
        replay.make(lookup.outputs, [*chain, lookup])
        found = replay.value(lookup.outputs[0])
        flat = tf.reshape(found, tf.concat([[rows.size], tf.shape(found)[rank:]], 0))
        return Made([tf.ensure_shape(flat, [rows.size, *found.shape[rank:]])])

    def product(values: Sequence[tf.Tensor]) -> Made:
        letters, found = values
        last = _moved(letters, axis, -1)
        flat = tf.reshape(found, [rows.size, -1])
        sizes = tf.concat([tf.shape(last)[:-1], tf.shape(found)[1:]], 0)
        wide = tf.reshape(last, [-1, rows.size])
        result = tf.reshape(tf.matmul(tf.cast(wide, found.dtype), flat), sizes)
        result.set_shape([*last.shape[:-1], *found.shape[1:]])

        def backward(upstream: tf.Tensor) -> list[tf.Tensor | None]:
            arrived = tf.reshape(upstream, [-1, tf.shape(flat)[1]])
            slope = tf.reshape(tf.matmul(arrived, flat, transpose_b=True), tf.shape(last))
            return [tf.cast(_moved(slope, -1, axis), letters.dtype), None]

        return Made([result], backward)

    result = program.tensors[lookup.outputs[0]]
    (prepared,) = program.new([result])
    return [
        dataclasses.replace(
            lookup,
            kind="Built",
            inputs=tuple(outside),
            outputs=(prepared,),
            controls=(),
            build=table,
        ),
        dataclasses.replace(
            lookup, kind="Built", inputs=(given, prepared), controls=(), build=product
        ),
    ]


def _moved(values: tf.Tensor, old: int, new: int) -> tf.Tensor:
    rank = values.shape.rank
    old, new = old % rank, new % rank
    if old == new:
        return values
    order = [place for place in range(rank) if place != old]
    order.insert(new, old)
    return tf.transpose(values, order)


def _needs(program: Program, lookup: Node, node: Node, made: set[int]) -> bool:
    """Whether a lookup depends on an operation on each number."""
    waiting = [n for n in lookup.inputs if n in made]
    while waiting:
        maker = program.makers.get(waiting.pop())
        if maker is node:
            return True
        if maker is not None:
            waiting += [n for n in maker.inputs if n in made]
    return False


def _check_size(
    program: Program, lookup: Node, chain: Sequence[Node], rows: Lettered, name: str
) -> None:
    """Raises ValueError if there are more letters than the table has rows."""
    if any(node.kind in _FEWER for node in chain):
        return
    gathers = [node for node in (*chain, lookup) if node.kind == "GatherV2"]
    count = min(
        (program.tensors[node.inputs[0]].shape[0] or rows.size for node in gathers), default=None
    )
    if count is not None and rows.size > count:
        raise ValueError(
            checks.message(
                f"at most {count} letters, one for each row of the table in which {name!r} is looked up",
                f"{rows.size}",
                "Letter k of the alphabet stands for the number k.",
            )
        )


def _followed(program: Program, number: int, name: str) -> _Looked:
    """The operations on the numbers of an input.

    Raises:
        ValueError: for any operation except those on each number, comparisons and lookups.
    """
    rank = program.tensors[number].shape.rank
    values, marks = {number}, set[int]()  # functions of each number; true or false for each number
    loose: set[int] = set()  # values that depend only on these
    codes: set[int] = set()  # whole numbers that were looked up
    each: list[Node] = []
    lookups: list[Node] = []
    for node in program.nodes:
        read = {n for n in node.inputs if n in values | marks | loose | codes}
        if not read or node.kind in _SIZES:
            continue
        fractions = program.differentiable(node.outputs[0])
        if _looks_up(program, node, values) or (
            read <= codes and _within_rows(program, node, rank)
        ):
            if fractions:
                lookups.append(node)
            else:
                each.append(node)
                codes.update(node.outputs)
            continue
        truths = read <= marks | loose
        alone = node.kind in _EACH and all(
            n in values or n in marks or (n not in loose and program.tensors[n].shape.rank == 0)
            for n in node.inputs
        )
        if alone:
            each.append(node)
            told = truths or program.tensors[node.outputs[0]].dtype == tf.bool
            (marks if told else values).update(node.outputs)
        elif truths:
            loose.update(node.outputs)
        else:
            raise _refused(f"{node.kind} at {node.operation.name!r} reads them", name)
    if not lookups:
        raise _refused("nothing looks them up", name)
    return _Looked(tuple(each), tuple(lookups))


def _looks_up(program: Program, node: Node, values: set[int]) -> bool:
    """Whether an operation looks up rows of a table by number."""
    place = _LOOKUPS.get(node.kind)
    if place is None or node.inner is not None:
        return False
    if [n for n in node.inputs if n in values] != [node.inputs[place]]:
        return False
    if node.kind == "OneHot":
        return bool(node.value("axis") == -1)
    if node.value("batch_dims"):
        return False
    axis = 0 if node.kind == "ResourceGather" else program.tensors[node.inputs[2]]
    return bool(tf.get_static_value(axis) == 0)


def _within_rows(program: Program, node: Node, rank: int) -> bool:
    """Whether an operation changes each looked-up row alone: its type, or which of its values it takes."""
    if node.kind != "GatherV2":
        return node.kind in _OF_CODES
    axis = tf.get_static_value(program.tensors[node.inputs[2]])
    return axis is not None and (axis < 0 or axis >= rank) and not node.value("batch_dims")


def _refused(why: str, name: str) -> ValueError:
    return ValueError(
        checks.message(
            f"whole numbers that the model only looks up, as an Embedding does, for letters at {name!r}",
            why,
            "Give the model behind the embedding, or hold this input with fixed=.",
        )
    )
