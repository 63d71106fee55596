"""Methods of layers replaced for a moment, in our own trace of a model that stays as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple


class Override(NamedTuple):
    """A method of a layer, and what is called instead of it."""

    layer: Any
    method: str
    function: Callable[..., Any]


@contextlib.contextmanager
def overridden(overrides: Sequence[Override]) -> Iterator[None]:
    """While open, layers call something else. On the instance and past Keras' attribute tracking."""
    with contextlib.ExitStack() as stack:
        for layer, method, function in overrides:
            own = vars(layer).get(method)
            object.__setattr__(layer, method, function)
            if own is None:
                stack.callback(object.__delattr__, layer, method)
            else:
                stack.callback(object.__setattr__, layer, method, own)
        yield
