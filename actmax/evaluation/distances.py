"""Distances between sets of features: how close generated images are to natural ones. NumPy only.

Shapes: N generated, M natural images, D features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from actmax import checks

__all__ = [
    "diversity",
    "frechet_distance",
    "kernel_distance",
    "mahalanobis",
    "neighbour_distance",
    "resampled_kernel_distance",
    "vendi_score",
]

Array = npt.NDArray[np.float64]

_TINY = 1e-12
# Weight of the mean variance in the shared covariance, so that it can be inverted.
_SHRINKAGE = 0.05


def frechet_distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Fréchet distance of the Gaussians with the moments of two sets. `[N, D], [M, D] -> >= 0`.

    `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`. Biased upwards for few samples: below ten times as
    many samples as features, read `kernel_distance`.

    Raises:
        ValueError: fewer than two samples, or numbers of features that differ.

    Source:
        Heusel et al., 2017, https://arxiv.org/abs/1706.08500.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(500, 3))
        >>> round(frechet_distance(x, x + 2.0), 6)
        12.0
    """
    x, y = _pair(first, second)
    a, b = np.cov(x, rowvar=False).reshape(2 * (x.shape[1],)), np.cov(y, rowvar=False)
    root = _root(a)
    # (C1 C2)^(1/2) has the trace of (R C2 R)^(1/2), R = C1^(1/2), which is symmetric.
    cross = np.linalg.eigvalsh(root @ b.reshape(a.shape) @ root)
    trace = np.trace(a) + np.trace(b.reshape(a.shape)) - 2 * np.sqrt(np.maximum(cross, 0)).sum()
    return float(max(np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) + trace, 0.0))


