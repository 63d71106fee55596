"""Checkpoints on the disk: one folder, one run, one process at a time. JSON and NPZ, no pickle.

    checkpoint.json      what the checkpoint is of, and which file holds the arrays; written last
    state-00000007.npz   the arrays
    lock                 held by the process that writes here

A checkpoint is two files. First the arrays are written under a new name. Then the JSON, which has this
name and the SHA-256, replaces the older JSON in one rename. So at every moment the folder has either
the older checkpoint or the newer one. Incomplete files of a killed process have names that are
ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from actmax import archives, checks, files, fingerprints
from actmax.files import write_atomic
from actmax.result import RecordError

FORMAT = 1
RECORD = "checkpoint.json"
LOCK = "lock"
_STATE = "state-{:08d}.npz"
# What a killed process may leave: arrays that no record names, and temporary files of write_atomic.
_LEFT = re.compile(r"state-\d{8}\.npz|\.[0-9a-f]{16}\.tmp")


class Folder:
    """A checkpoint's folder, held by this process. Made by `opened`.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._serial = 0

    def load(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """`(record, arrays)` of the last checkpoint; None where there is none yet.

        Raises:
            RecordError: if there is one that cannot be trusted: damaged, or of another format.
        """
        file = self.path / RECORD
        if not file.exists():
            self._clean(None)
            return None
        try:
            envelope = json.loads(files.read(file).decode())
            version = envelope["format"]
            if version == FORMAT:
                record, check = envelope["record"], envelope["check"]
                data = files.read(self.path / _STATE.format(int(envelope["serial"])))
                if check != _digest(_text({**envelope, "check": ""})):
                    raise ValueError("its own checksum does not fit")
                if envelope["sha256"] != _digest(data):
                    raise ValueError("the checksum of its arrays does not fit")
                if not isinstance(record, dict):
                    raise ValueError(f"a record that is a {type(record).__name__}")
                with archives.opened(data) as found:
                    arrays = {name: found[name] for name in found.files}
        except Exception as error:
            # A damaged file makes JSON, zip and NumPy raise many errors. The caller gets one class
            # of error.
            raise RecordError(
                checks.message(
                    "a whole checkpoint",
                    f"{file} ({type(error).__name__}: {error})",
                    f"Delete the folder {str(self.path)!r} to begin again.",
                )
            ) from error
        if version != FORMAT:
            raise RecordError(
                checks.message(
                    f"a checkpoint of format {FORMAT}",
                    f"format {version} in {file}",
                    "Resume it with the version of actmax that wrote it, or use another folder.",
                )
            )
        self._serial = int(envelope["serial"])
        self._clean(self._serial)
        return record, arrays

    def save(self, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Replaces the checkpoint: whole, or not at all.

        Raises:
            OSError: if the disk fails; the older checkpoint is then kept.
        """
        serial = self._serial + 1
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        data = buffer.getvalue()
        write_atomic(self.path / _STATE.format(serial), data)
        envelope = {
            "format": FORMAT,
            "serial": serial,
            "sha256": _digest(data),
            "record": dict(record),
            "check": "",
        }
        envelope["check"] = _digest(_text(envelope))
        write_atomic(self.path / RECORD, _text(envelope))
        self._serial = serial
        self._clean(serial)

    def _clean(self, serial: int | None) -> None:
        """Deletes what no record names."""
        kept = None if serial is None else _STATE.format(serial)
        for file in self.path.iterdir():
            if _LEFT.fullmatch(file.name) and file.name != kept:
                file.unlink(missing_ok=True)


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Folder]:
    """The folder of a checkpoint, made if it is not there, and locked against other processes.

    The lock is the operating system's, on an open file: it ends with the process, however that ends.

    Raises:
        TypeError: if `path` is no path.
        BlockingIOError: if another run holds the folder.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(checks.message("checkpoint to be the path of a folder", repr(path)))
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    with files.open_to_lock(folder / LOCK) as stream:
        if not _lock(stream):
            stream.seek(0)
            holder = stream.read(32).decode(errors="replace").strip()
            raise BlockingIOError(
                checks.message(
                    "a checkpoint that no other run is writing",
                    f"{str(folder)!r}, held by process {holder or 'unknown'}",
                    "Wait for it, or give another folder.",
                )
            )
        try:
            stream.truncate(0)
            stream.seek(0)
            stream.write(f"{os.getpid()}\n".encode())
            stream.flush()
            yield Folder(folder)
        finally:
            _unlock(stream)


def _lock(stream: IO[bytes]) -> bool:
    """Takes the lock of an open file, unless another has it."""
    try:
        if os.name == "nt":
            import msvcrt

            # A byte beyond the number of the process, which stays readable.
            stream.seek(64)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _unlock(stream: IO[bytes]) -> None:
    if os.name == "nt":
        import msvcrt

        stream.seek(64)
        msvcrt.locking(stream.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_UN)


def refuse_other(folder: Path, old: Any, new: Any) -> None:
    """Raises ValueError, with the differences, unless a checkpoint is of the very call."""
    try:
        found = fingerprints.differences(old, new)
    except RecursionError:  # Nested as deeply as no call is.
        found = ["call: another kind of record"]
    if found:
        raise ValueError(
            checks.message(
                f"the checkpoint in {str(folder)!r} to be of the same call",
                "another one: " + fingerprints.shown(found),
                fingerprints.advice(found)
                + "Give another folder, or delete this one to begin again.",
            )
        )


def _text(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
