"""`actmax bench`: the speed of the user's model, and the cost of each regularizer."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from actmax.cli import input_options, own_parts
from actmax.cli.files import add_model, load_model, look_at


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    bench = commands.add_parser("bench", help="steps per second of a model of your own")
    add_model(bench)
    bench.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 4, 16], metavar="N")
    input_options.add_input(bench)
    bench.add_argument(
        "--regularizers",
        action="append",
        metavar="NAME",
        help="usual: total variation, L2 and jitter (the default); recipe: what a run without "
        "regularizers= chooses; or MODULE:NAME, a regularizer of your own, which is priced. May be given "
        "several times",
    )
    bench.add_argument("--device", metavar="D", help="as CPU:0 or GPU:0")
    bench.add_argument(
        "--onednn", choices=("on", "off"), help="TensorFlow's CPU kernels; default: its own choice"
    )
    bench.add_argument("--rounds", type=int, default=9, metavar="N", help="samples of each variant")
    bench.add_argument("--steps", type=int, metavar="N", help="updates in a sample")
    bench.add_argument("--out", type=Path, metavar="FILE.json", help="also write all samples")
    bench.set_defaults(command=_bench)


def _bench(arguments: argparse.Namespace) -> int:
    if arguments.onednn is not None:
        _switch_onednn(arguments.onednn)
    settings = input_options.settings(arguments)
    look_at(arguments.model, trusted=arguments.trust_model)
    from actmax import throughput
    from actmax.files import refuse_no_file, write_atomic
    from regularizers import L2, Jitter, TotalVariation

    if arguments.out is not None:
        refuse_no_file(arguments.out)
    named = arguments.regularizers or ["usual"]
    parts: list[Any] | None = [TotalVariation(0.1), L2(0.1), Jitter(2)]
    if named == ["recipe"] or (named == ["usual"] and arguments.letters):
        parts = None  # The usual ones are for images; letters have a recipe of their own.
    elif named != ["usual"]:
        parts = own_parts.regularizers(named)
    found = throughput.benchmark(
        load_model(arguments),
        batch_sizes=arguments.batch_sizes,
        **settings,
        regularizers=parts,
        device=arguments.device,
        rounds=arguments.rounds,
        steps=arguments.steps,
    )
    print(found)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(arguments.out, json.dumps(found.to_json(), indent=1).encode())
        print(f"\nrecord: {arguments.out}")
    return 0


def _switch_onednn(wanted: str) -> None:
    """TensorFlow reads the variable once, when it is imported."""
    from actmax import checks

    if "tensorflow" in sys.modules:
        raise ValueError(
            checks.message(
                "--onednn before TensorFlow is imported",
                "a process that has imported it",
                f"Set TF_ENABLE_ONEDNN_OPTS={int(wanted == 'on')} when you start Python.",
            )
        )
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = str(int(wanted == "on"))
