"""The manifest: what a folder's job is, so that nothing else is ever mixed into it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actmax import checks, files, images

_FORMAT = "actmax.catalog/1"
NAME = "manifest.json"
_LOCK = ".lock"
_SHOWN = 8


class CatalogError(ValueError):
    """A folder that is no catalog, a damaged one, or that of another job."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """One job.

    Attributes:
        config: everything that decides the bytes of an image.
        plan: targets of every objective, and seeds.
        batch_sizes: of the generations; a further one begins when memory runs out.
        labels: names of the targets of the model's output, if there are any.
    """

    config: Mapping[str, Any]
    plan: Mapping[str, Any]
    batch_sizes: tuple[int, ...]
    labels: tuple[str, ...] | None

    def write(self, folder: Path) -> None:
        """Replaces the manifest of a folder, whole or not at all."""
        record = {"format": _FORMAT, **dataclasses.asdict(self)}
        images.write_atomic(folder / NAME, json.dumps(record, indent=1, allow_nan=False).encode())


def read(folder: Path) -> Manifest | None:
    """The manifest of a folder, None if it has none.

    Raises:
        CatalogError: if it has one that cannot be read.
    """
    file = folder / NAME
    if not file.exists():
        return None
    try:
        record = json.loads(files.read(file).decode("utf-8"))
        if record["format"] != _FORMAT:
            raise ValueError(f"format {record['format']!r}")
        labels = record["labels"]
        sizes = tuple(checks.integer(size, "batch size", low=1) for size in record["batch_sizes"])
        if not sizes:
            raise ValueError("no batch size")
        config, plan = dict(record["config"]), dict(record["plan"])
        if not isinstance(config.get("versions", {}), dict):
            raise ValueError("versions that are no record")
        _check_plan(plan)
        return Manifest(config, plan, sizes, None if labels is None else tuple(map(str, labels)))
    except Exception as error:
        # Whatever a damaged file makes JSON and the lines above raise, the caller learns one class.
        raise CatalogError(
            checks.message(f"a catalog in {folder}", f"{NAME} that cannot be read: {error}"[:200])
        ) from error


def _check_plan(plan: Mapping[str, Any]) -> None:
    """Raises unless a plan has targets of every objective, and seeds."""
    for seed in list(plan["seeds"]):
        checks.integer(seed, "seed")
    for targets in list(plan["targets"]):
        for target in list(targets):
            if target is not None:
                checks.integer(target, "target")


def same(wanted: Manifest, found: Manifest, folder: Path) -> None:
    """Raises CatalogError if two jobs differ, with the difference."""
    one, other = ({"config": each.config, "plan": each.plan} for each in (wanted, found))
    lines = list(_differences(json.loads(json.dumps(one)), other, ""))
    if lines:
        more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise CatalogError(
            checks.message(
                f"the job that {folder} was begun with",
                "; ".join([*lines[:_SHOWN], *more]),
                "Give out= another folder, or the arguments of the first call.",
            )
        )


def _differences(new: Any, old: Any, path: str) -> Iterator[str]:
    if isinstance(new, dict) and isinstance(old, dict):
        for key in sorted({*new, *old}):
            where = f"{path}.{key}" if path else key
            if key not in new or key not in old:
                yield f"{where} only {'now' if key in new else 'then'}"
            else:
                yield from _differences(new[key], old[key], where)
    elif new != old:
        yield f"{path}: {old!r} then, {new!r} now"[:200]


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a folder for one process; the lock goes with the process, however it ends.

    Raises:
        CatalogError: if another process holds it.
    """
    import fcntl

    with files.held(folder / _LOCK) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CatalogError(
                checks.message(
                    f"{folder} to be written by one process",
                    "another one that is at it",
                    "Wait for it, or give out= another folder.",
                )
            ) from error
        yield
