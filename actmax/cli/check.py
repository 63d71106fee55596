"""`actmax check`: does a model of your own behave as activation maximization needs it?"""

from __future__ import annotations

import argparse
from typing import Any

from actmax.cli.files import add_model, load_model


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    check = commands.add_parser("check", help="does a model behave as these pictures need it?")
    add_model(check)
    check.add_argument(
        "--input-range",
        nargs=2,
        type=float,
        metavar=("LO", "HI"),
        help="of the values that the model was trained on; default: read off its first layer",
    )
    check.set_defaults(command=_check)


def _check(arguments: argparse.Namespace) -> int:
    from actmax.testing import check_model

    model = load_model(arguments)
    given = None if arguments.input_range is None else tuple(arguments.input_range)
    found = check_model(model, input_range=given)
    print(found)
    return 0 if found.ok else 1
