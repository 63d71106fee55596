"""Schedules of the step: for learning rates, weights, and strengths of transforms.

A schedule is any function of the step, also a Keras LearningRateSchedule. These three are frozen
dataclasses, so that the record of a run can contain them. They work on Python numbers and on
tensors. For a learning rate or weight, a schedule with `steps=None` covers the whole run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from regularizers.base import ScaledSchedule


def _fraction(step: Any, steps: int | None) -> Any:
    """How far a step is through a run, 0 at the first and 1 at the last of `steps`, then 1."""
    if steps is None:
        raise ValueError(
            checks.message(
                "a schedule with its number of steps",
                "steps=None",
                "Only learning rates and weights know the length of their run; for the strength of a "
                "transform write the steps.",
            )
        )
    last = max(steps - 1, 1)
    if isinstance(step, tf.Tensor):
        return tf.minimum(tf.cast(step, tf.float32) / last, 1.0)
    return min(step / last, 1.0)


@dataclasses.dataclass(frozen=True)
class Linear:
    """`start + (end - start) * t`, where t goes from 0 to 1 over `steps` steps.

    Example:
        >>> import actmax
        >>> [actmax.Linear(1.0, 0.0, 5)(step) for step in range(5)]
        [1.0, 0.75, 0.5, 0.25, 0.0]
    """

    start: float
    end: float
    steps: int | None = None

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, step: Any) -> Any:
        return self.start + (self.end - self.start) * _fraction(step, self.steps)


@dataclasses.dataclass(frozen=True)
class Cosine:
    """`end + (start - end) * (1 + cos(pi t)) / 2`, where t goes from 0 to 1 over `steps` steps.

    Source: Loshchilov and Hutter, SGDR, 2016, https://arxiv.org/abs/1608.03983.
    """

    start: float
    end: float
    steps: int | None = None

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, step: Any) -> Any:
        fraction = _fraction(step, self.steps)
        cosine = (tf.cos if isinstance(fraction, tf.Tensor) else math.cos)(math.pi * fraction)
        return self.end + (self.start - self.end) * (1.0 + cosine) / 2.0


@dataclasses.dataclass(frozen=True)
class Exponential:
    """`start * (end / start) ** t`, where t goes from 0 to 1 over `steps` steps; both ends positive."""

    start: float
    end: float
    steps: int | None = None

    def __post_init__(self) -> None:
        _check(self)
        if self.start <= 0 or self.end <= 0:
            raise ValueError(
                checks.message("start and end to be positive", f"{self.start}, {self.end}")
            )

    def __call__(self, step: Any) -> Any:
        return self.start * (self.end / self.start) ** _fraction(step, self.steps)


def _check(schedule: Any) -> None:
    checks.number(schedule.start, "start")
    checks.number(schedule.end, "end")
    if schedule.steps is not None:
        checks.integer(schedule.steps, "steps", low=1)


def table(value: Any, steps: int, count: int, name: str) -> np.ndarray:
    """A number, `[N]`, `[steps, N]` or schedule as a table `[1 or steps, 1 or N]`, on the host.

    Args:
        value: what the user gave.
        steps: number of steps of the run; the table has this many rows if the value varies.
        count: N.
        name: for messages.

    Raises:
        ValueError: if its shape does not fit or a value is not finite.
    """
    if isinstance(value, ScaledSchedule):
        return value.factor * table(value.schedule, steps, count, name)
    if isinstance(value, (Linear, Cosine, Exponential)) and value.steps is None:
        value = dataclasses.replace(value, steps=max(steps, 1))
    if callable(value):
        rows = [_row(value(step), count, f"{name} at step {step}") for step in range(max(steps, 1))]
        return np.concatenate(np.broadcast_arrays(*rows)) if len(rows) > 1 else rows[0]
    return _row(value, count, name, steps)


def _row(value: Any, count: int, name: str, steps: int | None = None) -> np.ndarray:
    wanted = f"{name} to be a number, [N], [steps, N] or a schedule"
    try:
        array = np.asarray(value)
        # NumPy makes numbers of texts and of booleans; whoever gave them meant something else.
        if array.dtype.kind in "bSUmMc" or _holds_others(value):
            raise TypeError("no numbers")
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(checks.message(wanted, repr(value))) from error
    shapes: dict[tuple[int, ...], Callable[[np.ndarray], np.ndarray]] = {
        (): lambda a: a[None, None],
        (1,): lambda a: a[None],
        (count,): lambda a: a[None],
    }
    if steps is not None:
        shapes[(steps, count)] = lambda a: a
    if array.shape not in shapes:
        wanted = f"a number or {count} numbers, one per image"
        raise ValueError(checks.message(f"{name} to be {wanted}", f"shape {array.shape}"))
    return checks.finite(shapes[array.shape](array), name)


def _holds_others(value: Any) -> bool:
    """Whether a list has texts or booleans in it, which NumPy would turn into numbers."""
    if isinstance(value, (list, tuple)):
        return any(map(_holds_others, value))
    return isinstance(value, (bool, np.bool_, str, bytes))
