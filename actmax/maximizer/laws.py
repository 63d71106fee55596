"""Tests in the first run whether the laws of a run hold for a model. The model does not change.

A run has two laws. The same call gives the same images, and an image is the same in a batch and
alone. A model that is random, keeps a state, or uses statistics of the batch breaks these laws.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.loop import Arguments, Loop
from actmax.models import every_layer
from actmax.objectives import ROWS
from actmax.problem import Problem
from actmax.types import Images

# Relative differences of scores below this value are rounding errors. Half precision and whole numbers
# have larger ones.
_ROUNDING = 1e-4
_ROUGH = 2e-2
# Differences of outputs from this value are no rounding errors of other kernels.
_OTHERWISE = 1e-3
# If other scores are this much larger, a small score is a sum of terms that cancel.
_CANCELLED = 1e-2


class BrokenLawWarning(UserWarning):
    """The model breaks a law: the same call gives other images, or a row differs alone and in a batch."""


def find_broken(loop: Loop, pictures: Images, arguments: Arguments) -> dict[str, str]:
    """Laws that the models break, each with its cause. Empty if all hold.

    It makes two passes over two rows with the function that judges the run. Nothing is traced for
    it.

    Args:
        loop: loop of the run. Its models were traced before.
        pictures: the start images, by input name.
        arguments: of the run.
    """
    broken: dict[str, str] = {}
    for taps in loop.problem.models:
        found = taps.findings()
        if found.random is not None:
            broken.setdefault("same call", f"random numbers drawn in its pass ({found.random})")
        if found.written:
            names = ", ".join(map(repr, found.written))
            broken.setdefault("state", f"variables that its pass reads and writes: {names}")
    if "same call" not in broken and not loop.problem.couples_images:
        broken |= _by_passes(loop, pictures, arguments)
    if not broken:
        broken |= _by_answers(loop, pictures, arguments)
    return broken


def warn(broken: Mapping[str, str]) -> None:
    """Gives one warning for every broken law."""
    for law, cause in broken.items():
        expected, do = _SENTENCES[law]
        warnings.warn(
            checks.message(expected, cause, do), BrokenLawWarning, stacklevel=checks.users_line()
        )


_SENTENCES = {
    "same call": (
        "a model that answers the same image alike, so that the same call makes the same image",
        "Scores and images belong to what was drawn; model(images) may draw something else. Give the part "
        "in front of it, such as the mean of a VAE, or call the model with training=False.",
    ),
    "state": (
        "a model whose answer does not depend on the calls before",
        "Runs leave these variables as they are, and score what the next call of the model would answer. "
        "The same call makes other images once they have changed.",
    ),
    "own answer": (
        "a model that answers from Python as in a graph, which is made once for any number of images",
        "Scores are those of the graph. Python in the model may not depend on the number of rows, on the "
        "calls before or on eager execution: write it with keras.ops, or give that part as another model.",
    ),
    "row alone": (
        "a model that scores every image by itself, so that a row alone is the row in a batch",
        "Images of this run depend on one another. If batch norm is in training mode, call the model with "
        "training=False, as in lambda images: model(images, training=False); else make one image at a time.",
    ),
}


def _by_passes(loop: Loop, pictures: Images, arguments: Arguments) -> dict[str, str]:
    """Findings from two rows: one image at two positions, and next to another image."""
    problem = loop.problem
    count = int(arguments.seeds.shape[0])
    by_place = any(ROWS in taps.names for taps in problem.models)
    whole = problem.optimizer.fixed_rows or by_place
    if whole and count == 1:
        return {}
    rows = count if whole else 2
    own = arguments._replace(
        targets=_first(arguments.targets, rows),
        seeds=_first(arguments.seeds, rows),
        fixed={name: value[:1] for name, value in arguments.fixed.items()},
        kept={name: _first(value, rows) for name, value in arguments.kept.items()},
        arrays={name: _first(value, rows) for name, value in arguments.arrays.items()},
    )
    alike = {name: _first(value, rows) for name, value in pictures.items()}
    other = {
        entry.name: tf.concat(
            [_companions(entry, alike[entry.name][:-1]), alike[entry.name][-1:]], 0
        )
        for entry in problem.inputs
    }
    try:
        one, two = (loop.judge(each, own)[0].numpy().astype(np.float64) for each in (alike, other))
    except tf.errors.OpError:  # a model may raise an error for such images
        return {}
    if not np.all(np.isfinite([one[0], one[-1], two[-1]])):
        return {}
    scale = max(abs(one[-1]), abs(two[-1]), _CANCELLED * np.nanmax(np.abs([*one, *two])))
    limit = scale * (_ROUGH if any(taps.rough for taps in problem.models) else _ROUNDING)
    moved = abs(one[-1] - one[0]) > limit and not by_place
    beside = abs(one[-1] - two[-1]) > limit
    if not (moved or beside):
        return {}
    again = loop.judge(alike, own)[0].numpy()
    if np.abs(again - one).max() > limit:
        return {"same call": "two answers to the same images in two passes"}
    where = "at another place of the batch" if moved else "beside another image"
    return {"row alone": f"another score of the same image {where}"}


def _by_answers(loop: Loop, pictures: Images, arguments: Arguments) -> dict[str, str]:
    """Compares what the graph computes with the answer of the model itself, called from Python.

    Only models with code of their own are called: the layers of Keras answer alike.
    """
    problem = loop.problem
    asked = [taps for taps in problem.models if _has_own_code(taps)]
    if not asked:
        return {}
    judged = loop.judge(pictures, arguments)
    fitted = problem.fitted(pictures, arguments.fixed)
    for taps, outputs in zip(problem.models, judged.outputs, strict=True):
        if taps not in asked or not outputs:
            continue
        try:
            answers = taps.answers(fitted)
        except Exception:  # a model may work in a graph alone
            continue
        for place, ours in outputs.items():
            gap = _gap(ours, answers.get(place))
            if gap > (_ROUGH if taps.rough else _OTHERWISE):
                return {"own answer": f"answers to the same images that differ by {gap:.1%}"}
    return {}


def _has_own_code(taps: Any) -> bool:
    if taps.letters or taps.fixed_rows:
        return False
    if not taps.keras:
        # Calling a function of TensorFlow would trace it again.
        return not hasattr(taps.model, "get_concrete_function")
    every = [taps.model, *every_layer(taps.model)]
    kinds = {type(layer) for layer in every}
    return any(
        kind.__module__.partition(".")[0] != "keras" or kind.__name__ == "Lambda" for kind in kinds
    )


def _gap(ours: Any, answer: Any) -> float:
    """The largest difference, relative to the largest value. 0 if the answer cannot be compared."""
    if answer is None or tuple(answer.shape) != tuple(ours.shape):
        return 0.0
    one, two = (np.asarray(value).astype(np.float64) for value in (ours, answer))
    largest = max(np.abs(one).max(initial=0.0), np.abs(two).max(initial=0.0))
    if not 0.0 < largest < np.inf:
        return 0.0
    return float(np.abs(one - two).max() / largest)


def _first(value: tf.Tensor, rows: int) -> tf.Tensor:
    """The first row, repeated. A scalar is returned unchanged."""
    return tf.repeat(value[:1], rows, axis=0) if value.shape.rank else value


def _companions(entry: Any, images: tf.Tensor) -> tf.Tensor:
    """Noise images, inside the range if there is one. `[N, ...] -> [N, ...]`."""
    low, high = entry.constraint.low, entry.constraint.high
    noise = np.random.default_rng(0).uniform(size=images.shape)
    if low is None or high is None or not np.all(np.isfinite([np.min(low), np.max(high)])):
        spread = np.std(images) + 1.0
        return tf.constant(np.asarray(images) + spread * (2.0 * noise - 1.0), images.dtype)
    return tf.constant(low + noise * (np.asarray(high) - np.asarray(low)), images.dtype)


@contextlib.contextmanager
def variables_restored(problem: Problem) -> Iterator[None]:
    """In this context, models may write variables. Afterwards the variables have their old values."""
    variables = [variable for taps in problem.models for variable in taps.findings().kept]
    before = [np.array(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
