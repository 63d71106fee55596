"""The structure that a model returns: dicts, lists, tuples, named tuples and dataclasses of tensors.

Values that are no tensors, such as None for an output that a model leaves out, stay at their place.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# Values of a model's result that are no outputs, and no mistake.
_CONSTANTS = (type(None), bool, int, float, complex, str, bytes)


@dataclasses.dataclass(frozen=True)
class Constant:
    """A value of a model's result that is no output."""

    value: Any


def entries(result: Any) -> list[tuple[str, Any]] | None:
    """`(key, value)` of a structure in the order of Keras: dicts by their keys. None for a single value."""
    if isinstance(result, Mapping):
        return [(str(key), result[key]) for key in sorted(result, key=str)]
    if hasattr(result, "_fields"):
        return list(zip(result._fields, result, strict=True))
    if isinstance(result, (list, tuple)):
        return [(str(place), value) for place, value in enumerate(result)]
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        fields = dataclasses.fields(result)
        return [(field.name, getattr(result, field.name)) for field in fields]
    return None


def outputs_of(result: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """`(path, value)` of every value that is no constant. A constant alone is a value."""
    if isinstance(result, (*_CONSTANTS, Constant)):
        if not path:
            yield path, result.value if isinstance(result, Constant) else result
        return
    inner = entries(result)
    if inner is None:
        yield path, result
    for key, value in inner or ():
        yield from outputs_of(value, f"{path}/{key}" if path else key)


def replaced(function: Callable[[Any], Any], result: Any) -> Any:
    """The structure with every output replaced, in the order of `outputs_of`, and constants marked."""
    if isinstance(result, Constant):
        return result
    inner = entries(result)
    if inner is None:
        return Constant(result) if isinstance(result, _CONSTANTS) else function(result)
    made = {key: replaced(function, value) for key, value in inner}
    return _like(result, lambda key, _: made[str(key)])


def flat(structure: Any) -> list[Any]:
    """The values of a structure made by `replaced`, without its constants."""
    if isinstance(structure, Constant):
        return []
    inner = entries(structure)
    return [structure] if inner is None else [leaf for _, value in inner for leaf in flat(value)]


def filled(function: Callable[[Any], Any], structure: Any) -> Any:
    """A structure made by `replaced`, with the values of a function and with its constants."""
    if isinstance(structure, Constant):
        return structure.value
    if entries(structure) is None:
        return function(structure)
    return _like(structure, lambda _, value: filled(function, value))


def _like(structure: Any, value_of: Callable[[Any, Any], Any]) -> Any:
    """A structure of the same type with other values."""
    if isinstance(structure, Mapping):
        pairs = {key: value_of(key, value) for key, value in structure.items()}
        if type(structure) is dict or not hasattr(structure, "__setitem__"):
            return pairs
        made = copy.copy(structure)
        for key, value in pairs.items():
            made[key] = value
        return made
    if hasattr(structure, "_fields"):
        fields = zip(structure._fields, structure, strict=True)
        return type(structure)(*[value_of(key, value) for key, value in fields])
    if isinstance(structure, (list, tuple)):
        return type(structure)([value_of(place, value) for place, value in enumerate(structure)])
    made = copy.copy(structure)
    for field in dataclasses.fields(structure):
        # A frozen dataclass has no other way to be filled.
        object.__setattr__(made, field.name, value_of(field.name, getattr(structure, field.name)))
    return made
