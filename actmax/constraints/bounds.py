"""Bounds of values: numbers, one per channel or per value, and open ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from actmax import checks

# A bound: a number, one number per channel, an array of one number per value, or None for an open end.
Bound: TypeAlias = Any


def as_bound(bound: Bound, dtype: tf.DType) -> tf.Tensor:
    """A bound as a tensor, `[]`, `[C]` or of the image's shape."""
    return tf.constant(bound, dtype)


def check_bound(bound: Any, name: str, opens: float | None = None) -> Bound:
    """A bound as given: a number, a tuple of numbers, a read-only array, or None.

    Args:
        bound: as a user gives it.
        name: of the bound, for errors.
        opens: minus or plus infinity, which replaces an open end in a list of ends. None if open ends
            are not allowed.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not finite.
    """
    if bound is None:
        return None
    if tf.is_tensor(bound):
        bound = bound.numpy()
    if isinstance(bound, (Sequence, np.ndarray)) and not isinstance(bound, (str, bytes)):
        if np.ndim(bound) == 0:
            return check_bound(bound.item(), name, opens)  # type: ignore[union-attr]
        values = [bound] if isinstance(bound, np.ndarray) and bound.ndim > 1 else bound
        if np.ndim(values) > 1 or isinstance(next(iter(values), None), (Sequence, np.ndarray)):
            return _array(bound, name, opens)
        ends = tuple(_end(value, f"every value of {name}", opens) for value in bound)
        return None if ends and all(math.isinf(end) for end in ends) else ends
    found = _end(bound, name, opens)
    return None if math.isinf(found) else found


def _end(value: Any, name: str, opens: float | None) -> float:
    is_open = isinstance(value, (float, np.floating)) and value == opens
    if opens is not None and (value is None or is_open):
        return opens
    return checks.number(value, name)


def _array(bound: Any, name: str, opens: float | None) -> Bound:
    """A bound for every value, as a read-only array."""
    try:
        values = np.array(bound, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            checks.message(f"{name} to be a number, or an array of numbers", repr(bound)[:80])
        ) from error
    open_ends = np.zeros(values.shape, bool) if opens is None else values == opens
    if not np.all(np.isfinite(values) | open_ends):
        raise ValueError(
            checks.message(f"every value of {name} to be a finite number", "NaN or infinity")
        )
    values.flags.writeable = False
    return None if open_ends.all() else values


def check_order(low: Bound, high: Bound) -> None:
    """Raises ValueError unless `low < high`. One of several columns may be fixed by two equal bounds."""
    if low is None or high is None:
        return
    check_broadcast(low, high)
    lower, upper = np.broadcast_arrays(np.asarray(low, float), np.asarray(high, float))
    if np.any(lower > upper) or np.all(lower == upper):
        do = "Give the smaller bound first."
        if not np.any(lower > upper):
            do = "Equal bounds hold a column; leave at least one that may move."
        raise ValueError(checks.message("low < high", f"low={low}, high={high}", do))


def check_broadcast(*bounds: Bound) -> None:
    """Raises ValueError unless both bounds have the same number of channels or values."""
    shapes = [np.shape(bound) for bound in bounds if bound is not None]
    try:
        np.broadcast_shapes(*shapes)
        fits = len({shape for shape in shapes if len(shape) == 1}) < 2
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            checks.message(
                "bounds of as many channels as one another",
                " and ".join(map(str, bounds)),
                "Give one number for every channel, or one for all.",
            )
        )


def tightest(bounds: Sequence[Bound], choose: Any) -> Bound:
    """The tightest of several bounds. `choose` is `np.maximum` for lower bounds."""
    given = [bound for bound in bounds if bound is not None]
    if not given:
        return None
    best = given[0]
    for bound in given[1:]:
        check_broadcast(best, bound)
        best = choose(best, bound)
    if np.ndim(best) == 0:
        return float(best)
    return tuple(float(end) for end in best) if np.ndim(best) == 1 else best


def widths(low: Bound, high: Bound) -> float | np.ndarray:
    """`high - low` of every column, 1 for open or equal bounds; one number if all are the same."""
    if low is None or high is None:
        return 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.subtract(np.asarray(high, float), np.asarray(low, float))
    moves = np.isfinite(found) & (found > 0)
    known = found[moves]
    if known.size and np.all(known == known.flat[0]) and np.all(moves | (found == 0)):
        return float(known.flat[0])
    if not known.size:
        return 1.0
    return np.where(moves, found, 1.0)
