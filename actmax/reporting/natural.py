"""The natural images that a unit responds to most, to show beside its picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, images, models
from actmax.objectives import refuse_coupled
from actmax.preparing import prepare
from actmax.types import IMAGES

_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Natural:
    """The K strongest natural images of each of N pictures, strongest first.

    Attributes:
        images: uint8 `[N, K, H, W, C]`.
        scores: `[N, K]`, the objective of each, by the model without transforms.
        numbers: int `[N, K]`, which image of the data set it is, from 0.
        names: its label in the data set, `[N][K]`; empty texts where there are none.
    """

    images: np.ndarray
    scores: np.ndarray
    numbers: np.ndarray
    names: tuple[tuple[str, ...], ...]


def rank(
    model: Any,
    objective: Any,
    data: np.ndarray,
    targets: np.ndarray | None,
    count: int,
    preprocess: Callable[[Any], Any] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` strongest of M images for every target. `[M, ...] -> [N, K] numbers, [N, K] scores`.

    Args:
        model: a Keras model or a callable.
        objective: an `Objective`.
        data: images in the input range, of the model's size, channels last.
        targets: `[N]` or `[N, C]`; None for an objective without, N = 1.
        count: K, at most M.
        preprocess: images in the input range and the model's layout to what it takes.

    Raises:
        ValueError: a score is not finite, there are no images, or the objective couples images.
    """
    refuse_coupled(objective, "natural images")
    if not len(data):
        raise ValueError(checks.message("at least one natural image", "none"))
    taps = models.Taps(model, objective.taps)
    shape, channels = models.taken(model)
    rows = 1 if targets is None else len(targets)
    scores = np.empty([len(data), rows], np.float64)
    for start in range(0, len(data), _BATCH):
        batch = tf.constant(data[start : start + _BATCH], tf.float32)
        activations = taps({IMAGES: prepare(batch, shape, channels, preprocess)})
        if not start:
            objective.check(taps.shapes, targets)
        for row in range(rows):
            own = None if targets is None else tf.constant(np.stack([targets[row]] * len(batch)))
            scores[start : start + len(batch), row] = objective(activations, own).numpy()
    checks.finite(scores, "scores of the natural images")
    # A stable sort, so that the first of images with equal scores comes first.
    numbers = np.argsort(-scores, axis=0, kind="stable")[: min(count, len(data))]
    return numbers.T, np.take_along_axis(scores, numbers, axis=0).T


def strongest(
    result: Any,
    model: Any,
    data: np.ndarray,
    objective: Any,
    names: Sequence[str] | None,
    count: int,
    preprocess: Callable[[Any], Any] | None,
) -> Natural:
    """The work of `Result.strongest`. For an open range, it uses the scale of the result's pictures."""
    shown = result.pictures()
    if shown is None or np.shape(data)[1:] != shown.shape[1:]:
        wanted = "a result of pictures" if shown is None else f"images [M, *{shown.shape[1:]}]"
        raise ValueError(checks.message(wanted, f"the shape {np.shape(data)}"))
    if names is not None and len(names) != len(data):
        raise ValueError(checks.message(f"{len(data)} names", f"{len(names)}"))
    # Otherwise images outside the range would be ranked by meaningless scores, and their pictures
    # would be clipped.
    name = next(iter(result.low))
    checks.within(np.asarray(data), result.low[name], result.high[name], "natural images")
    numbers, scores = rank(model, objective, data, result.targets, count, preprocess)
    numbers = np.broadcast_to(numbers, (len(result), numbers.shape[1]))
    return Natural(
        images.to_uint8(data[numbers], *result.scale()),
        np.broadcast_to(scores, numbers.shape),
        numbers,
        tuple(tuple("" if names is None else str(names[n]) for n in row) for row in numbers),
    )
