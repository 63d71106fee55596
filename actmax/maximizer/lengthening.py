"""More steps after a finished run: what two calls may differ in, so that the bytes are those of one run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actmax import checkpoints, checks
from actmax.maximizer.running import Run
from actmax.types import digest

# Of the record of a call, what tables of the first steps are compared for, and the number itself.
_OF_LENGTH = ("steps", "weights", "learning_rate")
_TABLES = ("weights", "rates")


def is_longer(record: Mapping[str, Any], run: Run) -> bool:
    """Whether a checkpoint is of a run of fewer steps than this one."""
    steps = record.get("steps")
    return isinstance(steps, int) and 0 < steps < run.steps


def refuse_other(
    folder: Path, record: Mapping[str, Any], run: Run, mine: Mapping[str, Any]
) -> None:
    """Raises ValueError unless the first steps of this run are those of the checkpoint's call.

    Args:
        folder: of the checkpoint, for messages.
        record: of the checkpoint.
        run: the longer run.
        mine: its fingerprint.
    """
    old = record.get("call")
    asks = bool(run.listeners) or run.judged
    checkpoints.refuse_other(folder, _without_length(old, asks), _without_length(mine, asks))
    before, done = int(record["steps"]), int(record["step"])
    _check_tables(folder, old, run, before)
    if asks and done % run.every:
        raise ValueError(
            checks.message(
                f"a checkpoint at a multiple of callback_every, {run.every}, to go on from with callbacks "
                "or keep='best'",
                f"step {done} in {str(folder)!r}",
                "One run would not have looked at its images there. Give both calls a callback_every that "
                "divides the first number of steps, or another folder.",
            )
        )


def _check_tables(folder: Path, old: Any, run: Run, before: int) -> None:
    """Raises ValueError unless weights and rates of the first steps are what they were."""
    for name in _TABLES:
        table = getattr(run.arguments, name).numpy()
        varies = table.shape[-2] > 1
        first = digest(table[..., :before, :] if varies else table)
        if old["arguments"][name] == first:
            continue
        what = "learning rate" if name == "rates" else "weights of penalties"
        raise ValueError(
            checks.message(
                f"the {what} in the first {before} steps to be those of the checkpoint in {str(folder)!r}",
                "others",
                "A schedule without steps of its own spans the run, so a longer run changes it. Give it its "
                f"steps in both calls, such as actmax.Linear(0.1, 0.0, steps={before}); or give another "
                "folder.",
            )
        )


def _without_length(call: Any, asks: bool) -> Any:
    """A fingerprint without what depends on the number of steps, or is compared by its first steps."""
    if not isinstance(call, Mapping):
        return call
    arguments, record = call.get("arguments"), call.get("call")
    found = {name: value for name, value in call.items() if asks or name != "callback_every"}
    if isinstance(arguments, Mapping):
        found["arguments"] = {
            name: value for name, value in arguments.items() if name not in _TABLES
        }
    if isinstance(record, Mapping):
        found["call"] = {name: value for name, value in record.items() if name not in _OF_LENGTH}
    return found
