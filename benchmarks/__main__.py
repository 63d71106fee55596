"""`python -m benchmarks --suite smoke`, `python -m benchmarks compare A.json B.json`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import compare, environment, table
from benchmarks.cases import SUITES
from benchmarks.suite import run_case


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a suite, or compares two records; the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["compare"]:
        return compare.main(argv[1:])
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="How fast actmax is, as a ratio to the floor of the same model.",
        epilog="Two records are compared by: python -m benchmarks compare A.json B.json",
    )
    parser.add_argument("--suite", default="smoke", choices=sorted(SUITES))
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    parser.add_argument("--rounds", type=int, default=21, metavar="N")
    parser.add_argument("--steps", type=int, metavar="N", help="per sample; default: the case's")
    parser.add_argument("--device", metavar="D", help="as CPU:0 or GPU:0")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error(f"Expected at least one round. Received: {arguments.rounds}.")

    # Before anything is measured: the load should be that of others.
    described = environment.describe()
    measured = []
    for listed in SUITES[arguments.suite]:
        steps = listed.steps if arguments.steps is None else arguments.steps
        case = dataclasses.replace(listed, steps=steps)
        measured.append(run_case(case, arguments.rounds, arguments.device))
        print(table.case_table(measured[-1]), flush=True)
    if arguments.out is not None:
        record = {
            "format": compare.FORMAT,
            "suite": arguments.suite,
            "rounds": arguments.rounds,
            "device": arguments.device,
            "environment": described,
            "cases": measured,
        }
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(record, indent=1), encoding="utf-8")
        print(f"record: {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
