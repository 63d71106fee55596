"""Makes a program's operations again in the current graph, and their gradient.

Every operation is made with its actual inputs. A replaced operation (see `rewriting`) has its own
gradient; all other gradients are TensorFlow's. The backward pass is written out here and does not use
`tf.custom_gradient`, which would keep every graph that it was used in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow.python.framework import ops
from tensorflow.python.framework.func_graph import FuncGraph
from tensorflow.python.ops import cond_v2, handle_data_util, while_v2

from actmax import checks
from actmax.models.layer_calls import placeholder
from actmax.models.program import GRADIENT, Backward, Made, Node, Program

Values: TypeAlias = dict[int, tf.Tensor]


class Replay:
    """One pass through a program: the tensors, and the backward pass.

    Args:
        program: the program to run.
        given: known tensors by number, at least the inputs.
    """

    def __init__(self, program: Program, given: Mapping[int, tf.Tensor]) -> None:
        self.program = program
        self.values: Values = dict(given)
        self.made: list[tuple[Node, Made]] = []
        self._operations: dict[int, tf.Operation] = {}

    def make(self, wanted: Iterable[int], nodes: Sequence[Node] | None = None) -> None:
        """Makes every operation that these tensors need, if it was not made before."""
        found = self.program.reachable(wanted, self.values) if nodes is None else nodes
        for node in found:
            if all(number in self.values for number in node.outputs) and node.outputs:
                continue
            given = [self.value(number) for number in node.inputs]
            made = self._again(node, given) if node.build is None else self._built(node, given)
            self.values.update(zip(node.outputs, made.results, strict=True))
            self.made.append((node, made))
            if made.operation is not None:
                self._operations[id(node)] = made.operation

    def value(self, number: int) -> tf.Tensor:
        """A tensor that was given, was made, or comes from outside the graph."""
        if number not in self.values:
            self.values[number] = self.program.captured[number]
        return self.values[number]

    def _built(self, node: Node, given: Sequence[tf.Tensor]) -> Made:
        build: Any = node.build
        return build(given)

    def _again(self, node: Node, given: Sequence[tf.Tensor]) -> Made:
        if node.inner is not None:
            return compiled(node.inner, given)
        controls = [self._operations[id(c)] for c in node.controls if id(c) in self._operations]
        return again(node, given, controls)

    def gradient(
        self, results: Sequence[int], upstream: Sequence[tf.Tensor | None], sources: Sequence[int]
    ) -> list[tf.Tensor | None]:
        """Gradients with respect to sources, from those of results. None for sources without a connection.

        Raises:
            ValueError: if an operation in between has no gradient.
        """
        moving = set(sources)
        for node, _ in self.made:
            if not moving.isdisjoint(node.inputs):
                moving.update(n for n in node.outputs if self.program.differentiable(n))
        slopes: dict[int, list[tf.Tensor]] = {}
        for number, slope in zip(results, upstream, strict=True):
            if slope is not None:
                slopes.setdefault(number, []).append(slope)
        for node, made in reversed(self.made):
            arrived = [slopes.pop(n, None) for n in node.outputs]
            if not any(arrived) or moving.isdisjoint(node.inputs):
                continue
            back = made.backward or self._tensorflows(node, made)
            if back is None:
                continue
            whole = [
                tf.zeros_like(result) if found is None and _is_number(result) else found
                for found, result in zip(map(_total, arrived), made.results, strict=True)
            ]
            for number, slope in zip(node.inputs, back(*whole), strict=True):
                if slope is not None and number in moving:
                    slopes.setdefault(number, []).append(tf.convert_to_tensor(slope))
        return [_total(slopes.get(number)) for number in sources]

    def _tensorflows(self, node: Node, made: Made) -> Backward | None:
        if GRADIENT in node.attributes:
            return lambda *slopes: self._own(node, slopes)
        operation = made.operation
        if operation is None:
            raise ValueError(f"what stands for {node.kind} has no gradient")
        try:
            function = ops.get_gradient_function(operation)
        except LookupError as error:
            raise ValueError(
                checks.message(
                    "a model of operations that have a gradient",
                    f"{node.kind} at {node.operation.name!r}, for which TensorFlow has none",
                    "Leave out the layer that has it, or write it with other operations.",
                )
            ) from error
        if function is None:
            return None

        name_branches(operation)

        def back(*slopes: Any) -> Sequence[Any]:
            found = function(operation, *slopes)
            return found if isinstance(found, (list, tuple)) else [found]

        return back

    def another(self, program: Program, given: Values) -> Replay:
        """A pass of the same kind through another program."""
        return Replay(program, given)

    def _own(self, node: Node, slopes: Sequence[Any]) -> Sequence[tf.Tensor | None]:
        """The gradient that a model's author wrote. It refers to tensors of the traced graph."""
        program, given, outer, results = _own_program(node)
        known: Values = {
            number: slope for number, slope in zip(given, slopes, strict=True) if slope is not None
        }
        for number, external in outer.items():
            if tf.is_tensor(external) and getattr(external, "graph", None) is node.operation.graph:
                original = self.program.number(external, node.place)
                self.make([original])
                known[number] = self.value(original)
        replay = self.another(program, known)
        replay.make([number for number in results if number is not None])
        return [None if number is None else replay.value(number) for number in results]


