"""`actmax bench`: the speed of the user's model, the cost of each regularizer, and records compared."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actmax.cli import input_options, own_parts
from actmax.cli.files import add_model, load_model, look_at

# `actmax bench compare` and `actmax bench plot` are commands beside `actmax bench MODEL`.
_COMPARE, _PLOT = "bench compare", "bench plot"


def joined(argv: Sequence[str]) -> list[str]:
    """`bench compare` and `bench plot` as one word. A model called `compare` is `./compare`."""
    words = list(argv)
    if words[:2] in (_COMPARE.split(), _PLOT.split()):
        return [" ".join(words[:2]), *words[2:]]
    return words


def add(commands: Any) -> None:
    """Adds the commands to the parser."""
    bench = commands.add_parser(
        "bench",
        help="steps per second of a model of your own",
        epilog="Records that --out wrote: `actmax bench compare BEFORE.json AFTER.json` and `actmax bench "
        "plot A.json B.json --out bench.png`. Example: actmax bench model.keras --input-range 0 1 --out "
        "before.json",
    )
    add_model(bench)
    bench.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 4, 16], metavar="N")
    bench.add_argument(
        "--classes", nargs="+", type=int, metavar="K",
        help="numbers of different targets in a batch; default: one",
    )  # fmt: skip
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
    compare = commands.add_parser(
        _COMPARE, prog="actmax bench compare",
        description="What became faster or slower from one record to another, against the bare floor. "
        "The exit code is 1 if anything became slower.",
    )  # fmt: skip
    compare.add_argument("before", type=Path, metavar="BEFORE.json")
    compare.add_argument("after", type=Path, metavar="AFTER.json")
    compare.set_defaults(command=_compare)
    plot = commands.add_parser(
        _PLOT, prog="actmax bench plot",
        description="Records as one plot: images x steps per second, and the step over the bare floor.",
    )  # fmt: skip
    plot.add_argument("records", type=Path, nargs="+", metavar="A.json")
    plot.add_argument("--out", type=Path, default=Path("bench.png"), metavar="FILE.png")
    plot.set_defaults(command=_plot)


def _bench(arguments: argparse.Namespace) -> int:
    if arguments.onednn is not None:
        _switch_onednn(arguments.onednn)
    settings = input_options.settings(arguments)
    look_at(arguments.model, trusted=arguments.trust_model)
    from actmax import throughput
    from actmax.files import refuse_no_file

    if arguments.out is not None:
        refuse_no_file(arguments.out)
    named = arguments.regularizers or ["usual"]
    own = named not in (["usual"], ["recipe"])
    parts = own_parts.regularizers(named) if own else None
    model = load_model(arguments)
    if named == ["usual"] and not arguments.letters:  # letters have a recipe of their own
        parts = _usual(model, settings)
    found = throughput.benchmark(
        model,
        batch_sizes=arguments.batch_sizes,
        **settings,
        regularizers=parts,
        device=arguments.device,
        rounds=arguments.rounds,
        steps=arguments.steps,
        classes=arguments.classes,
        progress=_progress() if sys.stderr.isatty() else None,
    )
    print(found)
    if arguments.out is not None:
        print(f"\nrecord: {found.save(arguments.out)}")
    return 0


def _usual(model: Any, settings: dict[str, Any]) -> list[Any]:
    """Total variation, L2 and jitter for every input that has positions; L2 alone for vectors."""
    from actmax import models
    from actmax.types import IMAGES
    from regularizers import L2, Jitter, TotalVariation

    specs, given = models.input_specs(model), settings.get("input_shape") or {}
    shapes: dict[str, Any] = given if isinstance(given, dict) else {IMAGES: given}
    if specs is not None:
        shapes = {spec.name: spec.shape or () for spec in specs}
    fixed = settings.get("fixed") or {}
    shapes = {name: shape for name, shape in shapes.items() if name not in fixed}
    usual: list[Any] = []
    for name, shape in shapes.items():
        on = name if len(shapes) > 1 else None
        usual.append(L2(0.1, on=on))
        if len(shape) > 1:
            usual += [TotalVariation(0.1, on=on), Jitter(2, on=on)]
    return usual


def _progress() -> Any:
    """Prints how many rounds are done, and the time left."""
    began = time.monotonic()

    def say(done: int, of_all: int) -> None:
        left = (time.monotonic() - began) / done * (of_all - done)
        end = "\n" if done == of_all else ""
        print(
            f"\rround {done} of {of_all}, {left:,.0f} s left   ",
            end=end, file=sys.stderr, flush=True,
        )  # fmt: skip

    return say


def _compare(arguments: argparse.Namespace) -> int:
    from actmax.throughput import comparison

    before, after = (comparison.read(file) for file in (arguments.before, arguments.after))
    lines, slower = comparison.told(before, after)
    print("\n".join(lines))
    return int(slower)


def _plot(arguments: argparse.Namespace) -> int:
    from actmax import throughput
    from actmax.files import refuse_no_file

    refuse_no_file(arguments.out)
    records = {str(file): throughput.Throughput.load(file) for file in arguments.records}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    throughput.plot(records).savefig(arguments.out, dpi=150)
    print(f"plot: {arguments.out}")
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
