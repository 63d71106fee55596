"""Code that the commands share: settings of a run, the output folder, tables."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actmax.result import Result

_FILM, _REPORT = "run.gif", "report.html"


def add_run_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the options of every command that runs the loop."""
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--steps", type=int, metavar="N", help="number of updates")
    parser.add_argument("--gif", action="store_true", help="also write run.gif, the run as a film")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="keep the state of the run there; the same command goes on from it",
    )
    parser.add_argument(
        "--report", action="store_true", help="also write report.html, with a slider over the steps"
    )


def run_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `maximize` that `add_run_settings` read.

    Raises:
        OSError: if the results could not be written. This is checked before the run.
    """
    from actmax.callbacks import Frames
    from actmax.files import refuse_no_folder

    refuse_no_folder(arguments.out)

    settings = {
        "seed": arguments.seed,
        "verbose": sys.stderr.isatty(),
        "callbacks": [Frames()] if arguments.gif or arguments.report else [],
        "checkpoint": arguments.checkpoint,
    }
    return settings if arguments.steps is None else {**settings, "steps": arguments.steps}


def save(
    arguments: argparse.Namespace,
    result: Result,
    call: dict[str, Any],
    shown: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the result with its command, and the requested animations and report.

    Args:
        arguments: of the command.
        result: of the run.
        call: what the run was given.
        shown: `columns` and `rate` of `Result.save`.
    """
    look = dict(shown or {})
    from actmax.records import RECORD
    from actmax.reporting.frames import FILE

    result = dataclasses.replace(
        result, config={**result.config, "command": shlex.join(["actmax", *arguments.argv])}
    )
    record = arguments.out / RECORD
    older = record.read_bytes() if record.is_file() else b""
    try:
        folder = result.save(arguments.out, **look)
    finally:
        # Remove files of an earlier run. Otherwise they would seem to belong to this run after an
        # error.
        if older and record.read_bytes() != older:
            for name in (FILE, _FILM, _REPORT):
                (arguments.out / name).unlink(missing_ok=True)
    film = None
    for frames in call["callbacks"]:
        if result.shows():
            film = frames.film(*result.scale())
            frames.save(folder, *result.scale())
        if arguments.gif and result.shows():
            frames.save_gif(folder / _FILM, *result.scale())
        elif arguments.gif:
            print(f"no {_FILM}: the inputs are no pictures", file=sys.stderr)
    if arguments.report:
        result.report(folder / _REPORT, film=film, **look)
    return folder


def finish(folder: Path, result: Result, *, reported: bool) -> int:
    """Prints where the files are and what failed. Returns the exit code.

    Raises:
        KeyboardInterrupt: if Ctrl-C ended the run, after everything is written.
    """
    from actmax.types import Status

    grid = folder / "grid.png"
    print(f"\n{'grid' if grid.exists() else 'result'}: {grid if grid.exists() else folder}")
    if reported:
        print(f"report: {folder / _REPORT}")
    else:
        print(f"report: actmax report {shlex.quote(str(folder))}")
    failed = False
    if Status.INTERRUPTED in result.status:
        print(result.messages[list(result.status).index(Status.INTERRUPTED)], file=sys.stderr)
        raise KeyboardInterrupt
    for name, status, text in zip(result.names(), result.status, result.messages, strict=True):
        if Status(status).failed:
            failed = True
            print(f"{name}: {text}", file=sys.stderr)
    return int(failed)


def ends(result: Result) -> list[tuple[float, str]]:
    """Score and name of the status of every image."""
    from actmax.types import Status

    return [
        (float(score), Status(status).name)
        for score, status in zip(result.scores, result.status, strict=True)
    ]


def picture_files(folder: Path, result: Result) -> list[Path]:
    """The PNG file of every image in a saved result."""
    from actmax.images import file_names

    return [folder / name for name in file_names(result.names())]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two spaces apart."""
    lines = [tuple(header), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
