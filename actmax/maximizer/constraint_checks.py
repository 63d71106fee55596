"""Whether constraints fit their inputs, each other, the optimizer and the parameterization."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, masks
from actmax.constraints import Columns, Constraint, Intersection, Measured
from actmax.optimizers import InUnits
from actmax.parameterizations import Parameterization
from actmax.problem import Input

# If the parts of an intersection are farther apart than this fraction of their size, they have no
# common point.
_APART = 1e-3
_TRIES = 3


def check_fits(constraint: Constraint, shape: tuple[int, ...], name: str) -> None:
    """Raises ValueError unless a set fits the shape of the images and is not empty."""
    for word, bound in (("lower", constraint.low), ("upper", constraint.high)):
        try:
            fits = np.broadcast_shapes(np.shape(bound), shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                checks.message(
                    f"{word} bounds of {name!r} that fit its shape {shape}",
                    f"bounds of shape {np.shape(bound)}",
                    "Give a number, one per column or channel (the last axis), or an array of the whole "
                    "shape.",
                )
            )
    if isinstance(constraint, Columns) and (not shape or shape[-1] != constraint.count):
        raise ValueError(
            checks.message(
                f"a set for each of the {shape[-1] if shape else 0} columns of {name!r}",
                f"{constraint.count} of them",
                "Give the columns that are free actmax.Unbounded().",
            )
        )
    for own, inner in _intersections(constraint, shape):
        if not own.needs_start and own.rows is None:
            _check_common(own, inner)


def _intersections(
    constraint: Constraint, shape: tuple[int, ...]
) -> list[tuple[Intersection, tuple[int, ...]]]:
    if isinstance(constraint, Intersection):
        return [] if constraint.is_bounds else [(constraint, shape)]
    if isinstance(constraint, Columns):
        return [
            found
            for columns, part in constraint.parts
            for found in _intersections(part, (*shape[:-1], len(columns)))
        ]
    return []


def _check_common(constraint: Intersection, shape: tuple[int, ...]) -> None:
    """Raises ValueError if projections find no common point of the parts."""
    low, high = constraint.low, constraint.high
    for part in constraint.parts:
        if not part.is_bounds and part.meets(low, high) is False:
            raise ValueError(_apart(constraint, f"{part!r} has none between {low} and {high}"))
    size = float(np.mean(constraint.units(shape))) * _APART
    draws = np.random.default_rng(0)
    for _ in range(1 if constraint.convex else _TRIES):
        noise = tf.constant(draws.normal(size=(1, *shape)), tf.float64)
        found = constraint.start(0.3 * noise)
        off = [float(part.distance(found)[0]) for part in constraint.parts]
        if max(off) <= size:
            return
    worst = int(np.argmax(off))
    kind = type(constraint.parts[worst]).__name__
    raise ValueError(_apart(constraint, f"the nearest image is {off[worst]:.3g} outside of {kind}"))


def _apart(constraint: Intersection, what: str) -> str:
    own = " & ".join(map(repr, constraint.parts))
    received = f"{own[:300]}, which have no common point: {what}"
    return checks.message("sets that have a common point", received, "Widen one of them.")


def measured(constraint: Constraint, optimizer: Any, name: str) -> Constraint:
    """The set with a projection in the units of the steps, if these differ between columns."""
    if not isinstance(optimizer, InUnits) or constraint.by_value or not constraint.projects:
        return constraint
    units = dict(optimizer.units).get(name, 1.0)
    sizes = np.asarray(getattr(units, "values", units), np.float64)
    if sizes.ndim == 0 or constraint.in_units(sizes) is None:
        return constraint
    return Measured(constraint, sizes)


def mapped(constraint: Constraint, parameterization: Parameterization) -> Constraint:
    """Turns a set that projects into a constraint that maps, for params that are not images.

    Raises:
        ValueError: if there is none.
    """
    found = None if constraint.is_bounds else constraint.mapped()
    if found is not None:
        return found
    raise ValueError(
        checks.message(
            f"a constraint that maps, for {type(parameterization).__name__}, whose params are "
            "no images to project",
            f"{constraint!r}",
            "Use actmax.Sigmoid(low, high), L2Ball(radius, surface=True), Contrast(std) or Mixture() "
            "alone, which map, or actmax.Pixels() with this constraint.",
        )
    )


def warn_of_optimizer(optimizer: Any, inputs: Sequence[Input]) -> None:
    """Warns if an optimizer scales every value separately, but the set couples values."""
    bound = [
        entry.constraint
        for entry in inputs
        if entry.parameterization.are_images
        and entry.constraint.projects
        and not entry.constraint.by_value
    ]
    if not bound or not getattr(optimizer, "by_value", False):
        return
    own = getattr(optimizer, "name", None) or type(optimizer).__name__
    warnings.warn(
        f"{own} divides every value by a history of its own, and {type(bound[0]).__name__} binds values "
        "together: what stands still under both is no optimum. Leave optimizer= out, or give "
        'actmax.Adam(rate, per="image") or actmax.SGD(rate).',
        UserWarning,
        stacklevel=checks.users_line(),
    )


def check_rows(inputs: Sequence[Input], count: int) -> None:
    """Raises ValueError unless constraints and masks with values per image have N values."""
    for entry in inputs:
        held = masks.rows(entry.mask, entry.shape)
        for what, rows in (("the constraint", entry.constraint.rows), ("the mask", held)):
            if rows not in (None, count):
                raise ValueError(
                    checks.message(
                        f"as many images of {entry.name!r} as {what} has values for, {rows}",
                        f"{count}",
                        "Give as many targets or images=, in one call and not in a sweep.",
                    )
                )
