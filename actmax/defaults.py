"""What a first user gets, and why. Numbers here were chosen on development judges only."""

from __future__ import annotations

import dataclasses
from typing import Any

from actmax.constraints import Constraint
from actmax.optimizers import Adam
from actmax.parameterizations import Pixels


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The parts that a user may leave out."""

    regularizers: Any
    parameterization: Any
    optimizer: Any
    copies: Any


def choose(
    shapes: dict[str, tuple[int, ...]],
    ranges: dict[str, Constraint],
    given: Any,
    chosen: dict[str, str],
) -> Recipe:
    """Fills in what was not given.

    Args:
        shapes: canvas of every optimized input.
        ranges: constraint of every optimized input.
        given: the arguments, with None for what was left out.
        chosen: filled with what was chosen here and why, for `result.config`.
    """
    return Recipe(
        regularizers=[] if given.regularizers is None else given.regularizers,
        parameterization={name: Pixels() for name in shapes}
        if given.parameterization is None
        else given.parameterization,
        optimizer=Adam(0.05) if given.optimizer is None else given.optimizer,
        copies=1 if given.copies is None else given.copies,
    )
