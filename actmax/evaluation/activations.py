"""Metrics of the subject: activation compared with natural images, robustness to changes, processing path.

NumPy and SciPy only. Shapes: N generated, M natural images, T variations.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from actmax import checks

__all__ = [
    "activation_ratio",
    "activation_z",
    "honesty_gap",
    "matched_contrast",
    "path_similarity",
    "range_violation",
    "retention",
]

Array = npt.NDArray[np.float64]

_TINY = 1e-12


def honesty_gap(reported: npt.ArrayLike, scores: npt.ArrayLike) -> Array:
    """Relative gap of what was reported and what the images score. `[N], [N] -> [N]`, 0 is honest.

    `|reported - score| / max(1, |score|)`.

    Example:
        >>> honesty_gap([10.0, 0.5], [5.0, 0.5]).tolist()
        [1.0, 0.0]
    """
    said, found = np.asarray(reported, np.float64), np.asarray(scores, np.float64)
    if said.shape != found.shape:
        raise ValueError(
            checks.message("as many reported scores as images", f"{said.shape} and {found.shape}")
        )
    return np.asarray(np.abs(said - found) / np.maximum(1.0, np.abs(found)))


def range_violation(images: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike) -> Array:
    """How far values lie outside the input range. `[N, ...] -> [N]`, 0 inside, in units of the input."""
    values = np.asarray(images, np.float64)
    outside = np.maximum(np.asarray(low) - values, values - np.asarray(high))
    return np.asarray(np.maximum(outside, 0).reshape(len(values), -1).max(axis=1))


def activation_ratio(scores: npt.ArrayLike, natural: npt.ArrayLike) -> Array:
    """Score over the largest one of natural images. `[N], [N, M] -> [N]`; above 1: beyond nature.

    Args:
        scores: of the images.
        natural: row n, the scores of natural images for the target of image n.

    Raises:
        ValueError: the largest natural score is not positive, so that a ratio means nothing.
    """
    ours, best = np.asarray(scores, np.float64), np.asarray(natural, np.float64).max(axis=-1)
    if np.any(best <= 0):
        received = f"{best.min():.4g}"
        raise ValueError(checks.message("a positive largest natural score", received))
    return np.asarray(ours / best)


def activation_z(scores: npt.ArrayLike, natural: npt.ArrayLike) -> Array:
    """Score in standard deviations of natural images. `[N], [N, M] -> [N]`, `(a - mean) / std`."""
    ours, theirs = np.asarray(scores, np.float64), np.asarray(natural, np.float64)
    spread = np.maximum(theirs.std(axis=-1, ddof=1), _TINY)
    return np.asarray((ours - theirs.mean(axis=-1)) / spread)


def matched_contrast(images: npt.ArrayLike, deviation: float) -> npt.NDArray[np.float32]:
    """Images with equal contrast, so that contrast does not change the response. `[N, ...] -> [N, ...]`.

    Mean kept, `mean + (x - mean) deviation / std`, clipped to (0, 1); constant images stay.

    Source:
        Walker et al., 2019, https://doi.org/10.1038/s41593-019-0517-x.
    """
    values = np.asarray(images, np.float64)
    axes = tuple(range(1, values.ndim))
    mean, std = values.mean(axis=axes, keepdims=True), values.std(axis=axes, keepdims=True)
    return np.clip(mean + (values - mean) * deviation / np.maximum(std, _TINY), 0, 1).astype(
        np.float32
    )


def retention(varied_z: npt.ArrayLike, z: npt.ArrayLike) -> float:
    """Share of the activation that is left after small changes. `[N, T], [N] -> R`, at most about 1.

    `sum_n mean_t z(t(x_n)) / sum_n z(x_n)`. It is a ratio of sums, because the ratio of a single image
    is very large if z is near 0.

    Raises:
        ValueError: the activation is not above that of natural images in the mean.
    """
    before = float(np.asarray(z, np.float64).mean())
    if before <= 0:
        raise ValueError(
            checks.message("images that respond more than natural ones", f"mean z {before:.3g}")
        )
    return float(np.asarray(varied_z, np.float64).mean() / before)


def path_similarity(
    activations: npt.ArrayLike,
    classes: npt.ArrayLike,
    natural: npt.ArrayLike,
    natural_classes: npt.ArrayLike,
) -> float:
    """How similar a layer's activations are to those of natural images of the class. `-> R`, 1 is natural.

    Spearman's rank correlation of the activations with those of natural images of the class, on the
    scale where natural pairs of one class have 1 and natural pairs of different classes 0.

    Args:
        activations: `[N, D]`, of one layer.
        classes: `[N]`.
        natural: `[M, D]`.
        natural_classes: `[M]`.

    Raises:
        ValueError: natural pairs of one class are no more alike than others.

    Source:
        Geirhos et al., 2024, https://arxiv.org/abs/2306.04719.
    """
    ours = _ranked(activations)
    theirs = _ranked(natural)
    own, known = np.asarray(classes), np.asarray(natural_classes)
    among = theirs @ theirs.T
    same = known[:, None] == known[None, :]
    pair = ~np.eye(len(known), dtype=bool)
    if not (same & pair).any() or same.all():
        raise ValueError(
            checks.message(
                "natural pairs of one class and of several", f"classes {np.unique(known)}"
            )
        )
    high, low = among[same & pair].mean(), among[~same].mean()
    if high - low <= _TINY:
        received = f"correlations {high:.3g} within and {low:.3g} between classes"
        raise ValueError(checks.message("natural pairs of one class to be more alike", received))
    found = (ours @ theirs.T)[own[:, None] == known[None, :]].mean()
    return float((found - low) / (high - low))


def _ranked(values: npt.ArrayLike) -> Array:
    """Ranks, centred and of unit length: products of two are Spearman's correlation."""
    array = np.asarray(values, np.float64)
    ranks = stats.rankdata(array.reshape(len(array), -1), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    return np.asarray(ranks / np.maximum(np.linalg.norm(ranks, axis=1, keepdims=True), _TINY))
