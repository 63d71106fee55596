"""One pass of a model in inference mode, traced once into a graph of our own and then shared.

A trace has the model's operations, its outputs by name, and the inputs and outputs of every call of a
layer. It shares the model's variables, so it follows changes of the weights. It lives as long as the
model. If a model is changed in place, it is traced again: see `state_of`.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from actmax import checks
from actmax.models.layer_calls import Afresh, Heard, RecordingGraph, everywhere, placeholder
from actmax.models.outputs import Outputs
from actmax.models.program import CALLS, GRADIENT, Program
from actmax.models.side_effects import settle
from actmax.models.structure import layers
from actmax.models.untraceable import explained

_LOCK = threading.RLock()
_KEPT: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer, in numbers of a program's tensors.

    Attributes:
        given: its first argument; None where that is no tensor of the pass.
        result: what it returned: a number, or a structure of numbers and None.
    """

    given: int | None
    result: Any


@dataclasses.dataclass(frozen=True)
class Trace:
    """A model's pass.

    Attributes:
        program: its operations.
        inputs: numbers of the inputs, by name.
        outputs: what the model returns.
        returned: the tensors that it returns, in its own graph, in the order of `outputs`.
        calls: calls of every layer, by path. Those of a layer that a functional model calls several
            times are in the order of Keras' nodes, in which the calls were written.
        inside: paths of layers whose calls stand inside of a loop, where no tensor is one value.
        rows: number of rows that the model insists on; None for any.
        heads: by an output's number, its head and what stands in front of it, as they are asked for.
        rewritten: programs made of this one, by what was asked of them.
        written: numbers of the handles of variables that the model's own pass writes.
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
        """Whether the model itself computes something of its inputs in float16."""
        return tf.float16 in self._dtypes

    @functools.cached_property
    def rough(self) -> bool:
        """Whether it computes something of its inputs in half precision, or in whole numbers of 8 bits."""
        return not {tf.float16, tf.bfloat16, tf.int8, tf.uint8}.isdisjoint(self._dtypes)

    @functools.cached_property
    def _dtypes(self) -> set[tf.DType]:
        moving = self.program.behind(self.inputs.values())
        return {self.program.tensors[number].dtype for number in moving}


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of a model that is enough for layers of these names.

    Attributes:
        names: of the layers.
        forward: makes what runs it, of inputs by name; returns None if the whole model is as short.
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
    """The model's trace for inputs like these: the one that there is, or a new one.

    Args:
        model: that is traced, and that the trace belongs to.
        forward: runs it, of inputs by name.
        like: shapes and dtypes by name.
        part: what of the model is enough. It is traced where nothing is known of the model yet; the
            next part that is asked for is worth the whole.
    """
    key = tuple((name, tuple(spec.shape), spec.dtype) for name, spec in like.items())
    state = state_of(model)
    with _LOCK:
        try:
            known = _KEPT.setdefault(model, {})
        except TypeError:  # a callable that has no weak references keeps no trace
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
        # Tracing may build a model that was never called: its state is what it is now.
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
    """The trace of a part; None where the whole is wanted: for another part, or if nothing is left out."""
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
        tuple(tf.nest.flatten(result)),
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
        with explained("the model"):
            result = forward(dict(inputs))
        result = tf.nest.map_structure(_in_graph, result) if _plain(result) else _in_graph(result)
        result = _captured(graph, result)
    return graph, inputs, result


def _plain(result: Any) -> bool:
    return isinstance(result, (Mapping, list, tuple))


def _in_graph(value: Any) -> Any:
    """Tensors as tensors; a variable or constant that a model returns is one, too."""
    if isinstance(value, tf.Variable) or hasattr(value, "__tf_tensor__"):
        return tf.convert_to_tensor(value)
    return value


def _captured(graph: RecordingGraph, result: Any) -> Any:
    def capture(value: Any) -> Any:
        return graph.capture(value) if tf.is_tensor(value) else value

    return tf.nest.map_structure(capture, result) if _plain(result) else capture(result)


# How `tf.custom_gradient` names an entry of its own for every use.
_WRITTEN_ONCE = "CustomGradient-"


def _adopt_gradients(program: Program) -> None:
    """Takes gradients that the model's code wrote while it was traced into the trace.

    TensorFlow keeps them for good, and with them every graph that they speak of.
    """
    from tensorflow.python.framework import ops

    registry = ops.gradient_registry._registry
    for node in program.nodes:
        # Functions that were traced before may be somebody else's, who still needs their gradients.
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
    """How often a functional model calls its layers, by their identity; those that it calls several times."""
    return {key: len(order) for key, order in _orders(model).items()}


def _orders(model: Any) -> dict[int, list[int]]:
    """Of layers that a functional model calls several times, the calls in the order of Keras' nodes.

    Keras runs a functional model by depth, so that the first call that was written may run last.
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


# What an attribute of a layer may hold that a trace depends on by its value.
_VALUES = (bool, int, float, complex, str, bytes, type(None))


def states(models: Iterable[Any]) -> tuple[Any, ...]:
    """`state_of` each of several models."""
    return tuple(state_of(model) for model in models)


def state_of(model: Any) -> tuple[Any, ...]:
    """Everything that a trace depends on: layers, their settings, functions and variables, by identity.

    Not the values of variables, which a trace reads anew in every run.
    """
    if not hasattr(model, "_flatten_layers") and not hasattr(model, "variables"):
        return (id(model),)
    return tuple(_states(model))


def _states(model: Any) -> Iterator[Any]:
    every = {id(layer): layer for layer in (model, *layers(model).values())}
    for key, layer in every.items():
        yield key
        policy = getattr(layer, "dtype_policy", None)
        yield getattr(policy, "name", None), getattr(layer, "quantization_mode", None)
        yield tuple(id(variable) for variable in getattr(layer, "variables", ()))
        for name, value in vars(layer).items():
            if name.startswith("_") or name in ("built", "training"):
                continue
            if isinstance(value, _VALUES):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield name, tuple(v if isinstance(v, _VALUES) else id(v) for v in value)
            else:
                yield name, id(value)


def refuse_python(program: Program, wanted: Sequence[int]) -> None:
    """Raises ValueError if what is wanted is computed by Python code, which has no gradient."""
    for node in program.reachable(wanted):
        if node.kind in ("PyFunc", "EagerPyFunc", "PyFuncStateless"):
            raise ValueError(
                checks.message(
                    "a model of TensorFlow operations",
                    f"tf.py_function or tf.numpy_function at {node.operation.name!r}",
                    "Python code in a graph has no gradient that can be trusted: write it with "
                    "keras.ops or tf operations.",
                )
            )
