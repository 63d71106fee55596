"""Start-up times, and the statistics that `actmax.benchmark` uses too."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from actmax.throughput.samples import (
    Sampler,
    Summary,
    interleaved,
    paired_difference,
    paired_ratio,
    summarize,
    timed,
)

__all__ = [
    "Sampler",
    "StartUp",
    "Summary",
    "interleaved",
    "paired_difference",
    "paired_ratio",
    "start_up",
    "summarize",
    "timed",
]


@dataclasses.dataclass(frozen=True)
class StartUp:
    """Seconds of the first two calls. The first includes tracing and compiling."""

    first_call: float
    second_call: float

    @property
    def trace(self) -> float:
        return self.first_call - self.second_call

    def plain(self) -> dict[str, float]:
        return {**dataclasses.asdict(self), "trace": self.trace}


def start_up(run: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> StartUp:
    """Times of the first and the second call of a function that was never called."""
    sample = timed(run, 1, clock)
    return StartUp(sample(), sample())
