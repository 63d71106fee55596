"""One pass of a model in inference mode, traced once into a graph of our own and then shared.

A trace has the model's operations, its outputs by name, and the inputs and outputs of every call of a
layer. It shares the model's variables, so it follows changes of the weights. It lives as long as the
model. If a model is changed in place, it is traced again: see `state_of`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from actmax import checks
from actmax.models import returned
from actmax.models.layer_calls import Afresh, Heard, RecordingGraph, everywhere, placeholder
from actmax.models.outputs import Outputs
from actmax.models.program import CALLS, GRADIENT, Program
from actmax.models.side_effects import settle
from actmax.models.states import state_of
from actmax.models.structure import layers
from actmax.models.untraceable import explained, of_another_graph

_LOCK = threading.RLock()
_KEPT: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()

# oneDNN hands a workspace from these operations to their gradients. Loops and conditions may contain one.
_PAIRED = frozenset(
    {
        "MaxPool",
        "MaxPoolV2",
        "MaxPool3D",
        "LRN",
        "While",
        "StatelessWhile",
        "If",
        "StatelessIf",
        "Case",
    }
)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer, as numbers of a program's tensors.

    Attributes:
        given: its first argument. None if it is not a tensor of the pass.
        result: its result: a number, or a structure of numbers and None.
    """

    given: int | None
    result: Any


