"""Timing on a busy machine: interleaved rounds, paired ratios, intervals of the median.

A drifting clock, another process or a slower processor affect all variants of a round equally. So
only samples of the same round are compared.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

RESAMPLES = 2000  # the ends of a 95 % interval then stand on 50 resamples each

# Takes one sample: does some steps, and returns seconds per step once their results are on the host. A
# call that merely queues work on a GPU would be timed as if it had done it.
Sampler: TypeAlias = Callable[[], float]


@dataclasses.dataclass(frozen=True)
class Summary:
    """Samples in five numbers."""

    median: float
    p10: float
    p90: float
    low: float  # of the bootstrap interval of the median
    high: float


def timed(
    run: Callable[[], Any], steps: int = 1, clock: Callable[[], float] = time.perf_counter
) -> Sampler:
    """A sampler that times calls of `run`, each of which does `steps` steps."""

    def sample() -> float:
        started = clock()
        run()
        return (clock() - started) / steps

    return sample


def interleaved(
    samplers: Mapping[str, Sampler],
    rounds: int,
    *,
    warm_up: int = 1,
    after: Callable[[], None] | None = None,
) -> dict[str, np.ndarray]:
    """Seconds per step of every variant in every round, by name `[rounds]`.

    A round samples every variant once. Each round begins with another variant, so that no variant
    always runs after the same one, with its caches.

    Args:
        samplers: what to time.
        rounds: number of samples per variant.
        warm_up: rounds before the first that counts.
        after: called after every round that counts.
    """
    names = list(samplers)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm_up, rounds):
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            spent = samplers[name]()
            if number >= 0:
                samples[name].append(spent)
        if number >= 0 and after is not None:
            after()
    return {name: np.array(values) for name, values in samples.items()}


def summarize(samples: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Summary:
    """Median, 10th and 90th percentile, and the bootstrap interval of the median.

    The resamples are drawn from a fixed seed: the same samples have the same interval.

    Args:
        samples: `[rounds]`.
        confidence: of the interval, in (0, 1).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    values = np.asarray(samples, np.float64)
    rows = np.random.default_rng(0).integers(0, len(values), [RESAMPLES, len(values)])
    medians = np.median(values[rows], axis=1)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(medians, [tail, 1.0 - tail])
    p10, p90 = np.quantile(values, [0.1, 0.9])
    return Summary(*map(float, (np.median(values), p10, p90, low, high)))


def paired_ratio(
    samples: Sequence[float] | np.ndarray,
    base: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
) -> Summary:
    """Summary of the ratios of two variants within the same rounds."""
    return summarize(np.asarray(samples, np.float64) / np.asarray(base, np.float64), confidence)


def paired_difference(
    samples: Sequence[float] | np.ndarray,
    without: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
) -> Summary:
    """Summary of the differences of two variants within the same rounds."""
    return summarize(np.asarray(samples, np.float64) - np.asarray(without, np.float64), confidence)
