"""The record of a result and its arrays as files of a folder, replaced together. JSON and NPZ, no pickle.

    result.json    what the result is, and the SHA-256 of the other two
    result.npz     its arrays
    sweep.json     of a sweep: its table

New arrays are first written under a temporary name: `.result-` and the beginning of their hash. A new table
is written in the same way. Then the record, which contains the hashes, replaces the older record in one
rename. Finally the others get their names. A reader uses the files with the hashes of the record, under
either name. So at every moment, and after an error at any write, the folder has either the older result or
the newer one. It never has the record of one with the arrays of the other.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from actmax import archives, checks, files, images
from actmax.files import write_atomic
from actmax.types import IMAGES, Status

FORMAT = 1
RECORD = "result.json"
ARRAYS = "result.npz"
TABLE = "sweep.json"
# Names of files that an error between two writes leaves. The next save removes them.
_STAGED = re.compile(r"\.result-[0-9a-f]{16}\.npz|\.sweep-[0-9a-f]{16}\.json")
# Matches names of a result's pictures.
_PICTURE = re.compile(r"\d{3,}_[A-Za-z0-9._-]+\.(?:png|wav)|grid\.png|sweep\.png")
_INF = float("inf")
# Entries of a run's config that reports use.
_KINDS: dict[str, type] = {
    "call": dict, "inputs": dict, "versions": dict, "penalties": dict,
    "model": list, "transforms": list, "positions": list,
}  # fmt: skip


class RecordError(ValueError):
    """A saved result that cannot be read: missing, truncated, or of another format."""


def write(
    folder: Path,
    record: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    table: bytes | None = None,
) -> None:
    """Replaces the result of a folder, completely or not at all; removes the older pictures first.

    Args:
        folder: an existing folder.
        record: JSON without NaN; `"pictures"` names those that will be written beside it.
        arrays: by name.
        table: of a sweep.

    Raises:
        OSError: if writing fails.
    """
    parts = {ARRAYS: archives.pack(arrays)} | ({} if table is None else {TABLE: table})
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    for name, data in parts.items():
        write_atomic(_staged(folder, name, digests[name]), data)
    for file in _pictures(folder):
        file.unlink(missing_ok=True)
    named = {"format": FORMAT, "sha256": digests[ARRAYS], "sweep": digests.get(TABLE)}
    text = json.dumps({**named, **record}, indent=2, allow_nan=False)
    write_atomic(folder / RECORD, text.encode())
    for name in parts:
        _staged(folder, name, digests[name]).replace(folder / name)
    if table is None:  # This is the table of an older sweep.
        (folder / TABLE).unlink(missing_ok=True)
    for file in folder.iterdir():
        if _STAGED.fullmatch(file.name):
            file.unlink(missing_ok=True)


def read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """`(record, arrays)` as they were given to `write`.

    Raises:
        RecordError: if they are of another format.
        Exception: any error of JSON, zip or NumPy for damaged files.
    """
    record = json.loads(files.read(folder / RECORD))
    if record["format"] != FORMAT:
        raise RecordError(
            checks.message(f"a result of format {FORMAT}", f"format {record['format']!r}"[:80])
        )
    digest = record.get("sha256")
    # Older versions wrote no hash.
    data = files.read(folder / ARRAYS) if digest is None else _meant(folder, ARRAYS, digest)
    with archives.opened(data) as found:
        return record, {name: found[name] for name in found.files}


def table(folder: Path, record: Mapping[str, Any]) -> bytes:
    """The table of the sweep whose record was read.

    Raises:
        ValueError: if the record is of no sweep, or its table is not there.
    """
    if "sweep" not in record:  # An older version wrote it without a hash.
        return files.read(folder / TABLE)
    if record["sweep"] is None:
        raise ValueError(f"{RECORD} is of a result that is no sweep")
    return _meant(folder, TABLE, record["sweep"])


def _meant(folder: Path, name: str, digest: Any) -> bytes:
    """The bytes of the file with the hash in a record."""
    if not (isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest)):
        raise ValueError(f"sha256 {digest!r}")
    for file in (folder / name, _staged(folder, name, digest)):
        if file.is_file():
            data = files.read(file)
            if hashlib.sha256(data).hexdigest() == digest:
                return data
    raise ValueError(f"{name} is missing or not the one that {RECORD} means")


def _staged(folder: Path, name: str, digest: str) -> Path:
    stem, suffix = name.split(".")
    return folder / f".{stem}-{digest[:16]}.{suffix}"


def _pictures(folder: Path) -> list[Path]:
    """Pictures that the record of a folder names. Other files are not included."""
    try:
        named = json.loads(files.read(folder / RECORD))["pictures"]
    except Exception:  # Without a valid record, its pictures are unknown.
        return []
    known = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    return [folder / name for name in known if _PICTURE.fullmatch(name)]


def each(structure: Any, function: Callable[[Any], Any]) -> Any:
    """Applies a function to every leaf of a structure of dicts and sequences. None stays None."""
    if structure is None:
        return None
    if isinstance(structure, Mapping):
        return {name: each(part, function) for name, part in structure.items()}
    if isinstance(structure, (list, tuple)):
        return {str(place): each(part, function) for place, part in enumerate(structure)}
    return function(structure)


def packed(structure: Any, name: str) -> dict[str, np.ndarray]:
    """Leaves of a structure by path, `name/key/...`."""
    if structure is None:
        return {}
    if not isinstance(structure, Mapping):
        return {name: np.asarray(structure)}
    found: dict[str, np.ndarray] = {}
    for key, part in structure.items():
        found |= packed(part, f"{name}/{key}")
    return found


def unpacked(arrays: Mapping[str, np.ndarray], name: str) -> Any:
    """What `packed` packed; None if there is nothing."""
    if name in arrays:
        return arrays[name]
    own = {path[len(name) + 1 :] for path in arrays if path.startswith(f"{name}/")}
    keys = sorted({path.split("/")[0] for path in own})
    return {key: unpacked(arrays, f"{name}/{key}") for key in keys} or None


def bound(value: Any) -> Any:
    """One end of a range: None, a number, one per channel, or an array of one per value."""
    if isinstance(value, list) and any(isinstance(row, list) for row in value):
        found = np.array([bound(row) for row in value], np.float64)
        found.flags.writeable = False
        return found
    ends = value if isinstance(value, list) else [value]
    # In a list of ends, an open end is infinite. JSON stores its name.
    ends = [
        float(end) if end in ("inf", "-inf") and isinstance(value, list) else end for end in ends
    ]
    # A whole number of JSON may be larger than any float.
    if value is not None and not all(
        type(end) in (int, float)
        and (abs(end) <= sys.float_info.max or (isinstance(value, list) and end in (-_INF, _INF)))
        for end in ends
    ):
        raise ValueError(f"an end of the range {value!r}"[:80])
    return tuple(ends) if isinstance(value, list) else value


def config(value: Any) -> dict[str, Any]:
    """The record of a run, after a check of the types of its entries."""
    found = dict(value)
    for name, kind in _KINDS.items():
        if not isinstance(found.get(name, kind()), kind):
            raise ValueError(f"config[{name!r}] is a {type(found[name]).__name__}")
    if not all(isinstance(entry, dict) for entry in found.get("inputs", {}).values()):
        raise ValueError("config['inputs'] are no records")
    transforms = found.get("transforms", [])
    places = found.get("positions", list(range(len(transforms))))
    count = len(transforms) + len(found.get("penalties", {}))
    known = all(type(place) is int and 0 <= place < count for place in places)
    if not known or len(set(places)) != len(transforms) or len(places) != len(transforms):
        raise ValueError(f"config['positions'] of {len(transforms)} transforms: {places}"[:80])
    return found


def loaded_terms(
    record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray] | None:
    """The values of the terms of an objective by name, as they were written; None without."""
    names = record.get("terms")
    if not names:
        return None
    if "terms" not in arrays or len(arrays["terms"]) != len(set(map(str, names))):
        raise ValueError(f"values of the terms {names}"[:80])
    return dict(zip(map(str, names), arrays["terms"], strict=True))


def check_rows(found: Any, pictures: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError unless a loaded result has every field once per image, with the right type."""
    if found.scores.ndim != 1 or found.scores.dtype.kind != "f":
        raise ValueError(f"scores {found.scores.dtype} {found.scores.shape}")
    count = len(found.scores)

    def fits(value: np.ndarray, kinds: str, *ranks: int) -> bool:
        return value.dtype.kind in kinds and value.ndim in ranks and len(value) == count

    good = {"status": fits(found.status, "i", 1), "steps": fits(found.steps, "i", 1)}
    good["targets"] = found.targets is None or fits(found.targets, "iuf", 1, 2)
    for name in ("probabilities", "optimality", "duality_gap", "distance"):
        value = getattr(found, name)
        good[name] = value is None or fits(value, "f", 1)
    good["named"] = found.named is None or len(found.named) == count
    for name, value in (found.terms or {}).items():
        good[f"term {name}"] = fits(value, "f", 1)
    own = found.member_scores
    good["member_scores"] = own is None or fits(own, "f", 2)
    good |= {
        name: fits(value, "f", *range(1, 9)) and name in found.low and name in found.high
        for name, value in pictures.items()
    }
    for name, texts in (("messages", found.messages), ("labels", found.labels)):
        good[name] = texts is None or (len(texts) == count and all(type(t) is str for t in texts))
    for name, series in found.history.items():
        good[f"history of {name}"] = series.dtype.kind == "f" and series.shape[1:] == (count,)
    good["status"] &= not set(found.status.ravel().tolist()) - {int(known) for known in Status}
    for name, fit in good.items():
        if not fit:
            raise ValueError(f"{name} that does not fit {count} images")


