"""The Python call that repeats a run, written from the arguments of the run."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import operator
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from actmax.objectives import FunctionObjective
from actmax.reporting.older import from_record
from actmax.types import FixedArray, digest
from regularizers.base import Penalty

# Arrays with more numbers, and lists with more names, become variables and are not written out.
_LONGEST = 64
# Arguments of a call that change no byte of its result.
_SILENT = ("checkpoint", "on_failure", "verbose")


def python_call(
    config: Mapping[str, Any], targets: np.ndarray | None, labels: Sequence[str] | None
) -> str:
    """The call that repeats a run, `-> str`. It comes from the record, or is made from an older record.

    Args:
        config: `Result.config`.
        targets: `Result.targets`.
        labels: `Result.labels`, for a comment.
    """
    written = config.get("python")
    return written if isinstance(written, str) else from_record(config, targets, labels)


@dataclasses.dataclass
class Writing:
    """Python source of given values, with its imports and variables.

    Attributes:
        imports: modules that the source names.
        own: arrays, functions, classes and models that only the user has, by variable.
    """

    imports: set[str] = dataclasses.field(default_factory=set)
    own: dict[str, str] = dataclasses.field(default_factory=dict)
    _known: dict[str, Any] = dataclasses.field(default_factory=dict)

    def arguments(self, given: Mapping[str, Any]) -> list[str]:
        """`name=source` of every argument."""
        return [f"{name}={self.source(value, name)}" for name, value in given.items()]

    def source(self, value: Any, name: str) -> str:
        """Source of a value. `name` is the name of a variable for it."""
        if value is None or isinstance(value, (bool, int, str, bytes, range, float, np.generic)):
            return _plain(value)
        if isinstance(value, FixedArray):
            return self._array(value.values, name)
        if isinstance(value, np.ndarray) or (hasattr(value, "numpy") and hasattr(value, "shape")):
            return self._array(np.asarray(value), name)
        if isinstance(value, Mapping):
            return self._mapping(value, name)
        if isinstance(value, (list, tuple)):
            return self._list(value, name)
        if isinstance(value, functools.partial):
            parts = [self.source(value.func, name), *(self.source(a, name) for a in value.args)]
            self.imports.add("functools")
            return f"functools.partial({', '.join([*parts, *self.arguments(value.keywords)])})"
        if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
            return self._reference(value, name)
        made = self._made_of_function(value, name)
        if made is not None:
            return made
        if dataclasses.is_dataclass(value):
            return self._dataclass(value, name)
        return self._of_keras(value, name)

    def _array(self, values: np.ndarray, name: str) -> str:
        if values.ndim == 0 and values.dtype.kind in "fiub":
            return self.source(values[()], name)
        if values.size > _LONGEST or values.dtype.kind not in "fiub":
            what = f"an array of shape {values.shape}, {values.dtype}"
            return self._variable(values, name, f"{what}, SHA-256 {digest(values)['sha256']}")
        self.imports.add("numpy")
        return f"numpy.array({values.tolist()!r}, {values.dtype.name!r})"

    def _mapping(self, value: Mapping[Any, Any], name: str) -> str:
        inner = (f"{key!r}: {self.source(part, f'{name}_{key}')}" for key, part in value.items())
        return "{" + ", ".join(inner) + "}"

    def _list(self, value: Sequence[Any], name: str) -> str:
        names = all(isinstance(part, str) for part in value)
        if names and len(value) > _LONGEST:
            return self._variable(value, name, f"a list of {len(value)} names")
        parts = [self.source(part, f"{name}_{n}") for n, part in enumerate(value)]
        if hasattr(value, "_fields"):
            return f"{self._reference(type(value), name)}({', '.join(parts)})"
        if isinstance(value, tuple):
            return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
        return f"[{', '.join(parts)}]"

    def _reference(self, value: Any, name: str) -> str:
        """A class or a function by its shortest path."""
        for path in _paths(value):
            module, _, rest = path.partition(":")
            if _found(module, rest) is value:
                self.imports.add(module)
                return f"{module}.{rest}"
        own = getattr(value, "__name__", name)
        kind = "a class" if isinstance(value, type) else "a function"
        return self._variable(value, own if own.isidentifier() else name, f"{kind} of yours")

    def _variable(self, value: Any, name: str, what: str) -> str:
        wanted = name if name.isidentifier() else "value"
        chosen, number = wanted, 2
        while chosen in self._known and self._known[chosen] is not value:
            chosen, number = f"{wanted}_{number}", number + 1
        self._known[chosen] = value
        self.own[chosen] = what
        return chosen

    def _made_of_function(self, value: Any, name: str) -> str | None:
        """Penalties, transforms and objectives that are plain functions."""
        if isinstance(value, FunctionObjective):
            function = self.source(value.function, name)
            return f"actmax.objective(layers={value.at!r})({function})" if value.at else function
        if type(value).__name__ not in ("FunctionPenalty", "FunctionTransform"):
            return None
        kind: Any = type(value)
        base = kind(function=value.function, said=value.said)
        module = sys.modules.get(getattr(value.function, "__module__", ""))
        own = getattr(value.function, "__name__", name)
        if value.function.__module__ != "__main__" and getattr(module, own, None) == base:
            self.imports.add(value.function.__module__)
            written = f"{value.function.__module__}.{own}"
        else:
            what = "penalty" if isinstance(value, Penalty) else "transform"
            does = f"a {what} of yours, made by @regularizers.{what}"
            written = self._variable(value.function, own if own.isidentifier() else name, does)
        changed = _changed(value, base)
        if not changed:
            return written
        if list(changed) == ["weight"] and isinstance(changed["weight"], float):
            return f"{changed['weight']!r} * {written}"
        self.imports.add("dataclasses")
        return f"dataclasses.replace({', '.join([written, *self.arguments(changed)])})"

    def _dataclass(self, value: Any, name: str) -> str:
        names = {field.name for field in dataclasses.fields(value)}
        if names == {"operation", "left", "right"}:
            sides = self.source(value.left, name), self.source(value.right, name)
            return f"({sides[0]} {value.operation} {sides[1]})"
        if names == {"terms", "signs"} and value.signs[0] == "+" and callable(value.terms[0]):
            terms = [self.source(part, f"{name}_{n}") for n, part in enumerate(value.terms)]
            signed = zip(value.signs[1:], terms[1:], strict=True)
            return f"({' '.join([terms[0], *(f'{sign} {term}' for sign, term in signed)])})"
        given = {}
        for field in dataclasses.fields(value):
            part = getattr(value, field.name)
            if field.init and not _same(part, _default(field)):
                given[field.name] = self.source(part, f"{name}_{field.name}")
        inner = ", ".join(f"{key}={source}" for key, source in given.items())
        return f"{self._reference(type(value), name)}({inner})"

    def _of_keras(self, value: Any, name: str) -> str:
        """An optimizer or a schedule of Keras from its config. Any other object becomes a variable."""
        kinds = {kind.__name__ for kind in type(value).__mro__}
        if kinds & {"Optimizer", "LearningRateSchedule"} and hasattr(value, "get_config"):
            config = self.source(value.get_config(), name)
            return f"{self._reference(type(value), name)}.from_config({config})"
        own = getattr(value, "name", type(value).__name__)
        return self._variable(value, name, f"an object of yours, {type(value).__name__} {own!r}")


def call_of_run(model: Any, build: Mapping[str, Any], call: Mapping[str, Any]) -> str:
    """The call of `actmax.maximize` that repeats a run.

    Args:
        model: of the run, for a comment.
        build: what was given to `Maximizer` besides the model.
        call: what was given to its call.
    """
    writing = Writing({"actmax"})
    arguments = writing.arguments({**build, **_audible(call)})
    return _text(model, writing, f"result = actmax.maximize({_lines(['model', *arguments])})")


def call_of_sweep(model: Any, build: Mapping[str, Any], call: Mapping[str, Any]) -> str:
    """The two calls that repeat a sweep; arguments as for a run."""
    writing = Writing({"actmax"})
    made = f"maximizer = actmax.Maximizer({_lines(['model', *writing.arguments(build)])})"
    swept = f"sweep = maximizer.sweep({_lines(writing.arguments(_audible(call)))})"
    return _text(model, writing, f"{made}\n{swept}\nresult = sweep.result")


def _audible(call: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call that affect its bytes."""
    kept = {name: value for name, value in call.items() if name not in _SILENT}
    if "callbacks" in kept:
        # Among our callbacks, those with settings decide when an image stops. The others only
        # observe and write.
        kept["callbacks"] = [
            one
            for one in kept["callbacks"]
            if dataclasses.is_dataclass(one) or not type(one).__module__.startswith("actmax.")
        ]
        if not kept["callbacks"]:
            del kept["callbacks"]
    return kept


