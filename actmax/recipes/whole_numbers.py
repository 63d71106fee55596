"""The best row of a table some of whose columns are whole numbers: counts, layers, days.

Whole numbers have no gradient between them. So the problem without them is solved first, then whole numbers
around its solution are tried, all other columns optimized anew for each:

1. Relax: the best row of several starts, whole or not. Where J is concave, no row of whole numbers is
   better than this one, the `bound`.
2. Round: both whole numbers beside a column, for the columns that are furthest from one, until there are
   `tries` rows; the other columns go to the nearest one.
3. Descend: from the best row so far one column up or down by 1, or one up and another down, until none of
   these rows is better.

It is a heuristic: it ends at a row that none of its neighbours is better than, and not always at the best of
all. Where J and `bound` are equal, nothing is missing.

Source: relaxing and rounding as in Land and Doig, An automatic method of solving discrete programming
problems, Econometrica 1960, https://doi.org/10.2307/1910129, without their branches.
"""

from __future__ import annotations

import argparse
import itertools
import sys
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
# Of the relaxed runs, whose ends are rounded.
_ENDS = 2


class Found(NamedTuple):
    """The best row as a result; its J; J of the best row without whole numbers; how many were tried."""

    result: actmax.Result
    objective: float
    bound: float
    tried: int


class _Tried(NamedTuple):
    """How good a row is: first how far it is in the set, 0 inside and negative outside; then its J."""

    inside: float
    objective: float
    row: np.ndarray

    def beats(self, other: _Tried) -> bool:
        if self.inside != other.inside:
            return self.inside > other.inside
        return self.objective > other.objective + _EQUAL * abs(other.objective)


def whole_numbers(
    model: Any, objective: Any = None, target: Any = None, *, columns: Sequence[int],
    input_range: Any, starts: int = 8, steps: int = 256, tries: int = 64, seed: int = 0, **parts: Any,
) -> Found:  # fmt: skip
    """The row with the highest J whose `columns` are whole numbers. `-> Found`.

    Args:
        model: of one input of columns, `[N, D]`.
        objective: as for a run.
        target: one target of it; None where it takes none.
        columns: which are whole numbers, counted from 0.
        input_range: as for a run: bounds, a mixture, linear equations, or these side by side. Columns of
            whole numbers have two bounds.
        starts: of the relaxed run.
        steps: of every run.
        tries: rows that are tried at once, in one batch.
        seed: of the starts.
        **parts: of `actmax.Maximizer`: `regularizers` (none), `optimizer`, `input_shape`.

    Raises:
        ValueError: if the model has another input, a column is none of its columns or has no whole
            number between its bounds, or none of the rows that were tried lies in the set.

    Example:
        >>> import actmax
        >>> def hill(rows):
        ...     return -((rows[:, :1] - 2.4) ** 2) - (rows[:, 1:] - 0.25) ** 2
        >>> bounds = actmax.Box((0, 0), (5, 1))
        >>> found = whole_numbers(
        ...     hill, actmax.Logit(0), columns=[0], input_range=bounds, input_shape=(2,)
        ... )
        >>> found.result.images.round(3).tolist(), round(found.objective, 3), found.bound > -1e-6
        ([[2.0, 0.25]], -0.16, True)
    """
    parts = {"regularizers": [], "parameterization": actmax.Pixels(std=0.3), **parts}
    relaxed = actmax.Maximizer(model, objective, input_range=input_range, **parts)
    starts, tries = checks.integer(starts, "starts", low=1), checks.integer(tries, "tries", low=2)
    search = _Search(relaxed, target, columns, steps, seed)
    if search.free:
        mask = np.isin(np.arange(search.size), search.free).astype(float)
        search.held = actmax.Maximizer(
            model, objective, input_range=input_range, mask=mask, **parts
        )
    ends = search.run(relaxed, None, starts, steps).images
    values = search.objectives(ends)
    ends = ends[np.argsort(-values, kind="stable")]
    best = search.best(itertools.chain(*(search.around(end, tries) for end in ends[:_ENDS])))
    while True:
        beside = search.beside(best.row)
        while some := list(itertools.islice(beside, tries)):
            better = search.best(some)
            if better.beats(best):
                best = better
                break
        else:
            break
    if best.inside < 0:
        raise ValueError(
            checks.message(
                f"whole numbers in columns {search.columns} of a row of the set",
                f"{len(search.known)} rows, all outside of {relaxed.problem.inputs[0].constraint!r}",
                "Widen the set, or give more tries=.",
            )
        )
    result = search.run(relaxed, best.row[None], 1, 0)
    return Found(result, best.objective, float(values.max()), len(search.known))


class _Search:
    """The rows that were tried, and the runs that try them."""

    def __init__(
        self, relaxed: actmax.Maximizer, target: Any, columns: Sequence[int], steps: int, seed: int
    ) -> None:
        self.relaxed, self.held = relaxed, relaxed
        self.target, self.steps, self.seed = target, steps, seed
        self.known: dict[tuple[float, ...], _Tried] = {}
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

    def best(self, rows: Iterable[np.ndarray]) -> _Tried:
        """The best of some rows of whole numbers, the other columns of each optimized."""
        asked: dict[tuple[float, ...], np.ndarray] = {}
        for row in rows:
            asked.setdefault(tuple(row[self.columns].tolist()), row)
        new = {key: row for key, row in asked.items() if key not in self.known}
        if new:
            self._try(new)
        return max((self.known[key] for key in asked), key=lambda tried: tried[:2])

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
            self.known[key] = _Tried(*found)

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


def main(argv: Sequence[str] | None = None) -> int:
    """A network of a table of six columns, two of them whole, beside all 36 pairs of whole numbers."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.whole_numbers")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--steps", type=int, default=256, metavar="N")
    arguments = parser.parse_args(argv)

    draws = np.random.default_rng(arguments.seed)
    first, second = draws.normal(size=(6, 16)), draws.normal(size=(16, 1))
    bounds = actmax.Box((0,) * 6, (5, 5, 1, 1, 1, 1))

    def table(rows: tf.Tensor) -> tf.Tensor:
        return tf.tanh(rows @ tf.constant(first, rows.dtype)) @ tf.constant(second, rows.dtype)

    found = whole_numbers(
        table, actmax.Logit(0), columns=[0, 1], input_range=bounds, input_shape=(6,),
        steps=arguments.steps, seed=arguments.seed,
    )  # fmt: skip
    print(
        f"relaxed {found.bound:.5f}, whole {found.objective:.5f}: {found.result.images[0].round(3)}"
    )
    print(f"{found.tried} of 36 pairs of whole numbers were tried")
    return 0


if __name__ == "__main__":
    sys.exit(main())
