"""The arguments that a part takes besides its first ones, read from the signature of its call.

`OFFERED` says what each kind of part may ask for. A part that has a parameter of such a name gets it;
otherwise it is called without. A parameter that is not offered keeps its default.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

# By kind of part: how many arguments its call always gets, and what it may ask for by name.
#   seeds          int32 [N, 2], other ones at every step, of a stream of the part's own
#   step           int32 [], counted from 0
#   learning_rate  [N], of the step
#   images         [N, ...], those that the gradient belongs to
#   activations    by name, of the layers that a penalty names
#   state          what the `init` and `update` of a penalty returned
OFFERED: dict[str, tuple[int, tuple[str, ...]]] = {
    "penalty": (1, ("seeds", "step", "learning_rate", "activations", "state")),
    "init of a penalty": (1, ("seeds",)),
    "update of a penalty": (2, ("seeds", "step", "learning_rate")),
    "gradient function": (1, ("images", "seeds", "step", "learning_rate")),
    "operator": (3, ("seeds", "learning_rate")),
    "optimizer": (4, ("seeds",)),
    "constraint": (1, ("seeds", "step")),
}


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


def asks(
    kind: str, function: Callable[..., Any], own: tuple[str, ...] = (), *, unbound: bool = False
) -> tuple[str, ...]:
    """What a part asks for beside the arguments that its kind always gets.

    A `learning_rate` whose default is a number is a setting of the part, and keeps it.

    Args:
        kind: a key of `OFFERED`.
        function: the function, the object that is called, or a method.
        own: names that this part may ask for, too.
        unbound: whether it is a method of a class, whose first parameter is `self`.

    Example:
        >>> asks("gradient function", lambda gradients, images, learning_rate: gradients)
        ('images', 'learning_rate')
        >>> asks("gradient function", lambda gradients, learning_rate=0.1: gradients)
        ()
    """
    first, offered = OFFERED[kind]
    found = asked(function, (*offered, *own), first + unbound)
    if "learning_rate" not in found:
        return found
    default = inspect.signature(function).parameters["learning_rate"].default
    return tuple(
        name for name in found if name != "learning_rate" or not isinstance(default, (int, float))
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
def of_class(
    kind: str, part: type, method: str = "__call__", own: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """`asks` of a method of a class. Kept: a class does not change."""
    return asks(kind, getattr(part, method), own, unbound=True)