def kernel_distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Kernel distance: unbiased squared MMD, `k(x, y) = (x.y / D + 1)^3`. `[N, D], [M, D] -> R`.

    The expected value is 0 for two sets from the same distribution, for any size of the sets. So single
    values can be negative. A set with the same number of images of every class is not a random sample:
    it has fewer pairs within a class than a random one. For few natural images the value is therefore
    below 0. So compare it with the value for the same number of natural images.

    Raises:
        ValueError: fewer than two samples, or numbers of features that differ.

    Source:
        Bińkowski et al., 2018, https://arxiv.org/abs/1801.01401.
    """
    rows = np.arange(len(np.asarray(first)))[None]
    return float(resampled_kernel_distance(first, second, rows)[0])


def resampled_kernel_distance(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    rows: npt.ArrayLike,
    second_counts: npt.ArrayLike | None = None,
) -> Array:
    """`kernel_distance` of every resample of the first set. `[N, D], [M, D], [R, N] -> [R]`.

    If a row is drawn twice, this is not a pair of images. Only pairs of different rows count, each as
    often as it was drawn.

    Args:
        first: features of N images.
        second: features of the images that they are compared with.
        rows: numbers of the rows of `first` in each resample.
        second_counts: how often each row of `second` counts in each resample, `[R, M]`, 0 or more; None
            for once in every resample. If classes are drawn, these counts give the second set the same
            classes. Otherwise the distance would include that between the drawn classes and all
            classes.

    Raises:
        ValueError: fewer than two samples, numbers of features that differ, a resample of a single
            image, or counts of another shape or below 0.
    """
    x, y = _pair(first, second)
    drawn = np.asarray(rows)
    counts = np.stack([np.bincount(row, minlength=len(x)) for row in drawn]).astype(np.float64)
    if second_counts is None:
        others = np.ones((1, len(y)))
    else:
        others = np.asarray(second_counts, np.float64)
        if others.shape != (len(drawn), len(y)) or others.min() < 0:
            expected = f"second_counts of shape {(len(drawn), len(y))}, 0 or more"
            received = f"shape {others.shape}, least {others.min() if others.size else None}"
            raise ValueError(checks.message(expected, received))

    def kernel(a: Array, b: Array) -> Array:
        return np.asarray((a @ b.T / x.shape[1] + 1) ** 3)

    def pairs_mean(among: Array, weights: Array) -> Array:
        """The mean over pairs of different rows, each as often as both count. `[K, K], [R, K] -> [R]`."""
        np.fill_diagonal(among, 0.0)
        pairs = weights.sum(axis=1) ** 2 - np.square(weights).sum(axis=1)
        if not pairs.all():
            raise ValueError(
                checks.message("resamples of two images or more", "one of a single image")
            )
        return np.asarray(np.sum(weights @ among * weights, axis=1) / pairs)

    own, theirs = pairs_mean(kernel(x, x), counts), pairs_mean(kernel(y, y), others)
    shares = others / others.sum(axis=1, keepdims=True)
    across = counts @ kernel(x, y) / counts.sum(axis=1, keepdims=True)
    return np.asarray(own + theirs - 2 * np.sum(across * shares, axis=1))


def neighbour_distance(features: npt.ArrayLike, bank: npt.ArrayLike, k: int = 5) -> Array:
    """Distance to the k-th nearest of a bank of natural images. `[N, D], [M, D] -> [N]`.

    Features are scaled to unit length, so distances are between 0 and 2.

    Raises:
        ValueError: the bank has fewer than k images.

    Source:
        Sun et al., 2022, https://arxiv.org/abs/2204.06507.
    """
    x, y = _pair(features, bank, at_least=1)
    if len(y) < k:
        raise ValueError(checks.message(f"a bank of at least {k} images", len(y)))
    similarity = np.clip(_unit(x) @ _unit(y).T, -1, 1)
    nearest = np.partition(similarity, len(y) - k, axis=1)[:, len(y) - k]
    return np.asarray(np.sqrt(np.maximum(2 - 2 * nearest, 0)))


def mahalanobis(
    features: npt.ArrayLike,
    classes: npt.ArrayLike,
    bank: npt.ArrayLike,
    bank_classes: npt.ArrayLike,
) -> Array:
    """Squared distance from the mean of one's class per feature. `-> [N]`, about 1 if natural.

    `(x - m_c)' S^-1 (x - m_c) / D`, S the covariance within classes shared by all, shrunk by 5 %
    towards its mean variance.

    Raises:
        ValueError: a class has no natural image.
    """
    x, y = _pair(features, bank, at_least=1)
    own, theirs = np.asarray(classes), np.asarray(bank_classes)
    means = {c: y[theirs == c].mean(axis=0) for c in np.unique(theirs)}
    missing = sorted(set(np.unique(own).tolist()) - set(means))
    if missing:
        raise ValueError(checks.message("natural images of every class", f"none of {missing}"))
    centred = y - np.stack([means[c] for c in theirs])
    covariance = centred.T @ centred / max(len(y) - len(means), 1)
    level = np.trace(covariance) / len(covariance)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * (level + _TINY) * np.eye(len(covariance))
    away = x - np.stack([means[c] for c in own])
    return np.asarray((away * np.linalg.solve(shrunk, away.T).T).sum(axis=1) / x.shape[1])


def diversity(features: npt.ArrayLike, classes: npt.ArrayLike) -> float:
    """Mean of `1 - cos` over pairs of one class. `[N, D], [N] -> 0..2`; 0 if all are equal.

    Raises:
        ValueError: no class has two images.
    """
    unit = _unit(np.asarray(features, np.float64))
    own = np.asarray(classes)
    means = []
    for c in np.unique(own):
        rows = unit[own == c]
        if len(rows) > 1:
            similarity = rows @ rows.T
            pairs = len(rows) * (len(rows) - 1)
            means.append(1 - (similarity.sum() - np.trace(similarity)) / pairs)
    if not means:
        raise ValueError(checks.message("two images of some class", "one of each"))
    return float(max(np.mean(means), 0.0))


def vendi_score(features: npt.ArrayLike) -> float:
    """Effective number of different images. `[N, D] -> 1..N`.

    `exp(-sum_i l_i log l_i)`, l the eigenvalues of the cosine similarities divided by N.

    Source:
        Friedman and Dieng, 2023, https://arxiv.org/abs/2210.02410.

    Example:
        >>> round(vendi_score(np.eye(4)), 6), round(vendi_score(np.ones((4, 4))), 6)
        (4.0, 1.0)
    """
    unit = _unit(np.asarray(features, np.float64))
    values = np.linalg.eigvalsh(unit @ unit.T / len(unit))
    values = values[values > _TINY]
    return float(np.exp(-(values * np.log(values)).sum()))


def _unit(features: Array) -> Array:
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), _TINY))


def _root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)


def _pair(first: npt.ArrayLike, second: npt.ArrayLike, at_least: int = 2) -> tuple[Array, Array]:
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < at_least:
        expected = f"two sets of features [N, D], [M, D], of at least {at_least} rows"
        raise ValueError(checks.message(expected, f"shapes {x.shape} and {y.shape}"))
    return x, y
