"""Finds out what a model file is, without Keras and without running anything in it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from actmax import archives
from actmax.loading import config, hdf5, keras2, kinds
from actmax.loading.errors import ModelFileError, refuse

_EXPECTED = "a model saved as .keras or .h5"
_SUFFIXES = {".keras": "keras", ".h5": "hdf5", ".hdf5": "hdf5"}
_SIGNATURES = {"keras": b"PK\x03\x04", "hdf5": b"\x89HDF\r\n\x1a\n"}
_WEIGHTS = "model.weights.h5"
_MEMBERS = frozenset({"metadata.json", "config.json", _WEIGHTS})
_MAX_MEMBERS = 10_000
# Of the configuration: that of the largest network in keras.applications is 2 MB.
_MAX_CONFIG = 1 << 26
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Scan:
    """A model file that may be given to Keras.

    Attributes:
        path: of the file.
        kind: "keras" or "hdf5".
        sha256: of the file's bytes, in hexadecimal.
        values: bytes of the weights in it.
        old: the mended configuration of a file of Keras 2; None for a file of Keras 3.
    """

    path: Path
    kind: str
    sha256: str
    values: int
    old: keras2.Mend | None = None


def scan(path: str | os.PathLike[str], known: config.Known = lambda name: False) -> Scan:
    """Looks through a model file. Nothing in it is run, and nothing is written.

    Args:
        path: of a file that `model.save` wrote.
        known: whether a class or function of this name is the user's own.

    Raises:
        ModelFileError: if it is not there, not a regular file, not what its name says, damaged, would
            need code that is not Keras', reaches for other files, or would fill the memory.
    """
    file = Path(path)
    kind = kind_of(file)
    digest = file_hash(file)
    # A damaged file makes the readers raise many errors. The caller gets one class of error.
    try:
        values, old = _scan_zip(file, known) if kind == "keras" else _scan_hdf5(file, known)
    except ModelFileError:
        raise
    except Exception as error:
        raise refuse(_EXPECTED, f"{file} ({type(error).__name__}: {error})"[:300]) from error
    return Scan(file, kind, digest, values, old)


def file_hash(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def kind_of(file: Path) -> str:
    """`keras` or `hdf5`, by name, ending and first bytes.

    Raises:
        ModelFileError: for anything else, saying what it is.
    """
    try:
        mode = os.stat(file).st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name.
        if isinstance(error, FileNotFoundError):
            raise refuse(_EXPECTED, f"{file}, which does not exist") from error
        raise refuse(_EXPECTED, f"{str(file)!r} ({error})") from error
    if stat.S_ISDIR(mode):
        raise kinds.folder(file)
    if not stat.S_ISREG(mode):  # Opening a FIFO waits for ever, and a device has no end.
        raise refuse(_EXPECTED, f"{file}, which is not a regular file")
    try:
        with file.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise refuse(_EXPECTED, f"{file} ({error})") from error
    kind = _SUFFIXES.get(file.suffix.lower(), "")
    if not kind:
        raise kinds.other(file, head)
    if not head.startswith(_SIGNATURES[kind]):
        found = [other for other, mark in _SIGNATURES.items() if head.startswith(mark)]
        what = f"a file of the kind {found[0]}" if found else f"bytes {head!r}"
        raise refuse(f"{_EXPECTED}, with content of that kind", f"{file}, which begins as {what}")
    return kind


def _scan_hdf5(file: Path, known: config.Known) -> tuple[int, keras2.Mend | None]:
    with hdf5.opened(str(file), str(file)) as content:
        text = content.attrs.get("model_config")
        if text is None:
            raise kinds.no_model(file, content)
        values = hdf5.check(content, str(file))
        tree = config.parse(text, str(file))
        version = content.attrs.get("keras_version", "2.0")
        return values, _check(tree, version, known, file, values)


def _check(
    tree: Any, version: Any, known: config.Known, file: Path, values: int
) -> keras2.Mend | None:
    """Raises if a configuration could run code; of a file of Keras 2 the mended copy."""
    if not keras2.is_old(version):
        config.check(tree, known, str(file), values)
        return None
    config.bound(tree, str(file))
    mended = keras2.Mend(tree, known)
    config.check(mended.tree, known, str(file), values)
    return mended


def _scan_zip(file: Path, known: config.Known) -> tuple[int, keras2.Mend | None]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        found = archives.fault(archive, file.stat().st_size)
        if found or len(members) > _MAX_MEMBERS:
            expected = f"at most {_MAX_MEMBERS} distinct members of a sane size in {file}"
            raise refuse(expected, found or f"{len(members)} members")
        for member in members:
            _check_member(member, file)
        for needed in ("config.json", _WEIGHTS):
            if needed not in names:
                raise refuse(f"{needed} in {file}", f"{sorted(names)[:5]}")
        if archive.getinfo("config.json").file_size > _MAX_CONFIG:
            raise refuse(f"a configuration below {_MAX_CONFIG} bytes in {file}", "a larger one")
        tree = config.parse(archives.read_member(archive, "config.json"), f"{file}/config.json")
        # Reading to the end also checks its CRC.
        weights = io.BytesIO(archives.read_member(archive, _WEIGHTS))
        with hdf5.opened(weights, f"{file}/{_WEIGHTS}") as content:
            values = hdf5.check(content, f"{file}/{_WEIGHTS}")
        return values, _check(tree, _version(archive), known, file, values)


def old_of(file: Path, known: config.Known = lambda name: False) -> keras2.Mend | None:
    """The mended configuration of a file that is trusted; None if Keras 2 did not write it."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                version = _version(archive)
                tree = config.parse(archives.read_member(archive, "config.json"), str(file))
        else:
            with hdf5.opened(str(file), str(file)) as content:
                version = content.attrs.get("keras_version", "2.0")
                tree = config.parse(content.attrs["model_config"], str(file))
        config.bound(tree, str(file))
        return keras2.Mend(tree, known) if keras2.is_old(version) else None
    except Exception:  # Not such a file at all: whoever loads it says what it is.
        return None


def _version(archive: zipfile.ZipFile) -> str:
    """Of the Keras that wrote a .keras file."""
    if "metadata.json" not in archive.namelist():
        return "3"
    found = config.parse(archives.read_member(archive, "metadata.json"), "metadata.json")
    return str(found.get("keras_version", "3")) if isinstance(found, dict) else "3"


def _check_member(member: zipfile.ZipInfo, file: Path) -> None:
    name = member.filename
    parts = PurePosixPath(name).parts
    outside = name.startswith("/") or ".." in parts or "\\" in name or ":" in name or "\0" in name
    if outside or (name not in _MEMBERS and parts[:1] != ("assets",)):
        raise refuse(f"members of a Keras model in {file}", f"{name[:80]!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise refuse(f"files in {file}", f"{name!r}, a symbolic link")


def describe(found: Scan) -> dict[str, Any]:
    """The entry of the file in a record: its name without the folder, and its hash."""
    told: dict[str, Any] = {"file": found.path.name, "sha256": found.sha256}
    return {**told, "mended": list(found.old.notes)} if found.old and found.old.notes else told
