"""`python -m benchmarks --suite smoke`, `... compare A B`, `... report A`, `... agree`, `... against C`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import GPU_STAGES, SUITES, Study

ROUNDS = {"smoke": 21, "ci": 15, "full": 15, "gpu": 11}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a suite, compares two records or reports on one; the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    # The oneDNN setting and the log level must be set before TensorFlow is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if argv[:1] == ["compare"]:
        from benchmarks import compare

        return compare.main(argv[1:])
    if argv[:1] == ["report"]:
        from benchmarks import report

        return report.main(argv[1:])
    if argv[:1] == ["agree"]:
        from benchmarks import agree

        return agree.main(argv[1:])
    if argv[:1] == ["against"]:
        from benchmarks import against

        return against.main(argv[1:])
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error(f"Expected at least one round. Received: {arguments.rounds}.")
    studies = _studies(arguments)
    if not studies:
        parser.error(f"Expected --only to be part of a study's name. Received: {arguments.only}.")
    pythons = dict(named.partition("=")[::2] for named in arguments.peer_python)
    if arguments.onednn is not None:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = {"on": "1", "off": "0"}[arguments.onednn]
    return _run(arguments, studies, pythons)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="How fast actmax is, as a ratio to the floor of the same model.",
        epilog="Also: python -m benchmarks compare A.json B.json; python -m benchmarks report A.json; "
        "python -m benchmarks agree; python -m benchmarks against COMMIT",
    )
    parser.add_argument("--suite", default="smoke", choices=list(SUITES))
    parser.add_argument("--stage", type=int, choices=sorted(GPU_STAGES), help="of the gpu suite")
    parser.add_argument("--only", metavar="TEXT", help="studies whose name or group has this text")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    parser.add_argument("--rounds", type=int, metavar="N", help="samples of every variant")
    parser.add_argument("--steps", type=int, metavar="N", help="per sample; default: the case's")
    parser.add_argument("--batch", type=int, metavar="N", help="at most; default: the case's")
    parser.add_argument("--device", metavar="D", help="as CPU:0 or GPU:0")
    parser.add_argument(
        "--onednn", choices=("on", "off"), help="of studies without processes of their own"
    )
    parser.add_argument(
        "--peers", type=Path, metavar="DIR", default=os.environ.get("ACTMAX_PEERS"),
        help="environments made by benchmarks/peers/setup.sh; default: $ACTMAX_PEERS",
    )  # fmt: skip
    parser.add_argument(
        "--peer-python", action="append", default=[], metavar="NAME=PYTHON",
        help="an interpreter that has the peer NAME already",
    )  # fmt: skip
    return parser


def _studies(arguments: argparse.Namespace) -> list[Study]:
    listed = GPU_STAGES[arguments.stage] if arguments.stage else SUITES[arguments.suite]
    wanted = arguments.only or ""
    chosen = [study for study in listed if wanted in study.name or wanted == study.group]
    return [_smaller(study, arguments.steps, arguments.batch) for study in chosen]


def _smaller(study: Study, steps: int | None, batch: int | None) -> Study:
    cases = [
        dataclasses.replace(
            case,
            steps=case.steps if steps is None else steps,
            batch=case.batch if batch is None else min(case.batch, batch),
        )
        for case in study.cases
    ]
    return dataclasses.replace(study, cases=tuple(cases))


def _run(arguments: argparse.Namespace, studies: list[Study], pythons: dict[str, str]) -> int:
    from benchmarks import compare, environment, flops, gate, idle, table
    from benchmarks.suite import Options, run_study

    options = Options(
        arguments.rounds or ROUNDS[arguments.suite],
        arguments.device,
        None if arguments.peers is None else Path(arguments.peers),
        pythons,
    )
    # Read the load before any measurement, so that it is the load of other programs.
    described = environment.describe()
    rate = flops.matrix_rate(options.place)
    print(f"matrix product on {options.place}: {rate / 1e9:.0f} GFLOP/s", flush=True)
    measured: list[dict[str, Any]] = []
    failed = False
    for study in studies:
        try:
            with idle.sampled(options.place) as busy:
                record = run_study(study, options)
        except Exception as error:
            # If one study fails, for example without enough memory, the others still run.
            failed = True
            print(f"{study.name} ({study.group}): failed: {type(error).__name__}: {error}")
            continue
        record["gpu_busy"] = busy.share
        measured.append(record)
        print(table.study_table(record, rate), flush=True)
        if arguments.out is not None:  # save after every study, so that no measurement is lost
            _write(arguments, options, described, rate, measured, compare.FORMAT)
    if arguments.out is not None:
        print(f"record: {arguments.out}")
    if arguments.suite == "ci":
        slow = list(gate.failures(measured))
        print("\n".join(slow) or f"gate: at most {gate.BOUND} x the bare floor: passed")
        failed = failed or bool(slow)
    return int(failed)


def _write(
    arguments: argparse.Namespace,
    options: Any,
    described: dict[str, Any],
    rate: float,
    measured: list[dict[str, Any]],
    number: int,
) -> None:
    record = {
        "format": number,
        "suite": arguments.suite,
        "stage": arguments.stage,
        "rounds": options.rounds,
        "device": arguments.device,
        "environment": described,
        "matrix_rate": rate,
        "studies": measured,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
