"""`result.named`: predicted classes, their probabilities, and the warning if another was asked for."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actmax import checks

# Rows that a warning lists.
_LISTED = 5
_NONE = -1


class NamedOtherwiseWarning(UserWarning):
    """The model predicts another class for an input than its target."""


@dataclasses.dataclass(frozen=True)
class Named:
    """The class that the model predicts for every input; pictures are rounded to 8 bits before.

    Attributes:
        classes: int `[N]`, the class with the highest output; -1 for an input that is not finite.
        probabilities: `[N]`, the model's own probability of that class; NaN if its outputs are not
            probabilities.
        agrees: bool `[N]`, whether it is the target. For independent sigmoid units, whether the
            probability of the target unit is at least 1/2.
        names: the label of this class, or its number, for every input.
        asked: the label or number of the target.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> result = actmax.maximize(zoo.load("mnist"), targets=[3, 8], input_range=(0, 1))
        >>> result.named.classes, result.named.agrees
        (array([3, 8]), array([ True,  True]))
    """

    classes: np.ndarray
    probabilities: np.ndarray
    agrees: np.ndarray
    names: tuple[str, ...]
    asked: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.classes)

    def otherwise(self, row: int) -> bool:
        """Whether the model predicts another class than the target; False if it is not finite."""
        return bool(self.classes[row] != _NONE and not self.agrees[row])

    def say(self, row: int) -> str:
        """The text for the message of an input; empty if the model predicts the target."""
        if not self.otherwise(row):
            return ""
        asked = self.asked[row]
        return f" The model itself does not see {asked!r} in this input: it says {self.words(row)}."

    def words(self, row: int) -> str:
        """The model's own class and its probability, in words."""
        if self.classes[row] == _NONE:
            return "nothing"
        sure = self.probabilities[row]
        return repr(self.names[row]) + (
            f", probability {sure:.4f}" if np.isfinite(sure) else ", the highest output"
        )

    def take(self, rows: Sequence[int] | np.ndarray) -> Named:
        """Those of some rows."""
        keep = np.asarray(rows, np.intp)
        return Named(
            self.classes[keep],
            self.probabilities[keep],
            self.agrees[keep],
            tuple(self.names[row] for row in keep),
            tuple(self.asked[row] for row in keep),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays for a record."""
        return {
            "named/classes": self.classes,
            "named/probabilities": self.probabilities,
            "named/agrees": self.agrees,
        }

    def listed(self) -> list[dict[str, Any]]:
        """The texts for a record, one entry per input."""
        return [
            {"asked": self.asked[row], "class": int(self.classes[row]), "name": self.names[row],
             "probability": float(self.probabilities[row]), "as_asked": bool(self.agrees[row])}
            for row in range(len(self))
        ]  # fmt: skip


def join(parts: Sequence[Named | None]) -> Named | None:
    """Joins the results of several batches; None if one of them has none."""
    found = [part for part in parts if part is not None]
    if not found or len(found) < len(parts):
        return None
    return Named(
        np.concatenate([part.classes for part in found]),
        np.concatenate([part.probabilities for part in found]),
        np.concatenate([part.agrees for part in found]),
        tuple(name for part in found for name in part.names),
        tuple(name for part in found for name in part.asked),
    )


def loaded(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Named | None:
    """What a record kept; None for records without it.

    Raises:
        ValueError: if its parts do not fit one another.
    """
    if record.get("named") is None:
        return None
    names = tuple(entry["name"] for entry in record["named"])
    asked = tuple(entry["asked"] for entry in record["named"])
    classes, sure = arrays["named/classes"], arrays["named/probabilities"]
    found = Named(classes, sure, arrays["named/agrees"], names, asked)
    kinds = ((found.classes, "i"), (found.probabilities, "f"), (found.agrees, "b"))
    if any(part.dtype.kind != kind or part.shape != (len(names),) for part, kind in kinds):
        raise ValueError("named classes that do not fit one another")
    if not all(type(name) is str for name in (*names, *asked)):
        raise ValueError("named classes whose names are no texts")
    return found


def warn(named: Named | None, fine: np.ndarray) -> None:
    """Warns once of all inputs that the model itself names otherwise.

    Args:
        named: what it names them; None for no warning.
        fine: bool `[N]`, False for rows that failed, whose status says so already.
    """
    if named is None:
        return
    rows = [row for row in range(len(named)) if fine[row] and named.otherwise(row)]
    if not rows:
        return
    shown = [f"{named.asked[row]!r} (row {row}) as {named.words(row)}" for row in rows[:_LISTED]]
    more = f"; and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
    warnings.warn(
        checks.message(
            "inputs that the model itself names as asked",
            f"{len(rows)} of {len(named)} that it names otherwise: {'; '.join(shown)}{more}",
            "Give more steps or another seed; for images also natural=, images of the kind that it was "
            "trained on. "
            "result.named has what it says of every row.",
        ),
        NamedOtherwiseWarning,
        stacklevel=checks.users_line(),
    )


def warn_of_catalog(rows: Sequence[Mapping[str, Any]], count: int) -> None:
    """Warns once of the inputs of a catalog that the model itself names otherwise.

    Args:
        rows: facts of these.
        count: inputs of the catalog.
    """
    if not rows:
        return
    shown = [
        f"{row['label'] or row['target']!r} (seed {row['seed']}) as {row['named']!r}"
        for row in rows[:_LISTED]
    ]
    more = f"; and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
    warnings.warn(
        checks.message(
            "inputs that the model itself names as asked",
            f"{len(rows)} of {count} that it names otherwise: {'; '.join(shown)}{more}",
            "Look at them with Catalog.named_otherwise(); give more steps, or other seeds.",
        ),
        NamedOtherwiseWarning,
        stacklevel=checks.users_line(),
    )
