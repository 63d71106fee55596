"""Checks of arguments. All messages have the same form: Expected ... Received ... Do ..."""

from __future__ import annotations

import contextlib
import math
import numbers
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_ROUNDING = 1e-6


def message(expected: str, received: Any, do: str = "") -> str:
    """`Expected {expected}. Received: {received}. {do}`."""
    text = f"Expected {expected}. Received: {received}."
    return f"{text} {do}" if do else text


def users_line() -> int:
    """The `stacklevel` for a warning, so that it points to the first line outside of actmax."""
    frame: types.FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "actmax":
        frame, level = frame.f_back, level + 1
    return level


def number(value: Any, name: str, *, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in `[low, high]`, as a float.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not finite or outside.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(message(f"{name} to be a number", f"{value!r} ({type(value).__name__})"))
    given = float(value)
    if not math.isfinite(given) or not low <= given <= high:
        bounds = "" if low == -math.inf and high == math.inf else f" in [{low:g}, {high:g}]"
        raise ValueError(message(f"{name} to be a finite number{bounds}", repr(value)))
    return given


def integer(value: Any, name: str, *, low: int = 0, high: int | None = None) -> int:
    """An integer in `[low, high]`; NumPy integers count, booleans do not.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if it is outside.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(message(f"{name} to be an integer", f"{value!r} ({type(value).__name__})"))
    given = int(value)
    if given < low or (high is not None and given > high):
        bounds = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(message(f"{name} to be {bounds}", repr(value)))
    return given


def one_of(value: Any, name: str, choices: Sequence[Any]) -> Any:
    """A value that is one of `choices`.

    Raises:
        ValueError: if it is not.
    """
    if not any(value is choice or value == choice for choice in choices):
        raise ValueError(message(f"{name} to be one of {list(choices)}", repr(value)))
    return value


def image_shape(value: Any, name: str) -> tuple[int, ...]:
    """A shape without the batch dimension: a non-empty tuple of positive integers.

    Raises:
        TypeError: if it is not a sequence of integers.
        ValueError: if it is empty or a size is not positive.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TypeError(message(f"{name} to be a shape such as (224, 224, 3)", repr(value)))
    if not value:
        raise ValueError(message(f"{name} to have at least one dimension", repr(value)))
    return tuple(integer(size, f"every size in {name}", low=1) for size in value)


def finite(array: np.ndarray, name: str) -> np.ndarray:
    """An array without NaN and infinity.

    Raises:
        ValueError: naming the first index that is not finite.
    """
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        index = tuple(int(i) for i in bad[0])
        raise ValueError(
            message(
                f"{name} to be finite", f"{array[index]} at index {index}", "Clean the array first."
            )
        )
    return array


def within(array: np.ndarray, low: Any, high: Any, name: str) -> np.ndarray:
    """Finite values in `[low, high]`, but for rounding; a bound is a number, one per channel, or None.

    Raises:
        ValueError: naming a value that is not finite or outside.
    """
    if not array.size:
        return array
    for bound, extreme, sign, word in ((low, np.min, -1.0, "below"), (high, np.max, 1.0, "above")):
        # Over all that the bound is one for: everything, all but channels, or all but the values of an image.
        axes = tuple(range(array.ndim - np.ndim(bound))) if np.ndim(bound) else None
        found = np.asarray(extreme(array, axis=axes))
        if not np.all(np.isfinite(found)):
            finite(array, name)
        if bound is None:
            continue
        ends = np.asarray(bound, float)
        outside = sign * (found - ends) > _ROUNDING * (1.0 + np.abs(ends))
        if np.any(outside):
            do = "Scale them to the range, or correct input_range."
            received = f"{found[outside].flat[0]:g}, {word} it"
            raise ValueError(message(f"{name} in the input range {low} .. {high}", received, do))
    return array


def written(text: str, name: str) -> str:
    """A text that can be written to a file.

    Raises:
        ValueError: if it has half of a surrogate pair, as names of files that are no Unicode do.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        do = "Give the name in Unicode, or text.encode('utf-8', 'replace').decode()."
        raise ValueError(message(f"{name} in Unicode", repr(text)[:80], do)) from error
    return text


@contextlib.contextmanager
def at_fault(owner: str) -> Iterator[None]:
    """Names the part whose Python code raises while it is called or traced.

    Errors that name it already, and those of the device, go through.

    Raises:
        TypeError: if the part raised a TypeError; ValueError for any other error of the part.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            raise
        text = str(error).strip() or type(error).__name__
        if owner in text or text.startswith("Expected "):
            raise
        kind = TypeError if type(error) is TypeError else ValueError
        first = text.split("\n\n")[0][:600]
        do = "Correct it there; its checker in regularizers.testing or actmax.testing tells more."
        if type(error).__name__ == "OperatorNotAllowedInGraphError":
            first = first.split(". ")[0]
            do = "Use tf.where or tf.cond in place of `if` on a tensor; the loop is one graph."
        received = f"{type(error).__name__}: {first}".rstrip(".")
        raise kind(message(f"{owner} to run in the graph of the loop", received, do)) from error
