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

from actmax.cli import (
    bench,
    catalog,
    check,
    demo,
    evaluate,
    input_options,
    inspect,
    report,
    run,
    words,
)

# In the order of the help. Each module has `add(commands)`, which sets `command`.
_COMMANDS = (demo, run, catalog, report, evaluate, inspect, check, bench)
_BROKEN_PIPE = 128 + 13  # the exit code of a program that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: arguments without the program's name; None for those of the process.

    Returns:
        The exit code: 0, 1 if an image failed, 2 if the user has something to correct, 128 and the
        number of the signal if Ctrl-C (130) or SIGTERM (143) ended it, after the images so far were
        written, or if nobody reads what is printed any more (141).
    """
    # Only a default, and only for a process that is this program. What follows imports TensorFlow.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = _parser().parse_args(_words(sys.argv[1:] if argv is None else argv))
    # Kept in the record of a run: the command that repeats it.
    arguments.argv = list(sys.argv[1:] if argv is None else argv)
    ended_by = [signal.SIGINT]
    try:
        with _terminable(ended_by), _printable():
            code = int(arguments.command(arguments))
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        return 128 + ended_by[-1]
    except BrokenPipeError:
        # The reader of the output has closed it, as `head` does. This is not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as error:
        said = _of_user(error)
        if not said:
            raise
        print(f"actmax {arguments.name_of_command}: {said}", file=sys.stderr)
        return 2


def _words(argv: Sequence[str]) -> list[str]:
    """The words of the command line, some of them joined, as the parser takes them."""
    return input_options.joined(bench.joined(argv))


def _of_user(error: Exception) -> str:
    """The message of an error that the user can do something about; an empty text for any other."""
    from actmax import checks

    if isinstance(error, (ValueError, TypeError, OSError)):
        return words.of_the_command_line(str(error))
    if isinstance(error, ImportError) and str(error).startswith("Expected "):
        return str(error)  # An extra that is not installed.
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        found = str(error).strip().split("\n", 1)[0][:200] or "less"
        do = "Give fewer targets or natural images at once, or a smaller batch."
        return checks.message("enough memory", found, do)
    return ""


@contextlib.contextmanager
def _terminable(ended_by: list[signal.Signals]) -> Iterator[None]:
    """SIGTERM ends a run like Ctrl-C. This works only in the main thread."""
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
    """Prints names as escapes if the terminal's encoding lacks their letters, instead of an error."""
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
