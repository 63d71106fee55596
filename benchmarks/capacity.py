"""How long a catalog takes on W workers: `python -m benchmarks.capacity [--images N --seconds S ...]`.

A discrete simulation of what `actmax.catalog` does. Workers pull chunks from one queue. A chunk takes
`seconds` on average, log-normal with the coefficient of variation `spread`, which `benchmarks.catalogs`
measures. A worker fails at a constant rate and works again after `restart`. Its chunk returns to the queue
at once. One driver takes finished chunks in order. It gives the worker its next chunk and then writes the
finished one for `write` seconds. During this time, other workers wait for it. The program prints the time
for each number of workers and the lower bound `chunks * seconds / workers`.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import math
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Load:
    """A job and its machines.

    Attributes:
        images: number of images of the whole job.
        batch: images per chunk.
        seconds: mean time of a chunk on one worker.
        spread: standard deviation of a chunk's time divided by its mean.
        write: seconds that the driver needs for a chunk.
        start: seconds until a worker's first chunk begins: process, imports, tracing.
        hours_between_failures: mean time between failures of one worker.
        restart: seconds until a failed worker works again.
    """

    images: int
    batch: int
    seconds: float
    spread: float = 0.05
    write: float = 0.01
    start: float = 60.0
    hours_between_failures: float = 24.0
    restart: float = 120.0

    @property
    def chunks(self) -> int:
        return math.ceil(self.images / self.batch)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of one simulated job.

    Attributes:
        seconds: from the start to the last chunk in the store.
        lost: chunks that were begun and not finished.
        writing: share of the time since the start of the first chunk in which the driver was
            writing.
    """

    seconds: float
    lost: int
    writing: float


def simulate(load: Load, workers: int, seed: int) -> Outcome:
    """One job. The same arguments give the same numbers."""
    generator = np.random.default_rng(seed)
    sigma = math.sqrt(math.log1p(load.spread**2))
    mean = math.log(load.seconds) - sigma**2 / 2
    rate = 1 / (load.hours_between_failures * 3600)
    free = [(load.start, worker) for worker in range(workers)]
    # When each chunk is available: from the beginning, or after its loss.
    waiting = [0.0] * load.chunks
    running: list[tuple[float, int, bool]] = []
    lost, written, busy = 0, 0.0, 0.0
    while waiting or running:
        begins = max(free[0][0], waiting[0]) if waiting and free else math.inf
        # The next event: a free worker takes a chunk, or a running chunk ends.
        if begins < math.inf and (not running or begins <= running[0][0]):
            _, worker = heapq.heappop(free)
            now = max(begins, heapq.heappop(waiting))
            takes = math.exp(generator.normal(mean, sigma)) if sigma else load.seconds
            fails = generator.exponential(1 / rate) if rate else math.inf
            heapq.heappush(running, (now + min(takes, fails), worker, fails < takes))
            continue
        now, worker, failed = heapq.heappop(running)
        if failed:
            lost += 1
            heapq.heappush(waiting, now)
            heapq.heappush(free, (now + load.restart, worker))
            continue
        handled = max(written, now)
        written = handled + load.write
        busy += load.write
        heapq.heappush(free, (handled, worker))
    return Outcome(written, lost, busy / (written - load.start) if written > load.start else 0.0)


def table(load: Load, workers: Sequence[int], runs: int) -> str:
    """Median and 95th percentile over simulated jobs, as a Markdown table."""
    lines = [
        "| workers | lower bound | median | 95 % within | chunks lost | driver busy |",
        "|---|---|---|---|---|---|",
    ]
    for count in workers:
        found = [simulate(load, count, seed) for seed in range(runs)]
        times = np.array([outcome.seconds for outcome in found])
        bound = load.chunks * load.seconds / count
        lines.append(
            f"| {count} | {_time(bound)} | {_time(float(np.median(times)))} | "
            f"{_time(float(np.quantile(times, 0.95)))} | "
            f"{np.mean([outcome.lost for outcome in found]):.1f} | "
            f"{np.mean([outcome.writing for outcome in found]):.1%} |"
        )
    return "\n".join(lines)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--runs", type=int, default=20)
    for field in dataclasses.fields(Load):
        kind = int if field.type == "int" else float
        default = None if field.default is dataclasses.MISSING else field.default
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            default=default,
            required=default is None,
        )
    given = vars(parser.parse_args())
    workers, runs = given.pop("workers"), given.pop("runs")
    print(table(Load(**given), workers, runs))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
