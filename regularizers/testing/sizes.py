"""Sizes at which a part can be tested: those of the network or the array in it."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from regularizers.testing.probe import Probe

_DEPTH = 4  # a part, its function, what that closes over, and what those hold
# Keras names the expected and the received size.
_KERAS = re.compile(r"expected shape=\(None,((?: ?\d+,?)+)\)")


def settle(probe: Probe, chosen: bool) -> None:
    """Traces the part before anything else, and finds the shapes at which it can be tried.

    The first call of the part is a trace, as in a loop. This finds parts that keep something of their
    first trace. A part with a network or an array of one fixed size is tested at that size.

    Args:
        probe: its shapes are replaced, and its `first_error` is set.
        chosen: whether the author gave the shapes.
    """
    if not chosen:
        # A size without an earlier call, to find what the part keeps per size.
        channels = probe.shapes[0][-1]
        odd = (9, 7, channels)
        if traced(probe, odd) is None:
            probe.first = odd
            return
    errors = [traced(probe, shape) for shape in probe.shapes]
    if all(error is None for error in errors):
        return
    probe.first_error = next(error for error in errors if error is not None)
    if chosen:
        return
    found = list(sizes_held(probe.part))
    for error in errors:
        found += [_numbers(match) for match in _KERAS.findall(str(error))]
    fits = [shape for shape in dict.fromkeys(found) if traced(probe, shape) is None]
    if fits:
        usual = [shape for shape, error in zip(probe.shapes, errors, strict=True) if error is None]
        probe.shapes = (*fits[:1], *usual)
        probe.first_error = None


def traced(probe: Probe, shape: tuple[int, ...]) -> BaseException | None:
    """The error of a trace at this shape, or None."""

    def call(images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        return probe(images, seeds)

    try:
        tf.function(call, autograph=False).get_concrete_function(
            tf.TensorSpec([None, *shape], tf.float32), tf.TensorSpec([None, 2], tf.int32)
        )
    except Exception as error:  # A plug-in may raise any error.
        return error
    return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def sizes_held(part: Any) -> Iterator[tuple[int, ...]]:
    """Input shapes of networks and shapes of arrays that a part reaches."""
    for held in _held(part, _DEPTH, set()):
        shape = getattr(held, "input_shape", None)
        if isinstance(shape, tuple) and len(shape) > 1 and all(map(_whole, shape[1:])):
            yield tuple(shape[1:])
    for held in _held(part, _DEPTH, set()):
        shape = getattr(held, "shape", None)
        if isinstance(shape, tuple) and len(shape) in (3, 4) and all(map(_whole, shape)):
            yield tuple(shape[-3:])


def arrays_held(part: Any, shape: tuple[int, ...]) -> Iterator[Any]:
    """NumPy arrays of a shape that a part reaches."""
    for held in _held(part, _DEPTH, set()):
        kind = getattr(getattr(held, "dtype", None), "kind", None)  # tensors' types have none
        if kind == "f" and getattr(held, "shape", None) == shape:
            yield held


def _whole(size: Any) -> bool:
    return isinstance(size, int)


def _held(value: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    """Fields, cells and globals of functions, and their contents."""
    if id(value) in seen or isinstance(value, (str, bytes, int, float, type(None), type)):
        return
    seen.add(id(value))
    yield value
    if depth == 0:
        return
    inner: list[Any] = []
    if dataclasses.is_dataclass(value):
        inner += [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    if isinstance(value, (list, tuple)):
        inner += list(value)
    if isinstance(value, dict):
        inner += list(value.values())
    function = inspect.unwrap(value) if callable(value) else None
    if inspect.isfunction(function):
        try:
            names = inspect.getclosurevars(function)
        except ValueError:  # a cell that is still empty
            names = None
        if names is not None:
            inner += [*names.nonlocals.values(), *names.globals.values()]
    for one in inner:
        if not inspect.ismodule(one):
            yield from _held(one, depth - 1, seen)
