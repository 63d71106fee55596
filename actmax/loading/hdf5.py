"""HDF5 files: checks of their content before values are read."""

from __future__ import annotations

import io
import mmap
import struct
from typing import Any

from actmax.loading.errors import refuse

# Keras stores weights as they are: what is declared may be above the floor, which no machine minds, or far
# above what is stored, but not both.
_FLOOR = 1 << 26
_MAX_EXPANSION = 1000
_MAX_OBJECTS = 200_000
# gzip, shuffle, fletcher32, szip, n-bit, scale-offset and h5py's lzf: those that come with HDF5 and h5py.
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
# Of the file format, version 3.0, III.E: collections of texts, each object after its number and size.
_HEAP = b"GCOL\x01"
_ENTRY = struct.Struct("<H6xQ")
_WORD = 1 << 64
# Where the superblock keeps the sizes of offsets and lengths, by its version.
_SIZES = {0: 13, 1: 13, 2: 9, 3: 9}


def check(file: Any, where: str) -> int:
    """Bytes of all values in an open `h5py.File`.

    Raises:
        ModelFileError: for links out of the tree, values stored in other files or computed from them,
            groups of two names, filters that are plug-ins, values that are no numbers, and more values
            than are stored.
    """
    import h5py

    total = 0
    seen = 0
    # Every group is visited once: what Keras writes is a tree.
    visited = set()
    waiting = [file["/"]]
    while waiting:
        group = waiting.pop()
        token = h5py.h5o.get_info(group.id)
        if (token.fileno, token.addr) in visited:
            raise refuse(f"a tree in {where}", f"{group.name!r}, which stands there twice")
        visited.add((token.fileno, token.addr))
        for name in group:
            seen += 1
            if seen > _MAX_OBJECTS:
                raise refuse(f"weights in {where}", f"more than {_MAX_OBJECTS} objects")
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise refuse(f"weights inside {where}", f"{name!r}, a {type(link).__name__}")
            kind = group.get(name, getclass=True)
            if kind is h5py.Group:
                waiting.append(group[name])
            elif kind is h5py.Dataset:
                total += _size(group[name], where)
            else:
                raise refuse(f"groups and datasets in {where}", f"{name!r}, a {kind}")
    return total


def _size(dataset: Any, where: str) -> int:
    import h5py

    settings = dataset.id.get_create_plist()
    if dataset.is_virtual or settings.get_external_count():
        raise refuse(f"values inside {where}", f"{dataset.name!r}, whose values are elsewhere")
    filters = {settings.get_filter(at)[0] for at in range(settings.get_nfilters())}
    if not filters <= _FILTERS:
        raise refuse(f"filters of HDF5 itself in {where}", f"the plug-in {min(filters - _FILTERS)}")
    named = h5py.check_string_dtype(dataset.dtype) is not None
    if not named and dataset.dtype.kind not in "biufcVS":
        raise refuse(f"numbers in {where}", f"{dataset.name!r} of type {dataset.dtype}")
    declared = int(dataset.size or 0) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if declared > _FLOOR and declared > _MAX_EXPANSION * max(stored, 1):
        raise refuse(
            f"values in {where}",
            f"{dataset.name!r}, which declares {declared} bytes and stores {stored}",
        )
    return declared


def opened(source: str | io.BytesIO, where: str) -> Any:
    """An `h5py.File`, open for reading.

    Raises:
        ModelFileError: if it is none.
    """
    import h5py

    if isinstance(source, str):
        with (
            open(source, "rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            _check_heaps(data, where)
    else:
        _check_heaps(source.getvalue(), where)
    try:
        return h5py.File(source, "r")
    except Exception as error:  # HDF5 raises OSError, RuntimeError, ValueError, KeyError ...
        raise refuse(
            f"an HDF5 file in {where}", f"{type(error).__name__}: {error}"[:200]
        ) from error


def _check_heaps(data: bytes | mmap.mmap, where: str) -> None:
    """Raises unless the texts of every heap lie inside of it, one behind the other.

    Looked at in the file's bytes, before HDF5 reads them.
    """
    if len(data) < 64:  # Too short for a heap.
        return
    at = _SIZES.get(data[8])
    if at is None or data[at : at + 2] != b"\x08\x08":
        raise refuse(f"an HDF5 file as Keras writes it in {where}", "another layout")
    begin = data.find(_HEAP)
    while begin >= 0:
        (size,) = struct.unpack("<Q", data[begin + 8 : begin + 16].ljust(8, b"\0"))
        place, end = begin + 16, min(begin + size, len(data))
        while place + _ENTRY.size <= end:
            number, length = _ENTRY.unpack(data[place : place + _ENTRY.size])
            # In 64 bits. The free space, number 0, has its own header in its size.
            step = length if number == 0 else (_ENTRY.size + (length + 7) // 8 * 8) % _WORD
            if not _ENTRY.size <= step <= end - place:
                raise refuse(f"texts inside of their heap in {where}", f"{length} bytes at {place}")
            place += step
        begin = data.find(_HEAP, begin + 1)
