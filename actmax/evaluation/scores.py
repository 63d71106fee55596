"""Metrics of the subject: whether the reported scores are right, and how they compare with natural images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from actmax.evaluation import activations
from actmax.evaluation.networks import Judge
from actmax.evaluation.record import Book
from actmax.evaluation.sources import Natural, Pictures
from actmax.evaluation.variations import variations
from actmax.objectives import Objective

HONESTY = ("honesty_gap", "honesty_gap_float", "range_violation")
AGAINST_NATURAL = (
    "activation_ratio",
    "activation_z",
    "activation_ratio_matched",
    "robust_z",
    "retention",
)
ALL = (*HONESTY, *AGAINST_NATURAL, "path_similarity")
# Natural images whose own retention is the anchor, and on which processing paths are compared.
_ANCHORS = 200
_PATH_UNITS = 4096


def measure(
    book: Book,
    subject: Judge,
    objective: Objective,
    targets: Any,
    source: Pictures,
    reported: Any,
    anchor: Natural | None,
    classes: Any,
    layers: Sequence[str],
) -> None:
    """All metrics of the subject."""
    images = source.floats()
    if targets is None:
        book.skip("the targets of the images are not known: pass classes=", *ALL)
        return
    wanted, which = np.unique(np.asarray(targets), axis=0, return_inverse=True)
    which = which.ravel()

    scorer = subject.scorer(objective)

    def own(pictures: Any) -> Any:
        return scorer(pictures, wanted)[np.arange(len(which)), which]

    scores = own(images)
    _honesty(book, subject, objective, targets, source, reported, scores)
    if anchor is None:
        book.skip("no natural images were given", *AGAINST_NATURAL, "path_similarity")
        return
    natural_images = anchor.floats()
    natural = scorer(natural_images, wanted).T[which]

    def theirs(pictures: Any) -> Any:
        return scorer(pictures, wanted).T[which]

    _against(book, own, theirs, images, scores, natural, natural_images)
    _robust(book, own, images, scores, natural)
    _paths(book, subject, images, classes, anchor, layers)


def _honesty(
    book: Book,
    subject: Judge,
    objective: Objective,
    targets: Any,
    source: Pictures,
    reported: Any,
    scores: Any,
) -> None:
    if reported is None:
        book.skip("no reported scores were given", "honesty_gap", "honesty_gap_float")
    else:
        book.add("honesty_gap", lambda: activations.honesty_gap(reported, scores))
        if source.inputs is None:
            book.skip("only 8-bit images were given", "honesty_gap_float")
        else:
            found = subject.own_scores(source.inputs, objective, targets)
            book.add("honesty_gap_float", lambda: activations.honesty_gap(reported, found))
    if source.inputs is None or source.bounds is None:
        book.skip("only 8-bit images were given", "range_violation")
    else:
        low, high = source.bounds
        book.add(
            "range_violation",
            functools.partial(activations.range_violation, source.inputs, low, high),
        )


def _against(
    book: Book,
    own: Callable[[Any], Any],
    theirs: Callable[[Any], Any],
    images: Any,
    scores: Any,
    natural: Any,
    natural_images: Any,
) -> None:
    book.add("activation_ratio", lambda: activations.activation_ratio(scores, natural), natural=1.0)
    book.add("activation_z", lambda: activations.activation_z(scores, natural), natural=0.0)
    axes = tuple(range(1, natural_images.ndim))
    deviation = float(np.median(natural_images.std(axis=axes)))

    def matched() -> Any:
        ours = own(activations.matched_contrast(images, deviation))
        anchors = theirs(activations.matched_contrast(natural_images, deviation))
        return activations.activation_ratio(ours, anchors)

    book.add("activation_ratio_matched", matched, natural=1.0)


def _robust(book: Book, own: Any, images: Any, scores: Any, natural: Any) -> None:
    z = activations.activation_z(scores, natural)
    varied = np.stack(
        [activations.activation_z(own(changed), natural) for _, changed in variations(images)],
        axis=1,
    )
    book.add("robust_z", lambda: varied.mean(axis=1))
    book.add("retention", lambda: activations.retention(varied, z))


def _paths(
    book: Book, subject: Judge, images: Any, classes: Any, anchor: Natural, layers: Sequence[str]
) -> None:
    if not layers or classes is None:
        reason = "no path_layers were given" if not layers else "classes are not known"
        book.skip(reason, "path_similarity")
        return
    draws = np.random.default_rng(0)
    rows = draws.permutation(len(anchor.images))[:_ANCHORS]
    ours = subject.look(images, layers)
    theirs = subject.look(anchor.floats()[rows], layers)
    found = []
    for layer in layers:
        width = ours[layer].shape[1]
        units = draws.permutation(width)[:_PATH_UNITS]
        value = book.add(
            "path_similarity",
            functools.partial(
                activations.path_similarity,
                ours[layer][:, units],
                classes,
                theirs[layer][:, units],
                anchor.classes[rows],
            ),
            natural=1.0,
            judge=layer,
        )
        found += [] if value is None else [float(value)]
    if len(found) == len(layers):
        book.add("path_similarity", lambda: np.mean(found), natural=1.0)
