"""How a model takes letters: as rows, as flattened rows, or as whole numbers that it looks up."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from actmax import checks, models
from actmax.constraints import Rows
from actmax.maximizer.inferred import given_range
from actmax.models import InputSpec, Lettered

_FLOATS = ("float", "bfloat")
# Letters of usual alphabets.
_FEWEST, _MOST = 3, 32


@dataclasses.dataclass(frozen=True)
class Lettering:
    """The inputs in the form that the loop uses.

    Attributes:
        specs: specifications of the optimized inputs. Letters have their own axis.
        numbers: inputs that the model takes as whole numbers.
        flat: the model's own shape of inputs of flattened rows, by name.
    """

    specs: list[InputSpec]
    numbers: dict[str, Lettered]
    flat: dict[str, tuple[int, ...]]


def read(
    members: Sequence[Any], specs: Sequence[InputSpec], free: Sequence[InputSpec], given: Any
) -> Lettering:
    """How the model takes each input of letters.

    Args:
        members: the models.
        specs: of all inputs.
        free: specifications of the optimized inputs.
        given: `input_range` as the user gave it.

    Raises:
        ValueError: if an input of whole numbers is given no alphabet.
    """
    found = Lettering([], {}, {})
    for spec in free:
        rows = given_range(given, spec.name)
        shape = tuple(spec.shape or ())
        if isinstance(rows, Rows) and _whole(members, specs, spec, rows):
            axis = rows.axis % (len(shape) + 2)
            found.numbers[spec.name] = Lettered(axis, _count(rows, spec.name), spec.dtype)
            shape = (*shape[: axis - 1], len(rows.letters), *shape[axis - 1 :])
            found.specs.append(InputSpec(spec.name, shape, "float32"))
        elif isinstance(rows, Rows) and rows.laid_out(shape):
            found.flat[spec.name] = tuple(int(size) for size in shape if size is not None)
            found.specs.append(dataclasses.replace(spec, shape=rows.laid_out(shape)))
        else:
            found.specs.append(spec)
    return found


def _whole(members: Sequence[Any], specs: Sequence[InputSpec], spec: InputSpec, rows: Rows) -> bool:
    """Whether the model takes letters as numbers: whole numbers, or other numbers that it only looks up."""
    shape = tuple(spec.shape or ())
    if not -len(shape) - 2 < rows.axis < len(shape) + 2 or rows.axis % (len(shape) + 2) == 0:
        return False
    if not spec.dtype.startswith(_FLOATS):
        return True
    return all(
        models.is_keras(member) and models.only_looked_up(member, specs, spec.name)
        for member in members
    )


def note(specs: Sequence[InputSpec], given: Any) -> str:
    """The note for an input with a pair as range that may be one-hot rows.

    For rows of 3 to 32 numbers from 0 to 1, a box is right for signals and wrong for letters. The network
    does not show which of the two it was trained on. `actmax.Box(0, 1)` says that numbers are meant.
    """
    for spec in specs:
        pair, shape = given_range(given, spec.name), tuple(spec.shape or ())
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or len(shape) != 2:
            continue
        rows, size = shape
        if rows is None or size is None or not _FEWEST <= size <= min(_MOST, rows):
            continue
        if np.ndim(pair[0]) == np.ndim(pair[1]) == 0 and tuple(pair) == (0, 1):
            return (
                f" If rows of {spec.name!r} are letters, as in one-hot DNA, a box gives no sequence: give "
                f"input_range=actmax.OneHot(alphabet), of {size} letters. If they are numbers, "
                "actmax.Box(0, 1) says so."
            )
    return ""


def _count(rows: Rows, name: str) -> int:
    if not rows.letters:
        raise ValueError(
            checks.message(
                f"an alphabet of {name!r}, because the model takes whole numbers",
                f"{rows!r}",
                "Give the letters in the order of their numbers, or how many there are.",
            )
        )
    return len(rows.letters)
