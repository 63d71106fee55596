"""Time to quality: the smallest budget at which the worst development judge recognizes the class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from benchmarks.quality.methods import Made
from benchmarks.quality.tune import verdict


def climb(
    make: Callable[[int], Made],
    judges: Mapping[str, keras.Model],
    budgets: Sequence[int],
    goal: float,
) -> dict[str, Any]:
    """Runs of growing budgets, each from the start, until one reaches the goal.

    Args:
        make: makes pictures with a number of passes per image.
        judges: development judges, by name.
        budgets: passes per image, in growing order.
        goal: transfer top-1 to the worst judge.

    Returns:
        `passes` and `seconds` of the first run that reaches the goal, or None, and the result of
        every budget.
    """
    rungs: list[dict[str, Any]] = []
    for budget in budgets:
        made = make(budget)
        worst, log_probability = verdict(made, judges)
        rungs.append(
            {
                "passes": made.passes,
                "seconds": made.seconds,
                "worst": worst,
                "log_probability": log_probability,
            }
        )
        if worst >= goal:
            return {"passes": made.passes, "seconds": made.seconds, "rungs": rungs}
    return {"passes": None, "seconds": None, "rungs": rungs}


def line(name: str, found: Mapping[str, Any], goal: float) -> str:
    """One line of the table."""
    best = max(rung["worst"] for rung in found["rungs"])
    if found["passes"] is None:
        return f"{name}: not {goal:g} within {found['rungs'][-1]['passes']} passes, best {best:.3f}"
    return f"{name}: {found['passes']} passes, {found['seconds']:.1f} s"
