"""The program: one parser, one module per command, and what an exit code means."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from actmax.cli import demo, evaluate, inspect, run

# In the order of the help. Each module has `add(commands)`, which sets `command`.
_COMMANDS = (demo, run, inspect, evaluate)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: arguments without the program's name; None for those of the process.

    Returns:
        The exit code: 0, 1 if an image failed, 2 if the user has something to correct.
    """
    # Only a default, and only for a process that is this program. What follows imports TensorFlow.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.command(arguments))
    except (ValueError, TypeError, OSError) as error:
        print(f"actmax {arguments.name_of_command}: {error}", file=sys.stderr)
        return 2


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
