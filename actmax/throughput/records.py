"""The records of a measurement, and their table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from actmax.throughput.samples import Summary, paired_difference, paired_ratio, summarize

_MS = 1e3


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One batch size: seconds per step of every round.

    Attributes:
        batch: number of images.
        steps: updates in a sample of the loop.
        loop: `[rounds]`, the whole step, calls included.
        bare_floor: `[rounds]`, the model's pass alone (as many images as the loop has copies), one call
            from Python per step.
        strict_floor: `[rounds]`, the same passes inside one compiled loop.
        without: by regularizer, `[rounds]`, the loop without that regularizer.
        first_call: seconds of the loop's first call, with tracing and compiling. All batch sizes
            use the same Maximizer, so only the first of them has this cost.
    """

    batch: int
    steps: int
    loop: np.ndarray
    bare_floor: np.ndarray
    strict_floor: np.ndarray
    without: Mapping[str, np.ndarray]
    first_call: float

    @property
    def throughput(self) -> float:
        """Images x steps per second."""
        return self.batch / float(np.median(self.loop))

    @property
    def ratio(self) -> Summary:
        """Of the loop to the bare floor, in the same rounds, with a 95 % interval."""
        return paired_ratio(self.loop, self.bare_floor)

    @property
    def strict_ratio(self) -> Summary:
        """Of the loop to the strict floor."""
        return paired_ratio(self.loop, self.strict_floor)

    def price(self, name: str) -> Summary:
        """Seconds per step that a regularizer costs: the loop with it less the loop without it."""
        return paired_difference(self.loop, self.without[name])

    def share(self, name: str) -> Summary:
        """The same as a share of the whole step."""
        return summarize((self.loop - self.without[name]) / self.loop)


@dataclasses.dataclass(frozen=True)
class Throughput:
    """The result of `actmax.benchmark`; `print` shows it as a table.

    Attributes:
        records: one `Measurement` per batch size.
        environment: versions, device, oneDNN, rounds, copies and the way of compiling.
    """

    records: tuple[Measurement, ...]
    environment: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Everything that was measured, as JSON."""
        records = []
        for record in self.records:
            arrays = {name: getattr(record, name).tolist() for name in _ARRAYS}
            without = {name: values.tolist() for name, values in record.without.items()}
            plain = {name: getattr(record, name) for name in ("batch", "steps", "first_call")}
            records.append({**plain, **arrays, "without": without})
        return {"environment": dict(self.environment), "records": records}

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.environment.items())
        rows = [_HEADER, *(_row(record) for record in self.records)]
        rows += _prices(self.records)
        return "\n".join([told, *_columns(rows)])


_ARRAYS = ("loop", "bare_floor", "strict_floor")
_HEADER = (
    "batch",
    "ms per step",
    "images x steps/s",
    "x bare floor",
    "x strict floor",
    "first call",
)


def _row(record: Measurement) -> tuple[str, ...]:
    return (
        str(record.batch),
        f"{float(np.median(record.loop)) * _MS:.3g}",
        f"{record.throughput:.4g}",
        _interval(record.ratio),
        _interval(record.strict_ratio),
        f"{record.first_call:.2f} s",
    )


def _prices(records: tuple[Measurement, ...]) -> list[tuple[str, ...]]:
    found = [
        (
            str(record.batch),
            name,
            f"{record.price(name).median * _MS:.3g}",
            f"[{record.price(name).low * _MS:.3g}, {record.price(name).high * _MS:.3g}]",
            f"{record.share(name).median:.1%}",
        )
        for record in records
        for name in record.without
    ]
    return (
        [(), ("batch", "regularizer", "ms per step", "95 %", "of a step"), *found] if found else []
    )


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Two tables, apart at the empty row, each with columns as wide as their widest cell."""
    if () in rows:
        cut = rows.index(())
        return [*_columns(rows[:cut]), "", *_columns(rows[cut + 1 :])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _interval(ratio: Summary) -> str:
    return f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
