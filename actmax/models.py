"""Taps: activations of any layer of a Keras model, and its output before the softmax.

Nothing about the model is rebuilt or changed. While our own function is traced, the layers in question
hand over what they return; the softmax is found by walking the traced graph back from the output.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.objectives import LOGITS, OUTPUT
from actmax.types import IMAGES

Inputs: TypeAlias = Mapping[str, tf.Tensor]

# Operations between a softmax and the output that leave values alone; they are applied again to what
# stands before the softmax.
_TRANSPARENT = ("Identity", "Cast", "Reshape")
_HEADS = ("Softmax", "LogSoftmax", "Sigmoid")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")

# Tracing replaces a layer's `call` for a moment; two traces of one model must not interleave.
_TRACING = threading.RLock()


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """One input of a model: its name, shape without the batch dimension, and dtype name."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str


def is_keras(model: Any) -> bool:
    """Whether a model is a Keras 3 layer or model (anything else is a plain callable)."""
    import keras

    return isinstance(model, keras.Layer)


def _structure(model: Any) -> Any:
    """Structure of a built Keras model's symbolic inputs, or None if it has none."""
    try:
        inputs = model.inputs
        if not inputs:
            return None
        # A Sequential has no `input` before its first call, and never more than one input.
        return inputs[0] if len(inputs) == 1 and isinstance(inputs[0], _symbol()) else model.input
    except AttributeError:
        return None


def _symbol() -> type:
    import keras

    return keras.KerasTensor


def _leaves(structure: Any) -> list[tuple[str, Any]]:
    """`(name, symbolic tensor)` of every input; a dict's keys are the names of its inputs."""
    if isinstance(structure, Mapping):
        pairs = []
        for key, value in structure.items():
            inner = _leaves(value)
            named = isinstance(value, (Mapping, list, tuple))
            pairs += inner if named else [(str(key), inner[0][1])]
        return pairs
    if isinstance(structure, (list, tuple)):
        return [pair for value in structure for pair in _leaves(value)]
    return [(structure.name, structure)]


def _fill(structure: Any, inputs: dict[str, tf.Tensor], key: str | None = None) -> Any:
    """The structure with every symbolic input replaced by the tensor of its name."""
    if isinstance(structure, Mapping):
        return {key: _fill(value, inputs, str(key)) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(_fill(value, inputs) for value in structure)
    return inputs[key if key is not None else structure.name]


def input_specs(model: Any) -> tuple[InputSpec, ...] | None:
    """Inputs of a built Keras model; None where a model does not know them yet.

    The only input of a model is called `"images"` whatever its own name.
    """
    structure = _structure(model) if is_keras(model) else None
    if structure is None:
        return None
    pairs = _leaves(structure)
    specs = [
        InputSpec(name, tuple(tensor.shape[1:]), _dtype_name(tensor.dtype)) for name, tensor in pairs
    ]
    return (dataclasses.replace(specs[0], name=IMAGES),) if len(specs) == 1 else tuple(specs)


def _dtype_name(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))


def _children(layer: Any) -> list[Any]:
    """Layers directly inside a layer."""
    import keras

    if isinstance(layer, keras.Model):
        found = list(layer.layers)
    else:
        found = []
        for value in vars(layer).values():
            values = value.values() if isinstance(value, dict) else value
            many = isinstance(value, (list, tuple, dict))
            found += [v for v in (values if many else [value]) if isinstance(v, keras.Layer)]
    unique = {id(child): child for child in found if child is not layer}
    return [c for c in unique.values() if not isinstance(c, keras.layers.InputLayer)]


def _walk(model: Any, prefix: str = "", seen: frozenset[int] = frozenset()) -> Iterator[tuple[str, Any]]:
    for child in _children(model):
        if id(child) in seen:
            continue
        path = prefix + child.name
        yield path, child
        yield from _walk(child, path + "/", seen | {id(child)})


