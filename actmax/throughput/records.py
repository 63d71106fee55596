"""The records of a measurement, and their table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from actmax import checks, files
from actmax.throughput.samples import Summary, paired_difference, paired_ratio, summarize

_MS = 1e3
# Of records of `actmax bench` and of `python -m benchmarks`.
FORMAT = 2
# Variants of a study.
STEP, BARE, STRICT, WITHOUT = "step", "bare floor", "strict floor", "without "


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One batch size: seconds per step of every round.

    Attributes:
        batch: number of images.
        steps: updates in a sample of the loop.
        loop: `[rounds]`, the whole step, without what a call costs beside its steps.
        bare_floor: `[rounds]`, the model's pass alone (as many images as the loop has copies), one call
            from Python per step.
        strict_floor: `[rounds]`, the same passes inside one compiled loop.
        without: by regularizer, `[rounds]`, the loop without that regularizer.
        first_call: seconds of the loop's first call, with tracing and compiling. All batch sizes
            use the same Maximizer, so only the first of them has this cost.
        per_call: seconds that every call takes beside its steps; NaN if it was not measured.
        classes: number of different targets in the batch; None for one.
    """

    batch: int
    steps: int
    loop: np.ndarray
    bare_floor: np.ndarray
    strict_floor: np.ndarray
    without: Mapping[str, np.ndarray]
    first_call: float
    per_call: float = float("nan")
    classes: int | None = None

    @property
    def name(self) -> str:
        """What a record calls it: `"batch 4"`, or `"batch 4, 10 classes"`."""
        return f"batch {self.batch}" + (f", {self.classes} classes" if self.classes else "")

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
        records: one `Measurement` per batch size and number of classes.
        environment: model, machine, device, versions, date, load, oneDNN, rounds, copies and the way of
            compiling.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> found = actmax.benchmark(
        ...     zoo.load("mnist"), input_range=(0, 1), regularizers=[], batch_sizes=[2], rounds=2
        ... )
        >>> actmax.Throughput.load(found.save("before.json")).records[0].batch
        2
    """

    records: tuple[Measurement, ...]
    environment: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Everything that was measured, as JSON."""
        return {
            "format": FORMAT,
            "environment": dict(self.environment),
            "studies": [_study(record) for record in self.records],
        }

    def save(self, path: str | Path) -> Path:
        """Writes everything that was measured as a JSON file, and returns its path.

        Raises:
            OSError: if the path is a folder or no file, or cannot be written.
        """
        files.refuse_no_file(Path(path))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(Path(path), json.dumps(self.to_json(), indent=1).encode())
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Throughput:
        """Reads what `save` or `actmax bench --out` wrote.

        Raises:
            ValueError: if the file is another one.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            if record["format"] != FORMAT:
                raise ValueError(f"format {record['format']}")
            records = tuple(_measured(study) for study in record["studies"])
            return cls(records, dict(record["environment"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                checks.message(
                    "a record that `actmax bench --out` or Throughput.save wrote",
                    f"{type(error).__name__}: {error} in {str(path)!r}",
                    "Measure again.",
                )
            ) from error

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.environment.items())
        rows = [_HEADER, *(_row(record) for record in self.records)]
        rows += _prices(self.records)
        return "\n".join([told, *_columns(rows)])


def _study(record: Measurement) -> dict[str, Any]:
    """As a study of `python -m benchmarks`: samples by variant, and the floor of each."""
    samples = {STEP: record.loop, BARE: record.bare_floor, STRICT: record.strict_floor}
    samples |= {WITHOUT + name: values for name, values in record.without.items()}
    return {
        "name": record.name,
        "batch": record.batch,
        "classes": record.classes,
        "steps": record.steps,
        "first_call": record.first_call,
        "per_call": record.per_call,
        "seconds_per_step": {name: values.tolist() for name, values in samples.items()},
        "bases": {name: BARE for name in samples if name not in (BARE, STRICT)},
    }


def _measured(study: Mapping[str, Any]) -> Measurement:
    samples = {name: np.array(values) for name, values in study["seconds_per_step"].items()}
    return Measurement(
        study["batch"],
        study["steps"],
        samples.pop(STEP),
        samples.pop(BARE),
        samples.pop(STRICT),
        {name.removeprefix(WITHOUT): values for name, values in samples.items()},
        study["first_call"],
        study["per_call"],
        study["classes"],
    )


_HEADER = (
    "batch",
    "classes",
    "ms per step",
    "images x steps/s",
    "x bare floor",
    "x strict floor",
    "ms per call",
    "first call",
)
# Instead of digits, where an interval has zero in it.
_NOISE = "lost in noise"


def _row(record: Measurement) -> tuple[str, ...]:
    return (
        str(record.batch),
        str(record.classes or 1),
        f"{float(np.median(record.loop)) * _MS:.3g}",
        f"{record.throughput:.4g}",
        _interval(record.ratio),
        _interval(record.strict_ratio),
        f"{record.per_call * _MS:.3g}",
        f"{record.first_call:.2f} s",
    )


def _prices(records: tuple[Measurement, ...]) -> list[tuple[str, ...]]:
    found = [_price(record, name) for record in records for name in record.without]
    return (
        [(), ("batch", "regularizer", "ms per step", "95 %", "of a step"), *found] if found else []
    )


def _price(record: Measurement, name: str) -> tuple[str, ...]:
    price, share = record.price(name), record.share(name)
    lost = price.low <= 0 <= price.high
    return (
        str(record.batch),
        name,
        _NOISE if lost else f"{price.median * _MS:.3g}",
        f"[{price.low * _MS:.2g}, {price.high * _MS:.2g}]",
        _NOISE if lost else f"{share.median:.1%}",
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
