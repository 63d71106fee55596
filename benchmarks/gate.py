"""The gate of `--suite ci`: the loop's ratio to the bare floor stays under a generous bound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.cases import FLOOR, OURS
from benchmarks.measure import paired_ratio
from benchmarks.table import interval

# The loop is at about 1; a bound that a busy machine does not reach by itself, and that a step which
# became half as slow again does.
BOUND = 1.5


def failures(studies: list[dict[str, Any]]) -> Iterator[str]:
    """What is too slow. The lower end of the interval counts, so that noise alone does not fail."""
    for record in studies:
        samples = record["seconds_per_step"]
        ratio = paired_ratio(samples[OURS], samples[FLOOR])
        if ratio.low > BOUND:
            yield (
                f"{record['name']}: Expected at most {BOUND} x the bare floor. "
                f"Received: {interval(ratio)}. Do: python -m benchmarks compare, with a record of before."
            )
