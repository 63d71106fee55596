"""Records of benchmarks as one plot: throughput and the ratio to the bare floor, over batch sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from actmax import plotting
from actmax.throughput.records import Measurement, Throughput

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(records: Mapping[str, Throughput]) -> Figure:
    """Images x steps per second, and the step over the bare floor with its 95 % interval.

    Args:
        records: by the name that the plot shows. Each has one line per number of classes.

    Raises:
        ModuleNotFoundError: if matplotlib is missing, naming the extra.

    Example:
        >>> import actmax
        >>> from actmax import throughput, zoo
        >>> found = actmax.benchmark(
        ...     zoo.load("mnist"), input_range=(0, 1), regularizers=[], batch_sizes=[1, 2], rounds=2
        ... )
        >>> throughput.plot({"today": found}).savefig("bench.png")
    """
    sheet = plotting.sheet((9.0, 3.6))
    speed, ratio = sheet.subplots(1, 2)
    sizes: set[int] = set()
    for name, found in records.items():
        for classes, line in _lines(found).items():
            label = name if classes is None else f"{name}, {classes} classes"
            batches = np.array([record.batch for record in line])
            sizes |= set(batches.tolist())
            speed.plot(batches, [record.throughput for record in line], "o-", label=label)
            middle = np.array([record.ratio.median for record in line])
            ends = np.array([(record.ratio.low, record.ratio.high) for record in line]).T
            off = np.maximum(np.abs(ends - middle), 0.0)
            ratio.errorbar(batches, middle, yerr=off, fmt="o-", capsize=3, label=label)
    for axes, title in ((speed, "images x steps per second"), (ratio, "step over the bare floor")):
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted(sizes), [str(size) for size in sorted(sizes)])
        axes.minorticks_off()
        axes.set_xlabel("images in a batch")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
    speed.set_ylim(bottom=0)
    ratio.axhline(1.0, color="gray", linewidth=1)
    ratio.set_ylim(bottom=0)
    speed.legend(fontsize=8)
    return sheet


def _lines(found: Throughput) -> dict[int | None, list[Measurement]]:
    """Measurements by number of classes, in the order of their batch sizes."""
    lines: dict[int | None, list[Measurement]] = {}
    for record in sorted(found.records, key=lambda record: record.batch):
        lines.setdefault(record.classes, []).append(record)
    return lines
