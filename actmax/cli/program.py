"""The program: one parser, one module per command, and what an exit code means."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from actmax.cli import bench, catalog, check, demo, evaluate, inspect, report, run

# In the order of the help. Each module has `add(commands)`, which sets `command`.
_COMMANDS = (demo, run, catalog, report, evaluate, inspect, check, bench)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: arguments without the program's name; None for those of the process.

    Returns:
        The exit code: 0, 1 if an image failed, 2 if the user has something to correct, 128 and the
        number of the signal if Ctrl-C (130) or SIGTERM (143) ended it, after the images so far were
        written.
    """
    # Only a default, and only for a process that is this program. What follows imports TensorFlow.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = _parser().parse_args(argv)
    # Kept in the record of a run: the command that repeats it.
    arguments.argv = list(sys.argv[1:] if argv is None else argv)
    ended_by = [signal.SIGINT]
    try:
        with _terminable(ended_by), _printable():
            return int(arguments.command(arguments))
    except KeyboardInterrupt:
        return 128 + ended_by[-1]
    except (ValueError, TypeError, OSError) as error:
        print(f"actmax {arguments.name_of_command}: {error}", file=sys.stderr)
        return 2


@contextlib.contextmanager
def _terminable(ended_by: list[signal.Signals]) -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does, where signals can be had: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _: object) -> None:
        ended_by.append(signal.Signals(number))
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _printable() -> Iterator[None]:
    """Names that the terminal's encoding has no letters for are printed as escapes, and end nothing."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        yield
        return
    stream, before = sys.stdout, sys.stdout.errors
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        stream.reconfigure(errors=before)


def _parser() -> argparse.ArgumentParser:
    from actmax._version import __version__

    parser = argparse.ArgumentParser(
        prog="actmax",
        description="The input that a part of a neural network responds to most.",
        epilog="Every command has its own --help.",
    )
    parser.add_argument("--version", action="version", version=f"actmax {__version__}")
    commands = parser.add_subparsers(title="commands", dest="name_of_command", required=True)
    for command in _COMMANDS:
        command.add(commands)
    return parser
