"""The problem for Frank-Wolfe and L-BFGS: a deterministic function of the image."""

from __future__ import annotations

from typing import Any

import numpy as np

import actmax
from actmax import checks


def start_of(
    maximizer: actmax.Maximizer, targets: Any, initial_images: Any, seed: int, sets: tuple[Any, ...]
) -> actmax.Result:
    """Prepares a run and checks that its problem is a deterministic function of images in one of these sets.

    Raises:
        ValueError: if something is drawn, scheduled, balanced or masked, images depend on one another,
            params are not images, or the set is another.
    """
    problem = maximizer.problem
    first = problem.inputs[0]
    drawn = [part.name for entry in problem.inputs for _, part in entry.transforms if part.draws]
    scheduled = [name for name, _, part in problem.penalties if callable(part.weight)]
    names = " or ".join(each.__name__ for each in sets)
    for wrong, expected, received, do in (
        (len(problem.inputs) > 1, "one input", f"{len(problem.inputs)}", ""),
        (drawn, "no transforms that draw", drawn, "Give regularizers=[...] without them."),
        (scheduled, "weights that are numbers", f"schedules for {scheduled}", ""),
        (problem.couples_images, "images that do not depend on one another", "coupled ones", ""),
        (
            not first.parameterization.are_images,
            "actmax.Pixels(), whose params are images",
            type(first.parameterization).__name__,
            "",
        ),
        (first.mask is not None, "no mask", "one", ""),
        (
            type(first.constraint) not in sets or getattr(first.constraint, "surface", False),
            f"an input range of the kind {names}",
            f"{first.constraint!r}",
            "",
        ),
    ):
        if wrong:
            raise ValueError(checks.message(expected, received, do))
    begun = maximizer(targets, initial_images=initial_images, steps=0, seed=seed)
    if begun.config["balance"]:
        do = "Write balance=False: a balance follows the image."
        raise ValueError(checks.message("weights that stay what they are", "balance=True", do))
    return begun


def finite(value: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """J and its gradient in float64.

    Raises:
        NonFiniteError: if one is not finite.
    """
    if not np.all(np.isfinite(value)) or not np.all(np.isfinite(gradient)):
        raise actmax.NonFiniteError(
            checks.message("a finite objective with a finite gradient", f"J = {value}")
        )
    return value.astype(np.float64), gradient.astype(np.float64)


def corner(constraint: Any, images: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Images of the set with the largest product with the gradient; those given where that is 0."""
    if isinstance(constraint, actmax.L2Ball):
        size = np.sqrt(np.sum(gradient**2, tuple(range(1, gradient.ndim)), keepdims=True))
        unit = gradient / np.where(size > 0, size, 1.0)
        return np.where(size > 0, constraint.center + constraint.radius * unit, images)
    return np.where(gradient > 0, constraint.high, np.where(gradient < 0, constraint.low, images))
