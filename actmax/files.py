"""Files that are there whole or not at all. The standard library only."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from actmax import checks

_HALF = re.compile(r"\.[0-9a-f]{16}\.tmp")
_KINDS = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file so that it is there whole or not at all, also when the power fails.

    Written to a file of another name in the same folder, forced to the disk, then renamed: whoever
    reads `path` sees the old bytes or the new ones. A symbolic link is replaced, not followed.

    Args:
        path: replaced if it is there; its folder exists.
        data: the bytes.

    Raises:
        FileNotFoundError: there is no such folder.
        IsADirectoryError: the path is a folder.
        FileExistsError: it is a device, a FIFO or a socket.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomic(Path(folder) / "config.json", b"{}")
    """
    file = Path(path)
    if not file.parent.is_dir():
        do = f"Create the folder: pathlib.Path({str(file.parent)!r}).mkdir(parents=True)."
        raise FileNotFoundError(checks.message("a path in an existing folder", repr(str(path)), do))
    refuse_no_file(file)
    # Not tempfile.mkstemp, whose files nobody else may read.
    temporary = file.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
        sync_folder(file.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def clear(folder: Path) -> None:
    """Removes what killed calls of `write_atomic` left in a folder; only where nobody else writes."""
    for file in folder.iterdir():
        if _HALF.fullmatch(file.name):
            file.unlink(missing_ok=True)


def refuse_no_file(path: str | os.PathLike[str]) -> None:
    """Raises where something stands that no file may replace, so that long work can ask before it begins.

    A rename would take a device or a FIFO out of the file system and put a file in its place.

    Raises:
        IsADirectoryError: the path is a folder.
        FileExistsError: it is a device, a FIFO or a socket.
    """
    file = Path(path)
    try:
        mode = os.lstat(file).st_mode
    except FileNotFoundError:
        return
    if file.is_dir():
        found = f"{str(file)!r}, which is a folder"
        raise IsADirectoryError(checks.message("a path for a file", found, "Name a file in it."))
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        found = f"{str(file)!r}, which is {_KINDS.get(stat.S_IFMT(mode), 'no file')}"
        raise FileExistsError(checks.message("a path for a file", found, "Name another one."))


def sync_folder(folder: Path) -> None:
    """Forces the names in a folder to the disk, so that a rename outlives a power cut.

    Nothing where the system has no such call: Windows opens no folders.
    """
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
