"""Model files given on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from actmax.cli import input_options


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the options for the model and for trust in its file."""
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="a .keras or .h5 file, or the folder of a SavedModel",
    )
    parser.add_argument(
        "--sha256", metavar="HEX", help="what the file's SHA-256 must be; else nothing is run"
    )
    parser.add_argument(
        "--trust-model",
        action="store_true",
        help="load code that the file brings along; only for files of people you trust",
    )
    input_options.add_import(parser)


def load_model(arguments: argparse.Namespace) -> Any:
    """Loads the model of `add_model`, in safe mode unless it is trusted.

    Raises:
        ModelFileError: if it is missing, damaged, or would run code of its own.
    """
    look_at(arguments.model, trusted=arguments.trust_model)
    input_options.import_packages(arguments)
    return load_file(arguments.model, sha256=arguments.sha256, trusted=arguments.trust_model)


def look_at(path: Path, *, trusted: bool = False) -> None:
    """Checks a path before TensorFlow is imported.

    Raises:
        ModelFileError: if the path is not a file that can contain a model.
    """
    from actmax import loading

    if not (trusted and path.is_dir()):
        loading.kind_of(path)


def load_file(path: Path, *, sha256: str | None = None, trusted: bool = False) -> Any:
    """A model from a file, in safe mode unless it is trusted.

    Raises:
        ModelFileError: if it is missing, damaged, or would run code of its own.
    """
    from actmax import loading

    return loading.load_model(path, sha256=sha256, trusted=trusted)
