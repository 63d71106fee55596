"""The loop over chunks: it hands them to workers, takes the results, writes and counts them."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from actmax import checks
from actmax.catalogs import store
from actmax.catalogs.manifest import CatalogError
from actmax.catalogs.plan import Chunk
from actmax.catalogs.pools import Pool

# If this many workers die on a chunk, the chunk is the cause.
_PATIENCE = 3


@dataclasses.dataclass(frozen=True)
class Progress:
    """The progress of a job.

    Attributes:
        done: images in the store.
        total: images of the job.
        images_per_second: rate of this call without the first chunk of each worker, which compiles. 0
            until there is a second chunk.
        remaining: remaining seconds. None while the rate is not known.
        status: number of images of this call by status.
    """

    done: int
    total: int
    images_per_second: float
    remaining: float | None
    status: Mapping[str, int]


class OutOfMemory(Exception):
    """A batch does not fit in memory."""


def drive(
    pool: Pool,
    chunks: list[Chunk],
    folder: Path,
    done: int,
    total: int,
    report: Callable[[Progress], None] | None,
) -> None:
    """Runs chunks until none is left. Every finished one is in the store when this returns or raises.

    This is also true after Ctrl-C and errors: results that workers have returned by then are written
    first.

    Raises:
        OutOfMemory: if a batch does not fit; the chunks in flight are finished and written first.
        CatalogError: if several workers die on the same chunk.
        RuntimeError: with the traceback of an error in a worker.
    """
    busy: dict[int, Chunk] = {}
    # Rows from workers that are not on the disk yet.
    held: dict[Chunk, list[dict[str, Any]]] = {}
    try:
        _drive(pool, chunks, folder, busy, held, done, total, report)
    except BaseException:
        with contextlib.suppress(Exception):  # The first error is raised.
            ready = ((busy.pop(worker), outcome) for worker, outcome in pool.ready())
            held |= {chunk: outcome.rows for chunk, outcome in ready if outcome.rows is not None}
        for chunk, rows in held.items():
            store.write(folder, chunk.start, chunk.stop, rows)
        raise


def _drive(
    pool: Pool,
    chunks: list[Chunk],
    folder: Path,
    busy: dict[int, Chunk],
    held: dict[Chunk, list[dict[str, Any]]],
    done: int,
    total: int,
    report: Callable[[Progress], None] | None,
) -> None:
    waiting = collections.deque(chunks)
    lost: collections.Counter[Chunk] = collections.Counter()
    counted: collections.Counter[str] = collections.Counter()
    rate = _Rate()
    short = ""
    for worker in range(min(pool.count, len(waiting))):
        busy[worker] = waiting.popleft()
        pool.give(worker, busy[worker])
    while busy:
        worker, outcome = pool.next()
        chunk = busy.pop(worker)
        if outcome.trouble == "error":
            raise RuntimeError(
                f"A worker failed on tasks {chunk.start}..{chunk.stop - 1}:\n{outcome.text}"
            )
        if outcome.trouble == "memory":
            short = outcome.text
        if outcome.trouble == "lost":
            lost[chunk] += 1
            if lost[chunk] >= _PATIENCE:
                what = f"tasks {chunk.start}..{chunk.stop - 1} ended {_PATIENCE} workers ({outcome.text})"
                raise CatalogError(
                    checks.message(
                        "a worker that lives through its chunk", what, "Try a smaller batch_size."
                    )
                )
            waiting.appendleft(chunk)
        if outcome.rows is not None:
            held[chunk] = outcome.rows
        if waiting and not short:
            # The worker gets its next chunk before the rows are written, so it does not wait for
            # the disk.
            busy[worker] = waiting.popleft()
            pool.give(worker, busy[worker])
        if outcome.rows is not None:
            store.write(folder, chunk.start, chunk.stop, outcome.rows)
            del held[chunk]
            done += len(outcome.rows)
            counted.update(row["status"] for row in outcome.rows)
            rate.add(worker, len(outcome.rows))
            if report is not None:
                speed = rate.images_per_second
                left = (total - done) / speed if speed else None
                report(Progress(done, total, speed, left, dict(counted)))
    if short:
        raise OutOfMemory(short)


class _Rate:
    """Images per second since the end of the first worker's first chunk."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._images = 0

    def add(self, worker: int, images: int) -> None:
        if self._begun is None:
            self._begun = time.monotonic()
        else:
            self._images += images

    @property
    def images_per_second(self) -> float:
        if self._begun is None or not self._images:
            return 0.0
        return self._images / max(time.monotonic() - self._begun, 1e-9)
