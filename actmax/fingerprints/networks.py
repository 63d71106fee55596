"""Settings of a Keras object that hold in every process: without the names that Keras counts."""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Mapping
from typing import Any

from actmax.fingerprints import bytecode
from actmax.models.paths import children as _children

# Where a configuration has names of layers and tensors, and what changes nothing that is computed.
_NAMED = ("inbound_nodes", "input_layers", "keras_history", "name", "output_layers")
_NOTHING = ("build_config", "compile_config", "registered_name", "shared_object_id", "trainable")
_PREFIXES = ("forward_", "backward_")  # of Bidirectional


def is_keras(part: Any) -> bool:
    """Whether an object is one of Keras or tf_keras with a configuration, or of a class made from one."""
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
    """The configuration of a Keras object without its name; None where it has none that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = part.get_config()
    except Exception:  # A class of the user whose configuration cannot be made.
        public = {name: value for name, value in vars(part).items() if not name.startswith("_")}
        config = {n: v for n, v in public.items() if isinstance(v, (bool, int, float, str, tuple))}
    return lasting(config)


def functions(part: Any) -> dict[str, Any]:
    """Functions of the user that an object holds, as a layer its activation, by attribute."""
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
    """A configuration in which counted names are numbered by their place, and nothing has an address."""
    if not isinstance(config, Mapping):
        return config
    names: dict[str, str] = {}
    _collect(config, names)
    return _renamed({key: value for key, value in config.items() if key != "name"}, names, False)


def _renamed(config: Any, names: Mapping[str, str], named: bool) -> Any:
    if isinstance(config, Mapping):
        if config.get("class_name") == "__lambda__":
            return "a function"  # Its code is read from the layer, where it has no file name.
        return {
            str(key): _renamed(value, names, named or key in _NAMED)
            for key, value in config.items()
            if key not in _NOTHING
        }
    if isinstance(config, (list, tuple)):
        return [_renamed(value, names, named) for value in config]
    return names.get(config, config) if named and isinstance(config, str) else config


def _collect(config: Any, names: dict[str, str]) -> None:
    """Every counted name of an object in a configuration, with one that goes by its place."""
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
    """Whether a name is a class in snake case and perhaps a number, as Keras makes them."""
    plain = name.rsplit("_", 1)[0] if name.rsplit("_", 1)[-1].isdigit() else name
    for prefix in _PREFIXES:
        plain = plain.removeprefix(prefix)
    return plain.replace("_", "") == kind.lower().replace("_", "")