@dataclasses.dataclass(frozen=True)
class Trace:
    """A model's pass.

    Attributes:
        program: the operations.
        inputs: numbers of the inputs, by name.
        outputs: the outputs of the model.
        returned: the returned tensors in the traced graph, in the order of `outputs`.
        calls: calls of every layer, by path. Those of a layer that a functional model calls several
            times are in the order of Keras' nodes, in which the calls were written.
        inside: paths of layers that are called inside a loop. There a tensor has many values.
        rows: the only number of rows that the model accepts. None for any number.
        heads: head of an output and the tensors before it, by the output's number. Filled on
            request.
        rewritten: programs made from this one, by their options.
        written: numbers of the handles of variables that the model's pass writes.
    """

    program: Program
    inputs: Mapping[str, int]
    outputs: Outputs
    returned: tuple[tf.Tensor, ...]
    calls: Mapping[str, tuple[Call, ...]]
    inside: frozenset[str]
    rows: int | None = None
    heads: dict[int, Any] = dataclasses.field(default_factory=dict)
    rewritten: dict[Any, Any] = dataclasses.field(default_factory=dict)
    written: frozenset[int] = frozenset()

    @functools.cached_property
    def half(self) -> bool:
        """Whether the model itself computes in float16 anything that depends on its inputs."""
        return tf.float16 in self._dtypes

    @functools.cached_property
    def rough(self) -> bool:
        """Whether it computes anything from its inputs in half precision or in 8-bit integers."""
        return not {tf.float16, tf.bfloat16, tf.int8, tf.uint8}.isdisjoint(self._dtypes)

    @functools.cached_property
    def paired(self) -> bool:
        """Whether it has an operation that oneDNN pairs with its gradient, or a loop, which may have one."""
        return not _PAIRED.isdisjoint(node.kind for node in self.program.nodes)

    @functools.cached_property
    def _dtypes(self) -> set[tf.DType]:
        moving = self.program.behind(self.inputs.values())
        return {self.program.tensors[number].dtype for number in moving}


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of a model that is enough for layers of these names.

    Attributes:
        names: names of the layers.
        forward: makes a function that runs the part from inputs by name. Returns None if the part
            is the whole model.
    """

    names: tuple[str, ...]
    forward: Callable[[], Callable[[dict[str, tf.Tensor]], Any] | None]


_PART = "part"


def trace(
    model: Any,
    forward: Callable[[dict[str, tf.Tensor]], Any],
    like: Mapping[str, tf.TensorSpec],
    part: Part | None = None,
) -> Trace:
    """The model's trace for inputs like these: the existing one or a new one.

    Args:
        model: the model to trace. It owns the trace.
        forward: runs the model with inputs by name.
        like: shapes and dtypes of the inputs by name.
        part: the sufficient part of the model. It is traced if there is no trace yet. A second
            request for another part traces the whole model.
    """
    key = tuple((name, tuple(spec.shape), spec.dtype) for name, spec in like.items())
    state = state_of(model)
    with _LOCK:
        try:
            known = _KEPT.setdefault(model, {})
        except TypeError:  # a callable without weak references keeps no trace
            known = {}
        if key in known and known[key][0] == state:
            return known[key][1]
        if part is not None and key not in known:
            short = _of_part(known, key, state, model, part, like)
            if short is not None:
                return short
        known.pop((key, _PART), None)
        with tf.init_scope():
            found = _trace(model, forward, like)
        # Tracing may build a model that was never called, so its state is read afterwards.
        known[key] = (state_of(model), found)
        return found


def _of_part(
    known: dict[Any, Any],
    key: Any,
    state: Any,
    model: Any,
    part: Part,
    like: Mapping[str, tf.TensorSpec],
) -> Trace | None:
    """The trace of a part. None to trace the whole: for a second part, or if nothing is left out."""
    names, of, found = known.get((key, _PART), (part.names, None, None))
    if found is not None and of == state:
        return found if names == part.names else None
    forward = part.forward()
    if forward is None:
        return None
    with tf.init_scope():
        found = _trace(model, forward, like)
    known[key, _PART] = part.names, state, found
    return found


def _trace(
    model: Any, forward: Callable[[dict[str, tf.Tensor]], Any], like: Mapping[str, tf.TensorSpec]
) -> Trace:
    graph, inputs, result = _pass(model, forward, like)
    heard = graph.heard
    calls = any(operation.type in CALLS for operation in graph.get_operations())
    if calls and layers(model):
        # Layers in nested functions are recorded only while these functions are traced, so they are
        # traced again.
        heard = []
        with everywhere(heard):
            graph, inputs, result = _pass(model, forward, like, afresh=True)
    graph.forget()
    program = Program(graph)
    _adopt_gradients(program)
    written = settle(program)
    found, inside = _calls(model, program, heard)
    return Trace(
        program,
        {name: program.number(tensor) for name, tensor in inputs.items()},
        Outputs.of(model, result, program),
        tuple(value for _, value in returned.outputs_of(result)),
        found,
        inside,
        next(iter(like.values())).shape[0] if like else None,
        written=written,
    )


def _pass(
    model: Any,
    forward: Callable[[dict[str, tf.Tensor]], Any],
    like: Mapping[str, tf.TensorSpec],
    *,
    afresh: bool = False,
) -> tuple[RecordingGraph, dict[str, tf.Tensor], Any]:
    graph = RecordingGraph(str(getattr(model, "name", "model")))
    with graph.as_default():
        inputs = {name: placeholder(spec.dtype, spec.shape) for name, spec in like.items()}
        if afresh:
            graph._set_control_flow_context(Afresh())
        with explained("the model"), _python_named(graph):
            result = forward(dict(inputs))
        result = returned.replaced(lambda value: _captured(graph, _in_graph(value)), result)
    for outside in graph.external_captures:
        if tf.is_symbolic_tensor(outside):  # no graph is open around a trace
            raise of_another_graph("the model", f"the layer that made {outside.op.name!r}")
    return graph, inputs, result


def _in_graph(value: Any) -> Any:
    """Converts returned variables and constants to tensors."""
    if isinstance(value, tf.Variable) or hasattr(value, "__tf_tensor__"):
        return tf.convert_to_tensor(value)
    return value


def _captured(graph: RecordingGraph, value: Any) -> Any:
    dense = tf.is_tensor(value) and not isinstance(value, (tf.RaggedTensor, tf.SparseTensor))
    return graph.capture(value) if dense else value


# The name that `tf.custom_gradient` gives to its registry entry, one for every use.
_WRITTEN_ONCE = "CustomGradient-"


def _adopt_gradients(program: Program) -> None:
    """Moves the custom gradients that the model's code made during tracing into the trace.

    TensorFlow keeps them for ever, together with every graph that they refer to.
    """
    from tensorflow.python.framework import ops

    registry = ops.gradient_registry._registry
    for node in program.nodes:
        # Functions that were traced before may belong to other code that still needs their
        # gradients.
        if node.place == 0 and node.kind == "IdentityN" and GRADIENT in node.attributes:
            name = node.attributes[GRADIENT].s.decode()
            if name in registry and name.startswith(_WRITTEN_ONCE):
                node.adopt(ops.gradient_registry.lookup(name))
                registry.pop(name)


def _calls(
    model: Any, program: Program, heard: Sequence[Heard]
) -> tuple[dict[str, tuple[Call, ...]], frozenset[str]]:
    by_layer: dict[int, list[Call]] = {}
    lost: set[int] = set()
    for layer, given, result in heard:
        tensors = [t for t in tf.nest.flatten(result) if hasattr(t, "graph")]
        graph = tensors[0].graph if tensors else None
        places = [] if graph is None else program.places(graph)
        if not places:
            lost.add(id(layer))
        for place in places:
            by_layer.setdefault(id(layer), []).append(
                Call(
                    _number(program, given, place=place),
                    tf.nest.map_structure(functools.partial(_number, program, place=place), result),
                )
            )
    known = layers(model)
    order = _orders(model)
    found = {}
    for path, layer in known.items():
        calls = by_layer.get(id(layer), [])
        own = order.get(id(layer), [])
        if own and len(calls) == len(own):
            calls = [calls[position] for position in own]
        found[path] = tuple(calls)
    return found, frozenset(p for p, layer in known.items() if id(layer) in lost and not found[p])


def _number(program: Program, tensor: Any, *, place: int) -> int | None:
    try:
        return program.number(tensor, place)
    except KeyError:
        return None


def times_called(model: Any) -> dict[int, int]:
    """Number of calls per layer of a functional model, by identity, for layers called several times."""
    return {key: len(order) for key, order in _orders(model).items()}


def _orders(model: Any) -> dict[int, list[int]]:
    """The calls in the order of Keras' nodes, for layers that a functional model calls several times.

    Keras runs a functional model by depth, so the first written call may run last.
    """
    found: dict[int, list[int]] = {}
    for inner in (model, *layers(model).values()):
        graph = getattr(inner, "_functional", None) or inner
        depths = getattr(graph, "_nodes_by_depth", None)
        if not depths:
            continue
        run: dict[int, list[Any]] = {}
        for depth in sorted(depths, reverse=True):
            for node in depths[depth]:
                if not node.is_input:
                    run.setdefault(id(node.operation), []).append(node)
        for key, nodes in run.items():
            if len(nodes) > 1:
                written = {id(node): n for n, node in enumerate(nodes[0].operation._inbound_nodes)}
                places = [written.get(id(node), n) for n, node in enumerate(nodes)]
                found[key] = sorted(range(len(nodes)), key=places.__getitem__)
    return found


@contextlib.contextmanager
def _python_named(graph: tf.Graph) -> Iterator[None]:
    """In this context, an error behind Python code in the graph, whose results have no shape, names it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        python = [each for each in graph.get_operations() if each.type in _PYTHON]
        if python:
            raise ValueError(_python(python[0].name)) from error
        raise


def refuse_python(program: Program, wanted: Sequence[int]) -> None:
    """Raises ValueError if requested tensors are computed by Python code, which has no gradient."""
    for node in program.reachable(wanted):
        if node.kind in _PYTHON:
            raise ValueError(_python(node.operation.name))


_PYTHON = ("PyFunc", "EagerPyFunc", "PyFuncStateless")


def _python(name: str) -> str:
    return checks.message(
        "a model of TensorFlow operations",
        f"tf.py_function or tf.numpy_function at {name!r}",
        "Python code in a graph has no gradient that can be trusted: write it with "
        "keras.ops or tf operations.",
    )
