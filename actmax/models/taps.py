"""Activations of any layer, and the output before its softmax, of a model that stays as it is."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from actmax import checks
from actmax.models.layout import to_channels_last
from actmax.models.structure import (
    fill,
    find_layer,
    is_keras,
    layers,
    leaves,
    split,
    symbolic_inputs,
)
from actmax.objectives import BATCH_NORM, CHANNELS_LAST, OUTPUT, ROWS, Normalized
from actmax.types import IMAGES

Inputs: TypeAlias = Mapping[str, tf.Tensor]

# Operations between a softmax and the output that leave values alone; they are applied again to what
# stands before the softmax.
_TRANSPARENT = ("Identity", "Cast", "Reshape")
_HEADS = ("Softmax", "LogSoftmax", "Sigmoid")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")

# Tracing replaces a layer's `call` for a moment; two traces of one model must not interleave.
TRACING = threading.RLock()


class _Call(NamedTuple):
    """One call of a layer: its first argument, and what it returned."""

    given: Any
    result: Any


@contextlib.contextmanager
def _listening(found: Mapping[str, Any]) -> Iterator[dict[str, list[_Call]]]:
    """While open, every layer given records its calls, under each of its paths."""
    heard: dict[str, list[_Call]] = {path: [] for path in found}
    paths: dict[int, list[str]] = {}
    for path, layer in found.items():
        paths.setdefault(id(layer), []).append(path)

    def wrap(layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def listening_call(*args: Any, **kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            given = args[0] if args else next(iter(kwargs.values()), None)
            for path in paths[id(layer)]:
                heard[path].append(_Call(given, result))
            return result

        return listening_call

    with TRACING, contextlib.ExitStack() as stack:
        for layer in {id(layer): layer for layer in found.values()}.values():
            own = vars(layer).get("call")
            # On the instance and past Keras' attribute tracking, so that nothing remains of it.
            object.__setattr__(layer, "call", wrap(layer, layer.call))
            if own is None:
                stack.callback(object.__delattr__, layer, "call")
            else:
                stack.callback(object.__setattr__, layer, "call", own)
        yield heard


def before_head(output: tf.Tensor) -> tuple[tf.Tensor, str]:
    """What stands before the softmax or sigmoid of a traced output, and which it was.

    Returns:
        `(tensor, head)`, head one of "softmax", "logsoftmax", "sigmoid", "linear" (no such head; the
        tensor is the output), "unknown" (the output comes out of a function that cannot be looked
        into; the tensor is the output).
    """
    chain: list[tf.Operation] = []
    operation = output.op
    while operation.type in _TRANSPARENT:
        chain.append(operation)
        operation = operation.inputs[0].op
    if operation.type not in _HEADS:
        return output, "unknown" if operation.type in _CALLS else "linear"
    logits = operation.inputs[0]
    for passed in reversed(chain):
        if passed.type == "Cast":
            logits = tf.cast(logits, passed.outputs[0].dtype)
        elif passed.type == "Reshape":
            logits = tf.reshape(logits, passed.inputs[1])
            logits.set_shape(passed.outputs[0].shape)
    return logits, operation.type.lower()


class Taps:
    """Activations of a model by name: `inputs -> {name: [N, ...]}`, in a graph or eagerly.

    The softmax can only be found in a graph, so an eager call runs a graph of its own.

    Attributes:
        heads: by output name, what stood at the end of the model ("softmax", ..., see
            `before_head`); known after the first call.
        shapes: by name, static shape of every activation, with the batch dimension.
    """

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        self.model = model
        self.names = tuple(names)
        self.keras = is_keras(model)
        self.heads: dict[str, str] = {}
        self.shapes: dict[str, tuple[int | None, ...]] = {}
        self._structure = symbolic_inputs(model) if self.keras else None
        inner = [name for name in names if not name.startswith(":")]
        known = layers(model) if inner else {}
        self._layers = {split(name)[0]: find_layer(model, name, known) for name in inner}
        self._normalizers = _normalizers(model) if BATCH_NORM in self.names else {}
        # A partial, because TensorFlow warns of retracing by a method's code, not by its instance.
        own = functools.partial(self.collect, forward=None)
        self._graph = tf.function(own, autograph=False, reduce_retracing=True)

    def __call__(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """Activations of every name."""
        inputs = dict(inputs)
        return (self._graph if tf.executing_eagerly() else self.collect)(inputs)

    def trace(self, like: Mapping[str, tf.TensorSpec]) -> None:
        """Traces a pass over inputs like these, and runs nothing.

        Raises:
            ValueError: if the pass does not call what is asked for.
        """
        self._graph.get_concrete_function(dict(like))

    def tapped(self) -> tuple[Any, ...]:
        """The layers whose activations are asked for."""
        return tuple((self._layers | self._normalizers).values())

    def collect(
        self, inputs: Inputs, forward: Callable[[dict[str, tf.Tensor]], Any] | None = None
    ) -> dict[str, tf.Tensor]:
        """Activations of every name, traced into the graph that is open.

        Args:
            inputs: by name.
            forward: runs the model, of inputs by name; None for the model itself.
        """
        with _listening(self._layers | self._normalizers) as heard:
            output = (forward or self.forward)(dict(inputs))
        outputs = self._named(output)
        found = {name: self._pick(name, outputs, heard) for name in self.names if name != ROWS}
        if ROWS in self.names:
            found[ROWS] = tf.range(tf.shape(next(iter(inputs.values())))[0])
        self.shapes = {
            name: tuple(value.shape) for name, value in found.items() if tf.is_tensor(value)
        }
        return found

    def forward(self, inputs: dict[str, tf.Tensor]) -> Any:
        """What the model returns, of inputs by name."""
        if self._structure is not None:
            pairs = leaves(self._structure)
            if len(pairs) == 1:
                inputs = {pairs[0][0]: next(iter(inputs.values()))}
            return self.model(fill(self._structure, inputs), training=False)
        argument = next(iter(inputs.values())) if list(inputs) == [IMAGES] else inputs
        return self.model(argument, training=False) if self.keras else self.model(argument)

    def _named(self, output: Any) -> dict[str | None, tf.Tensor]:
        """Outputs by name; a single output has the name None as well."""
        if isinstance(output, Mapping):
            named: dict[str | None, Any] = {str(key): value for key, value in output.items()}
        elif isinstance(output, (list, tuple)):
            names = getattr(self.model, "output_names", None) or range(len(output))
            named = {str(name): value for name, value in zip(names, output, strict=True)}
        else:
            named = {str(name): output for name in getattr(self.model, "output_names", None) or ()}
            named[None] = output
        if len(named) == 1:
            named[None] = next(iter(named.values()))
        for name, value in named.items():
            if not tf.is_tensor(value):
                raise TypeError(
                    checks.message(
                        "a model that returns tensors",
                        f"{type(value).__name__} as output {name or ''}".strip(),
                        "A model that calls predict or NumPy has no gradient: call it on tensors.",
                    )
                )
        return named

    def _pick(
        self, name: str, outputs: dict[str | None, tf.Tensor], heard: dict[str, list[_Call]]
    ) -> Any:
        if not name.startswith(":"):
            path, _ = split(name)
            value = _one_call(
                name.removesuffix(CHANNELS_LAST), [call.result for call in heard[path]]
            )
            last = name.endswith(CHANNELS_LAST)
            return to_channels_last(value, self._layers[path]) if last else value
        if name == BATCH_NORM:
            return _normalized(self._normalizers, heard)
        kind, _, key = name.partition("/")
        if name == OUTPUT and None not in outputs:
            # A function of the output of a model with several gets them all, by name.
            return {str(output): value for output, value in outputs.items()}
        if (key or None) not in outputs:
            known = [output for output in outputs if output is not None]
            do = "Name one, as in actmax.Logit(output=...)." if not key else ""
            raise ValueError(checks.message(f"one of the outputs {known}", repr(key or None), do))
        output = outputs[key or None]
        if kind == OUTPUT:
            return output
        logits, head = before_head(output)
        logits = to_channels_last(logits)
        self.heads[key] = head
        if head == "sigmoid" and logits.shape[-1] == 1:
            # One sigmoid unit is two classes: target 1 is the logit, target 0 its negative.
            return tf.concat([-logits, logits], axis=-1)
        return logits


def _normalizers(model: Any) -> dict[str, Any]:
    """Every batch-norm layer of a model by one of its paths, in order of the model's layers."""
    import keras

    found = layers(model)
    kinds = {path: f for path, f in found.items() if isinstance(f, keras.layers.BatchNormalization)}
    unique = {id(layer): path for path, layer in reversed(kinds.items())}
    if not kinds:
        raise ValueError(
            checks.message(
                "a model with BatchNormalization layers, for BatchNormPrior",
                f"{getattr(model, 'name', type(model).__name__)}, which has none",
                "Take the prior from another network that has some: BatchNormPenalty(model=...).",
            )
        )
    return {path: layer for path, layer in kinds.items() if unique[id(layer)] == path}


