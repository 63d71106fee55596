"""A thousand runs in one process: `python -m tests.soak.runs [--count 1000]`.

Other targets, seeds, weights, steps and numbers of images every time. Prints the growth of resident
memory from the tenth of the runs on, traces and open files; ends with 1 where memory grew by 1 % or more,
anything was traced twice, or a file was left open.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

import actmax
from actmax import zoo
from regularizers import L2, Jitter, TotalVariation

_GROWTH = 0.01


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def files() -> int:
    """Number of files that this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    count = parser.parse_args().count
    maximizer = actmax.Maximizer(
        zoo.load("mnist"),
        input_range=(0, 1),
        regularizers=[TotalVariation(1.0), L2(1.0), Jitter(2)],
    )
    draw = np.random.default_rng(0)
    memory, opened = [], []
    for number in range(count):
        targets = draw.integers(0, 10, draw.integers(1, 9))
        maximizer(
            targets,
            steps=int(draw.integers(1, 9)),
            seed=number,
            weights={"l2": draw.uniform(0, 2, len(targets))},
            learning_rate=float(draw.uniform(0.01, 0.1)),
        )
        memory.append(resident())
        opened.append(files())
    settled = count // 10
    # Means of a tenth each: single values move with what the allocator happens to hold.
    growth = float(np.mean(memory[-settled:]) / np.mean(memory[settled : 2 * settled]) - 1)
    left = opened[-1] - opened[settled]
    print(f"{count} runs: memory {memory[settled] / 2**20:.0f} to {memory[-1] / 2**20:.0f} MiB, "
          f"growth {growth:.2%}; {maximizer.traces} trace, {left} files left open")  # fmt: skip
    return int(growth >= _GROWTH or maximizer.traces != 1 or left > 0)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    raise SystemExit(main())
