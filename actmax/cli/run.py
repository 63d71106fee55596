"""`actmax run`: pictures from a model of the user's own."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actmax.cli import input_options
from actmax.cli.common import add_run_settings, ends, finish, run_settings, save, table
from actmax.cli.files import add_model, load_model, look_at


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    run = commands.add_parser("run", help="pictures from a model of your own")
    add_model(run)
    run.add_argument(
        "--targets",
        nargs="+",
        required=True,
        metavar="T",
        help="numbers, spans as 0-9, or names with --labels",
    )
    input_options.add_input(run, start=True)
    run.add_argument("--out", type=Path, required=True, metavar="DIR")
    run.add_argument(
        "--layer", metavar="PATH", help="maximize channels of this layer, not the model's output"
    )
    run.add_argument("--output", metavar="NAME", help="of a model with several outputs, which one")
    run.add_argument("--labels", type=Path, metavar="FILE.json", help="a JSON list of class names")
    run.add_argument(
        "--optimizer-rate", type=float, metavar="R", help="learning rate, in units of the input"
    )
    add_run_settings(run)
    input_options.add_display(run)
    run.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    import actmax
    from actmax import checks

    if arguments.layer is not None and arguments.output is not None:
        raise ValueError(checks.message("--layer or --output", "both", "Leave one of them out."))
    look_at(arguments.model, trusted=arguments.trust_model)
    described, shown = input_options.settings(arguments), input_options.display(arguments)
    labels = None if arguments.labels is None else read_labels(arguments.labels)
    targets = [_target(text, labels) for text in input_options.spread(arguments.targets, labels)]
    call = run_settings(arguments)
    model = load_model(arguments)
    objective: Any = None if arguments.layer is None else actmax.Channel(arguments.layer)
    if arguments.output is not None:
        objective = actmax.Logit(output=arguments.output)
    if arguments.optimizer_rate is not None:
        call["learning_rate"] = arguments.optimizer_rate
    result = actmax.maximize(
        model,
        objective,
        targets=targets,
        labels=labels,
        **described,
        **call,
    )
    folder = save(arguments, result, call, shown)
    sure, gains, named = result.probabilities, result.optimality, result.named
    rows = [
        (
            name,
            "none" if sure is None else f"{sure[row]:.4f}",
            "none" if named is None else named.words(row),
            f"{score:.4g}",
            "none" if gains is None else f"{gains[row]:.2g}",
            status,
        )
        for row, (name, (score, status)) in enumerate(
            zip(result.names(), ends(result), strict=True)
        )
    ]
    print(table(("target", "probability", "the model says", "score", "optimality", "status"), rows))
    return finish(folder, result, reported=arguments.report)


def _target(text: str, labels: Sequence[str] | None) -> int | str:
    """A number, or the name of a unit.

    Raises:
        ValueError: if it is the number of one unit and the name of another.
    """
    try:
        number = int(text)
    except ValueError:
        # In locale C arguments come as the bytes that they are; labels are UTF-8.
        return os.fsencode(text).decode("utf-8", "surrogateescape")
    named = [unit for unit, label in enumerate(labels or ()) if label == text and unit != number]
    if named:
        from actmax import checks

        received = f"{text!r}, the number of one and the name of unit {named[0]}"
        do = "Leave --labels out to give numbers."
        raise ValueError(checks.message("targets that mean one unit", received, do))
    return number


def read_labels(file: Path) -> list[str]:
    """A JSON list of names.

    Raises:
        ValueError: if the file holds anything else.
    """
    from actmax import checks

    try:
        labels = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            checks.message('a JSON list of names, ["cat", "dog"]', f"{file} ({error})")
        ) from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        received = f"{file}, which holds a {type(labels).__name__}"
        raise ValueError(checks.message('a JSON list of names, ["cat", "dog"]', received))
    return labels
