"""The manifest: the job of a folder, so that no other job is mixed into it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actmax import checks, files, fingerprints, images

_FORMAT = "actmax.catalog/1"
NAME = "manifest.json"
_LOCK = ".lock"


class CatalogError(ValueError):
    """A folder is not a catalog, is damaged, or belongs to another job."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """One job.

    Attributes:
        config: everything that decides the bytes of an image.
        plan: targets of every objective, and seeds.
        batch_sizes: batch sizes of the generations. A new generation begins when memory runs out.
        labels: names of the targets of the model's output, if there are any.
    """

    config: Mapping[str, Any]
    plan: Mapping[str, Any]
    batch_sizes: tuple[int, ...]
    labels: tuple[str, ...] | None

    def write(self, folder: Path) -> None:
        """Replaces the manifest of a folder, completely or not at all."""
        record = {"format": _FORMAT, **dataclasses.asdict(self)}
        images.write_atomic(folder / NAME, json.dumps(record, indent=1, allow_nan=False).encode())


def read(folder: Path) -> Manifest | None:
    """The manifest of a folder, or None.

    Raises:
        CatalogError: if the manifest cannot be read.
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
        # A damaged file makes JSON and the lines above raise many errors. The caller gets one class
        # of error.
        raise CatalogError(
            checks.message(f"a catalog in {folder}", f"{NAME} that cannot be read: {error}"[:200])
        ) from error


def _check_plan(plan: Mapping[str, Any]) -> None:
    """Raises an error unless a plan has seeds, and targets for every objective."""
    for seed in list(plan["seeds"]):
        checks.integer(seed, "seed")
    for targets in list(plan["targets"]):
        for target in list(targets):
            if target is not None:
                checks.integer(target, "target")


def same(wanted: Manifest, found: Manifest, folder: Path) -> None:
    """Raises CatalogError if two jobs differ. The message has the difference."""
    expected = f"the job that {folder} was begun with"
    old = found.config.get("fingerprint")
    if not isinstance(old, Mapping):
        version = found.config.get("versions", {}).get("actmax", "an older version")
        raise CatalogError(
            checks.message(
                expected,
                f"a job of actmax {version} that wrote down less of its call than is compared today",
                "Read it with actmax.Catalog; to go on, give out= another folder.",
            )
        )
    pairs = (
        {**fingerprint, "plan": {**each.plan}}
        for fingerprint, each in ((old, found), (wanted.config["fingerprint"], wanted))
    )
    lines = fingerprints.differences(*pairs)
    if lines:
        raise CatalogError(
            checks.message(
                expected,
                fingerprints.shown(lines),
                fingerprints.advice(lines)
                + "Give out= another folder, or the arguments of the first call.",
            )
        )


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Locks a folder for one process. The lock ends with the process.

    Raises:
        CatalogError: if another process holds it.
    """
    import fcntl

    with files.open_to_lock(folder / _LOCK) as stream:
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
