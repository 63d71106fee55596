"""Metrics of judges: predicted classes, their probabilities, and distances to natural images in features."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from actmax.evaluation import distances, judge_metrics
from actmax.evaluation.networks import LOGITS, Judge
from actmax.evaluation.record import Book
from actmax.evaluation.sources import Natural

LOGIT_METRICS = ("transfer", "transfer_min")
NATURAL_METRICS = ("transfer_probability", "judge_z", "judge_z_min", "judge_percentile")
FEATURE_METRICS = (
    "plausibility",
    "mahalanobis",
    "kernel_distance",
    "frechet_distance",
    "diversity",
    "vendi_score",
)
ALL = (*LOGIT_METRICS, *NATURAL_METRICS, *FEATURE_METRICS)
# Draws of natural images as many as were generated, whose distance to the others is the floor.
_FLOOR_DRAWS = 10


def measure(
    book: Book,
    judges: Mapping[str, Judge],
    images: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    anchor: Natural | None,
    neighbours: int,
) -> None:
    """All metrics of judges: one line per judge, then the mean, and the worst where it counts."""
    for name, judge in judges.items():
        layer = judge.feature_layer()
        layers = [layer] if layer is not None else []
        ours = judge.look(images, layers)
        theirs = None if anchor is None else judge.look(anchor.floats(), layers)
        _of_logits(book, name, ours[LOGITS], classes, theirs, anchor)
        if layer is None:
            book.skip(f"{name} has no layer of features: name one", *FEATURE_METRICS)
        elif theirs is not None and anchor is not None:
            _of_features(book, name, ours[layer], classes, theirs[layer], anchor, neighbours)
    if anchor is None:
        book.skip("no natural images were given", *NATURAL_METRICS, *FEATURE_METRICS)
    for metric in ALL:
        _over_judges(book, metric, judges)


def _of_logits(
    book: Book, name: str, logits: Any, classes: Any, theirs: Any, anchor: Natural | None
) -> None:
    accuracy = None
    if theirs is not None and anchor is not None:
        accuracy = float(judge_metrics.top1(theirs[LOGITS], anchor.classes).mean())
    book.add("transfer", lambda: judge_metrics.top1(logits, classes), natural=accuracy, judge=name)
    if theirs is None or anchor is None:
        return
    known = (theirs[LOGITS], anchor.classes)
    heat = judge_metrics.temperature(*known)
    natural = judge_metrics.probability(*known, heat).mean()
    book.add(
        "transfer_probability",
        lambda: judge_metrics.probability(logits, classes, heat),
        natural=natural,
        judge=name,
    )
    book.add(
        "judge_z",
        lambda: judge_metrics.standardized(logits, classes, *known),
        natural=0.0,
        judge=name,
    )
    book.add(
        "judge_percentile",
        lambda: judge_metrics.percentile(logits, classes, *known),
        natural=0.5,
        judge=name,
    )


def scale_of(bank: Any) -> float:
    """One factor for all features of a judge, so that large features do not dominate. `[M, D] ->`."""
    return 1.0 / max(float(np.sqrt(np.mean(np.square(bank)))), 1e-12)


def _of_features(
    book: Book, name: str, ours: Any, classes: Any, theirs: Any, anchor: Natural, neighbours: int
) -> None:
    bank, held = anchor.halves()

    def plausibility() -> Any:
        floor = np.median(distances.neighbour_distance(theirs[held], theirs[bank], neighbours))
        return distances.neighbour_distance(ours, theirs[bank], neighbours) / floor

    book.add("plausibility", plausibility, natural=1.0, judge=name)
    known = (theirs[bank], anchor.classes[bank])
    book.add(
        "mahalanobis",
        lambda: distances.mahalanobis(ours, classes, *known),
        natural=lambda: distances.mahalanobis(theirs[held], anchor.classes[held], *known).mean(),
        judge=name,
    )
    scale = scale_of(theirs[bank])
    ours_scaled, theirs_scaled = scale * ours, scale * theirs
    for metric in (distances.kernel_distance, distances.frechet_distance):
        book.add(
            metric.__name__,
            functools.partial(metric, ours_scaled, theirs_scaled[bank]),
            natural=functools.partial(
                _floor, metric, theirs_scaled[held], theirs_scaled[bank], len(ours)
            ),
            judge=name,
        )
    book.add(
        "diversity",
        lambda: (
            distances.diversity(ours, classes)
            / distances.diversity(theirs[held], anchor.classes[held])
        ),
        natural=1.0,
        judge=name,
    )
    rows = np.random.default_rng(0).permutation(held)[: len(ours)]
    book.add(
        "vendi_score",
        lambda: distances.vendi_score(ours),
        natural=distances.vendi_score(theirs[rows]) if len(rows) == len(ours) else None,
        judge=name,
    )


def _floor(metric: Any, held: Any, bank: Any, count: int) -> float:
    """The distance that as many natural images have from the bank."""
    draws = np.random.default_rng(0)
    count = min(count, len(held))
    picks = [draws.choice(len(held), count, replace=False) for _ in range(_FLOOR_DRAWS)]
    return float(np.mean([metric(held[rows], bank) for rows in picks]))


def _over_judges(book: Book, metric: str, judges: Mapping[str, Judge]) -> None:
    source = metric.removesuffix("_min")
    found = [m for m in book.measurements if m.metric == source and m.judge is not None]
    if len(found) != len(judges):
        book.skip("not every judge could measure it", metric)
        return
    anchors = [m.natural for m in found if m.natural is not None]
    worst = min(found, key=lambda m: m.value)
    if metric.endswith("_min"):
        values = worst.images if worst.images is not None else (worst.value,)
        book.add(metric, lambda: np.array(values), natural=worst.natural)
    elif found[0].images is not None:
        values_of = np.array([m.images for m in found])
        anchor = float(np.mean(anchors)) if anchors else None
        book.add(metric, lambda: values_of.mean(axis=0), natural=anchor)
    else:
        anchor = float(np.mean(anchors)) if anchors else None
        book.add(metric, lambda: np.mean([m.value for m in found]), natural=anchor)
