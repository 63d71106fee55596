"""Metrics from the logits of judges: transfer, calibrated probability, typicality. NumPy and SciPy only.

Shapes: N generated, M natural images, K classes. Logits are before any softmax.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from actmax import checks

__all__ = ["percentile", "probability", "standardized", "temperature", "top1"]

Array = npt.NDArray[np.float64]

# Natural logarithms of the temperatures between which the best one is sought.
_COLDEST, _HOTTEST = -4.0, 4.0
_TINY = 1e-12


def top1(logits: npt.ArrayLike, classes: npt.ArrayLike) -> Array:
    """1 if the class has the largest logit, else 0. `[N, K], [N] -> [N]`.

    Ties count as fractions: if the class and one other class have the largest logit, the value is
    1/2.

    Example:
        >>> top1([[2.0, 1.0], [2.0, 1.0]], [0, 1]).tolist()
        [1.0, 0.0]
    """
    values, own = _logits(logits, classes)
    best = values == values.max(axis=1, keepdims=True)
    return np.asarray(best[np.arange(len(values)), own] / best.sum(axis=1))


def temperature(logits: npt.ArrayLike, classes: npt.ArrayLike) -> float:
    """The temperature at which natural images have the least negative log likelihood. `-> > 0`.

    Between exp(-4) and exp(4).

    Source:
        Guo et al., 2017, https://arxiv.org/abs/1706.04599.
    """
    values, own = _logits(logits, classes)

    def loss(log_temperature: float) -> float:
        scaled = values / np.exp(log_temperature)
        return float(-special.log_softmax(scaled, axis=1)[np.arange(len(values)), own].mean())

    found = optimize.minimize_scalar(loss, bounds=(_COLDEST, _HOTTEST), method="bounded")
    return float(np.exp(found.x))


def probability(logits: npt.ArrayLike, classes: npt.ArrayLike, temperature: float = 1.0) -> Array:
    """Softmax of the class at a temperature. `[N, K], [N] -> [N]` in 0..1."""
    values, own = _logits(logits, classes)
    return np.asarray(special.softmax(values / temperature, axis=1)[np.arange(len(values)), own])


def standardized(
    logits: npt.ArrayLike,
    classes: npt.ArrayLike,
    natural_logits: npt.ArrayLike,
    natural_classes: npt.ArrayLike,
) -> Array:
    """The class's logit in standard deviations of natural images of the class. `-> [N]`.

    `(f(x)_c - mean) / std`: 0 is a typical natural image of the class.

    Raises:
        ValueError: a class has fewer than two natural images.
    """
    values, own = _logits(logits, classes)
    result = np.empty(len(values))
    for c, anchors in _anchors(own, natural_logits, natural_classes).items():
        spread = max(float(anchors.std(ddof=1)), _TINY)
        result[own == c] = (values[own == c, c] - anchors.mean()) / spread
    return result


def percentile(
    logits: npt.ArrayLike,
    classes: npt.ArrayLike,
    natural_logits: npt.ArrayLike,
    natural_classes: npt.ArrayLike,
) -> Array:
    """Share of natural images of the class with a smaller logit of it. `-> [N]` in 0..1.

    Ties count half.

    Raises:
        ValueError: a class has fewer than two natural images.
    """
    values, own = _logits(logits, classes)
    result = np.empty(len(values))
    for c, anchors in _anchors(own, natural_logits, natural_classes).items():
        ours = values[own == c, c][:, None]
        result[own == c] = (anchors < ours).mean(axis=1) + (anchors == ours).mean(axis=1) / 2
    return result


def _anchors(
    own: npt.NDArray[np.int64], logits: npt.ArrayLike, classes: npt.ArrayLike
) -> dict[int, Array]:
    """Logits of each class in natural images of the class."""
    values, theirs = _logits(logits, classes)
    found = {int(c): values[theirs == c, int(c)] for c in np.unique(own)}
    few = [c for c, anchors in found.items() if len(anchors) < 2]
    if few:
        raise ValueError(
            checks.message("two natural images of every class", f"fewer of the classes {few}")
        )
    return found


def _logits(logits: npt.ArrayLike, classes: npt.ArrayLike) -> tuple[Array, npt.NDArray[np.int64]]:
    values, own = np.asarray(logits, np.float64), np.asarray(classes)
    if values.ndim != 2 or own.shape != values.shape[:1] or not len(values):
        raise ValueError(
            checks.message(
                "logits [N, K] and a class for each", f"shapes {values.shape} and {own.shape}"
            )
        )
    if not np.issubdtype(own.dtype, np.integer):
        raise TypeError(checks.message("classes to be integers", own.dtype))
    if own.min() < 0 or own.max() >= values.shape[1]:
        expected = f"classes in 0..{values.shape[1] - 1}, as many as the judge's outputs"
        raise ValueError(checks.message(expected, f"{own.min()}..{own.max()}"))
    return values, own.astype(np.int64)
