"""The caption of a picture: its target, the settings of its row, and its score with a unit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Units of scores by the class of the objective; anything else is a "score".
_UNITS = {"Logit": "logit", "LogProbability": "log p", "Margin": "margin"}


def captions(
    names: Sequence[str], config: Mapping[str, Any], *, labeled: bool = False
) -> tuple[str, ...]:
    """A caption per image: its name, with its layer, and with the settings of its row in a sweep.

    Args:
        names: of the images: labels or targets.
        config: `Result.config`.
        labeled: True if the names are labels, which need no explanation.
    """
    objective = config.get("objective")
    layer = objective.get("layer") if isinstance(objective, Mapping) else None
    told = [f"{layer} {name}" if isinstance(layer, str) and not labeled else name for name in names]
    rows = settings(config, len(told))
    return tuple(", ".join(filter(None, pair)) for pair in zip(told, rows, strict=True))


def settings(config: Mapping[str, Any], count: int) -> list[str]:
    """Settings of every row of a sweep, as "l2 0.1, learning_rate 0.05". Empty without a complete sweep."""
    call = config.get("call")
    axes = call.get("axes") if isinstance(call, Mapping) else None
    if not isinstance(axes, list) or not all(isinstance(a, list) and len(a) == 2 for a in axes):
        return [""] * count
    if math.prod(len(values) for _, values in axes) != count:
        return [""] * count
    points = itertools.product(*(values for _, values in axes))
    return [
        ", ".join(
            f"{name} {_text(value)}"
            for (name, _), value in zip(axes, point, strict=True)
            if name != "target"
        )
        for point in points
    ]


def unit(config: Mapping[str, Any]) -> str:
    """The unit of a score: "logit", "log p", "margin", or "score"."""
    objective = config.get("objective")
    kind = objective.get("class") if isinstance(objective, Mapping) else None
    return _UNITS.get(str(kind), "score")


def scored(config: Mapping[str, Any], scores: np.ndarray, fine: np.ndarray) -> list[str]:
    """The score of every image with a unit, as in "logit 4.2", or "not finite"."""
    name = unit(config)
    return [f"{name} {s:.3g}" if fine[row] else "not finite" for row, s in enumerate(scores)]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return " ".join(_text(part) for part in value.values())
    return str(value)
