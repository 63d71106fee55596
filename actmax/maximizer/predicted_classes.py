"""Computes the class that the models of a run predict for its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import images, models, scales
from actmax.loop import Arguments, Loop
from actmax.predictions import Named
from actmax.problem import Judged, Problem
from actmax.types import Images

_SURE = 0.5
_IMAGE_RANK = 3
# A linear output with so few units does not show a classifier.
_FEW = 2


def own_names(
    loop: Loop,
    pictures: Images,
    judged: Judged,
    arguments: Arguments,
    labels: Sequence[str] | None,
) -> Named | None:
    """The models' own class of every picture after rounding to 8 bits, or None.

    None if the objective is not one class of a classifier. Inputs that are not pictures with a closed
    range are classified without rounding. Pictures need one more pass.

    Args:
        loop: loop of the run. Nothing is traced again.
        pictures: the images of the run.
        judged: the models' outputs for them.
        arguments: of the run.
        labels: names of all classes.
    """
    problem = loop.problem
    if judged.asked is None or not _classifies(problem, judged.classes, labels):
        return None
    rounded, fine = _rounded(problem, pictures)
    said = judged if rounded is None else loop.judge(rounded, arguments)
    if said.asked is None:
        return None
    asked = said.asked.numpy()
    answers = [
        _probabilities(_head(problem, number), np.asarray(found, np.float64))
        for number, found in enumerate(said.classes)
    ]
    table = np.mean(answers, axis=0)
    fine &= np.isfinite(table).all(axis=1)
    table = np.where(fine[:, None], table, 0.0)
    classes = table.argmax(axis=1)
    rows = np.arange(len(table))
    agrees = classes == asked
    if _apart(_head(problem, 0), said.classes[0].numpy()):
        agrees = table[rows, asked] >= _SURE
    sure = np.where(fine, table[rows, classes], np.nan)
    return Named(
        np.where(fine, classes, -1).astype(np.int64),
        sure,
        agrees & fine,
        tuple(
            _name(labels, number) if ok else "" for number, ok in zip(classes, fine, strict=True)
        ),
        tuple(_name(labels, number) for number in asked),
    )


def _name(labels: Sequence[str] | None, number: int) -> str:
    return labels[number] if labels is not None and number < len(labels) else str(number)


def _head(problem: Problem, number: int) -> str:
    """The head of one of the models."""
    output = getattr(problem.objective, "output", None) or ""
    return problem.models[number].heads.get(output, "unknown")


def _apart(head: str, outputs: np.ndarray) -> bool:
    """Whether every unit has an independent probability: several units before a sigmoid. `[N, C]`.

    One unit before a sigmoid represents two exclusive classes: its value and the negative.
    """
    pair = outputs.shape[1] == 2 and np.array_equal(outputs[:, 0], -outputs[:, 1], equal_nan=True)
    return head in ("sigmoid", "logsigmoid") and not pair


def _classifies(
    problem: Problem, classes: Sequence[tf.Tensor], labels: Sequence[str] | None
) -> bool:
    """Whether the outputs are those of a classifier.

    A softmax, a sigmoid, labels, or the loss of a compiled model show it. Without these, several
    linear outputs for an image are treated as logits of classes.
    """
    heads = [_head(problem, number) for number in range(len(classes))]
    if all(head in ("softmax", "logsoftmax", "sigmoid", "logsigmoid") for head in heads):
        return True
    if int(classes[0].shape[1]) < _FEW:
        return False
    loss = _loss(problem.models[0].model)
    if labels is not None or "crossentropy" in loss:
        return True
    one = len(problem.inputs) == 1 and len(problem.inputs[0].shape) == _IMAGE_RANK
    return not loss and one and int(classes[0].shape[1]) > _FEW


def _loss(model: Any) -> str:
    """The name of the loss that a model was compiled with. Empty if there is none or several."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, Mapping):
        return "several" if len(loss) > 1 else _written(next(iter(loss.values()), None))
    return "several" if isinstance(loss, (list, tuple)) else _written(loss)


def _written(loss: Any) -> str:
    if loss is None:
        return ""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return name.lower().replace("_", "")


def _probabilities(head: str, outputs: np.ndarray) -> np.ndarray:
    """Probabilities of classes, from the logits. `[N, C] -> [N, C]`."""
    if head in ("sigmoid", "logsigmoid"):
        return np.exp(-np.logaddexp(0.0, -outputs))
    finite = np.isfinite(outputs).all(axis=1)
    if finite.any() and models.look_like_probabilities(outputs[finite]):
        return outputs
    with np.errstate(invalid="ignore", over="ignore"):
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def _rounded(problem: Problem, pictures: Images) -> tuple[Images | None, np.ndarray]:
    """Pictures after rounding to 8 bits, and which rows are finite. None if no input is a picture."""
    found: Images = dict(pictures)
    changed = False
    fine = np.ones(int(next(iter(pictures.values())).shape[0]), bool)
    for entry in problem.inputs:
        values = pictures[entry.name].numpy()
        fine &= np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        low, high = entry.constraint.low, entry.constraint.high
        if len(entry.shape) != _IMAGE_RANK or entry.shape[-1] not in (1, 3):
            continue
        if not scales.closed(low, high) or np.any(np.equal(low, high)):
            continue
        bottom, top = np.asarray(low, np.float64), np.asarray(high, np.float64)
        safe = np.where(np.isfinite(values), values, bottom)
        levels = images.to_uint8(safe, bottom, top) / 255.0
        # Like `from_uint8`, also for bounds per channel.
        found[entry.name] = tf.constant(bottom * (1.0 - levels) + top * levels, problem.dtype)
        changed = True
    return (found if changed else None), fine
