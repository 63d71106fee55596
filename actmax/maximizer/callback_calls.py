"""Calls the callbacks of one run in order, collects their answers, and always calls `on_end`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from actmax import checks
from actmax.callbacks import Callback, FunctionCallback
from actmax.types import STOP, Snapshot


def name_of(listener: Callback) -> str:
    """A callback's name, for messages."""
    part: Any = listener.function if isinstance(listener, FunctionCallback) else listener
    return getattr(part, "__name__", None) or type(part).__name__


@contextlib.contextmanager
def begun_and_ended(
    listeners: Sequence[Callback], snapshot: Callable[[], Snapshot]
) -> Iterator[None]:
    """Calls `on_begin` of all on entry, and `on_end` of all that began on exit, also after an error.

    If one callback raises an error, the others still get `on_end`. The first error is raised.
    """
    with contextlib.ExitStack() as stack:
        if listeners:
            first = snapshot()
            at_the_end = _Once(snapshot)
        # An ExitStack calls in reverse order, but the first callback to begin must be the first to
        # end.
        begun: list[Callback] = []
        stack.callback(lambda: _end(begun, at_the_end) if begun else None)
        for listener in listeners:
            with _named(listener, "on_begin"):
                listener.on_begin(first)
            begun.append(listener)
        yield


def ask(listeners: Sequence[Callback], snapshot: Snapshot) -> tuple[bool, list[str]]:
    """`(stop, halted)`: whether a callback returned STOP, and what stopped each row (or an empty text).

    Raises:
        TypeError: if a callback returns anything but None, STOP or bool `[N]`.
    """
    halted = [""] * len(snapshot.live)
    stop = False
    for listener in listeners:
        with _named(listener, "on_step"):
            answer: Any = listener.on_step(snapshot)
            rows = _rows(answer, len(halted))
        stop = stop or answer is STOP
        halted = [
            before or (name_of(listener) if row else "")
            for before, row in zip(halted, rows, strict=True)
        ]
    return stop, halted


def _rows(answer: Any, count: int) -> list[bool]:
    if answer is None:
        return [False] * count
    if answer is STOP:
        return [True] * count
    if isinstance(answer, np.ndarray) and answer.dtype == bool and answer.shape == (count,):
        return [bool(row) for row in answer]
    received = repr(answer)
    if isinstance(answer, np.ndarray):
        received = f"an array of shape {answer.shape}, {answer.dtype}"
    raise TypeError(
        checks.message(
            f"callbacks to return None or actmax.STOP, or a bool array [{count}], True for the "
            "images to stop",
            received,
        )
    )


class _Once:
    """A snapshot that is made at its first use."""

    def __init__(self, make: Callable[[], Snapshot]) -> None:
        self._make = make
        self._made: Snapshot | None = None

    def __call__(self) -> Snapshot:
        if self._made is None:
            self._made = self._make()
        return self._made


def _end(begun: Sequence[Callback], snapshot: Callable[[], Snapshot]) -> None:
    with contextlib.ExitStack() as stack:
        for listener in reversed(begun):
            stack.push(_ending(listener, snapshot))


def _ending(listener: Callback, snapshot: Callable[[], Snapshot]) -> Callable[..., None]:
    def end(*_: Any) -> None:
        with _named(listener, "on_end"):
            listener.on_end(snapshot())

    return end


@contextlib.contextmanager
def _named(listener: Callback, hook: str) -> Iterator[None]:
    """Adds the name of the callback to an error, and keeps the error's class."""
    try:
        yield
    except Exception as error:
        text = f"In {hook} of the callback {name_of(listener)}."
        if hasattr(error, "add_note"):
            error.add_note(text)
        else:  # Python 3.10
            vars(error).setdefault("__notes__", []).append(text)
        raise
