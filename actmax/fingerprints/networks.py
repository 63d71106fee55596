"""Settings of a Keras object that are the same in every process: without names counted by Keras."""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Mapping
from typing import Any

from actmax.fingerprints import bytecode
from actmax.models.paths import children as _children

# Keys of a configuration with names of layers and tensors, and keys that do not affect results.
_NAMED = ("inbound_nodes", "input_layers", "keras_history", "name", "output_layers")
_NOTHING = ("build_config", "compile_config", "registered_name", "shared_object_id", "trainable")
_PREFIXES = ("forward_", "backward_")  # of Bidirectional


def is_keras(part: Any) -> bool:
    """Whether an object belongs to Keras or tf_keras, or to a subclass, and has a configuration."""
    origins = {kind.__module__.split(".")[0] for kind in type(part).__mro__}
    return bool(origins & {"keras", "tf_keras"}) and callable(getattr(part, "get_config", None))


def is_variable(part: Any) -> bool:
    """Whether an object is a variable of Keras."""
    kinds = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(part).__mro__}
    return bool(kinds & {"keras.KerasVariable", "keras.Variable"}) and hasattr(part, "numpy")


def has_weights(part: Any) -> bool:
    """Whether an object is a layer or a model, or has weights like one."""
    return isinstance(getattr(part, "weights", None), list)


def settings(part: Any) -> Any:
    """The configuration of a Keras object without its name. None if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = part.get_config()
    except Exception:  # The configuration of a user's class may raise an error.
        public = {name: value for name, value in vars(part).items() if not name.startswith("_")}
        config = {n: v for n, v in public.items() if isinstance(v, (bool, int, float, str, tuple))}
    return lasting(config)


def functions(part: Any) -> dict[str, Any]:
    """Functions of the user in an object, such as a layer's activation, by attribute."""
    kinds = (types.FunctionType, types.MethodType, functools.partial)
    return {
        name: value
        for name, value in vars(part).items()
        if isinstance(value, kinds)
        and not hasattr(type(part), name)
        and (isinstance(value, functools.partial) or not bytecode.is_versioned(value))
        and getattr(value, "__self__", None) is not part
    }


def children(part: Any) -> list[Any]:
    """Layers directly inside a layer or a model."""
    try:
        return _children(part) if hasattr(part, "_layers") else list(getattr(part, "layers", ()))
    except (AttributeError, TypeError, ValueError):
        return []


def lasting(config: Any) -> Any:
    """A configuration with counted names numbered by position, and without memory addresses."""
    if not isinstance(config, Mapping):
        return config
    names: dict[str, str] = {}
    _collect(config, names)
    return _renamed({key: value for key, value in config.items() if key != "name"}, names, False)


def _renamed(config: Any, names: Mapping[str, str], named: bool) -> Any:
    if isinstance(config, Mapping):
        if config.get("class_name") == "__lambda__":
            return "a function"  # The code is read from the layer. There it has no file name.
        return {
            str(key): _renamed(value, names, named or key in _NAMED)
            for key, value in config.items()
            if key not in _NOTHING
        }
    if isinstance(config, (list, tuple)):
        return [_renamed(value, names, named) for value in config]
    return names.get(config, config) if named and isinstance(config, str) else config


def _collect(config: Any, names: dict[str, str]) -> None:
    """Maps every counted name in a configuration to a name that depends on its position."""
    if isinstance(config, Mapping):
        inner = config.get("config")
        if "class_name" in config and isinstance(inner, Mapping):
            name = inner.get("name", config.get("name"))
            if isinstance(name, str) and _is_counted(name, str(config["class_name"])):
                names.setdefault(name, f"#{len(names)}")
        for value in config.values():
            _collect(value, names)
    elif isinstance(config, (list, tuple)):
        for value in config:
            _collect(value, names)


def _is_counted(name: str, kind: str) -> bool:
    """Whether a name is a class in snake case with or without a number, as made by Keras."""
    plain = name.rsplit("_", 1)[0] if name.rsplit("_", 1)[-1].isdigit() else name
    for prefix in _PREFIXES:
        plain = plain.removeprefix(prefix)
    return plain.replace("_", "") == kind.lower().replace("_", "")
