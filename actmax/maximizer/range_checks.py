"""Checks the input range with the statistics of the network: can it be the range of its training?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, evidence
from actmax.models import is_keras, layers
from actmax.objectives import LOGITS, Normalized
from actmax.problem import Problem
from actmax.scales import closed

_IMAGE_RANK = 3
_COUNT = 8
# Allowed factor between the variation at the input of the first batch-norm layer and that in
# training. For pictures of another kind, the factor is below 4. For another usual range, it is 127 or
# 255.
_TIMES = 30.0
# Ranges of at least this width are gray levels. The second number is a difference of the two largest logits
# that a network does not reach in its own range: the second class would have a probability of 1e-22.
_LEVELS = 100.0
_LEAD = 50.0


class InputRangeWarning(UserWarning):
    """According to the network's statistics, it was trained on another input range."""


def warn_of_range(problem: Problem) -> None:
    """Warns once if drawn textures in the input range differ strongly from the training images.

    The statistics of the first batch-norm layer show this. Without such a layer, and for a range of gray
    levels, saturated outputs show it.
    """
    if len(problem.models) > 1 or len(problem.inputs) > 1 or len(problem.models[0].names) > 1:
        return
    entry, taps = problem.inputs[0], problem.models[0]
    low, high = entry.constraint.low, entry.constraint.high
    if len(entry.shape) != _IMAGE_RANK or not closed(low, high) or not is_keras(taps.model):
        return
    normalized = _has_batch_norm(taps.model)
    span = float(np.max(np.subtract(high, low)))
    if not normalized and (span < _LEVELS or not taps.names[0].startswith(LOGITS)):
        return
    texture = evidence.candidates((entry.shape[0], entry.shape[1]))["smooth texture"][:_COUNT]
    levels = np.repeat(texture[..., None], entry.shape[-1], axis=-1)
    drawn = low + np.subtract(high, low) * levels
    try:
        fitted = {entry.name: entry.fit(tf.constant(drawn, problem.dtype))}
        if normalized:
            text = _of_statistics(taps.first_normalized(fitted))
        else:
            text = _of_outputs(taps(fitted), taps.names[0])
    except (LookupError, NotImplementedError, ValueError):
        return  # no finding if it cannot be read
    if text:
        warnings.warn(
            checks.message(
                "the input range that the network was trained on",
                f"({np.min(low):g}, {np.max(high):g}), and {text}",
                "Give the range of its training images, such as input_range=(0, 1) or (-1, 1), or what maps "
                "yours to it as preprocess=.",
            ),
            InputRangeWarning,
            stacklevel=checks.users_line(),
        )


def _has_batch_norm(model: Any) -> bool:
    import keras

    return any(
        isinstance(layer, keras.layers.BatchNormalization) for layer in layers(model).values()
    )


def _of_statistics(first: Normalized | None) -> str:
    """The finding of the first batch-norm layer for textures; empty if their statistics fit."""
    if first is None:
        return ""
    mean, variance = np.asarray(first.mean)[0], np.asarray(first.variance)[0]
    if np.all(mean == 0) and np.all(variance == 1):
        return ""  # the values before training
    inputs = np.asarray(first.inputs, np.float64)
    spread = inputs.std(axis=tuple(range(inputs.ndim - 1)))
    known = variance > 0
    with np.errstate(divide="ignore"):
        ratios = np.log(spread[known] / np.sqrt(variance[known]))
    if not len(ratios) or not np.isfinite(ratios).any():
        return ""
    times = float(np.exp(np.median(ratios[np.isfinite(ratios)])))
    if 1 / _TIMES <= times <= _TIMES:
        return ""
    return (
        "in it what textures make of the first batch-norm layer varies "
        f"{times:.2g} times as much as what it was trained on"
    )


def _of_outputs(seen: Mapping[str, Any], name: str) -> str:
    """The finding of the logits for textures; empty if they are not saturated."""
    logits = np.asarray(seen[name], np.float64)
    if logits.ndim != 2 or logits.shape[1] < 2 or not np.isfinite(logits).all():
        return ""
    ordered = np.sort(logits, axis=1)
    lead = float(np.median(ordered[:, -1] - ordered[:, -2]))
    if lead < _LEAD:
        return ""
    return f"in it the outputs for textures are saturated: one logit leads by {lead:.0f}"