def layers(model: Any) -> dict[str, Any]:
    """Every layer of a Keras model by its path, as `"backbone/block3_conv1"`, in order.

    A plain callable has none.
    """
    return dict(_walk(model)) if is_keras(model) else {}


def layer_paths(model: Any) -> tuple[str, ...]:
    """Paths of every layer of a Keras model, in order.

    Example:
        >>> import keras
        >>> import actmax
        >>> inner = keras.Sequential([keras.layers.Dense(2, name="dense")], name="inner")
        >>> actmax.layer_paths(keras.Sequential([keras.Input((3,)), inner]))
        ('inner', 'inner/dense')
    """
    return tuple(layers(model))


def _split(name: str) -> tuple[str, int | None]:
    """`"path:1"` -> `("path", 1)`; `"path"` -> `("path", None)`."""
    path, colon, call = name.rpartition(":")
    return (path, int(call)) if colon and path and call.isdigit() else (name, None)


def find_layer(model: Any, name: str, known: Mapping[str, Any] | None = None) -> Any:
    """The layer at a path.

    Raises:
        ValueError: if there is none, with the nearest paths.
    """
    known = layers(model) if known is None else known
    path, _ = _split(name)
    if path in known:
        return known[path]
    import difflib

    near = [p for p in known if p.rsplit("/", 1)[-1] == path]
    near = near or difflib.get_close_matches(path, known, n=3, cutoff=0.4)
    hint = f"Did you mean {', '.join(map(repr, near))}? " if near else ""
    raise ValueError(
        checks.message(
            "the path of a layer of the model",
            repr(name),
            hint + "List the paths with actmax.layer_paths(model)."
            if known
            else "A plain callable has no layers: use a Keras model, or a function of the output.",
        )
    )