def compiled(program: Program, given: Sequence[tf.Tensor]) -> Made:
    """The pass and the backward pass of a function that XLA compiles as a whole."""

    def forward(*inputs: tf.Tensor) -> list[tf.Tensor]:
        replay = Replay(program, dict(zip(program.given, inputs, strict=True)))
        replay.make(program.results)
        return [replay.value(number) for number in program.results]

    def backward(*upstream: tf.Tensor | None) -> list[tf.Tensor | None]:
        arrived = [place for place, slope in enumerate(upstream) if slope is not None]
        found: list[int] = []

        def back(inputs: list[tf.Tensor], slopes: list[tf.Tensor]) -> list[tf.Tensor]:
            replay = Replay(program, dict(zip(program.given, inputs, strict=True)))
            replay.make(program.results)
            results = [program.results[place] for place in arrived]
            pulled = replay.gradient(results, slopes, program.given)
            found[:] = [place for place, slope in enumerate(pulled) if slope is not None]
            return [slope for slope in pulled if slope is not None]

        run = tf.function(back, autograph=False, jit_compile=True)
        slopes = run(list(given), [upstream[place] for place in arrived])
        known = dict(zip(found, slopes, strict=True))
        return [known.get(place) for place in range(len(given))]

    run = tf.function(forward, autograph=False, jit_compile=True)
    return Made(run(*given), backward)


def again(node: Node, given: Sequence[tf.Tensor], controls: Sequence[tf.Operation] = ()) -> Made:
    """The operation, made again in the current graph."""
    graph = ops.get_default_graph()
    for attribute in node.attributes.values():
        names = [attribute.func.name] if attribute.HasField("func") else []
        for name in names + [function.name for function in attribute.list.func]:
            if graph._get_function(name) is None:
                _carry_over(node.operation, name, graph)
    traced = node.operation
    with tf.control_dependencies(list(controls)) if controls else _NOTHING:
        operation = graph._create_op_internal(
            traced.type,
            list(given),
            [tensor.dtype for tensor in traced.outputs],
            None,
            traced.name,
            node.attributes,
            traced.op_def,
        )
    for tensor, old in zip(operation.outputs, traced.outputs, strict=True):
        if old.shape.rank is not None and not tensor.shape.is_fully_defined():
            with_rows(tensor, old.shape)
    return Made(operation.outputs, None, operation)


