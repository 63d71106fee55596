"""The values of black and white in pictures of images with an open range."""

from __future__ import annotations

from typing import Any

import numpy as np


def closed(low: Any, high: Any) -> bool:
    """Whether a range has two ends everywhere."""
    return all(end is not None and bool(np.all(np.isfinite(end))) for end in (low, high))


def shown_between(values: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """The range that pictures show: the input range, or `(-m, m)` where it has an open end.

    m is the largest absolute value of the finite images. So the mean of z-scored inputs, which is 0,
    is gray. A channel with two equal bounds is gray.

    Args:
        values: images `[N, ...]`.
        low: of the input range: a number, one per channel or value, or None.
        high: likewise.

    Example:
        >>> shown_between([[-2.0, 1.0]], None, None)
        (-2.0, 2.0)
        >>> shown_between([[0.2, 0.1]], 0, 1)
        (0, 1)
    """
    if closed(low, high):
        held = np.equal(low, high)
        if not np.any(held):
            return low, high
        ends = (np.where(held, np.subtract(low, 0.5), low), np.where(held, np.add(high, 0.5), high))
        return tuple(tuple(end.tolist()) if end.ndim == 1 else end for end in ends)  # type: ignore[return-value]
    found = np.abs(np.asarray(values, np.float64))
    found = found[np.isfinite(found)]
    most = float(found.max()) if found.size and found.max() > 0 else 1.0
    return -most, most
