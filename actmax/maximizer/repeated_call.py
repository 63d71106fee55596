"""The arguments of a Maximizer and its calls, so that a result contains the call that repeats it."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

from actmax.maximizer.misnamed import answered
from actmax.reporting import call_of_run, call_of_sweep

_P = ParamSpec("_P")
_T = TypeVar("_T")


def construction(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """`__init__` that stores its arguments. Unknown arguments get a helpful error."""
    known = inspect.signature(function)

    @functools.wraps(function)
    def build(*arguments: _P.args, **named: _P.kwargs) -> _T:
        given = _given(known, arguments, named)
        maximizer: Any = arguments[0]
        # The caller may change a list later. The stored copy must not change.
        maximizer._model = given.pop("model")
        maximizer._given = {k: list(v) if isinstance(v, list) else v for k, v in given.items()}
        return function(*arguments, **named)

    return answered("Maximizer")(build)


def run(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """`__call__` whose result contains the call of `maximize` that repeats it."""
    known = inspect.signature(function)

    @functools.wraps(function)
    def call(*arguments: _P.args, **named: _P.kwargs) -> _T:
        given = _given(known, arguments, named)
        result: Any = function(*arguments, **named)
        maximizer: Any = arguments[0]
        build = dict(maximizer._given)
        if "probe" in result.config:  # "auto" would measure again and could choose another way
            build["compile"] = result.config["probe"]["used"]
        text = call_of_run(maximizer._model, build, given)
        return cast(_T, with_call(result, text))

    return answered("a call of Maximizer")(call)


def sweep(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """`sweep` whose result contains the calls that repeat it."""
    known = inspect.signature(function)

    @functools.wraps(function)
    def call(*arguments: _P.args, **named: _P.kwargs) -> _T:
        given = _given(known, arguments, named)
        found: Any = function(*arguments, **named)
        maximizer: Any = arguments[0]
        text = call_of_sweep(maximizer._model, maximizer._given, given | given.pop("call", {}))
        return cast(_T, dataclasses.replace(found, result=with_call(found.result, text)))

    return call


def with_call(result: Any, text: str) -> Any:
    """A result whose record contains the call that repeats it."""
    return dataclasses.replace(result, config={**result.config, "python": text})


def _given(known: inspect.Signature, arguments: Any, named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that differ from their defaults, by name, without `self`."""
    try:
        bound = known.bind(*arguments, **named).arguments
    except TypeError:
        return {"model": None}  # Python's own message comes from the call itself
    parameters = known.parameters
    return {
        name: value
        for name, value in list(bound.items())[1:]
        if not (parameters[name].default is value or _is_default(parameters[name].default, value))
    }


def _is_default(default: Any, value: Any) -> bool:
    simple = (bool, int, float, str, tuple, type(None))
    return type(default) is type(value) and isinstance(value, simple) and default == value
