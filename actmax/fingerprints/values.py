"""The fingerprint of one part: a number, array, function, object or network, as JSON."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import math
import os
import types
from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import tensorflow as tf

from actmax.fingerprints import bytecode, networks
from actmax.models import weights_digest
from actmax.optimizers import KerasOptimizer
from actmax.types import FixedArray, digest

# A fingerprint contains arrays of up to this many numbers in full, so that a difference can be read.
_SHORT = 16
_DEEP = 32


def of(part: Any) -> Any:
    """The fingerprint of a part, as JSON. Two are equal if the parts compute the same.

    Args:
        part: a number, text, array, function, partial, method, dataclass, Keras object or container. Any
            other object is described by its class and attributes.

    Example:
        >>> import functools
        >>> from actmax import fingerprints
        >>> one, two = (functools.partial(pow, base) for base in (2, 3))
        >>> fingerprints.of(one) == fingerprints.of(two)
        False
    """
    return _Reader().of(part)


def listeners(callbacks: Any) -> list[Any]:
    """Fingerprints of callbacks that can stop images, at their start. Other callbacks have no effect.

    Args:
        callbacks: the given callbacks: objects with `on_step`, or functions of a snapshot.
    """
    found = []
    for callback in callbacks:
        function = getattr(callback, "function", callback)
        watcher = getattr(type(function), "on_step", function)
        if bytecode.answers(watcher):
            found.append(_Reader(stateful=True).of(callback))
    return found


class _Reader:
    """Walks through one part. It reads every object once.

    Args:
        stateful: whether to leave out what functions and objects write themselves.
    """

    def __init__(self, *, stateful: bool = False) -> None:
        self._stateful = stateful
        self._above: list[int] = []
        self._known: dict[int, Any] = {}
        self._alive: list[Any] = []  # keeps objects alive, so that no identity is used twice

    def of(self, part: Any) -> Any:
        if part is None or isinstance(part, (bool, int, str)):
            return part
        if isinstance(part, float):
            return part if math.isfinite(part) else str(part)
        if isinstance(part, enum.Enum):
            return part.name
        if isinstance(part, bytes):
            return {"bytes": hashlib.sha256(part).hexdigest()}
        if isinstance(part, np.generic) and part.dtype.kind in "biufU":
            return self.of(part.item())
        if id(part) in self._known:
            return self._known[id(part)]
        if id(part) in self._above or len(self._above) > _DEEP:
            return {"again": type(part).__qualname__}
        self._above.append(id(part))
        try:
            found = self._read(part)
        finally:
            self._above.pop()
        self._alive.append(part)
        self._known[id(part)] = found
        return found

    def _read(self, part: Any) -> Any:
        if isinstance(part, FixedArray):
            return _array(part.values)
        if isinstance(part, (np.ndarray, np.generic, tf.Variable)) or tf.is_tensor(part):
            return _array(part)
        if networks.is_variable(part):
            return _array(part)
        if isinstance(part, os.PathLike):
            return os.fspath(part)
        if isinstance(part, Mapping):
            return {str(key): self.of(value) for key, value in part.items()}
        if isinstance(part, (list, tuple)):
            return [self.of(value) for value in part]
        if isinstance(part, Set):
            return sorted((self.of(value) for value in part), key=str)
        return self._code_of(part) if callable(part) else self._object(part)

    def _code_of(self, part: Any) -> Any:
        """Functions, classes and other callables."""
        if isinstance(part, functools.partial):
            named = {"function": part.func, "arguments": part.args, "keywords": part.keywords}
            return {"partial": {name: self.of(value) for name, value in named.items()}}
        if isinstance(part, types.MethodType):
            return {"method": self.of(part.__func__), "of": self.of(part.__self__)}
        if isinstance(part, types.FunctionType):
            return self._function(part)
        if isinstance(part, type):
            return self._class(part)
        if isinstance(part, (types.BuiltinFunctionType, np.ufunc)):
            owner = getattr(part, "__self__", None)
            of_object = owner is not None and not isinstance(owner, types.ModuleType)
            return {"name": part.__name__} | ({"of": self.of(owner)} if of_object else {})
        concrete = getattr(part, "concrete_functions", None)  # of a SavedModel
        if isinstance(concrete, list):
            return {"graphs": [_graph(function) for function in concrete]}
        inner = getattr(part, "python_function", None) or getattr(part, "__wrapped__", None)
        if inner is not None:  # of a tf.function, or of a cache
            return {"compiled": self.of(inner)}
        return self._object(part)

    def _object(self, part: Any) -> Any:
        if isinstance(part, types.ModuleType):
            return {"module": part.__name__}
        if isinstance(part, KerasOptimizer):
            settings = networks.lasting(part.config)
            rate = part.learning_rate if callable(part.learning_rate) else None
            return {**self._class(part.kind), "settings": self.of(settings), "rate": self.of(rate)}
        if networks.is_keras(part):
            return self._keras(part)
        if dataclasses.is_dataclass(part):
            fields = [field.name for field in dataclasses.fields(part) if self._is_kept(field)]
            values = {name: getattr(part, name, None) for name in fields}
        elif bytecode.is_versioned(type(part)) and " at 0x" not in (text := repr(part)):
            return {"class": type(part).__qualname__, "text": text}
        else:
            slots = [n for k in type(part).__mro__ for n in _listed(vars(k).get("__slots__", ()))]
            names = [*getattr(part, "__dict__", {}), *slots]
            values = {name: getattr(part, name, None) for name in names if _is_plain(name)}
        if self._stateful:
            values = _lasting(values, bytecode.written(type(part)))
        return {
            **self._class(type(part)),
            **{name: self.of(value) for name, value in values.items() if value is not None},
        }

    def _is_kept(self, field: Any) -> bool:
        return field.init or not self._stateful

    def _class(self, kind: type) -> dict[str, Any]:
        """Name of a class, and its methods and settings if a user wrote it."""
        found: dict[str, Any] = {"class": kind.__qualname__}
        written = {}
        for owner in reversed(kind.__mro__):
            if bytecode.is_versioned(owner):
                continue
            for name, value in vars(owner).items():
                inner = value.fget if isinstance(value, property) else value
                inner = getattr(inner, "__func__", getattr(inner, "func", inner))
                if isinstance(inner, types.FunctionType):
                    if not bytecode.is_generated(inner):
                        written[name] = self.of(inner)
                elif _is_plain(name) and isinstance(
                    value, (bool, int, float, str, tuple, np.ndarray)
                ):
                    written[name] = self.of(value)
        return found | ({"written": written} if written else {})

    def _function(self, function: types.FunctionType) -> dict[str, Any]:
        """A function: its code, defaults, closure, and the globals that it reads."""
        name = function.__qualname__
        found: dict[str, Any] = {}
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
        closure = {name: _cell(cell) for name, cell in cells if name != "__class__"}
        read: dict[str, Any] = {}
        if bytecode.is_versioned(function):
            found["function"] = f"{function.__module__}.{name}"
        else:
            found |= {"function": name, "code": bytecode.digest(function.__code__)}
            read = bytecode.globals_of(function)
        if self._stateful:
            closure, read = (
                _lasting(values, bytecode.written_by(function.__code__))
                for values in (closure, read)
            )
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        had = {"defaults": defaults, "closure": closure, "globals": read}
        return found | {each: self.of(value) for each, value in had.items() if value}

    def _keras(self, part: Any) -> dict[str, Any]:
        """A Keras object: class, settings without counted names, functions, layers, weights by position."""
        found = self._class(type(part))
        settings = {
            "config": self.of(networks.settings(part)),
            "functions": self.of(networks.functions(part)),
            "layers": [self.of(layer) for layer in networks.children(part)],
        }
        if not networks.has_weights(part):
            return found | {name: value for name, value in settings.items() if value}
        # A hash, because a network may have hundreds of layers.
        return found | {"settings": _digest(settings), "weights": weights_digest(part)}


def _lasting(values: dict[str, Any], written: bytecode.Written) -> dict[str, Any]:
    """The settings of a callback, without attributes that it assigns and containers that it fills."""
    return {
        name: value
        for name, value in values.items()
        if name not in written.names
        and not (written.fills and isinstance(value, (list, dict, set, bytearray)))
    }


def _listed(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_plain(name: str) -> bool:
    return not name.startswith("__") and name not in ("_abc_impl", "_self_name_based_restores")


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # Not filled yet.
        return None


def _graph(function: Any) -> str:
    """SHA-256 of a stored graph: its operations in order, constants, and the variables it reads."""
    known: list[Any] = []
    for operation in function.graph.get_operations():
        value = operation.get_attr("value") if operation.type == "Const" else None
        known.append([operation.type, None if value is None else value.SerializeToString().hex()])
    known += [digest(np.asarray(variable)) for variable in function.variables]
    return _digest(known)


def _array(part: Any) -> Any:
    if not hasattr(part, "numpy") and tf.is_tensor(part):
        return {"symbol": str(part.dtype)}  # inside a graph
    values = np.asarray(part)
    if values.size <= _SHORT and values.dtype.kind in "biuf" and np.all(np.isfinite(values)):
        return {"array": values.tolist(), "dtype": values.dtype.name}
    if values.dtype.kind in "OV":
        return {"array": list(values.shape), "text": repr(values.tolist())}
    return digest(values)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
