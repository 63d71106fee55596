"""The best row of a table with some columns of whole numbers, such as counts, layers or days.

Columns of whole numbers have no gradient. So the problem is first solved with any numbers. Then whole
numbers near this solution are tried, and all other columns are optimized again for each:

1. Relax: the best row of several starts. If J is concave, its J is an upper `bound` for all whole rows.
2. Round: try both neighbours for columns far from a whole number; round the others to the nearest.
3. Improve: one column up or down by 1, or one up and another down, until no such row is better.

This is a heuristic and may miss the best row. If J and `bound` are equal, the row is the best one.

Source: relaxing and rounding as in Land and Doig, An automatic method of solving discrete programming
problems, Econometrica 1960, https://doi.org/10.2307/1910129, without their branches.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import actmax
from actmax import checks
from actmax.recipes._rounded import Search

# Of the relaxed runs, whose ends are rounded.
_ENDS = 2


class Found(NamedTuple):
    """The best row as a result; its J; J of the best row without whole numbers; how many were tried."""

    result: actmax.Result
    objective: float
    bound: float
    tried: int


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
        input_range: as for a run; columns of whole numbers have two bounds.
        starts: of the relaxed run.
        steps: of every run.
        tries: rows that are tried at once, in one batch.
        seed: of the starts.
        **parts: of `actmax.Maximizer`: `regularizers` (none), `optimizer`, `input_shape`.

    Raises:
        ValueError: if the model has another input, a column has no whole number between its bounds, or
            none of the rows that were tried lies in the set.

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
    search = Search(relaxed, target, columns, steps, seed)
    if search.free:
        mask = np.isin(np.arange(search.size), search.free).astype(float)
        search.held = actmax.Maximizer(
            model, objective, input_range=input_range, mask=mask, **parts
        )
    ends = search.run(relaxed, None, starts, steps).images
    values = search.objectives(ends)
    ends = ends[np.argsort(-values, kind="stable")[:_ENDS]]
    best = search.climb(itertools.chain(*(search.around(end, tries) for end in ends)), tries)
    result = search.run(relaxed, best.row[None], 1, 0)
    return Found(result, float(best.objective), float(values.max()), len(search.known))


def main(argv: Sequence[str] | None = None) -> int:
    """A network of a table of six columns, two of them whole, beside all 36 pairs of whole numbers."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.whole_numbers")
    for name, default in (("--seed", 0), ("--steps", 256)):
        parser.add_argument(name, type=int, default=default, metavar="N")
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
    row = found.result.images[0].round(3)
    print(f"relaxed {found.bound:.5f}, whole {found.objective:.5f}: {row}")
    print(f"{found.tried} of 36 pairs of whole numbers were tried")
    return 0


if __name__ == "__main__":
    sys.exit(main())