def _normalized(
    normalizers: Mapping[str, Any], heard: dict[str, list[_Call]]
) -> tuple[Normalized, ...]:
    """What enters every call of a batch-norm layer, with the statistics that it expects.

    The moving statistics are read when the graph runs, never when it is traced, and never written.
    """
    found = []
    for path, layer in normalizers.items():
        for call in heard[path]:
            given = tf.convert_to_tensor(call.given)
            axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
            if axis % given.shape.rank != given.shape.rank - 1:
                order = [a for a in range(given.shape.rank) if a != axis % given.shape.rank]
                given = tf.transpose(given, [*order, axis % given.shape.rank])
            rows = [tf.shape(given)[0], 1]
            statistics = [
                tf.tile(tf.cast(tf.convert_to_tensor(value), given.dtype)[None], rows)
                for value in (layer.moving_mean, layer.moving_variance)
            ]
            found.append(Normalized(given, *statistics))
    if not found:
        raise ValueError(
            checks.message(
                "a forward pass that calls a BatchNormalization layer",
                f"no call of {list(normalizers)}",
                "Take the prior from another network: BatchNormPenalty(model=...).",
            )
        )
    return tuple(found)


def _one_call(name: str, calls: list[Any]) -> tf.Tensor:
    path, index = split(name)
    if not calls:
        raise ValueError(
            checks.message(
                f"layer {path!r} to be called by the model's forward pass",
                "no call of it",
                "Choose a layer that the inference pass uses.",
            )
        )
    if index is None and len(calls) > 1:
        names = ", ".join(repr(f"{path}:{i}") for i in range(len(calls)))
        raise ValueError(
            checks.message(f"one of the calls {names}, because the layer is shared", repr(name))
        )
    if index is not None and index >= len(calls):
        raise ValueError(checks.message(f"a call of {path!r} in 0..{len(calls) - 1}", repr(name)))
    value = calls[index or 0]
    if not tf.is_tensor(value):
        raise ValueError(
            checks.message(
                f"layer {path!r} to return one tensor",
                type(value).__name__,
                "Choose a layer inside or behind it, or write an objective of the model's output.",
            )
        )
    return value
