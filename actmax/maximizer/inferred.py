"""Reads the range of an input and its channel axis from the models, if the user did not give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actmax import checks, constraints, models
from actmax.models import InputSpec, Reading


def read(
    members: Sequence[Any],
    specs: Sequence[InputSpec],
    free: Sequence[InputSpec],
    preprocess: Mapping[str, Any],
    given: Any,
) -> list[dict[str, Reading]]:
    """The readings of each model's inputs. Empty if they are not needed, because they cost a trace."""
    wanted = any(given_range(given, s.name) is None and s.name not in preprocess for s in free)
    first = any(models.may_come_first(member, spec.shape) for member in members for spec in free)
    if not (wanted or first):
        return []
    return [models.readings(member, specs) for member in members]


def given_range(given: Any, name: str) -> Any:
    """The range that the user gave for an input, or None."""
    return given.get(name) if isinstance(given, Mapping) else given


def channels(
    read: Sequence[Mapping[str, Reading]], spec: InputSpec, chosen: dict[str, str]
) -> int | None:
    """The channel axis of an input, counted with the batch axis. None for the last axis."""
    shape = tuple(spec.shape or ())
    axes = {models.channels_of(each.get(spec.name, Reading()), shape) for each in read}
    # Models without a reading follow those with one.
    found = axes - {None}
    if len(found) != 1:
        return None
    axis = next(iter(found))
    if axis is None or axis >= len(shape):
        return None
    size = shape[axis - 1]
    if size is None:
        return None
    chosen["layout"] = f"channels of {spec.name!r} on axis {axis}, read off the model"
    return axis


def ranges(
    arguments: Any,
    model: Any,
    specs: Sequence[InputSpec],
    read: Sequence[Mapping[str, Reading]],
    preprocess: Mapping[str, Any],
    chosen: dict[str, str],
) -> dict[str, constraints.Constraint]:
    """The constraint of every input, as given or as read from the models."""
    known = [spec.name for spec in specs]
    if isinstance(arguments.input_range, Mapping):
        unknown = sorted(set(arguments.input_range) - set(known))
        if unknown:
            raise ValueError(
                checks.message(
                    f"names of inputs {known} in input_range",
                    f"{unknown}",
                    "A model's only input needs no name: input_range=(low, high)."
                    if len(known) == 1
                    else "",
                )
            )
    elif arguments.input_range is not None and len(specs) > 1:
        raise TypeError(
            checks.message(
                f"input_range as a dict by input name, one of {known}",
                f"{arguments.input_range!r}",
            )
        )
    found = {}
    for spec in specs:
        value = given_range(arguments.input_range, spec.name)
        if value is None:
            value, source = _agreed(spec, read, model, spec.name in preprocess)
            chosen["input_range"] = f"({value[0]:g}, {value[1]:g}), read off the {source}"
        axis = channels(read, spec, {})
        shape = tuple(spec.shape or ())
        columns = shape[-1 if axis is None else axis - 1] if shape else None
        found[spec.name] = constraints.from_range(value, columns)
    return found


def _agreed(
    spec: InputSpec, read: Sequence[Mapping[str, Reading]], model: Any, prepared: bool
) -> tuple[tuple[float, float], str]:
    """The range of all models, and the layer or operation that shows it.

    Raises:
        ValueError: if there is no such range. The message has the reason.
    """
    each = [] if prepared else [member.get(spec.name, Reading()) for member in read]
    said = {reading.range for reading in each}
    agreed = each[0].range if len(said) == 1 else None
    if agreed is not None:
        return agreed, each[0].source
    why = [reading.why for reading in each if reading.why is not None]
    if prepared:
        reason = "none; with preprocess= none is guessed, because it is the range before that"
    elif len(each) > 1 and said != {None}:
        texts = ["nothing" if r.range is None else "({:g}, {:g})".format(*r.range) for r in each]
        reason = f"none, and the models speak for {', '.join(texts)}"
    elif why:
        reason = f"none, and the model speaks for {why[0]}"
    else:
        reason = "none"
    module = models.applications_preprocess(model)
    do = "Give the range of the values that the model was trained on, as input_range=(0, 1)."
    if prepared:
        do = "Give the range of the images that preprocess takes, as input_range=(0, 255)."
    elif len(spec.shape or ()) == 1:
        do = (
            "Give the least and the largest value of each column, as "
            "input_range=(table.min(0), table.max(0)), or one pair for all."
        )
    elif module is not None:
        do = (
            f"It looks like keras.applications.{module}: give input_range=(0, 255) and "
            f"preprocess=keras.applications.{module}.preprocess_input."
        )
    raise ValueError(checks.message(f"the input range of {spec.name!r}", reason, do))


def check_bounds(constraint: constraints.Constraint, shape: tuple[int, ...], name: str) -> None:
    """Raises ValueError if the number of bounds per channel is not the number of channels."""
    for bound in (constraint.low, constraint.high):
        given = np.shape(bound) if bound is not None else ()
        # An array with as many axes as an image has a bound for every value.
        if len(given) == 1 and given != shape[-1:]:
            raise ValueError(
                checks.message(
                    f"bounds of {name!r} as numbers, or one for each of its {shape[-1]} channels",
                    f"{given[0]} of them for images {shape}",
                )
            )
