"""The state of a model: everything that a trace of it depends on, except the values of variables.

A trace has Python's numbers, lists, dicts and functions built in. If one of them changes in place, the
model is traced again.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from actmax.models.structure import layers

# Types whose values are compared. Other objects are compared by identity.
_VALUES = (bool, int, float, complex, str, bytes, type(None))
# Arrays up to this number of values are compared by value.
_ARRAY = 4096
# Longer lists and dicts are data, compared by identity and length.
_ITEMS = 1000
# Levels of lists, dicts and functions inside each other.
_DEPTH = 4


def states(models: Iterable[Any]) -> tuple[Any, ...]:
    """`state_of` for each of several models."""
    return tuple(state_of(model) for model in models)


def state_of(model: Any) -> tuple[Any, ...]:
    """Layers, their settings, functions and variables, by identity; lists, dicts and closures by contents.

    The values of variables are not included, because a trace reads them in every run.
    """
    return (id(model), _inside(model, _DEPTH, set()))


def _of_layers(model: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    every = {id(layer): layer for layer in (model, *layers(model).values())}
    seen |= set(every)
    for key, layer in every.items():
        yield key
        policy = getattr(layer, "dtype_policy", None)
        yield getattr(policy, "name", None), getattr(layer, "quantization_mode", None)
        yield tuple(id(variable) for variable in getattr(layer, "variables", ()))
        for name, value in vars(layer).items():
            if not name.startswith("_") and name not in ("built", "training"):
                yield name, _inside(value, depth - 1, seen)


def _inside(value: Any, depth: int, seen: set[int]) -> Any:
    """What of a value a trace may depend on, down to some depth."""
    if isinstance(value, _VALUES):
        return value
    kind: Any = type(value)
    if depth == 0 or id(value) in seen or _opaque(kind):
        return id(value)
    if isinstance(value, (dict, list, tuple)) and len(value) > _ITEMS:
        return id(value), len(value)
    if isinstance(value, dict):
        pairs = value.items()
        return tuple((_inside(k, 0, seen), _inside(v, depth - 1, seen)) for k, v in pairs)
    if isinstance(value, (list, tuple)):
        return tuple(_inside(each, depth - 1, seen) for each in value)
    if isinstance(value, np.ndarray):
        return id(
            value
        ), value.tobytes() if value.size <= _ARRAY and value.dtype != object else None
    if hasattr(value, "_flatten_layers"):
        return tuple(_of_layers(value, depth, seen))
    seen = seen | {id(value)}
    if isinstance(value, types.FunctionType) and not _of_keras(value):
        return id(value), tuple(_inside(each, depth - 1, seen) for each in _read(value))
    if isinstance(value, types.MethodType):
        return id(value.__func__), _inside(value.__self__, depth, seen)
    if isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
        return tuple(_inside(each, depth - 1, seen) for each in parts)
    if depth == _DEPTH and callable(value) and hasattr(value, "__dict__"):
        own = [each for name, each in vars(value).items() if not name.startswith("_self_")]
        return id(value), tuple(_inside(each, depth - 1, seen) for each in own)
    return id(value)


def _of_keras(function: types.FunctionType) -> bool:
    return str(function.__module__).startswith("keras.")


@functools.cache
def _opaque(kind: Any) -> bool:
    """Whether objects of a type are compared by identity: those of Keras and TensorFlow, except layers.

    Functions of TensorFlow change at every call, and keep a trace of their own.
    """
    if kind.__module__.partition(".")[0] not in ("keras", "tensorflow"):
        return hasattr(kind, "get_concrete_function")
    return not (hasattr(kind, "_flatten_layers") or issubclass(kind, (dict, list, tuple)))


def _read(function: types.FunctionType) -> Iterator[Any]:
    """What a function reads besides its arguments: defaults, its closure, and data of its module."""
    yield function.__defaults__
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            yield None
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if not isinstance(value, (types.ModuleType, type)):
            yield value
