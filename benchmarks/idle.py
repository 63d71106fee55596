"""Measures how busy the GPU was during a study, with the driver's own tool."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
import threading
from collections.abc import Iterator

import numpy as np

_EVERY = 200  # milliseconds; utilization.gpu is the share of about the last sixth of a second


@dataclasses.dataclass
class Busy:
    """Mean share of time with a running kernel, over samples with any. None without a GPU."""

    share: float | None = None


def used(lines: list[str]) -> float | None:
    """Mean of percentages above zero, as a share. Preparation on the host does not count."""
    found = [float(line) for line in lines if line.strip().isdigit()]
    working = [value for value in found if value > 0]
    return float(np.mean(working)) / 100.0 if working else None


@contextlib.contextmanager
def sampled(place: str) -> Iterator[Busy]:
    """Samples the first GPU while the block runs."""
    busy = Busy()
    tool = shutil.which("nvidia-smi")
    if tool is None or not place.startswith("GPU"):
        yield busy
        return
    query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0"]
    process = subprocess.Popen([tool, *query, f"-lms={_EVERY}"], stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
    reader.start()
    try:
        yield busy
    finally:
        process.terminate()
        process.wait()
        reader.join()
        busy.share = used(lines)