@contextlib.contextmanager
def _listening(found: Mapping[str, Any]) -> Iterator[dict[str, list[Any]]]:
    """While open, every layer given records what its calls return."""
    heard: dict[str, list[Any]] = {path: [] for path in found}

    def wrap(path: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def listening_call(*args: Any, **kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            heard[path].append(result)
            return result

        return listening_call

    with _TRACING, contextlib.ExitStack() as stack:
        for path, layer in found.items():
            # On the instance and past Keras' attribute tracking, so that nothing remains of it.
            object.__setattr__(layer, "call", wrap(path, layer.call))
            stack.callback(object.__delattr__, layer, "call")
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
        self._structure = _structure(model) if self.keras else None
        inner = [name for name in names if not name.startswith(":")]
        known = layers(model) if inner else {}
        self._layers = {_split(name)[0]: find_layer(model, name, known) for name in inner}
        self._graph = tf.function(self._collect, autograph=False, reduce_retracing=True)

    def __call__(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        """Activations of every name."""
        inputs = dict(inputs)
        return (self._graph if tf.executing_eagerly() else self._collect)(inputs)

    def _collect(self, inputs: Inputs) -> dict[str, tf.Tensor]:
        with _listening(self._layers) as heard:
            output = self._forward(dict(inputs))
        outputs = self._named(output)
        found = {name: self._pick(name, outputs, heard) for name in self.names}
        self.shapes = {name: tuple(value.shape) for name, value in found.items()}
        return found

    def _forward(self, inputs: dict[str, tf.Tensor]) -> Any:
        if self._structure is not None:
            pairs = _leaves(self._structure)
            if len(pairs) == 1:
                inputs = {pairs[0][0]: next(iter(inputs.values()))}
            return self.model(_fill(self._structure, inputs), training=False)
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
            named = {None: output}
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
        self, name: str, outputs: dict[str | None, tf.Tensor], heard: dict[str, list[Any]]
    ) -> tf.Tensor:
        if not name.startswith(":"):
            return _one_call(name, heard[_split(name)[0]])
        kind, _, key = name.partition("/")
        if (key or None) not in outputs:
            known = [output for output in outputs if output is not None]
            do = "Name one, as in actmax.Logit(output=...)." if not key else ""
            raise ValueError(checks.message(f"one of the outputs {known}", repr(key or None), do))
        output = outputs[key or None]
        if kind == OUTPUT:
            return output
        logits, head = before_head(output)
        self.heads[key] = head
        if head == "sigmoid" and logits.shape.rank == 2 and logits.shape[-1] == 1:
            # One sigmoid unit is two classes: target 1 is the logit, target 0 its negative.
            return tf.concat([-logits, logits], axis=-1)
        return logits


def _one_call(name: str, calls: list[Any]) -> tf.Tensor:
    path, index = _split(name)
    if not calls:
        raise ValueError(
            checks.message(
                f"layer {path!r} to be called by the model's forward pass", "no call of it",
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


def detect_range(model: Any) -> tuple[tuple[float, float], str] | None:
    """Input range of a model that begins with its own Rescaling or Normalization, and from where.

    A `Rescaling(scale, offset)` that maps 0..255 into [-1.05, 1.05] or wider than half of [0, 1]
    takes 0..255; one that so maps 0..1 takes 0..1. A `Normalization` whose means and deviations lie in
    (0, 1) takes 0..1, in (1, 255) takes 0..255.

    Returns:
        `((low, high), "name of the layer")`, or None if nothing of the kind was found.
    """
    import keras

    first: Any = model
    while is_keras(first) and isinstance(first, keras.Model):
        inner = _children(first) if not isinstance(first, keras.layers.Layer) or first.layers else []
        if not inner:
            return None
        first = inner[0]
    if isinstance(first, keras.layers.Rescaling):
        scale, offset = np.asarray(first.scale, float), np.asarray(first.offset, float)
        for high in (255.0, 1.0):
            ends = np.stack([offset + 0.0 * scale, offset + high * scale])
            if np.all(np.abs(ends) <= 1.05) and np.all(np.ptp(ends, axis=0) >= 0.5):
                return (0.0, high), first.name
    if isinstance(first, keras.layers.Normalization):
        mean = np.asarray(first.mean, float)
        std = np.sqrt(np.asarray(first.variance, float))
        if np.all((mean > 0) & (mean < 1) & (std > 0.01) & (std < 1)):
            return (0.0, 1.0), first.name
        if np.all((mean > 1) & (mean < 255) & (std > 1) & (std < 255)):
            return (0.0, 255.0), first.name
    return None


def applications_preprocess(model: Any) -> str | None:
    """Name of the `keras.applications` module whose preprocessing a model by its name expects."""
    modules = {
        "resnet50": "resnet", "resnet101": "resnet", "resnet152": "resnet", "vgg16": "vgg16",
        "vgg19": "vgg19", "densenet121": "densenet", "densenet169": "densenet",
        "densenet201": "densenet", "inception_v3": "inception_v3", "xception": "xception",
        "inception_resnet_v2": "inception_resnet_v2", "nasnet_mobile": "nasnet",
        "nasnet_large": "nasnet", "resnet50v2": "resnet_v2", "resnet101v2": "resnet_v2",
        "resnet152v2": "resnet_v2",
    }  # fmt: skip
    name = str(getattr(model, "name", "")).lower()
    return "mobilenet_v2" if name.startswith("mobilenetv2") else modules.get(name)


def look_like_probabilities(values: np.ndarray) -> bool:
    """Whether all rows of `[N, ..., C]`, C > 1, are non-negative and sum to 1 within 1e-3."""
    if values.ndim < 2 or values.shape[-1] < 2:
        return False
    return bool(np.all(values >= 0) and np.allclose(values.sum(-1), 1.0, atol=1e-3))


def bad_weight(model: Any) -> str | None:
    """Path of the first weight of a Keras model that is not finite, or None."""
    for weight in getattr(model, "weights", None) or ():
        if not np.all(np.isfinite(np.asarray(weight, np.float64))):
            return str(getattr(weight, "path", weight.name))
    return None