def with_rows(tensor: tf.Tensor, traced: tf.TensorShape) -> None:
    """Sets the sizes of the traced shape that TensorFlow cannot infer, except the number of rows."""
    sides = traced.as_list()
    known = tensor.shape.as_list() if tensor.shape.rank is not None else [None] * len(sides)
    if len(known) != len(sides):
        return
    merged = [old if old is not None else new for old, new in zip(known, sides, strict=True)]
    if merged and known[0] is None:
        merged[0] = None
    tensor.set_shape(merged)


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


_NOTHING: Any = _Nothing()


def _carry_over(operation: tf.Operation, name: str, graph: Any) -> None:
    """Adds a function of one graph to another graph."""
    owner: Any = operation.graph
    while owner is not None:
        function = owner._get_function(name)
        if function is not None:
            graph._add_function_recursive(function)
            return
        owner = getattr(owner, "outer_graph", None)


def name_branches(operation: tf.Operation) -> None:
    """Gives unique names to the functions of a loop or a condition.

    TensorFlow's gradient stores them under the old name with a suffix. It raises an error if the same
    name gets other contents in one process, as for a pass that is made twice.
    """
    if operation.type in ("While", "StatelessWhile"):
        graphs = {
            place: while_v2._get_graph(operation, name, place)
            for name, place in (("cond", "_cond_graph"), ("body", "_body_graph"))
        }
    elif operation.type in ("If", "StatelessIf"):
        found = cond_v2.get_func_graphs(operation)
        graphs = dict(zip(("_true_graph", "_false_graph"), found, strict=True))
    elif operation.type in ("Case", "StatelessCase"):
        found = cond_v2.get_func_graphs(operation)
        graphs = {f"_branch_graph_{number}": graph for number, graph in enumerate(found)}
    else:
        return
    entering = list(operation.inputs)
    for place, graph in graphs.items():
        graph.name = f"{graph.name}_{ops.uid()}"
        setattr(operation, place, graph)
        # The shape and dtype of variables, which a function loses when it is read again.
        for given, inside in zip(
            entering[len(entering) - len(graph.inputs) :], graph.inputs, strict=True
        ):
            handle_data_util.copy_handle_data(given, inside)
        for inner in graph.get_operations():
            name_branches(inner)


def _is_number(tensor: tf.Tensor) -> bool:
    return tensor.dtype.is_floating or tensor.dtype.is_complex


def _total(slopes: list[tf.Tensor] | None) -> tf.Tensor | None:
    if not slopes:
        return None
    return slopes[0] if len(slopes) == 1 else tf.add_n(slopes)


def _own_program(node: Node) -> tuple[Program, list[int], dict[int, Any], list[int | None]]:
    """An author's gradient as a program, made once for a node.

    Returns:
        The program, the numbers of its input gradients, the tensors from outside by number, and the
        numbers of its results.
    """
    known = node.__dict__.get("_gradient")
    if known is None:
        traced = node.operation
        function: Any = node.own_gradient
        with traced.graph.as_default():
            graph = FuncGraph("gradient")
        with graph.as_default():
            slopes = [placeholder(tensor.dtype, tensor.shape) for tensor in traced.outputs]
            found = function(traced, *slopes)
        found = found if isinstance(found, (list, tuple)) else [found]
        with graph.as_default():
            found = [
                None if slope is None else graph.capture(tf.convert_to_tensor(slope))
                for slope in found
            ]
        program = Program(graph)
        known = (
            program,
            [program.number(slope) for slope in slopes],
            dict(program.captured),
            [None if slope is None else program.number(slope) for slope in found],
        )
        node.__dict__["_gradient"] = known
    return known


def through(
    function: Callable[..., Sequence[tf.Tensor]], given: Sequence[tf.Tensor], backward: Backward
) -> list[tf.Tensor]:
    """Results of a function with the gradient `backward`. Nothing keeps the graph alive afterwards."""
    with record.stop_recording():
        results = [tf.identity(result) for result in function(*given)]

    def back(*slopes: Any) -> Any:
        return list(backward(*slopes))

    record.record_operation("actmax", results, list(given), back)
    return results
