"""The work of a job: tasks in a fixed order, divided into chunks of one objective each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence


@dataclasses.dataclass(frozen=True)
class Task:
    """One image.

    Attributes:
        number: its position in the job.
        objective: number of its objective.
        target: unit; None for an objective without targets.
        seed: seed of its row, as for a single image.
    """

    number: int
    objective: int
    target: int | None
    seed: int


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Tasks `start .. stop - 1`, all of one objective, that run as one batch of `batch_size` rows."""

    start: int
    stop: int
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """The whole job: every target for every seed, for every objective.

    Attributes:
        targets: targets of every objective, in order. `(None,)` for an objective without targets.
        seeds: one image per target and seed.
    """

    targets: tuple[tuple[int | None, ...], ...]
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        return sum(len(targets) for targets in self.targets) * len(self.seeds)

    def tasks(self, start: int, stop: int) -> list[Task]:
        """Tasks `start .. stop - 1`."""
        found = []
        first = 0
        for objective, targets in enumerate(self.targets):
            count = len(targets) * len(self.seeds)
            for number in range(max(start, first), min(stop, first + count)):
                seed, target = divmod(number - first, len(targets))
                found.append(Task(number, objective, targets[target], self.seeds[seed]))
            first += count
        return found

    def chunks(self, batch_sizes: Sequence[int], done: Iterable[tuple[int, int]]) -> list[Chunk]:
        """The unfinished chunks.

        The first batch size divides the tasks of every objective. If memory runs out, the next batch
        size divides the unfinished chunks. So a chunk is the same in every process.

        Args:
            batch_sizes: of the generations so far.
            done: `(start, stop)` of the finished ones.
        """
        spans = []
        first = 0
        for targets in self.targets:
            count = len(targets) * len(self.seeds)
            spans.append((first, first + count))
            first += count
        finished = set(done)
        for size in batch_sizes:
            spans = [
                piece
                for begin, stop in spans
                for piece in (
                    [(begin, stop)]
                    if (begin, stop) in finished
                    else [(at, min(at + size, stop)) for at in range(begin, stop, size)]
                )
            ]
        size = batch_sizes[-1]
        return [Chunk(start, stop, size) for start, stop in spans if (start, stop) not in finished]
