"""Rows with some columns of whole numbers: the rows that were tried, and the runs that try them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import actmax
from actmax import checks

# Further outside of a set than this part of its size, a row is none of it.
_OUTSIDE = 1e-5
# Js that differ by less than this part of them are equal.
_EQUAL = 1e-6


class Tried(NamedTuple):
    """How good a row is: first how far it is in the set, 0 inside and negative outside; then its J."""

    inside: float
    objective: float
    row: np.ndarray

    def beats(self, other: Tried) -> bool:
        if self.inside != other.inside:
            return self.inside > other.inside
        return self.objective > other.objective + _EQUAL * abs(other.objective)


class Search:
    """The rows that were tried, and the runs that try them."""

    def __init__(
        self, relaxed: actmax.Maximizer, target: Any, columns: Sequence[int], steps: int, seed: int
    ) -> None:
        self.relaxed, self.held = relaxed, relaxed
        self.target, self.steps, self.seed = target, steps, seed
        self.known: dict[tuple[float, ...], Tried] = {}
        inputs = relaxed.problem.inputs
        if len(inputs) > 1 or len(inputs[0].shape) != 1 or not inputs[0].constraint.projects:
            shapes = {entry.name: entry.shape for entry in inputs}
            raise ValueError(
                checks.message(
                    "a model of one row of columns, in a set on which rows are projected",
                    f"{shapes} in {inputs[0].constraint!r}",
                )
            )
        self.set, self.size = inputs[0].constraint, inputs[0].shape[0]
        self.columns = sorted({checks.integer(column, "a column") for column in columns})
        if not self.columns or self.columns[-1] >= self.size:
            raise ValueError(
                checks.message(f"columns from 0 to {self.size - 1}", f"{list(columns)}")
            )
        self.free = [column for column in range(self.size) if column not in self.columns]
        self.low, self.high = (
            np.broadcast_to(np.nan if end is None else np.asarray(end, float), self.size)[
                self.columns
            ]
            for end in (self.set.low, self.set.high)
        )
        self.low, self.high = np.ceil(self.low - _EQUAL), np.floor(self.high + _EQUAL)
        bad = ~(np.isfinite(self.low) & np.isfinite(self.high) & (self.low <= self.high))
        if np.any(bad):
            raise ValueError(
                checks.message(
                    "two bounds for every column of whole numbers, and a whole number between them",
                    f"{self.set!r} for column {self.columns[int(np.argmax(bad))]}",
                )
            )

    def run(self, maximizer: Any, images: Any, count: int, steps: int) -> actmax.Result:
        """A run of `count` rows, all for the one target."""
        targets = None if self.target is None else [self.target] * count
        found: actmax.Result = maximizer(
            targets, images=count if targets is None else None, initial_images=images,
            steps=steps, seed=self.seed,
        )  # fmt: skip
        return found

    def objectives(self, images: np.ndarray) -> np.ndarray:
        """J of given rows. `[N, D] -> [N]`."""
        targets = None if self.target is None else [self.target] * len(images)
        value, _ = self.relaxed.value_and_gradient(images, targets)
        return np.where(np.isfinite(value), value, -np.inf).astype(np.float64)

    def best(self, rows: Iterable[np.ndarray]) -> Tried:
        """The best of some rows of whole numbers, the other columns of each optimized."""
        asked: dict[tuple[float, ...], np.ndarray] = {}
        for row in rows:
            asked.setdefault(tuple(row[self.columns].tolist()), row)
        new = {key: row for key, row in asked.items() if key not in self.known}
        if new:
            self._try(new)
        return max((self.known[key] for key in asked), key=lambda tried: tried[:2])

    def climb(self, rows: Iterable[np.ndarray], tries: int) -> Tried:
        """From the best of some rows to one that none of its neighbours is better than."""
        best = self.best(rows)
        while True:
            beside = self.beside(best.row)
            while some := list(itertools.islice(beside, tries)):
                better = self.best(some)
                if better.beats(best):
                    best = better
                    break
            else:
                break
        if best.inside < 0:
            raise ValueError(
                checks.message(
                    f"whole numbers in columns {self.columns} of a row of the set",
                    f"{len(self.known)} rows, all outside of {self.set!r}",
                    "Widen the set, or give more tries=.",
                )
            )
        return best

    def _try(self, rows: dict[tuple[float, ...], np.ndarray]) -> None:
        given = np.stack(list(rows.values()))
        images = self.run(self.held, given, len(given), self.steps if self.free else 0).images
        # Of the whole row: a norm of the part that moves is not that of the set.
        off = self.set.distance(tf.constant(images)).numpy().astype(np.float64)
        off = np.maximum(off, np.abs(images - given)[:, self.columns].max(1))
        size = np.maximum(np.abs(images).max(1), np.mean(self.set.units((self.size,))))
        inside = np.where(off > _OUTSIDE * size, -off, 0.0)
        images = images.copy()
        images[:, self.columns] = given[:, self.columns]  # what a projection moved is whole again
        for key, *found in zip(rows, inside, self.objectives(images), images, strict=True):
            self.known[key] = Tried(*found)

    def around(self, end: np.ndarray, tries: int) -> Iterator[np.ndarray]:
        """Rows whose columns are rounded, up to `tries`: both ways where that is least clear."""
        exact = np.clip(end[self.columns], self.low, self.high)
        nearest = np.rint(exact)
        other = np.clip(np.where(exact > nearest, nearest + 1, nearest - 1), self.low, self.high)
        unclear = np.argsort(-np.abs(exact - nearest), kind="stable")[: tries.bit_length() - 1]
        for ways in itertools.product((False, True), repeat=len(unclear)):
            chosen = nearest.copy()
            chosen[unclear] = np.where(ways, other[unclear], nearest[unclear])
            yield self._with(end, chosen)

    def beside(self, row: np.ndarray) -> Iterator[np.ndarray]:
        """Rows one column of which is 1 more or less, or one more and another less."""
        count = len(self.columns)
        unit = np.eye(count)
        moves = [sign * unit[k] for k in range(count) for sign in (1, -1)]
        moves += [unit[k] - unit[j] for k, j in itertools.permutations(range(count), 2)]
        for move in moves:
            moved = row[self.columns] + move
            if np.all((moved >= self.low) & (moved <= self.high)):
                yield self._with(row, moved)

    def _with(self, row: np.ndarray, values: np.ndarray) -> np.ndarray:
        changed = row.copy()
        changed[self.columns] = values
        return changed
