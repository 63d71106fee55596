"""The batch size at which images per second stop growing, found by measuring."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

# A batch of twice the size must do at least so much better per second, or the smaller one is kept: it
# shows the first images sooner and needs half the memory.
_WORTH = 1.05
_SMALLEST = 4
_LARGEST = 1024
_STEPS = 4
_ROUNDS = 3
# Of the memory that is free, so that others on the machine keep some.
_SHARE = 0.5


def free_memory() -> int | None:
    """Bytes that a process can still get: of the first graphics card, or of the machine; None if unknown."""
    cards = tf.config.list_logical_devices("GPU")
    if cards:
        return None  # TensorFlow's own limit is not public; a batch that does not fit says so.
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def resident_memory() -> int | None:
    """Bytes of this process in memory; None where /proc does not tell."""
    for line in _lines(Path("/proc/self/status")):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def best_batch_size(run: Callable[[int, int], object], most: int) -> tuple[int, dict[int, float]]:
    """The smallest batch size that is within 5 % of the fastest, and images x steps per second of each tried.

    Sizes double from 4 on. It ends where the rate no longer grows by 5 %, where the next size could take
    more than half of the memory that is free, where a batch does not fit, or at `most`.

    Args:
        run: `run(batch_size, steps)` runs so many steps on so many images.
        most: number of images that there are.

    Raises:
        ResourceExhaustedError: if the smallest batch does not fit.
    """
    rates: dict[int, float] = {}
    size = min(_SMALLEST, most)
    chosen = size
    while True:
        before = resident_memory()
        try:
            run(size, _STEPS)  # The first run of a shape traces, plans and allocates.
            took = min(_timed(run, size) for _ in range(_ROUNDS))
        except tf.errors.ResourceExhaustedError:
            if not rates:
                raise
            break
        rates[size] = size * _STEPS / took
        if rates[size] < _WORTH * rates[chosen] and size != chosen:
            break
        chosen = size
        grown = (resident_memory() or 0) - (before or 0)
        free = free_memory()
        if free is not None and 2 * max(grown, 0) > _SHARE * free:
            break
        if size >= min(most, _LARGEST):
            break
        size = min(2 * size, most, _LARGEST)
    return chosen, rates


def _timed(run: Callable[[int, int], object], size: int) -> float:
    begun = time.perf_counter()
    run(size, _STEPS)
    return time.perf_counter() - begun
