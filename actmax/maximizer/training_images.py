"""Finds the kind of images on which the models were trained, before a recipe is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, evidence, models
from actmax.constraints import Constraint
from actmax.evidence import Evidence
from actmax.models import InputSpec, Taps
from actmax.objectives import LOGITS, PROBABILITIES, Objective
from actmax.preparing import channels_last, from_last, prepare
from actmax.scales import closed

# Number of images in one pass.
_BATCH = 32
_CLASSES = 3


def evidence_of(
    members: Sequence[Any],
    objective: Objective,
    spec: InputSpec,
    shape: tuple[int, ...],
    constraint: Constraint,
    preprocess: Any,
    channels: int | None,
    natural: np.ndarray | None,
) -> Evidence:
    """The kind of images of a gray input, from images of the user or from the models' outputs.

    Args:
        members: the models.
        objective: the objective, which selects the output.
        spec: of the input.
        shape: shape of one image inside the loop, `(H, W, 1)`.
        constraint: the input range.
        preprocess: maps images in the range to the models' input.
        channels: axis of the channels in the models' layout.
        natural: images from the user, or None.
    """
    low, high = constraint.low, constraint.high
    if not closed(low, high) or np.size(low) != 1 or np.size(high) != 1:
        return Evidence(None, "the input range has no black and white, so nothing is assumed")
    bottom, top = float(np.min(low)), float(np.max(high))
    if natural is not None:
        return evidence.of_images(natural, bottom, top)
    name = next((tap for tap in objective.taps if tap.startswith(LOGITS)), LOGITS)
    taps = [Taps(member, (name,)) for member in members]

    def answers(images: np.ndarray) -> np.ndarray | None:
        found: list[Any] = []
        for start in range(0, len(images), _BATCH):
            batch = tf.constant(
                bottom + (top - bottom) * images[start : start + _BATCH], spec.dtype
            )
            fitted = {spec.name: prepare(batch, spec.shape, channels, preprocess)}
            if not found and any(_unsteady(tap, fitted) for tap in taps):
                raise ValueError("its passes draw at random or keep a state")
            each = [_probabilities(tap(fitted), name) for tap in taps]
            if any(part is None for part in each):
                return None
            found.append(np.mean([part for part in each if part is not None], axis=0))
        return np.concatenate(found)

    try:
        return evidence.of_answers(answers, (shape[0], shape[1]))
    except (LookupError, NotImplementedError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        return Evidence(
            None, f"the model's answers cannot be read, so nothing is assumed: {reason}"
        )


def _unsteady(tap: Taps, fitted: Mapping[str, Any]) -> bool:
    """Whether a pass changes the model or is random. The trace shows this without a run."""
    tap.trace(fitted)
    found = tap.findings()
    return found.random is not None or bool(found.written)


def natural_images(
    given: Any, shape: tuple[int, ...], constraint: Constraint, channels: int | None
) -> np.ndarray | None:
    """Checked images of the kind that the model was trained on, channels last. `-> [M, H, W, C]`, or None.

    Raises:
        TypeError: if they are no numbers.
        ValueError: if there are none, or they have another shape, are not finite, or are outside
            the input range.
    """
    if given is None:
        return None
    images = np.asarray(given)
    if images.dtype.kind not in "fiu":
        raise TypeError(checks.message("natural to be images, numbers", f"dtype {images.dtype}"))
    own = from_last(shape, channels)
    if images.ndim != len(own) + 1 or images.shape[1:] != own or not len(images):
        raise ValueError(
            checks.message(
                f"natural of shape [M, {', '.join(map(str, own))}]",
                f"shape {images.shape}",
                "Give some images that the model was trained on, prepared as for it.",
            )
        )
    last = channels_last(checks.finite(images.astype(np.float64), "natural"), channels)
    return np.asarray(checks.within(last, constraint.low, constraint.high, "natural"))


def _probabilities(found: Mapping[str, Any], name: str) -> np.ndarray | None:
    """Probabilities of exclusive classes. None if the outputs are something else. `-> [M, C]`."""
    logits = found[name]
    if logits.shape.rank != 2 or not np.isfinite(logits).all():
        return None
    sure = found.get(name.replace(LOGITS, PROBABILITIES, 1))
    if sure is not None:
        values = np.asarray(sure, np.float64)
        if values.shape[1] == 1:
            return np.concatenate([1.0 - values, values], axis=1)
        # Each unit of a sigmoid has its own probability.
        return values if models.look_like_probabilities(values) else None
    values = np.asarray(logits, np.float64)
    if values.shape[1] < _CLASSES:
        return None
    if models.look_like_probabilities(values):
        return values
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
