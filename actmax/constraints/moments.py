"""Sets that move: methods of a constraint that ask for `seeds` or `step` get them by name.

A set is asked for projections in many places: at the start, in its units, in an intersection. So a method
that asks for more than images can also be called with images alone. Then it has the seeds and the step of
the set, which `at_step` gives to a copy; without them, zero seeds and step 0.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from regularizers.signatures import asks

# Methods that may ask.
_METHODS = ("apply", "clip", "distance", "finish", "invert", "nearest", "project", "relax", "start")
_KEPT = "_moment"


def with_moment(kind: type) -> None:
    """Lets methods that ask for seeds or the step be called with images alone."""
    for name in _METHODS:
        method = vars(kind).get(name)
        if callable(method):
            wanted = asks("constraint", method, unbound=True)
            if wanted:
                setattr(kind, name, _given(method, wanted))


def _given(method: Callable[..., Any], wanted: tuple[str, ...]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, images: tf.Tensor, *others: Any, **named: Any) -> Any:
        moment = getattr(self, _KEPT, None) or {
            "seeds": tf.zeros([tf.shape(images)[0], 2], tf.int32),
            "step": tf.constant(0),
        }
        own = {name: moment[name] for name in wanted}
        return method(self, images, *others, **{**own, **named})

    return call


@functools.lru_cache(maxsize=1024)
def _of_class(kind: type) -> frozenset[str]:
    methods = [getattr(kind, name, None) for name in _METHODS]
    found = [asks("constraint", method, unbound=True) for method in methods if callable(method)]
    return frozenset(name for each in found for name in each)


def asked_of(constraint: Any, kind: type) -> tuple[str, ...]:
    """What a constraint and the constraints in its fields ask for, sorted.

    Args:
        constraint: the set.
        kind: the class of constraints.
    """
    found = set(_of_class(type(constraint)))  # type: ignore[arg-type]
    for value in vars(constraint).values():
        for part in _parts(value, kind):
            found |= set(asked_of(part, kind))
    return tuple(sorted(found))


def at_step(constraint: Any, kind: type, moment: Mapping[str, tf.Tensor]) -> Any:
    """A copy of a constraint, and of those in its fields, that has the seeds and the step."""
    if not asked_of(constraint, kind):
        return constraint
    moved = copy.copy(constraint)
    for name, value in vars(constraint).items():
        if _parts(value, kind):
            object.__setattr__(moved, name, _moved(value, kind, moment))
    object.__setattr__(moved, _KEPT, moment)
    return moved


def _parts(value: Any, kind: type) -> list[Any]:
    """Constraints in a field: itself, or in tuples."""
    if isinstance(value, kind):
        return [value]
    return [part for each in value for part in _parts(each, kind)] if type(value) is tuple else []


def _moved(value: Any, kind: type, moment: Mapping[str, tf.Tensor]) -> Any:
    if isinstance(value, kind):
        return at_step(value, kind, moment)
    return tuple(_moved(each, kind, moment) for each in value) if type(value) is tuple else value
