"""The gate of `--suite ci`: the loop's ratio to the bare floor stays under a generous bound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.cases import FLOOR, OURS
from benchmarks.measure import paired_ratio
from benchmarks.table import interval

# The ratio of the loop is about 1. A busy machine alone does not reach this bound. A step that takes
# 1.5 times as long does.
BOUND = 1.5


def failures(studies: list[dict[str, Any]]) -> Iterator[str]:
    """The cases that are too slow, by the lower end of the interval, so that noise does not fail."""
    for record in studies:
        samples = record["seconds_per_step"]
        ratio = paired_ratio(samples[OURS], samples[FLOOR])
        if ratio.low > BOUND:
            yield (
                f"{record['name']}: Expected at most {BOUND} x the bare floor. "
                f"Received: {interval(ratio)}. Do: python -m benchmarks compare, with a record of before."
            )
