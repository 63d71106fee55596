"""Checks before the first run: device, labels, and outputs that are probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, models
from actmax.constraints import width
from actmax.feeding import tile_to
from actmax.loop import Arguments, Loop
from actmax.objectives import Objective
from actmax.problem import Problem

# Widths of a range, to see whether an output is bounded.
_FAR = 8.0
# Heads that are always flat at a maximum. Other heads are flat only where they are saturated.
_PROBABILITIES = ("softmax", "sigmoid")
_BOUNDED = ("tanh", "softplus", "bounded")
# Words for them.
_WORDS = {"bounded": "a clipped or scaled function", "softplus": "softplus", "tanh": "tanh"}


class ProbabilityWarning(UserWarning):
    """The objective maximizes probabilities, or is saturated: its gradient vanishes."""


def warn_of_probabilities(
    loop: Loop, pictures: Any, arguments: Arguments, targets: np.ndarray | None
) -> None:
    """Warns once if the objective maximizes probabilities, or is saturated at the start."""
    problem = loop.problem
    for place, taps in enumerate(problem.models):
        suspects = [key for key, head in taps.heads.items() if head == "linear"]
        flat = [key for key, head in taps.heads.items() if head in _BOUNDED]
        flat += [name for name, kind in taps.ends.items() if kind == "tanh"]
        _warn_of_layers(problem, taps)
        if not suspects and not flat:
            continue
        if flat:
            fitted = {entry.name: entry.fit(pictures[entry.name]) for entry in problem.inputs}
            first = next(iter(fitted.values()))
            fitted |= {name: tile_to(value, first) for name, value in arguments.fixed.items()}
            _warn_of_saturation(problem, taps, fitted, targets)
        if not suspects:
            continue
        for kind in _hidden(loop, pictures, arguments, place):
            _warn(
                "logits to maximize",
                kind,
                "Their gradient vanishes as they near 1, and those of a softmax rise by lowering other "
                "classes. Give a model that returns logits, or maximize "
                "lambda outputs, targets: tf.math.log(...) of your own.",
            )


def _hidden(loop: Loop, pictures: Any, arguments: Arguments, place: int) -> Iterator[str]:
    """What the linear outputs of a model are that look like probabilities, in words.

    A linear output may look like probabilities at one image by chance. Far outside of the range it does
    not: so one more pass decides, which no other model needs.
    """
    far: Mapping[str, tf.Tensor] = {}
    for name, outputs in loop.judge(pictures, arguments).linear[place].items():
        values = outputs.numpy().astype(np.float64)
        sums = models.look_like_probabilities(values)
        if not sums and not models.look_like_a_saturated_sigmoid(values):
            continue
        far = far or loop.judge(_far(loop.problem, pictures), arguments).linear[place]
        there = far[name].numpy().astype(np.float64)
        finite = np.isfinite(there).all()
        if sums and (not finite or models.look_like_probabilities(there)):
            yield "outputs that are positive and sum to 1, whose softmax could not be found"
        elif not sums and (not finite or np.all((there >= 0) & (there <= 1))):
            yield "outputs that are all but 0 or 1, whose sigmoid could not be found"


def _far(problem: Problem, pictures: Any) -> dict[str, tf.Tensor]:
    """Images `_FAR` widths of their range away from the start, together and each value by itself."""
    draws = np.random.default_rng(0)
    found = {}
    for entry in problem.inputs:
        start = pictures[entry.name]
        size = _FAR * (width(entry.constraint) or 1.0)
        noise = draws.normal(size, size, start.shape)
        found[entry.name] = start + tf.constant(noise, start.dtype)
    return found


def _warn_of_layers(problem: Problem, taps: models.Taps) -> None:
    """Warns of layers that return probabilities and are maximized."""
    for name in dict.fromkeys(name for part in _rising(problem) for name in part.taps):
        kind = taps.ends.get(name, "")
        if kind in _PROBABILITIES:
            layer = name.partition("|")[0]
            _warn(
                f"activations that do not saturate, at layer {layer!r}",
                f"a layer that ends with its {kind}",
                f"Its gradient vanishes near 1. Use actmax.Logit() if it is the model's output, which is "
                f"the logit in front of the {kind}; else the layer before it, or one without activation.",
            )


def _warn_of_saturation(
    problem: Problem, taps: models.Taps, fitted: Any, targets: np.ndarray | None
) -> None:
    found = taps.saturation(fitted)
    for part in _rising(problem):
        for name in set(part.taps) & set(found):
            share = found[name].reshape(-1, found[name].shape[-1]).mean(0)
            bound = getattr(part, "target", None)
            units = targets if bound is None else np.array([bound])
            if part.kind == "vector" or units is None or units.ndim != 1:
                units = np.arange(len(share))
            if np.all(share[units[units < len(share)]] <= _MOST):
                continue
            key = name.partition("/")[2]
            kind = taps.heads.get(key, "") if name.startswith(":") else taps.ends.get(name, "")
            _warn(
                "activations that do not saturate",
                f"{_WORDS.get(kind, kind)} at the end of {name.partition('|')[0].lstrip(':')!r}, flat at "
                "the start",
                "Its gradient is nearly 0 there: try another start or seed, a larger std of the "
                "parameterization, or the layer in front of it.",
            )


# A unit is saturated from this fraction of its values.
_MOST = 0.5


def _rising(problem: Problem) -> list[Objective]:
    return [part for part in problem.objective.parts if part.rises]


def _warn(expected: str, received: str, do: str) -> None:
    warnings.warn(
        checks.message(expected, received, do), ProbabilityWarning, stacklevel=checks.users_line()
    )


def check_labels(
    problem: Problem, shapes: Mapping[str, tuple[int | None, ...]], names: Sequence[str] | None
) -> None:
    """Raises ValueError unless there is one label per unit, or two for a single-unit sigmoid."""
    if names is None or problem.objective.kind != "index":
        return
    # The inputs of the batch-norm layers are not a single activation and have no units.
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
    """Checks that TensorFlow has a device. Otherwise TensorFlow would use the CPU without a message."""
    if name is None:
        return None
    known = [found.name.rsplit("device:", 1)[-1] for found in tf.config.list_logical_devices()]
    wanted = str(name).upper().rsplit("/", 1)[-1].removeprefix("DEVICE:")
    if wanted not in known:
        raise ValueError(checks.message(f"one of the devices {known}", repr(name)))
    return wanted


def on_gpu(wanted: str | None) -> bool:
    """Whether a device returned by `device` is a GPU."""
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
    """The label of every row's target. None without labels."""
    if labels is None or targets is None or targets.ndim != 1:
        return None
    return tuple(labels[t] if t < len(labels) else str(t) for t in targets)
