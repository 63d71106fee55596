"""Timing that survives a busy machine: interleaved rounds, paired ratios, intervals of the median.

A clock that drifts, a neighbor that wakes up and a processor that slows down change all variants of
a round alike, so what is compared is always two samples of the same round.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

RESAMPLES = 2000  # the ends of a 95 % interval then stand on 50 resamples each


@dataclasses.dataclass(frozen=True)
class Variant:
    """Something to time.

    Attributes:
        run: does `steps` steps, and returns only when their results are on the host: a call that
            merely queues work on a GPU would be timed as if it had done it.
        steps: what the time is divided by.
    """

    run: Callable[[], Any]
    steps: int


@dataclasses.dataclass(frozen=True)
class Summary:
    """Samples in five numbers."""

    median: float
    p10: float
    p90: float
    low: float  # of the bootstrap interval of the median
    high: float


@dataclasses.dataclass(frozen=True)
class StartUp:
    """Seconds of the first two calls: what the first adds is tracing and compiling."""

    first_call: float
    second_call: float

    @property
    def trace(self) -> float:
        return self.first_call - self.second_call


def seconds(run: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Time of one call."""
    started = clock()
    run()
    return clock() - started


def start_up(run: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> StartUp:
    """Times of the first and the second call of something that was never called."""
    return StartUp(seconds(run, clock), seconds(run, clock))


def interleaved(
    variants: Mapping[str, Variant],
    rounds: int,
    *,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, np.ndarray]:
    """Seconds per step of every variant in every round, by name `[rounds]`.

    A round runs every variant once. Each round begins with the next variant, so that none always
    runs behind the same neighbor's caches.

    Args:
        variants: what to time.
        rounds: number of samples per variant.
        warm_up: rounds before the first that counts.
        clock: seconds; for tests.
    """
    names = list(variants)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm_up, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            spent = seconds(variants[name].run, clock) / variants[name].steps
            if number >= 0:
                samples[name].append(spent)
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
    samples: Sequence[float], base: Sequence[float], confidence: float = 0.95
) -> Summary:
    """Summary of the ratios of two variants within the same rounds."""
    return summarize(np.asarray(samples, np.float64) / np.asarray(base, np.float64), confidence)
