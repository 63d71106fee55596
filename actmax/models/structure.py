"""The inputs of a Keras model, and its layers by path."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import warnings
from collections.abc import Container, Mapping, Sequence
from typing import Any

import tensorflow as tf

from actmax import checks
from actmax.models import paths
from actmax.objectives import CHANNELS_LAST
from actmax.types import IMAGES

# Arguments of a layer's call that are not inputs.
_SETTINGS = ("self", "training", "mask")


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
    # A Sequential that was built but never called has `inputs` but no `input`.
    structure = symbolic(model, "input")
    if structure is None:
        return inputs[0] if len(inputs) == 1 else list(inputs)
    return structure


def symbolic(model: Any, name: str) -> Any:
    """A model's `inputs`, `input` or `output`, or None if it does not exist yet.

    For a model that was never called, Keras raises AttributeError, and older versions ValueError.
    """
    try:
        return getattr(model, name, None)
    except ValueError:
        return None


def leaves(structure: Any) -> list[tuple[str, Any]]:
    """`(name, symbolic tensor)` of every input. In a dict, the keys are the names."""
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
    """The structure with every symbolic input replaced by the tensor with the same name."""
    if isinstance(structure, Mapping):
        return {key: fill(value, inputs, str(key)) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(fill(value, inputs) for value in structure)
    return inputs[key if key is not None else structure.name]


def arguments(model: Any, inputs: Mapping[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
    """Inputs by name as positional and keyword arguments of a model without symbolic inputs.

    The only input is the first argument. Several inputs have the names of the arguments or the
    positions "0", "1", .... Positions are passed as arguments, or as a list if the call has one
    argument. All other names are passed as a dict.
    """
    names = list(inputs)
    if names == [IMAGES]:
        return [inputs[IMAGES]], {}
    free = _free_arguments(model)
    own = [parameter.name for parameter in free]
    if len(names) > 1 and set(names) <= set(own):
        if set(own[: len(names)]) == set(names):
            return [inputs[name] for name in own[: len(names)]], {}
        return [], dict(inputs)
    places = [str(place) for place in range(len(names))]
    if sorted(names) == sorted(places):
        values = [inputs[place] for place in places]
        several = sum(parameter.default is parameter.empty for parameter in free) >= len(names) > 1
        return (values if several else [values]), {}
    return [dict(inputs)], {}


def input_specs(model: Any) -> tuple[InputSpec, ...] | None:
    """Inputs of a built Keras model. None if the model does not know them yet.

    The only input of a model is always called `"images"`.
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


def built_specs(model: Any) -> tuple[InputSpec, ...] | None:
    """Inputs of a Keras model without symbolic inputs, from the shapes with which Keras built it.

    Keras keeps the shapes of the first call. None if there was no call, or if the call has several required
    arguments, of which Keras keeps one.
    """
    if not is_keras(model) or not getattr(model, "built", False):
        return None
    shapes = (model.get_build_config() or {}).get("input_shape")
    if sum(each.default is each.empty for each in _free_arguments(model)) > 1:
        return None
    if isinstance(shapes, (list, tuple)) and shapes and isinstance(shapes[0], (list, tuple)):
        shapes = {str(place): shape for place, shape in enumerate(shapes)}
    named: Mapping[Any, Any] = shapes if isinstance(shapes, Mapping) else {IMAGES: shapes}
    if not all(isinstance(shape, (list, tuple)) and len(shape) > 1 for shape in named.values()):
        return None
    return tuple(InputSpec(str(n), tuple(shape[1:]), dtype_of(model)) for n, shape in named.items())


def dtype_of(model: Any) -> str:
    """Type of the inputs of a model that does not say it."""
    return "float64" if getattr(model, "dtype", None) == "float64" else "float32"


def _free_arguments(model: Any) -> list[inspect.Parameter]:
    """Arguments by position of a model's call that are inputs."""
    parameters: list[inspect.Parameter] = []
    # Functions that are not written in Python have no signature.
    with contextlib.suppress(TypeError, ValueError):
        function = model.call if is_keras(model) else model
        parameters = list(inspect.signature(function).parameters.values())
    return [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name not in _SETTINGS
    ]


