"""Arrays in a ZIP archive (NPZ), with a limit that is checked before anything is unpacked.

Before anything is unpacked, the declared size of each member and the shape and type of each array are
checked. The unpacked size may be at most `FLOOR` bytes, or `EXPANSION` times the size of the archive,
whichever is larger. `pack` does not compress arrays that would exceed this limit, so everything that it
writes can be read.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np

from actmax import checks

# Bytes that no machine lacks.
FLOOR = 1 << 26
# Pictures and histories pack to a half or a tenth; only what is constant packs to less than a hundredth.
EXPANSION = 100
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_SUFFIX = ".npy"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as the bytes of an NPZ file that `opened` reads. Packed, unless `opened` would refuse that."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    with zipfile.ZipFile(buffer) as archive:
        if not fault(archive, len(buffer.getbuffer())):
            return buffer.getvalue()
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


@contextlib.contextmanager
def opened(source: bytes | IO[bytes]) -> Iterator[Any]:
    """An NPZ file whose arrays have the declared sizes, within the limit; no pickle.

    Args:
        source: the bytes of the file, or the file, open for reading.

    Yields:
        What `numpy.load` gives: arrays by name, each read when it is asked for.

    Raises:
        ValueError: if it would become too large, or an array is not what its header says.
        Exception: whatever a damaged file makes zip and NumPy raise.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    length = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    with zipfile.ZipFile(stream) as archive:
        found = fault(archive, length)
        if found:
            raise ValueError(checks.message("arrays in an archive of a sane size", found))
        total = sum(member.file_size for member in archive.infolist())
        for member in archive.infolist():
            found = _misfit(archive, member, total)
            if found:
                expected = "arrays as large as their archive says"
                raise ValueError(checks.message(expected, f"{member.filename!r}, {found}"[:300]))
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as arrays:
        yield arrays


def fault(archive: zipfile.ZipFile, length: int) -> str:
    """What keeps an archive of so many bytes from being unpacked; empty if nothing does.

    Asked of the directory alone. A member never becomes more than that says, where it is read by parts:
    `read_member`. All members together are compared with the file.
    """
    members = archive.infolist()
    names = {member.filename for member in members}
    if len(names) < len(members):
        return f"{len(members)} members of {len(names)} names"
    for member in members:
        if member.flag_bits & _ENCRYPTED:
            return f"{member.filename!r}, which is encrypted"
        # These two are unpacked by parts of a bounded size.
        if member.compress_type not in _METHODS:
            return f"{member.filename!r}, packed by method {member.compress_type}"
    total = sum(member.file_size for member in members)
    if total > most(length):
        largest = max(members, key=lambda member: member.file_size).filename
        return f"a file of {length} bytes which unpacks to {total}, most of it {largest!r}"
    return ""


def most(length: int) -> int:
    """Bytes that a file of so many may unpack to."""
    return max(FLOOR, EXPANSION * length)


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes: as many as the directory says, and no more is unpacked."""
    with archive.open(name) as stream:
        return stream.read(archive.getinfo(name).file_size)


def _misfit(archive: zipfile.ZipFile, member: zipfile.ZipInfo, total: int) -> str:
    """In what a member is no array of the size that it is said to have; empty if in nothing."""
    if not member.filename.endswith(_SUFFIX):
        return f"which is no {_SUFFIX}"
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            return f"of version {version}"
        shape, _, dtype = _HEADERS[version](stream)
        begins = stream.tell()
    if dtype.hasobject or not dtype.itemsize:
        return f"of the type {dtype}"
    if begins + math.prod(shape) * dtype.itemsize != member.file_size:
        return f"{member.file_size} bytes for the shape {shape} of {dtype}"
    # Also of an array without values.
    if max(shape, default=0) > total:
        return f"of the shape {shape}"
    return ""
