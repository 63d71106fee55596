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

# A size that every machine has.
FLOOR = 1 << 26
# Pictures and histories shrink to 1/2 or 1/10. Only constant data shrinks to less than 1/100.
EXPANSION = 100
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_SUFFIX = ".npy"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as the bytes of an NPZ file. It is compressed, unless `opened` would refuse it."""
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
        ValueError: if it would become too large, or an array does not match its header.
        Exception: any error of zip or NumPy for a damaged file.
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
    """The reason why an archive of this size must not be unpacked, or an empty text.

    Only the directory of the archive is used. `read_member` reads by parts, so a member never exceeds
    its declared size. The sum of all members is compared with the size of the file.
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
    """Maximum unpacked bytes for a file of this size."""
    return max(FLOOR, EXPANSION * length)


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes. No more than the declared size is unpacked."""
    with archive.open(name) as stream:
        return stream.read(archive.getinfo(name).file_size)


def _misfit(archive: zipfile.ZipFile, member: zipfile.ZipInfo, total: int) -> str:
    """The difference between a member and its declared array, or an empty text."""
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
