"""`actmax catalog`: every unit of a model or of its layers; the same command continues it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actmax.cli import input_options
from actmax.cli.common import table
from actmax.cli.files import add_model, load_model, look_at

if TYPE_CHECKING:
    from actmax.catalogs import Progress


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "catalog", help="every unit of a model or of its layers, resumable"
    )
    add_model(parser)
    parser.add_argument(
        "--layers", nargs="+", metavar="PATTERN",
        help="layers whose channels are wanted, such as 'block3_*'; default: the model's output",
    )  # fmt: skip
    parser.add_argument(
        "--targets", nargs="+", metavar="T", help="numbers, or spans as 0-9; default: all units"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N")
    parser.add_argument("--steps", type=int, default=256, metavar="N")
    input_options.add_input(parser)
    parser.add_argument(
        "--labels", type=Path, metavar="FILE.json", help="a JSON list of class names"
    )
    parser.add_argument("--batch-size", type=_batch_size, default="auto", metavar="N")
    parser.add_argument(
        "--workers", type=_workers, metavar="W", help="processes, or local, ray, ray://ADDRESS"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of each worker")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.set_defaults(command=_catalog)


def _numbers(texts: Sequence[str]) -> list[int]:
    from actmax import checks

    found = input_options.spread(texts)
    wrong = [text for text in found if not text.isdigit()]
    if wrong:
        raise ValueError(checks.message("numbers of units for --targets", f"{wrong[:5]}"))
    return [int(text) for text in found]


def _batch_size(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _workers(text: str) -> int | str:
    return text if text == "local" or text.startswith("ray") else int(text)


def _catalog(arguments: argparse.Namespace) -> int:
    import actmax
    from actmax.cli.run import read_labels
    from actmax.files import refuse_no_folder
    from actmax.types import Status

    refuse_no_folder(arguments.out)
    look_at(arguments.model, trusted=arguments.trust_model)
    described = input_options.settings(arguments)
    targets = None if arguments.targets is None else _numbers(arguments.targets)
    labels = None if arguments.labels is None else read_labels(arguments.labels)
    model = load_model(arguments)
    objectives = None
    if arguments.layers:
        listed = [each for pattern in arguments.layers for each in actmax.channels(model, pattern)]
        objectives = list(dict.fromkeys(listed))
    try:
        found = actmax.catalog(
            model,
            objectives,
            out=arguments.out,
            targets="all" if targets is None else targets,
            seeds=arguments.seeds,
            steps=arguments.steps,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            threads=arguments.threads,
            labels=labels,
            progress=_say if sys.stderr.isatty() else None,
            **described,
        )
    except KeyboardInterrupt:
        print(f"\nInterrupted: the same command goes on in {arguments.out}.", file=sys.stderr)
        raise
    rows = found.select()
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        counts[row["layer"], row["status"]] = counts.get((row["layer"], row["status"]), 0) + 1
    lines = [(layer, status, f"{count:,}") for (layer, status), count in counts.items()]
    print(table(("layer", "status", "images"), lines))
    print(f"\n{len(rows):,} images: {found.folder}")
    return int(any(Status[row["status"]].failed for row in rows))


def _say(progress: Progress) -> None:
    rest = "" if progress.remaining is None else f", {progress.remaining:,.0f} s left"
    speed = (
        f"{progress.images_per_second:.2f} images/s" if progress.images_per_second else "starting"
    )
    failed = {name: n for name, n in progress.status.items() if name not in ("OK", "CONVERGED")}
    troubles = "".join(f", {n} {name}" for name, n in failed.items())
    print(
        f"\r{progress.done:,} of {progress.total:,}, {speed}{rest}{troubles}   ",
        end="\n" if progress.done == progress.total else "",
        file=sys.stderr,
        flush=True,
    )