def _text(model: Any, writing: Writing, calls: str) -> str:
    models = model if isinstance(model, (list, tuple)) else [model]
    names = (" ".join(str(getattr(m, "name", type(m).__name__)).split()) for m in models)
    head = [f"import {module}" for module in sorted(writing.imports)]
    many = "a list of " if isinstance(model, (list, tuple)) else ""
    notes = [f"# model: {many}{', '.join(names)}"]
    notes += [f"# {name}: {what}; define it above" for name, what in writing.own.items()]
    return "\n".join([*head, "", *notes, calls])


def _lines(arguments: Iterable[str]) -> str:
    inner = "".join(f"\n    {argument}," for argument in arguments)
    return f"{inner}\n" if inner else ""


def _plain(value: Any) -> str:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and not math.isfinite(plain):
        return f'float("{plain}")'
    return repr(plain)


def _paths(value: Any) -> Iterable[str]:
    """Paths `module:name` that may lead to a class or a function, the shortest first."""
    name, module = getattr(value, "__qualname__", ""), getattr(value, "__module__", None) or ""
    exported = getattr(value, "_api_export_path", None) or []  # Keras' own modules
    for path in [exported] if isinstance(exported, str) else exported:
        yield ":".join(path.rsplit(".", 1))
    if not module or module == "__main__" or "<" in name:
        return
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        yield f"{'.'.join(parts[:length])}:{name}"


def _found(module: str, name: str) -> Any:
    try:
        return operator.attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError, ValueError):
        return None


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _same(one: Any, other: Any) -> bool:
    """Whether two values are surely equal."""
    try:
        return one is other or (type(one) is type(other) and bool(one == other))
    except (TypeError, ValueError):
        return False


def _changed(value: Any, base: Any) -> dict[str, Any]:
    """The fields that differ from those of `base`."""
    pairs = (
        (f.name, getattr(value, f.name), getattr(base, f.name)) for f in dataclasses.fields(base)
    )
    return {name: one for name, one, other in pairs if not _same(one, other)}
