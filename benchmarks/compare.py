"""`python -m benchmarks compare A.json B.json`: did anything change from A to B?

`actmax bench compare` does the same, with records of `actmax bench` as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from actmax.throughput.comparison import changes, differences, read, told
from actmax.throughput.records import FORMAT

__all__ = ["FORMAT", "changes", "differences", "main", "read"]


def main(argv: Sequence[str]) -> int:
    """Prints the comparison. Returns 1 if anything became slower, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks compare", description=__doc__)
    parser.add_argument("before", type=Path, metavar="A.json")
    parser.add_argument("after", type=Path, metavar="B.json")
    arguments = parser.parse_args(argv)
    lines, slower = told(read(arguments.before), read(arguments.after))
    print("\n".join(lines))
    return int(slower)