def plain(value: Any) -> Any:
    """JSON without NaN: numbers that are not finite become their names."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value


def write_result(
    result: Any,
    folder: str | Path,
    made: tuple[Mapping[str, np.ndarray], Mapping[str, bytes]],
    table: bytes | None = None,
) -> Path:
    """Does the work of `Result.save`; for the result of a sweep also writes its table.

    Args:
        result: a `Result`.
        folder: made if it is not there.
        made: pictures and waves by file name, made before anything is written.
        table: of a sweep.
    """
    folder = Path(folder)
    shown, heard = made
    folder.mkdir(parents=True, exist_ok=True)
    by_name = result.images if isinstance(result.images, Mapping) else {IMAGES: result.images}
    arrays = {f"images/{name}": value for name, value in by_name.items()}
    arrays |= {f"history/{name}": value for name, value in result.history.items()}
    arrays |= {"scores": result.scores, "status": result.status, "steps": result.steps}
    if result.targets is not None:
        arrays["targets"] = result.targets
    for name in ("probabilities", "optimality", "duality_gap", "distance", "member_scores"):
        if getattr(result, name) is not None:
            arrays[name] = getattr(result, name)
    if result.terms:
        arrays["terms"] = np.stack(list(result.terms.values()))
    arrays |= {} if result.named is None else result.named.arrays()
    arrays |= packed(result.params, "params")
    record = {
        "single": not isinstance(result.images, Mapping),
        "inputs": list(by_name),
        "history": list(result.history),
        "messages": list(result.messages),
        "labels": None if result.labels is None else list(result.labels),
        "low": dict(result.low),
        "high": dict(result.high),
        "scores": [float(score) for score in result.scores],
        "probabilities": result.probabilities,
        "terms": None if result.terms is None else list(result.terms),
        "named": None if result.named is None else result.named.listed(),
        "optimality": result.optimality,
        "duality_gap": result.duality_gap,
        "distance": result.distance,
        "status": [Status(value).name for value in result.status],
        "pictures": [*shown, *heard],
        "scale": result.scale() if shown and result.shows() else None,
        "config": dict(result.config),
    }
    write(folder, plain(record), arrays, table)
    for name, image in shown.items():
        images.save_png(folder / name, image)
    for name, data in heard.items():
        images.write_atomic(folder / name, data)
    return folder
