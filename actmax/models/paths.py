"""Paths of layers that are the same in every process.

If a layer has no name of its own, Keras numbers it with a counter of the process (`conv2d_4`). If this name
is stored with the model, it stays the same. If the code of a class makes the layer again, it does not. Such
a layer is named by its attribute and its position there: `tower/steps/2`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# Attributes in which Keras keeps layers that are also in other attributes.
_OF_KERAS = frozenset(
    {"_layers", "_operations", "_operations_by_depth", "_functional", "_inbound_nodes",
     "_outbound_nodes", "_metrics", "_tracker"}
)  # fmt: skip
# Most attributes of a layer have these types and hold no layer.
_LEAVES = frozenset({bool, int, float, str, bytes, type(None)})
# The prefixes that Bidirectional puts before the name of its layer.
_DERIVED = ("forward_", "backward_")


class Child(NamedTuple):
    """A layer directly inside another: its part of the path, and whether its name is stored."""

    part: str
    layer: Any
    stored: bool


def is_automatic(layer: Any) -> bool:
    """Whether Keras made a layer's name: the class in snake case and perhaps a number."""
    kind = _snake_case(type(layer).__name__)
    return re.fullmatch(rf"{re.escape(kind)}(_\d+)?", _plain(layer.name)) is not None


def children(layer: Any) -> list[Any]:
    """Layers directly inside a layer, in the order of their creation in it."""
    import keras

    kept = layer.layers if isinstance(layer, keras.Model) else getattr(layer, "_layers", ())
    found = list(kept) + ([] if isinstance(layer, keras.Model) else [x for _, x in _held(layer)])
    unique = {id(child): child for child in found if child is not layer}
    return [c for c in unique.values() if not isinstance(c, keras.layers.InputLayer)]


def named_children(layer: Any, stored: bool = True) -> list[Child]:
    """Each layer directly inside a layer, with its part of the path.

    Args:
        layer: of Keras.
        stored: whether `layer` itself is stored with its configuration, like a model loaded from a file.
            False if the code of a class makes it.
    """
    found = children(layer)
    kept = _keeps(layer, found) if stored else frozenset()
    places = _places(layer)
    parts = []
    for child in found:
        holds = id(child) in kept or not is_automatic(child) or _fixed_by_keras(layer, child)
        parts.append(child.name if holds else places[id(child)][0])
    for clash in {part for part in parts if parts.count(part) > 1}:
        for at in [at for at, part in enumerate(parts) if part == clash]:
            options = [option for option in places[id(found[at])] if option not in parts]
            parts[at] = options[0] if options else parts[at]
    return [Child(part, child, id(child) in kept) for part, child in zip(parts, found, strict=True)]


def walk(
    model: Any, prefix: str = "", stored: bool = True, seen: frozenset[int] = frozenset()
) -> Iterator[tuple[str, str, Any]]:
    """`(path, path by Keras' own names, layer)` of every layer, outer ones first."""
    yield from _walk(model, prefix, prefix, stored, seen)


def _walk(
    model: Any, prefix: str, old: str, stored: bool, seen: frozenset[int]
) -> Iterator[tuple[str, str, Any]]:
    for part, child, inner in named_children(model, stored):
        if id(child) in seen:
            continue
        path, former = prefix + part, old + child.name
        yield path, former, child
        yield from _walk(child, path + "/", former + "/", inner, seen | {id(child)})


def _keeps(layer: Any, found: list[Any]) -> frozenset[int]:
    """The inner layers whose names are stored with a stored layer."""
    import keras

    if isinstance(layer, keras.Model) and _is_graph(layer):
        return frozenset(map(id, found))
    if not any(map(is_automatic, found)) and not any(map(children, found)):
        return frozenset()  # Names given in code stay the same in every process.
    try:
        names = frozenset(_names(layer.get_config()))
    except Exception:  # If the configuration of a class raises an error, the class stores nothing.
        return frozenset()
    return frozenset(id(child) for child in found if {child.name, _plain(child.name)} & names)


def _is_graph(model: Any) -> bool:
    """Whether Keras stores a model as its layers: a Sequential, or a functional model."""
    import keras

    kind: Any = type(model)
    if isinstance(model, keras.Sequential):
        return kind.get_config is keras.Sequential.get_config
    # keras.Model(inputs, outputs) has this class, which Keras does not export.
    functional: Any = next((c for c in kind.__mro__ if c.__name__ == "Functional"), None)
    if functional is None or kind.get_config is not functional.get_config:
        return False
    own = inspect.getfullargspec(kind.__init__)
    # A subclass with its own constructor is stored as the constructor's arguments.
    return own.args == inspect.getfullargspec(functional.__init__).args or (
        own.varargs is not None and own.varkw is not None
    )


def _names(config: Any) -> Iterator[str]:
    """Names of the objects in a configuration."""
    if isinstance(config, Mapping):
        inner = config.get("config")
        if "class_name" in config and isinstance(inner, Mapping) and "name" in inner:
            yield str(inner["name"])
        for value in config.values():
            yield from _names(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _names(value)


def _fixed_by_keras(layer: Any, child: Any) -> bool:
    """Whether Keras names an inner layer after its class without a number, as for the cell of an LSTM."""
    import keras

    return isinstance(layer, keras.layers.RNN) and not child.name[-1].isdigit()


def _places(layer: Any) -> dict[int, list[str]]:
    """The positions of each inner layer, by its identity. The best position is first."""
    held = _held(layer)
    short = [place.lstrip("_") for place, _ in held]
    found: dict[int, list[str]] = {}
    for (place, child), stripped in zip(held, short, strict=True):
        own = found.setdefault(id(child), [])
        own += [stripped] if short.count(stripped) == 1 and stripped else []
        own.append(place)
    kept = list(getattr(layer, "layers", None) or getattr(layer, "_layers", None) or ())
    kinds = [_snake_case(type(child).__name__) for child in kept if is_automatic(child)]
    for number, child in enumerate(kept):
        own = found.setdefault(id(child), [])
        kind = _snake_case(type(child).__name__)
        # The only layer of its kind needs no number.
        own += [kind] if kinds.count(kind) == 1 else []
        own.append(f"layers/{number}")
    return found


def _held(layer: Any) -> list[tuple[str, Any]]:
    """`(attribute/place, layer)` of every layer in a layer's attributes, in their order."""
    import keras

    found: list[tuple[str, Any]] = []
    for name, value in vars(layer).items():
        if type(value) in _LEAVES or name in _OF_KERAS or name.startswith("_self_"):
            continue  # "_self_": lists of TensorFlow
        _collect(name, value, found, keras.Layer)
    return found


def _collect(place: str, value: Any, found: list[tuple[str, Any]], kind: type) -> None:
    if isinstance(value, kind):
        found.append((place, value))
        return
    pairs: Any = ()
    if isinstance(value, (list, tuple)):
        pairs = enumerate(value)
    elif isinstance(value, Mapping):
        pairs = value.items()
    for key, inner in pairs:
        if type(inner) not in _LEAVES:
            _collect(f"{place}/{key}", inner, found, kind)


def _plain(name: str) -> str:
    for prefix in _DERIVED:
        name = name.removeprefix(prefix)
    return name


def _snake_case(name: str) -> str:
    """Converts a name to snake case like Keras."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
