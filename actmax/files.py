"""Files that are written completely or not at all. The standard library only."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path
from typing import IO

from actmax import checks

_HALF = re.compile(r"\.[0-9a-f]{16}\.tmp")
_KINDS = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file completely or not at all, also if the power fails.

    The bytes are written to a file of another name in the same folder, forced to the disk, then
    renamed. A reader of `path` sees either the old bytes or the new ones. A symbolic link is
    replaced, not followed.

    Args:
        path: of the file; an existing file is replaced. Its folder must exist.
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
    # Do not use tempfile.mkstemp, because other users cannot read its files.
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
    """Removes files that killed calls of `write_atomic` left; only if no other process writes there."""
    for file in folder.iterdir():
        if _HALF.fullmatch(file.name):
            file.unlink(missing_ok=True)


def refuse_no_file(path: str | os.PathLike[str]) -> None:
    """Raises if the path is something that a file may not replace; for a check before long work begins.

    A rename would remove a device or a FIFO from the file system and put a file in its place.

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
        found = f"{str(file)!r}, which is {_kind(mode)}"
        raise FileExistsError(checks.message("a path for a file", found, "Name another one."))


def refuse_no_folder(path: str | os.PathLike[str]) -> None:
    """Raises if the folder cannot exist, or this process may not write in it; before long work begins.

    Nothing is created. If the folder does not exist, the nearest existing folder above it is checked.

    Raises:
        NotADirectoryError: the path, or one above it, is something else than a folder.
        PermissionError: the folder, or the nearest one above it, may not be written in.
    """
    folder = Path(os.path.abspath(path))
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        found = f"{str(folder)!r}, which is none"
        raise NotADirectoryError(checks.message("a folder to write in", found, "Name another one."))
    if not os.access(folder, os.W_OK | os.X_OK):
        found = f"{str(folder)!r}, in which this process may not write"
        raise PermissionError(checks.message("a folder to write in", found, "Name another one."))


def read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file that somebody else may have put there.

    Opening a FIFO would wait forever, and a device has no end.

    Raises:
        FileNotFoundError: there is none.
        OSError: it is no regular file.
    """
    with open(path, "rb", opener=_at_once) as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if not stat.S_ISREG(mode):
            found = f"{os.fspath(path)!r}, which is {_kind(mode)}"
            raise OSError(checks.message("a file", found))
        return stream.read()


def open_to_lock(path: str | os.PathLike[str]) -> IO[bytes]:
    """A file to lock, open for reading and writing, made if it is not there.

    Another user with write access could have put a link there, so the target of a link is never
    opened.

    Raises:
        OSError: it is a link, a folder, or no regular file.
    """
    refuse_no_file(path)
    if os.path.islink(path):
        found = f"{str(path)!r}, which is a link"
        raise FileExistsError(checks.message("a file of its own", found, "Delete it."))
    # Looked at first for the sake of the message; the flag of the opener is what holds.
    return open(path, "r+b", opener=_its_own)


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _its_own(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "no file")


def sync_folder(folder: Path) -> None:
    """Forces the names in a folder to the disk, so that a rename outlives a power cut.

    Does nothing if the system has no such call. Windows does not open folders.
    """
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