def _dtype_name(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))


def every_layer(model: Any) -> list[Any]:
    """Every layer inside a Keras model. Empty for a plain callable."""
    return [layer for _, _, layer in paths.walk(model)] if is_keras(model) else []


def layers(model: Any) -> dict[str, Any]:
    """Every layer of a Keras model by its path, such as `"backbone/block3_conv1"`, in order.

    A part of a path is the layer's name, if the name was given or is stored with the model. Otherwise it
    is the attribute and the position, as in `"tower/steps/2"`. So a path means the same layer in every
    process. A plain callable has no layers.

    Raises:
        ValueError: if two layers have the same path.
    """
    found: dict[str, Any] = {}
    for path, _, layer in paths.walk(model) if is_keras(model) else ():
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
    """Paths of all layers of a Keras model, in order. They are the same in every process.

    A layer is named by the name that Keras stores. If the code of a class makes a layer without a name,
    it is named by its attribute and position, such as `"tower/steps/2"`. A shared layer has a path in
    every layer that contains it.

    Raises:
        TypeError: if it is not a Keras model.

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
                "Of a model of tf_keras: [layer.name for layer in model.layers]."
                if type(model).__module__.startswith("tf_keras")
                else "Load a file with Keras first.",
            )
        )
    return tuple(layers(model))


def split(name: str, known: Container[str] = ()) -> tuple[str, int | None]:
    """`"path:1"` -> `("path", 1)`; `"path"` -> `("path", None)`. A suffix for the layout is removed.

    A known path stays whole, because names of layers may end like this.
    """
    name = name.removesuffix(CHANNELS_LAST)
    path, colon, call = name.rpartition(":")
    numbered = colon and path and call.isdigit() and name not in known
    return (path, int(call)) if numbered else (name, None)


def split_result(name: str, known: Container[str] = ()) -> tuple[str, int | None]:
    """`"path[1]"` -> `("path", 1)`; `"path"` -> `("path", None)`. A suffix for the layout is removed."""
    name = name.removesuffix(CHANNELS_LAST)
    whole, bracket, place = name.removesuffix("]").rpartition("[")
    numbered = name.endswith("]") and bracket and place.isdigit() and name not in known
    return (whole, int(place)) if numbered else (name, None)


def find_layer(model: Any, name: str, known: Mapping[str, Any] | None = None) -> Any:
    """The layer at a path.

    Raises:
        ValueError: if there is none, with the nearest paths.
    """
    known = layers(model) if known is None else known
    return known[split(lasting(model, name, known), known)[0]]


def lasting(model: Any, name: str, known: Mapping[str, Any] | None = None) -> str:
    """The path of a layer that is the same in every process, also for a path with names counted by Keras.

    Warns if such a name has a number. Without a number, it is the first of its kind or a given name.

    Raises:
        ValueError: if no layer has that path, or several have.
    """
    known = layers(model) if known is None else known
    path, call = split(name, known)
    if path in known:
        return name
    former = [new for new, old, _ in paths.walk(model) if old == path] if known else []
    if len({id(known[new]) for new in former}) == 1:
        given = former[0].split("/")
        if any(part[-1:].isdigit() and part not in given for part in path.split("/")):
            warnings.warn(
                checks.message(
                    f"a path that holds in every process, as {former[0]!r}",
                    f"{path!r}, which has a number that Keras counts in each process anew",
                    f"Write {former[0]!r}.",
                ),
                FutureWarning,
                stacklevel=checks.users_line(),
            )
        layout = CHANNELS_LAST if name.endswith(CHANNELS_LAST) else ""
        return former[0] + ("" if call is None else f":{call}") + layout
    near = former or [p for p in known if p.rsplit("/", 1)[-1] == path]
    near = near or difflib.get_close_matches(path, known, n=3, cutoff=0.4)
    hint = f"Did you mean {', '.join(map(repr, near))}? " if near else ""
    raise ValueError(
        checks.message(
            "the path of a layer of the model",
            repr(name.removesuffix(CHANNELS_LAST)),
            hint + "List the paths with actmax.layer_paths(model)."
            if known
            else "A plain callable has no layers: use a Keras model, or a function of the output.",
        )
    )
