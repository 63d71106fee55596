"""Looks at what was given before the first run: device, labels, and outputs that are probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, models
from actmax.feeding import tile_to
from actmax.loop import Arguments
from actmax.objectives import LOGITS
from actmax.problem import Problem


class ProbabilityWarning(UserWarning):
    """The model's output looks like probabilities and its softmax could not be found."""


def warn_of_probabilities(problem: Problem, pictures: Any, arguments: Arguments) -> None:
    """Warns once if outputs that are to be maximized are probabilities."""
    for taps in problem.models:
        suspects = [key for key, head in taps.heads.items() if head in ("linear", "unknown")]
        if not suspects:
            continue
        fitted = {entry.name: entry.fit(pictures[entry.name]) for entry in problem.inputs}
        first = next(iter(fitted.values()))
        fitted |= {name: tile_to(value, first) for name, value in arguments.fixed.items()}
        found = taps(fitted)
        for key in suspects:
            values = found[f"{LOGITS}/{key}" if key else LOGITS].numpy().astype(np.float64)
            if models.look_like_probabilities(values):
                warnings.warn(
                    checks.message(
                        "logits to maximize",
                        "outputs that are positive and sum to 1, whose softmax could not be found",
                        "Their gradient vanishes as they near 1, and they rise by lowering other "
                        "classes. Give a model that returns logits, or maximize "
                        "lambda outputs, targets: tf.math.log(...) of your own.",
                    ),
                    ProbabilityWarning,
                    stacklevel=checks.users_line(),
                )


def check_labels(
    problem: Problem, shapes: Mapping[str, tuple[int | None, ...]], names: Sequence[str] | None
) -> None:
    """Raises ValueError unless there is one label per unit; two for a single-unit sigmoid."""
    if names is None or problem.objective.kind != "index":
        return
    # What enters the batch-norm layers is no single activation, and has no units of its own.
    last = [shapes[layer][-1] for layer in problem.objective.targeted if layer in shapes]
    counts = {count for count in last if count is not None}
    two = 2
    if 1 in counts and len(names) == two:
        raise ValueError(
            checks.message(
                "to know which of two labels a high value of the one unit stands for",
                f"labels {list(names)} and one unit, which ends with no sigmoid",
                "Put a sigmoid behind it, whose high value is the second label; or leave labels out, and "
                "maximize actmax.Logit() for high values and -actmax.Logit() for low ones.",
            )
        )
    fitting = counts
    if len(counts) == len(set(last)) and len(names) not in fitting:
        raise ValueError(
            checks.message(
                f"one label per unit, {' or '.join(map(str, sorted(fitting)))}",
                f"{len(names)} labels",
                "Give the names of all units in their order.",
            )
        )


def device(name: Any) -> str | None:
    """A device that TensorFlow has: one that is absent would silently become the CPU."""
    if name is None:
        return None
    known = [found.name.rsplit("device:", 1)[-1] for found in tf.config.list_logical_devices()]
    wanted = str(name).upper().rsplit("/", 1)[-1].removeprefix("DEVICE:")
    if wanted not in known:
        raise ValueError(checks.message(f"one of the devices {known}", repr(name)))
    return wanted


def on_gpu(wanted: str | None) -> bool:
    """Whether what is computed on a device as `device` returns it is computed by a GPU."""
    if wanted is None:
        return bool(tf.config.list_logical_devices("GPU"))
    return wanted.startswith("GPU")


def labels(names: Any) -> tuple[str, ...] | None:
    """Checked names of classes."""
    if names is None:
        return None
    listed = isinstance(names, (Sequence, np.ndarray)) and not isinstance(names, (str, bytes))
    if not listed or not all(isinstance(label, str) for label in names):
        raise TypeError(checks.message("labels to be a list of names", repr(names)[:80]))
    return tuple(checks.written(label, "every label") for label in names)


def names(labels: tuple[str, ...] | None, targets: np.ndarray | None) -> tuple[str, ...] | None:
    """The label of every row's target; None where there are none."""
    if labels is None or targets is None or targets.ndim != 1:
        return None
    return tuple(labels[t] if t < len(labels) else str(t) for t in targets)
