"""A traced model as a list of operations, ordered so that inputs come first.

Calls of functions are inlined: the operations of a `tf.function` or a SavedModel become part of the list.
Each tensor has a number. A function that is called twice is inlined twice, so each of its tensors gets
two numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow.python.eager.backprop_util import IsTrainable
from tensorflow.python.framework import function_def_to_graph, ops

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# The attribute with which TensorFlow marks an operation with a custom gradient.
GRADIENT = "_gradient_op_type"


# Maps the gradients of the results to those of the inputs. None for an input without a gradient.
Backward: TypeAlias = Callable[..., Sequence["tf.Tensor | None"]]


@dataclasses.dataclass(frozen=True)
class Made:
    """The results of a node, and its backward function (None for TensorFlow's gradient of the operation)."""

    results: Sequence[tf.Tensor]
    backward: Backward | None = None
    operation: tf.Operation | None = None


@dataclasses.dataclass(eq=False)
class Node:
    """One operation of a program.

    Attributes:
        operation: the traced operation.
        kind: its type, such as "Conv2D".
        inputs: numbers of the tensors it reads.
        outputs: numbers of the tensors it makes.
        controls: nodes that must run before it.
        place: number of the copy of an inlined function that contains it. 0 for the program's own
            graph.
        build: computes its results from its inputs. None to make the operation again.
        inner: the program of a function that XLA compiles as a whole. None for an operation.
    """

    operation: tf.Operation
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    controls: tuple[Node, ...] = ()
    place: int = 0
    build: Callable[[Sequence[tf.Tensor]], Made] | None = None
    inner: Program | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes by name as protocol buffers, without references to the old graph."""
        known = self.__dict__.get("_attributes")
        if known is None:
            known = dict(self.operation.node_def.attr)
            for tied in ("_class", "_output_shapes"):
                known.pop(tied, None)
            self.__dict__["_attributes"] = known
        return known

    def value(self, name: str) -> Any:
        """One attribute as a Python value."""
        return self.operation.get_attr(name)

    def adopt(self, gradient: Callable[..., Any]) -> None:
        """Keeps the gradient that an author wrote for this operation."""
        self.__dict__["_own"] = gradient

    @property
    def own_gradient(self) -> Callable[..., Any] | None:
        """The gradient that an author wrote for this operation. None if it has TensorFlow's gradient."""
        if GRADIENT not in self.attributes:
            return None
        known = self.__dict__.get("_own")
        name = self.attributes[GRADIENT].s.decode()
        return known or ops.gradient_registry.lookup(name)


class Program:
    """The operations between inputs and outputs of a graph.

    Attributes:
        given: numbers of the graph's inputs.
        results: numbers of the graph's outputs.
        nodes: all operations. Each one comes after its inputs.
        tensors: the traced tensor of every number.
        outermost: the same for tensors that a function returns, as the caller sees them, by number.
        captured: tensors from outside the graph, such as handles of variables, by number.
        makers: the node that makes a tensor, by the tensor's number.
        adjoint: types of the operations that have a forward pass as gradient.
        left_out: gradients of our own that differ from TensorFlow's and are not used, in words.
        folded: types of the products into which later scales and shifts were folded.
    """

    def __init__(self, graph: Any, outside: Mapping[int, int] | None = None) -> None:
        self.nodes: list[Node] = []
        self.tensors: list[tf.Tensor] = []
        self.captured: dict[int, tf.Tensor] = {}
        self.outermost: dict[int, tf.Tensor] = {}
        self.makers: dict[int, Node] = {}
        self.graphs: list[Any] = [graph]
        self.folded: tuple[str, ...] = ()
        self.adjoint: tuple[str, ...] = ()
        self.left_out: tuple[str, ...] = ()
        self._numbers: dict[tuple[int, int], int] = {}
        for external, internal in graph.captures:
            self.captured[self._new(internal, 0)] = external
        self._read(graph, 0)
        self.given = tuple(
            self._numbers[id(t), 0] for t in graph.inputs if (id(t), 0) in self._numbers
        )
        self.results = tuple(self.number(tensor) for tensor in graph.outputs)

    def number(self, tensor: tf.Tensor, place: int = 0) -> int:
        """The number of a traced tensor."""
        found = self._numbers.get((id(tensor), place))
        if found is None:
            raise KeyError(f"{tensor} is no tensor of this program")
        return found

    def places(self, graph: Any) -> list[int]:
        """Numbers of the copies of a function's graph, in the order in which they are called."""
        return [place for place, each in enumerate(self.graphs) if each is graph]

    def add(
        self,
        like: tf.Tensor,
        inputs: Sequence[int],
        operation: tf.Operation,
        place: int = 0,
        build: Callable[[Sequence[tf.Tensor]], Made] | None = None,
    ) -> Node:
        """Adds a node with one result at the end. The node was not traced.

        Args:
            like: a traced tensor of the result's type and shape.
            inputs: numbers of the tensors that it reads.
            operation: the operation to make again, if `build` is None.
            place: place of the operation, as in `Node`.
            build: as in `Node`.
        """
        self.tensors.append(like)
        kind = operation.type if build is None else "Built"
        node = Node(operation, kind, tuple(inputs), (len(self.tensors) - 1,), (), place, build)
        self.nodes.append(node)
        self.makers[node.outputs[0]] = node
        return node

    def copy(self, nodes: Sequence[Node]) -> Program:
        """A program of these nodes. Changes of the copy do not change this program."""
        found = Program.__new__(Program)
        found.__dict__ = dict(self.__dict__)
        found.nodes, found.tensors = list(nodes), list(self.tensors)
        found.makers = {n: self.makers[n] for node in nodes for n in node.outputs}
        return found

    def new(self, like: Sequence[tf.Tensor]) -> list[int]:
        """New numbers for tensors that were not traced."""
        self.tensors += like
        return list(range(len(self.tensors) - len(like), len(self.tensors)))

    def put(self, old: Node, nodes: Sequence[Node]) -> None:
        """Replaces one node by other nodes."""
        place = self.nodes.index(old)
        self.nodes[place : place + 1] = nodes
        for node in nodes:
            self.makers.update(dict.fromkeys(node.outputs, node))

    def _new(self, tensor: tf.Tensor, place: int) -> int:
        self.tensors.append(tensor)
        self._numbers[id(tensor), place] = len(self.tensors) - 1
        return len(self.tensors) - 1

    def _read(self, graph: Any, place: int) -> None:
        done: dict[int, Node] = {}
        for operation in graph.get_operations():
            if operation.type == "Placeholder":
                if (id(operation.outputs[0]), place) not in self._numbers:
                    self._new(operation.outputs[0], place)
                continue
            inputs = tuple(self.number(tensor, place) for tensor in operation.inputs)
            inner = None
            if operation.type in CALLS and not _own_gradient(operation):
                called = function_graph(operation, operation.get_attr("f").name)
                if not _for_xla(operation) or _one_product(called):
                    self._open(operation, inputs, place, called)
                    continue
                inner = Program(called)
            outputs = tuple(self._new(tensor, place) for tensor in operation.outputs)
            controls = tuple(
                done[id(other)] for other in operation.control_inputs if id(other) in done
            )
            node = Node(operation, operation.type, inputs, outputs, controls, place, None, inner)
            done[id(operation)] = node
            self.nodes.append(node)
            self.makers.update(dict.fromkeys(outputs, node))

    def _open(self, operation: tf.Operation, inputs: Sequence[int], place: int, inner: Any) -> None:
        """Inlines the operations of a called function."""
        self.graphs.append(inner)
        own = len(self.graphs) - 1
        for tensor, number in zip(inner.inputs, inputs, strict=True):
            self._numbers[id(tensor), own] = number
        self._read(inner, own)
        for tensor, result in zip(operation.outputs, inner.outputs, strict=True):
            number = self._numbers[id(result), own]
            self._numbers[id(tensor), place] = number
            self.outermost[number] = tensor

    def reachable(self, wanted: Iterable[int], known: Iterable[int] = ()) -> list[Node]:
        """The nodes that tensors need, in order. Tensors in `known` need no node."""
        needed: set[int] = set()
        stop = set(known)
        waiting = [number for number in wanted if number not in stop]
        while waiting:
            node = self.makers.get(waiting.pop())
            while node is not None and id(node) not in needed:
                needed.add(id(node))
                waiting.extend(n for n in node.inputs if n not in stop)
                for control in node.controls:
                    # Only the model uses written values: see `writing`.
                    if id(control) not in needed and not is_write(control.kind):
                        needed.add(id(control))
                        waiting.extend(n for n in control.inputs if n not in stop)
                node = None
        return [node for node in self.nodes if id(node) in needed]

    def behind(self, given: Iterable[int], nodes: Sequence[Node] | None = None) -> set[int]:
        """Numbers of all tensors that depend on the given ones."""
        found = set(given)
        for node in self.nodes if nodes is None else nodes:
            if not found.isdisjoint(node.inputs):
                found.update(node.outputs)
        return found

    def readers(self, nodes: Iterable[Node]) -> dict[int, list[Node]]:
        """The nodes that read a tensor, by its number."""
        found: dict[int, list[Node]] = {}
        for node in nodes:
            for number in node.inputs:
                found.setdefault(number, []).append(node)
        return found

    def differentiable(self, number: int) -> bool:
        """Whether a gradient goes through a tensor."""
        return bool(IsTrainable(self.tensors[number]))


def is_write(kind: str) -> bool:
    """Whether an operation of this type changes a variable."""
    return kind.startswith(
        ("Assign", "ResourceScatter", "ResourceApply", "ResourceStridedSliceAssign")
    )


def _own_gradient(operation: tf.Operation) -> bool:
    return GRADIENT in operation.node_def.attr


def _for_xla(operation: tf.Operation) -> bool:
    attributes = operation.node_def.attr
    return "_XlaMustCompile" in attributes and attributes["_XlaMustCompile"].b


# Operations that a function with a single convolution may also contain.
_BESIDE = {"Placeholder", "Identity", "NoOp", "ExpandDims", "Squeeze", "Const"}
_CONVOLUTIONS = {"Conv2D", "Conv3D"}


def _one_product(graph: Any) -> bool:
    """Whether a function is one convolution. For convolutions without a CPU kernel, Keras uses XLA.

    These have groups or channels first. `products` computes them in another way.
    """
    kinds = [operation.type for operation in graph.get_operations()]
    found = [kind for kind in kinds if kind in _CONVOLUTIONS]
    return len(found) == 1 and set(kinds) <= _BESIDE | _CONVOLUTIONS


def function_graph(operation: tf.Operation, name: str) -> Any:
    """The graph of a function that an operation calls."""
    for graph in _outwards(operation.graph):
        function = graph._get_function(name)
        if function is None:
            continue
        inner = getattr(function, "graph", None)
        if inner is not None and len(inner.inputs) == len(
            function.cached_definition.signature.input_arg
        ):
            return inner
        with operation.graph.as_default():
            return function_def_to_graph.function_def_to_graph(function.cached_definition)
    raise KeyError(f"function {name!r} of {operation.name} cannot be found")


def _outwards(graph: Any) -> Iterator[Any]:
    while graph is not None:
        yield graph
        graph = getattr(graph, "outer_graph", None)
