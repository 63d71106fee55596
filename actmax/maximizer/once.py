"""Compile and run in one call."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from actmax import checks, models
from actmax.maximizer.core import Maximizer
from actmax.result import Result


def maximize(model: Any, objective: Any = None, targets: Any = None, **arguments: Any) -> Result:
    """The images that a part of a network responds to most. `-> Result`, images `[N, ...]`.

    `Maximizer(model, objective, ...)(targets, ...)` in one call; takes the arguments of both.

    Args:
        model: a Keras 3 model, a callable, or a list of them.
        objective: None for `Logit()`, the output unit before its softmax or sigmoid.
        targets: one image each.
        **arguments: keyword arguments of `Maximizer` and of its call.

    Raises:
        TypeError: if an argument is unknown, with the nearest name.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> result = actmax.maximize(
        ...     zoo.load("mnist"), targets=range(10), input_range=(0, 1), steps=8
        ... )
        >>> result.images.shape
        (10, 28, 28, 1)
    """
    call = {name: arguments.pop(name) for name in list(arguments) if name in _CALL}
    unknown = [name for name in arguments if name not in _BUILD]
    if unknown:
        near = difflib.get_close_matches(unknown[0], [*_BUILD, *_CALL], n=1)
        do = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join([*_BUILD, *_CALL])}."
        raise TypeError(checks.message("arguments of maximize", repr(unknown[0]), do))
    if "input_shape" not in arguments and call.get("initial_images") is not None:
        arguments |= _shape_of(model, call["initial_images"])
    return Maximizer(model, objective, **arguments)(targets, **call)


def _shape_of(model: Any, initial_images: Any) -> dict[str, Any]:
    """`input_shape` from start images, for a model that does not know its own."""
    if isinstance(model, (list, tuple)) or models.input_specs(model) is not None:
        return {}
    if isinstance(initial_images, Mapping):
        return {"input_shape": {k: np.shape(v)[1:] for k, v in initial_images.items()}}
    return {"input_shape": np.shape(initial_images)[1:]}


def _names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    kinds = inspect.signature(function).parameters.values()
    return tuple(p.name for p in kinds if p.kind is p.KEYWORD_ONLY)


_BUILD = _names_of(Maximizer.__init__)
_CALL = _names_of(Maximizer.__call__)
