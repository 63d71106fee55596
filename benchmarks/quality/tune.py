"""Random search, the same for all methods: N trials, rated by the worst development judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from benchmarks.quality.methods import Made

# Ranges `(low, high)`. Values are uniform on a logarithmic scale if marked, else on a linear one.
Range = tuple[float, float, bool]
SPACES: dict[str, dict[str, Range]] = {
    "actmax": {
        "rotate": (4.0, 24.0, False),
        "scale": (0.05, 0.25, False),
        "shift": (0.05, 0.15, False),
        "noise": (0.05, 0.5, True),
        "total_variation": (0.03, 0.6, True),
        "log_sum": (0.05, 0.8, True),
        "sigma": (0.5, 1.4, False),
        "mean": (-3.0, -0.5, False),
        "rate": (0.05, 0.4, True),
    },
    "tf-keras-vis": {
        "rate": (0.01, 0.3, True),
        "jitter": (1.0, 6.0, False),
        "rotate": (1.0, 15.0, False),
        "total_variation": (0.1, 100.0, True),
        "norm": (0.1, 100.0, True),
    },
    "xplique": {
        "rate": (0.01, 0.2, True),
        "decay": (0.7, 2.0, False),
        "jitter": (1.0, 6.0, False),
        "scale": (0.02, 0.2, False),
        "blur": (-0.5, 1.5, False),
        "total_variation": (0.0001, 0.1, True),
    },
}


def draw(space: Mapping[str, Range], trials: int, seed: int = 0) -> list[dict[str, float]]:
    """Settings of every trial."""
    draws = np.random.default_rng(seed)
    found = []
    for _ in range(trials):
        share = draws.random(len(space))
        found.append(
            {
                name: math.exp(math.log(low) + at * math.log(high / low))
                if logarithmic
                else low + at * (high - low)
                for at, (name, (low, high, logarithmic)) in zip(share, space.items(), strict=True)
            }
        )
    return found


def verdict(made: Made, judges: Mapping[str, keras.Model]) -> tuple[float, float]:
    """Transfer to the worst judge, and for ties the mean log probability of all judges."""
    top1, log_probability = [], []
    for model in judges.values():
        logits = model(made.images.astype(np.float32) / 255, training=False).numpy()
        rows = np.arange(len(logits))
        top1.append((logits.argmax(axis=1) == made.classes).mean())
        shifted = logits - logits.max(axis=1, keepdims=True)
        odds = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        log_probability.append(odds[rows, made.classes].mean())
    return float(min(top1)), float(np.mean(log_probability))


def search(
    name: str,
    make: Callable[[Sequence[Mapping[str, Any]]], Sequence[Made]],
    judges: Mapping[str, keras.Model],
    trials: int,
) -> list[tuple[tuple[float, float], dict[str, float]]]:
    """All trials of a method, the best first: `((worst transfer, log probability), settings)`."""
    settings = draw(SPACES[name], trials)
    verdicts = [verdict(made, judges) for made in make(settings)]
    order = sorted(range(trials), key=lambda n: verdicts[n], reverse=True)
    return [(verdicts[n], settings[n]) for n in order]
