"""Runs any number of rows in batches of one size, so that sweeps and catalogs need constant memory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from actmax import checks, predictions, schedules
from actmax.maximizer import statuses
from actmax.maximizer.runner import Runner
from actmax.result import Result
from actmax.types import Status

# One value for all rows, or a list with one value for each: numbers or schedules.
ByRow: TypeAlias = Any

# Draws of the transforms over which restarts are judged.
DRAWS = 16


@dataclasses.dataclass(frozen=True)
class Rows:
    """Images to make, one per row. Each is computed as if it were alone.

    Attributes:
        targets: int `[R]` or float `[R, C]`; None if the objective takes none.
        seeds: one integer per row: row n starts from `fold_in(seeds[n], 0)`.
        weights: a number, a schedule, or a list with one per row, by the name of the penalty.
            learning_rate: the same for the learning rate. None for the optimizer's.
        arrays: by penalty and parameter, `[1 or R, ...]` each.
    """

    targets: np.ndarray | None
    seeds: Sequence[int]
    weights: Mapping[str, ByRow] = dataclasses.field(default_factory=dict)
    learning_rate: ByRow = None
    arrays: Mapping[str, Mapping[str, np.ndarray]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.seeds)


def stream(
    maximizer: Runner,
    rows: Rows,
    batch_size: int,
    *,
    steps: int,
    robust: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    **call: Any,
) -> Iterator[tuple[range, Result, np.ndarray | None]]:
    """Runs the rows in batches, each padded to `batch_size` with copies of its last row.

    So every row runs with the same compiled shape and has the same bytes, for any division into
    batches. Ends early if Ctrl-C ended a batch.

    Args:
        maximizer: runs the rows.
        rows: what to run.
        batch_size: images per batch.
        steps: number of steps of every run.
        robust: whether to judge every image by its mean score over fixed draws of the transforms.
        checkpoint: a folder in which every batch has a folder of its own.
        **call: further arguments of the maximizer's call.

    Yields:
        `(numbers of the rows, their result, their robust scores or None)`.
    """
    for number, start in enumerate(range(0, len(rows), batch_size)):
        own = range(start, min(start + batch_size, len(rows)))
        padded = np.minimum(np.arange(start, start + batch_size), own[-1])
        arrays = {
            name: {key: value[padded if len(value) > 1 else [0]] for key, value in each.items()}
            for name, each in rows.arrays.items()
        }
        with statuses.unnamed():
            result = maximizer(
                None if rows.targets is None else rows.targets[padded],
                images=batch_size if rows.targets is None else None,
                steps=steps,
                seed=[rows.seeds[row] for row in padded],
                weights={
                    name: _values(value, padded, steps, f"the weight of {name}")
                    for name, value in rows.weights.items()
                },
                learning_rate=_values(rows.learning_rate, padded, steps, "learning_rate"),
                arrays=arrays or None,
                checkpoint=None if checkpoint is None else Path(checkpoint) / f"batch-{number:05d}",
                **call,
            )
        judged = None
        if robust:
            judged = maximizer.robust_scores(
                result.images,
                None if rows.targets is None else rows.targets[padded],
                draws=DRAWS,
                arrays=arrays or None,
            )[: len(own)]
        yield own, result.take(range(len(own))), judged
        if Status.INTERRUPTED in result.status:
            return


def _values(value: ByRow, padded: np.ndarray, steps: int, name: str) -> Any:
    """One value for all rows unchanged, or a list's values of some rows as `[N]` or `[steps, N]`."""
    if not isinstance(value, list):
        return value
    tables = [schedules.table(value[row], steps, 1, name) for row in padded]
    length = max(len(table) for table in tables)
    columns = [np.broadcast_to(table, (length, 1)) for table in tables]
    joined = np.concatenate(columns, axis=1)
    return joined if length > 1 else joined[0]


def join(parts: Sequence[Result], config: Mapping[str, Any]) -> Result:
    """Joins several results of one maximizer in order."""
    first = parts[0]
    longest = max(len(part.history["score"]) for part in parts)

    def stretched(values: np.ndarray) -> np.ndarray:
        missing = np.full((longest - len(values), *values.shape[1:]), np.nan, values.dtype)
        return np.concatenate([values, missing])

    def pictures() -> Any:
        if isinstance(first.images, Mapping):
            return {name: np.concatenate([p.images[name] for p in parts]) for name in first.images}
        return np.concatenate([part.images for part in parts])

    return dataclasses.replace(
        first,
        images=pictures(),
        scores=np.concatenate([part.scores for part in parts]),
        history={
            name: np.concatenate([stretched(part.history[name]) for part in parts], axis=1)
            for name in first.history
        },
        status=np.concatenate([part.status for part in parts]),
        messages=tuple(text for part in parts for text in part.messages),
        steps=np.concatenate([part.steps for part in parts]),
        targets=None
        if first.targets is None
        else np.concatenate([part.targets for part in parts if part.targets is not None]),
        labels=None
        if first.labels is None
        else tuple(label for part in parts for label in part.labels or ()),
        config=config,
        terms=None
        if first.terms is None
        else {n: np.concatenate([p.terms[n] for p in parts if p.terms]) for n in first.terms},
        probabilities=None
        if first.probabilities is None
        else np.concatenate([p.probabilities for p in parts if p.probabilities is not None]),
        named=predictions.join([part.named for part in parts]),
        optimality=np.concatenate([_per_row(part, "optimality") for part in parts]),
        duality_gap=np.concatenate([_per_row(part, "duality_gap") for part in parts]),
        distance=np.concatenate([_per_row(part, "distance") for part in parts]),
        params=_joined([part.params for part in parts]),
        member_scores=_joined([part.member_scores for part in parts]),
    )


def _per_row(part: Result, name: str) -> np.ndarray:
    """A number for every row. NaN if an older record has none."""
    found = getattr(part, name)
    return np.full(len(part), np.nan) if found is None else np.asarray(found, float)


def _joined(parts: Sequence[Any]) -> Any:
    """Joins the params of batches."""
    if isinstance(parts[0], Mapping):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    return None if parts[0] is None else np.concatenate(parts)


def check_fixed(fixed: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError unless every fixed input has one value for all rows."""
    for name, value in fixed.items():
        if len(value) != 1:
            raise ValueError(
                checks.message(f"fixed[{name!r}] of one row, for all images", f"{len(value)} rows")
            )
