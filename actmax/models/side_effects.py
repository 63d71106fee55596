"""Finds the random draws and variable writes of a model's pass, and makes a pass that writes nothing.

A traced pass with assignments is treated as a function of the current variables. A read after an
assignment gets the assigned value, and no variable changes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from actmax.models.program import Made, Node, Program, function_graph, is_write

_RANDOM = re.compile(r"Random|Multinomial|TruncatedNormal|^Rng|StatefulUniform|StatefulStandard")
# An operation that continues a generator: its state is read and not changed.
_SKIPS = ("RngReadAndSkip",)


@dataclasses.dataclass(frozen=True)
class Findings:
    """Random draws and states that affect the result of a pass, besides inputs and weights.

    Attributes:
        random: name of an operation that draws random numbers, or None.
        written: names of variables that the pass writes and that affect the result.
        kept: variables that a replay must write, as inside a loop.
    """

    random: str | None
    written: tuple[str, ...]
    kept: tuple[Any, ...]


def settle(program: Program) -> frozenset[int]:
    """Removes writes from a program. Returns the numbers of handles that were written."""
    current: dict[int, int] = {}
    for node in list(program.nodes):
        handle = node.inputs[0] if node.inputs else -1
        if node.kind in _SKIPS:
            current.setdefault(handle, -1)
            program.put(node, [_built(node, (handle,), _read(node))])
        elif node.kind == "ReadVariableOp" and current.get(handle, -1) >= 0:
            program.put(node, [_built(node, (current[handle],), _as_it_is)])
        elif is_write(node.kind) and node.inputs:
            current[handle] = _written(program, node, current.get(handle, -1))
    return frozenset(current)


def _built(node: Node, inputs: tuple[int, ...], build: Any) -> Node:
    return dataclasses.replace(node, kind="Built", inputs=inputs, controls=(), build=build)


def _as_it_is(given: Sequence[tf.Tensor]) -> Made:
    # TensorFlow has no gradient through a variable either.
    return Made([tf.identity(given[0])], lambda upstream: [None])


def _read(node: Node) -> Any:
    dtype = node.operation.outputs[0].dtype

    def build(given: Sequence[tf.Tensor]) -> Made:
        value = tf.raw_ops.ReadVariableOp(resource=given[0], dtype=dtype)
        return Made([value], lambda upstream: [None])

    return build


def _written(program: Program, node: Node, before: int) -> int:
    """Number of a variable's value after a write. -1 if only the variable's own value is known."""
    if node.kind == "AssignVariableOp":
        return node.inputs[1]
    sign = {"AssignAddVariableOp": 1, "AssignSubVariableOp": -1}.get(node.kind)
    if sign is None:
        return -1
    value = program.tensors[node.inputs[1]]
    first = before if before >= 0 else node.inputs[0]

    def build(given: Sequence[tf.Tensor]) -> Made:
        held = given[0]
        if held.dtype == tf.resource:
            held = tf.raw_ops.ReadVariableOp(resource=held, dtype=value.dtype)
        return Made([held + sign * given[1]], lambda upstream: [None, None])

    number = program.new([value])[0]
    made = dataclasses.replace(
        node, kind="Built", inputs=(first, node.inputs[1]), outputs=(number,), controls=(), build=build
    )  # fmt: skip
    place = program.nodes.index(node)
    program.nodes.insert(place + 1, made)
    program.makers[number] = made
    return number


def findings(
    program: Program, written: frozenset[int], wanted: Sequence[int], model: Any
) -> Findings:
    """Whatever the requested tensors depend on besides inputs and weights."""
    nodes = program.reachable(wanted)
    names = _names(program, model)
    moved = program.behind(written, nodes)
    random = None
    inner: list[Any] = []
    for node in nodes:
        drawn = _RANDOM.search(node.operation.type)
        # A stateless operation is random only if its seed is.
        if drawn and (node.operation.op_def.is_stateful or not moved.isdisjoint(node.inputs)):
            random = random or node.operation.name
        for graph in _functions(node):
            kinds = [operation.type for operation in graph.get_operations()]
            if any(map(is_write, kinds)) or any("Rng" in kind for kind in kinds):
                inner += [program.captured[n] for n in node.inputs if n in program.captured]
    direct = {
        node.inputs[0]
        for node in nodes
        if node.kind == "ReadVariableOp" and node.inputs[0] in written
    }
    read = direct | {n for node in nodes if node.kind == "Built" for n in node.inputs} & written
    found = () if random else tuple(sorted({names.get(n, "a variable") for n in read}))
    variables = {id(handle): variable for variable, handle in _handles(model)}
    kept = tuple(variables[id(value)] for value in inner if id(value) in variables)
    return Findings(random, found, kept)


def _functions(node: Node) -> Iterator[Any]:
    """Graphs of the functions that an operation runs, such as a loop, including nested ones."""
    if node.build is not None:
        return
    waiting = [(node.operation, name) for name in _called(node.operation)]
    seen: set[str] = set()
    while waiting:
        operation, name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        graph = function_graph(operation, name)
        yield graph
        waiting += [(each, n) for each in graph.get_operations() for n in _called(each)]


def _called(operation: tf.Operation) -> list[str]:
    attributes = operation.node_def.attr.values()
    names = [each.func.name for each in attributes if each.HasField("func")]
    return names + [each.name for value in attributes for each in value.list.func]


def _handles(model: Any) -> Iterator[tuple[Any, Any]]:
    """Variables of a model, and their handles."""
    for variable in getattr(model, "variables", None) or ():
        held = getattr(variable, "value", variable)
        handle = getattr(held() if callable(held) else held, "handle", None)
        if handle is not None:
            yield variable, handle


def _names(program: Program, model: Any) -> dict[int, str]:
    known = {id(handle): variable for variable, handle in _handles(model)}
    graph = program.graphs[0]
    for variable in getattr(graph, "variables", ()):
        known.setdefault(id(getattr(variable, "handle", None)), variable)
    return {
        number: str(getattr(known[id(value)], "path", None) or known[id(value)].name)
        for number, value in program.captured.items()
        if id(value) in known
    }
