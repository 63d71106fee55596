"""A report of 100,000 pictures: `python -m tests.soak.sheets [--count 100000]`.

Writes it to a temporary folder and prints what it took: time, the growth of the memory, and the sizes
of the index and the largest page, which are what a reader loads. Ends with 1 where they are not bounded.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from actmax import images
from actmax.reporting import Entry, write_sheets

_SIDE = 28
_LAYERS = 20
# Of a page with 200 pictures of 28 x 28 values of noise, which no PNG makes smaller, and of 500 links.
_PAGE, _INDEX, _GROWTH = 1_000_000, 200_000, 100_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    count = parser.parse_args().count
    generator = np.random.default_rng(0)
    noise = [generator.integers(0, 256, [_SIDE, _SIDE, 1], np.uint8) for _ in range(50)]
    pictures = [images.png(picture) for picture in noise]
    given = (
        Entry(
            f"Channel of layer_{n * _LAYERS // count:02d}", f"unit {n}", pictures[n % len(pictures)],
            float(n % 97), "OK", "", {"seed": "0", "task": str(n)},
        )
        for n in range(count)
    )  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        index = write_sheets(
            Path(folder) / "report", "soak", given, lead="", facts={}, per_page=200
        )
        seconds = time.perf_counter() - began
        pages = [file.stat().st_size for file in (index.parent / "pages").iterdir()]
        sizes = index.stat().st_size, max(pages)
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(
        f"{count:,} pictures on {len(pages)} pages in {seconds:.1f} s; memory grew by {growth / 1e6:.1f} MB; "
        f"index {sizes[0] / 1e3:.0f} kB, largest page {sizes[1] / 1e3:.0f} kB"
    )
    return int(sizes[0] > _INDEX or sizes[1] > _PAGE or growth > _GROWTH)


if __name__ == "__main__":
    raise SystemExit(main())
