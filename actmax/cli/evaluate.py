"""`actmax evaluate`: the quality of saved pictures, by separately trained networks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from actmax.cli import input_options
from actmax.cli.files import load_file, look_at


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("evaluate", help="how good saved pictures are")
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="of a saved result, or of PNG files"
    )
    parser.add_argument(
        "--judge",
        action="append",
        default=[],
        type=Path,
        metavar="M.keras",
        help="a network trained apart from the subject; may be given several times",
    )
    parser.add_argument(
        "--natural",
        type=Path,
        metavar="X.npz",
        help="natural images: uint8 `images` and `classes`, or `x_test` and `y_test`",
    )
    parser.add_argument("--model", type=Path, metavar="M.keras", help="the subject itself")
    parser.add_argument(
        "--classes", type=int, nargs="+", metavar="C", help="of the pictures; default: the targets"
    )
    parser.add_argument(
        "--judge-range",
        nargs=2,
        type=float,
        default=(0.0, 1.0),
        metavar=("LO", "HI"),
        help="of the values that the judges were trained on; default: 0 1",
    )
    parser.add_argument("--features", metavar="PATH", help="layer of the judges' features")
    input_options.add_input(parser)
    input_options.add_import(parser)
    parser.add_argument(
        "--train",
        type=int,
        default=0,
        metavar="N",
        help="also train N small networks on the pictures alone, and test them on natural images",
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write all of it here")
    parser.set_defaults(command=_run)


def _refuse_several(arguments: argparse.Namespace, described: dict[str, Any]) -> None:
    """Pictures are one input. Options for other inputs, or for a size, have no meaning here."""
    from actmax import checks

    if arguments.letters:
        received, do = "--letters", "Scores of sequences are those of the run, actmax report DIR."
        raise ValueError(checks.message("saved pictures, which have a range", received, do))
    for name, option in (("fixed", "--fixed"), ("input_shape", "--input-shape")):
        if name in described:
            do = "In Python: actmax.evaluate(..., model=a function of the one input)."
            raise ValueError(checks.message(f"saved pictures alone, without {option}", option, do))


def _run(arguments: argparse.Namespace) -> int:
    described = input_options.settings(arguments)
    _refuse_several(arguments, described)
    import actmax
    from actmax.files import refuse_no_file, write_atomic

    if arguments.out is not None:
        refuse_no_file(arguments.out)
    for file in [*arguments.judge, *([] if arguments.model is None else [arguments.model])]:
        look_at(file)
    input_options.import_packages(arguments)
    judges = {}
    for file in arguments.judge:
        # Two files of one name in two folders are two judges.
        name = file.stem if file.stem not in judges else str(file)
        judges[name] = actmax.Judge(
            load_file(file), arguments.features, tuple(arguments.judge_range)
        )
    found = actmax.evaluate(
        arguments.folder,
        judges=judges,
        natural=arguments.natural,
        classes=arguments.classes,
        model=None if arguments.model is None else load_file(arguments.model),
        input_range=described.get("input_range"),
        training_seeds=arguments.train,
    )
    print(found)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(arguments.out, found.to_json().encode())
        print(f"record: {arguments.out}")
    return 0
