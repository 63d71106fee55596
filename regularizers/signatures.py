"""The arguments that a part takes besides its first one, read from the signature of its call.

If a part has the parameters `seeds` or `step`, it gets them. Otherwise it is called without them. A
parameter that is not offered keeps its default.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """Parameters of a function or of an object's call, without `self`; none if they cannot be read."""
    try:
        return tuple(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return ()


def asked(
    function: Callable[..., Any], offered: Collection[str], first: int = 1
) -> tuple[str, ...]:
    """Names among `offered` that a call takes, behind its `first` positional arguments.

    Example:
        >>> asked(lambda images, step: images, ("seeds", "step"))
        ('step',)
    """
    return tuple(
        parameter.name
        for parameter in parameters(function)[first:]
        if parameter.name in offered and parameter.kind in _NAMED
    )


def unknown(
    function: Callable[..., Any], offered: Iterable[str], first: int = 1
) -> tuple[str, ...]:
    """Names of parameters without a default that nobody offers.

    Example:
        >>> unknown(lambda images, sigma: images, ("seeds", "step"))
        ('sigma',)
    """
    return tuple(
        parameter.name
        for parameter in parameters(function)[first:]
        if parameter.name not in offered
        and parameter.kind in _NAMED
        and parameter.default is inspect.Parameter.empty
    )


@functools.lru_cache(maxsize=1024)
def of_class(kind: type, offered: tuple[str, ...]) -> tuple[str, ...]:
    """What the call of a class's objects asks for. Kept: a class does not change."""
    return asked(kind.__call__, offered, first=2)
