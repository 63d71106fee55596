"""The store: Parquet shards with the pictures in them, in the layout that Hugging Face `datasets` reads."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actmax import archives, checks, images

SHARDS = "shards"
_NAME = re.compile(r"(\d{9})-(\d{9})\.parquet")

Row = Mapping[str, Any]


def arrow() -> Any:
    """pyarrow, or ImportError that names the extra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            checks.message("pyarrow, for catalogs", "none", "pip install 'actmax[catalog]'.")
        ) from error
    return pyarrow


def schema() -> Any:
    """Columns of a shard. The metadata tells `datasets` that `image` contains pictures."""
    pa = arrow()
    fields = [
        ("task", pa.int64()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("values", pa.list_(pa.float32())),
        ("shape", pa.list_(pa.int32())),
        ("objective", pa.string()),
        ("layer", pa.string()),
        ("target", pa.int32()),
        ("label", pa.string()),
        ("seed", pa.uint64()),
        ("score", pa.float64()),
        ("status", pa.string()),
        ("message", pa.string()),
        ("steps", pa.int32()),
        ("optimality", pa.float64()),
        ("distance", pa.float64()),
        ("named", pa.string()),
        ("named_probability", pa.float64()),
        ("named_as_asked", pa.bool_()),
        ("config_hash", pa.string()),
        ("model_hash", pa.string()),
    ]
    kinds = {"double": "float64", "float": "float32"}
    features: dict[str, Any] = {
        name: {"dtype": kinds.get(str(kind), str(kind)), "_type": "Value"}
        for name, kind in fields
        if not str(kind).startswith(("struct", "list"))
    }
    features["image"] = {"_type": "Image"}
    for name, kind in (("values", "float32"), ("shape", "int32")):
        features[name] = {"feature": {"dtype": kind, "_type": "Value"}, "_type": "List"}
    ordered = {name: features[name] for name, _ in fields}
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": ordered}})})


def shard(folder: Path, start: int, stop: int) -> Path:
    """File of the tasks `start .. stop - 1`."""
    return folder / SHARDS / f"{start:09d}-{stop:09d}.parquet"


def finished(folder: Path) -> dict[tuple[int, int], Path]:
    """`(start, stop)` of every finished shard. Incomplete files of a killed process have other names."""
    found = {}
    for file in sorted((folder / SHARDS).glob("*.parquet")):
        name = _NAME.fullmatch(file.name)
        if name and file.is_file():  # Reading a FIFO would wait for ever.
            found[int(name[1]), int(name[2])] = file
    return found


def write(folder: Path, start: int, stop: int, rows: Sequence[Row]) -> None:
    """Writes a shard, completely or not at all; the same rows give the same bytes."""
    pa = arrow()
    layout = schema()
    columns = {name: [row[name] for row in rows] for name in layout.names}
    buffer = io.BytesIO()
    table = pa.table(columns, schema=layout)
    pa.parquet.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    images.write_atomic(shard(folder, start, stop), buffer.getvalue())


def check(file: Path) -> None:
    """Raises ValueError unless a shard has the rows that its name says, and values of a sane size.

    It reads only the footer, which has the unpacked size of the columns.
    """
    found = arrow().parquet.read_metadata(file)
    name = _NAME.fullmatch(file.name)
    count = int(name[2]) - int(name[1]) if name else found.num_rows
    if found.num_rows != count:
        raise ValueError(checks.message(f"{count} rows in {file.name}", f"{found.num_rows}"))
    groups = [found.row_group(number) for number in range(found.num_row_groups)]
    unpacked = sum(
        group.column(number).total_uncompressed_size
        for group in groups
        for number in range(group.num_columns)
    )
    packed = file.stat().st_size
    if not 0 <= unpacked <= archives.most(packed):
        received = f"{packed} bytes which unpack to {unpacked}"
        raise ValueError(checks.message(f"columns of a sane size in {file.name}", received))


def dataset(files: Sequence[Path]) -> Any:
    """A `pyarrow.dataset.Dataset` over shards, whose pages are checked as they are read.

    Raises:
        ValueError: if a shard does not match its declared contents.
    """
    arrow()
    for file in files:
        check(file)
    import pyarrow.dataset as ds

    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    kind = ds.ParquetFileFormat(default_fragment_scan_options=checked)
    return ds.dataset([str(file) for file in files], schema=schema(), format=kind)


def rows(file: Path) -> list[dict[str, Any]]:
    """The rows of one shard, in the order of the job."""
    check(file)
    table = arrow().parquet.read_table(file, schema=schema(), page_checksum_verification=True)
    return list(table.to_pylist())


def picture(image: np.ndarray, low: Any, high: Any) -> dict[str, Any] | None:
    """One image as PNG bytes, `[H, W, 1 or 3]`; None if it is not a picture, not finite or has no range."""
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or low is None or high is None:
        return None
    if not np.isfinite(image).all():
        return None
    return {"bytes": images.png(images.to_uint8(image, low, high)), "path": None}
