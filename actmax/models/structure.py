"""What a Keras model is made of: its inputs, and its layers by path."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from actmax import checks
from actmax.objectives import CHANNELS_LAST
from actmax.types import IMAGES


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


def symbolic_inputs(model: Any) -> Any:
    """Structure of a built Keras model's symbolic inputs, or None if it has none."""
    inputs = symbolic(model, "inputs")
    if not inputs:
        return None
    # A Sequential that was built but never called has inputs and no input.
    structure = symbolic(model, "input")
    if structure is None:
        return inputs[0] if len(inputs) == 1 else list(inputs)
    return structure


def symbolic(model: Any, name: str) -> Any:
    """A model's `inputs`, `input` or `output`, or None where it has none yet.

    Keras raises AttributeError for one that was never called, its older versions ValueError.
    """
    try:
        return getattr(model, name, None)
    except ValueError:
        return None


def leaves(structure: Any) -> list[tuple[str, Any]]:
    """`(name, symbolic tensor)` of every input; a dict's keys are the names of its inputs."""
    if isinstance(structure, Mapping):
        pairs = []
        for key, value in structure.items():
            inner = leaves(value)
            named = isinstance(value, (Mapping, list, tuple))
            pairs += inner if named else [(str(key), inner[0][1])]
        return pairs
    if isinstance(structure, (list, tuple)):
        return [pair for value in structure for pair in leaves(value)]
    return [(structure.name, structure)]


def fill(structure: Any, inputs: dict[str, tf.Tensor], key: str | None = None) -> Any:
    """The structure with every symbolic input replaced by the tensor of its name."""
    if isinstance(structure, Mapping):
        return {key: fill(value, inputs, str(key)) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(fill(value, inputs) for value in structure)
    return inputs[key if key is not None else structure.name]


def input_specs(model: Any) -> tuple[InputSpec, ...] | None:
    """Inputs of a built Keras model; None where a model does not know them yet.

    The only input of a model is called `"images"` whatever its own name.
    """
    structure = symbolic_inputs(model) if is_keras(model) else None
    if structure is None:
        return None
    pairs = leaves(structure)
    specs = [
        InputSpec(name, tuple(tensor.shape[1:]), _dtype_name(tensor.dtype))
        for name, tensor in pairs
    ]
    return (dataclasses.replace(specs[0], name=IMAGES),) if len(specs) == 1 else tuple(specs)


def _dtype_name(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))


def children(layer: Any) -> list[Any]:
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


def _walk(
    model: Any, prefix: str = "", seen: frozenset[int] = frozenset()
) -> Iterator[tuple[str, Any]]:
    for child in children(model):
        if id(child) in seen:
            continue
        path = prefix + child.name
        yield path, child
        yield from _walk(child, path + "/", seen | {id(child)})


def every_layer(model: Any) -> list[Any]:
    """Every layer inside a Keras model, whatever its path; none of a plain callable."""
    return [layer for _, layer in _walk(model)] if is_keras(model) else []


def layers(model: Any) -> dict[str, Any]:
    """Every layer of a Keras model by its path, as `"backbone/block3_conv1"`, in order.

    A plain callable has none.

    Raises:
        ValueError: if two layers have the same path.
    """
    found: dict[str, Any] = {}
    for path, layer in _walk(model) if is_keras(model) else ():
        if found.setdefault(path, layer) is not layer:
            raise ValueError(
                checks.message(
                    "layers with names of their own",
                    f"two layers at {path!r}",
                    "Rename one of them.",
                )
            )
    return found


def layer_paths(model: Any) -> tuple[str, ...]:
    """Paths of every layer of a Keras model, in order.

    Raises:
        TypeError: if it is no Keras model.

    Example:
        >>> import keras
        >>> import actmax
        >>> inner = keras.Sequential([keras.layers.Dense(2, name="dense")], name="inner")
        >>> actmax.layer_paths(keras.Sequential([keras.Input((3,)), inner]))
        ('inner', 'inner/dense')
    """
    if not is_keras(model):
        raise TypeError(
            checks.message(
                "a Keras model",
                f"{model!r} ({type(model).__name__})",
                "Load a file with Keras first.",
            )
        )
    return tuple(layers(model))


def split(name: str) -> tuple[str, int | None]:
    """`"path:1"` -> `("path", 1)`; `"path"` -> `("path", None)`; what says the layout is left out."""
    name = name.removesuffix(CHANNELS_LAST)
    path, colon, call = name.rpartition(":")
    return (path, int(call)) if colon and path and call.isdigit() else (name, None)


def find_layer(model: Any, name: str, known: Mapping[str, Any] | None = None) -> Any:
    """The layer at a path.

    Raises:
        ValueError: if there is none, with the nearest paths.
    """
    known = layers(model) if known is None else known
    name = name.removesuffix(CHANNELS_LAST)
    path, _ = split(name)
    if path in known:
        return known[path]
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
