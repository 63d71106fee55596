"""`actmax check` tests whether a model is suitable for activation maximization."""

from __future__ import annotations

import argparse
from typing import Any

from actmax.cli import input_options
from actmax.cli.files import add_model, load_model, look_at


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    check = commands.add_parser("check", help="does a model behave as these pictures need it?")
    add_model(check)
    input_options.add_input(check)
    check.set_defaults(command=_check)


def _check(arguments: argparse.Namespace) -> int:
    settings = input_options.settings(arguments)
    look_at(arguments.model, trusted=arguments.trust_model)
    from actmax.testing import check_model

    found = check_model(load_model(arguments), **settings)
    print(found)
    return 0 if found.ok else 1
