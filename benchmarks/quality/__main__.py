"""`python -m benchmarks.quality train|tune|time|run mnist|cifar10 --data FOLDER`, and `held-out`."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import actmax
from actmax import zoo
from actmax.evaluation import Natural
from actmax.evaluation.synthetic import train_on_synthetic
from benchmarks import environment
from benchmarks.quality import data as sets
from benchmarks.quality import held_out, ladder, methods, picture, scores, train, tune

FORMAT = 1
# This is enough for a mean over natural images. Judges are slow on small machines.
NATURAL = 1000
DRAWN = "actmax, drawn"
NATURAL_PRESET = "actmax, natural preset"
REPORTING = {"mnist": "tests/judge/mnist_judge.keras", "cifar10": "report_1"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 1 if the controls come out in the wrong order."""
    arguments = _parser().parse_args(argv)
    if arguments.command is _held_out:
        return _held_out(arguments)
    track = sets.TRACKS[arguments.track]
    data = sets.read(track, arguments.data)
    cache = sets.cache(arguments.cache)
    return int(arguments.command(arguments, data, cache))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description="How good pictures are, by networks trained apart from the subject.",
    )
    commands = parser.add_subparsers(required=True)
    for name, function in (("train", _train), ("tune", _tune), ("time", _time), ("run", _run)):
        command = commands.add_parser(name)
        command.add_argument("track", choices=sorted(sets.TRACKS))
        command.add_argument(
            "--data", type=Path, required=True, metavar="FOLDER", help="has <track>.npz"
        )
        command.add_argument(
            "--cache",
            type=Path,
            metavar="FOLDER",
            help=f"of networks; default: ${sets.CACHE_VARIABLE}, or ~/.cache/actmax/quality",
        )
        command.add_argument(
            "--judges", nargs="+", metavar="NAME", help="default: all development judges"
        )
        command.set_defaults(command=function)
        if name == "train":
            command.add_argument("--again", action="store_true", help="also what is cached")
            continue
        for peer in methods.PEERS:
            command.add_argument(
                f"--{peer}", type=Path, metavar="PYTHON", help=f"of an environment with {peer}"
            )
        command.add_argument("--seeds", type=int, default=8 if name == "run" else 2)
        command.add_argument("--passes", type=int, default=2048, metavar="N", help="per image")
        command.add_argument("--out", type=Path, required=True, metavar="FOLDER")
        if name == "time":
            command.add_argument("--goal", type=float, default=0.9, help="of the worst judge")
            command.add_argument(
                "--budgets", type=int, nargs="+", default=[64, 256, 1024, 4096], metavar="N"
            )
        if name == "tune":
            command.add_argument("--trials", type=int, default=16, metavar="N")
            command.add_argument("--no-actmax", action="store_true", help="peers alone")
        if name in ("run", "time"):
            command.add_argument(
                "--tuned",
                type=Path,
                metavar="FILE.json",
                help="what tune wrote: rows of tuned peers",
            )
        if name == "run":
            command.add_argument(
                "--seed", type=_seed, default=0, metavar="S",
                help="another sample of the same methods; of the default and the peers alone",
            )  # fmt: skip
            command.add_argument(
                "--train-on", type=int, default=0, metavar="N", help="pictures per class for TSTR"
            )
            command.add_argument(
                "--train-passes",
                type=int,
                metavar="N",
                help="per image of these; default: --passes",
            )
            command.add_argument(
                "--drawn", type=int, default=0, metavar="N",
                help="a row of drawings with a pen, N starts for each",
            )  # fmt: skip
            command.add_argument(
                "--natural", type=float, default=0.0, metavar="PRIOR",
                help="a row of presets.natural with this prior, of subjects with batch norm",
            )  # fmt: skip
            command.add_argument("--equal-seconds", action="store_true", help="rows of that, too")
    _add_held_out(commands)
    return parser


def _add_held_out(commands: Any) -> None:
    command = commands.add_parser("held-out", help="the default by fresh subjects and fresh judges")
    command.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    command.add_argument("--cache", type=Path, metavar="FOLDER", help="of development judges")
    default = held_out.Budget()
    command.add_argument("--minutes", type=float, default=default.minutes, metavar="M")
    command.add_argument("--pictures", type=int, default=default.pictures, metavar="N")
    command.add_argument("--passes", type=int, default=default.passes, metavar="N")
    command.add_argument("--epochs", type=float, default=default.epochs, metavar="FACTOR")
    command.add_argument("--images", type=int, metavar="N", help="most training images")
    command.add_argument(
        "--subjects", nargs="+", metavar="WORD", help="those with a word in their name"
    )
    command.set_defaults(command=_held_out)


def _held_out(arguments: argparse.Namespace) -> int:
    budget = held_out.Budget(
        arguments.pictures, arguments.passes, arguments.epochs, arguments.images, arguments.minutes
    )
    words = arguments.subjects or [""]
    subjects = [
        subject for subject in held_out.SUBJECTS if any(word in subject.name for word in words)
    ]
    if not subjects:
        names = ", ".join(repr(subject.name) for subject in held_out.SUBJECTS)
        raise SystemExit(f"Expected words in the names {names}. Received: {words}.")
    cache = sets.cache(arguments.cache)
    development = {
        track: {
            name: train.load(name, track, cache)
            for name in train.DEVELOPMENT
            if (cache / track / f"{name}.keras").exists()
        }
        for track in sets.TRACKS
    }
    job = held_out.HeldOut(arguments.out, held_out.tracks(arguments.data), budget, development)
    try:
        job.go(subjects)
        done = True
    except held_out.OutOfTime:
        done = False
    print(held_out.table(job.record))
    if not done:
        print(f"Stopped after {budget.minutes:g} minutes; the same command goes on.")
    return int(not done)


def _seed(text: str) -> int:
    """A seed that peers can use, too: NumPy's global generator takes 32 bits."""
    if not (text.isdecimal() and int(text) < methods.APART):
        raise argparse.ArgumentTypeError(
            f"Expected an integer in 0 .. {methods.APART - 1}. Received: {text}"
        )
    return int(text)


def _train(arguments: argparse.Namespace, data: sets.Data, cache: Path) -> int:
    for name in arguments.judges or train.recipes(data.track.name):
        file = train.train(name, data, cache, arguments.again)
        print(file, file.with_suffix(".json").read_text(encoding="utf-8"), flush=True)
    return 0


def _task(track: str, cache: Path, seeds: int, seed: int = 0) -> methods.Task:
    file = zoo.path("mnist") if track == "mnist" else cache / track / "subject.keras"
    subject = train.load("subject", track, cache)
    return methods.Task(subject, file, tuple(range(sets.TRACKS[track].classes)), seeds, seed)


def _tune(arguments: argparse.Namespace, data: sets.Data, cache: Path) -> int:
    track = data.track.name
    task = _task(track, cache, arguments.seeds)
    judges = {
        name: train.load(name, track, cache) for name in arguments.judges or train.DEVELOPMENT
    }
    makers: dict[str, Any] = {}
    if not arguments.no_actmax and track == "mnist":
        makers["actmax"] = lambda settings: [
            methods.ours(task, arguments.passes, one) for one in settings
        ]
    for name in methods.PEERS:
        python = getattr(arguments, name.replace("-", "_"))
        if python is not None:
            makers[name] = lambda settings, name=name, python=python: methods.peer(
                name, python, task, settings, passes=arguments.passes
            )
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "tuned.json"
    record = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if "actmax" in makers:
        default = tune.verdict(methods.ours(task, arguments.passes), judges)
        print(f"actmax at its defaults: worst {default[0]:.3f}, log probability {default[1]:.3f}")
    for name, make in makers.items():
        trials = tune.search(name, make, judges, arguments.trials)
        record[name] = [{"verdict": verdict, "settings": one} for verdict, one in trials]
        print(f"{name}: best of {len(trials)}: {trials[0]}", flush=True)
        file.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return 0


def _time(arguments: argparse.Namespace, data: sets.Data, cache: Path) -> int:
    track = data.track.name
    task = _task(track, cache, arguments.seeds)
    judges = {
        name: train.load(name, track, cache) for name in arguments.judges or train.DEVELOPMENT
    }
    makers: dict[str, Any] = {"actmax": lambda passes: methods.ours(task, passes)}
    for name, python, kinds in _kinds(arguments):
        for kind, settings in kinds.items():
            makers[f"{name}, {kind}"] = functools.partial(_one, name, python, task, settings)
    found = {}
    for name, make in makers.items():
        found[name] = ladder.climb(make, judges, sorted(arguments.budgets), arguments.goal)
        print(ladder.line(name, found[name], arguments.goal), flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    record = {"goal": arguments.goal, "environment": environment.describe(), "methods": found}
    file = arguments.out / f"{track}_time.json"
    file.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return 0


def _one(name: str, python: Path, task: methods.Task, settings: Any, passes: int) -> methods.Made:
    return methods.peer(name, python, task, [settings], passes=passes)[0]


def _run(arguments: argparse.Namespace, data: sets.Data, cache: Path) -> int:
    track = data.track.name
    if arguments.seed and (arguments.drawn or arguments.natural or arguments.train_on):
        raise SystemExit(
            "Expected --seed without --drawn, --natural and --train-on, which have seeds of "
            f"their own. Received: --seed {arguments.seed}"
        )
    task = _task(track, cache, arguments.seeds, arguments.seed)
    judges = {
        name: scores.Remembering(train.load(name, track, cache))
        for name in arguments.judges or train.DEVELOPMENT
    }
    reporting = _reporting(track, cache)
    natural = Natural(data.test.images[:NATURAL], data.test.classes[:NATURAL])
    made = methods.controls(task, data, min(arguments.passes, 512))
    made["actmax"] = methods.ours(task, arguments.passes)
    if arguments.drawn:
        made[DRAWN] = methods.drawn(task, arguments.drawn)
    if arguments.natural:
        made[NATURAL_PRESET] = methods.natural(task, arguments.natural, arguments.passes)
    made |= _peers(arguments, task, made["actmax"])
    records: dict[str, Any] = {}
    for name, one in made.items():
        records[name] = scores.measure(one, task.subject, judges, reporting, natural)
        if name == scores.ORDER[-1]:
            faults = scores.check_controls(records)
            for fault in faults:
                print(f"Expected {fault}.", flush=True)
    if arguments.train_on:
        many = methods.Task(task.subject, task.file, task.classes, arguments.train_on)
        passes = arguments.train_passes or arguments.passes
        sources = {"actmax": methods.ours(many, passes)}
        if arguments.drawn:
            # Take all starts. A choice among starts would reduce the variety of the training
            # images.
            sources[DRAWN] = methods.drawn(many, starts=1)
        if arguments.natural:
            sources[NATURAL_PRESET] = methods.natural(many, arguments.natural, passes)
        # The upper bound: the same number of photographs from the subject's training images.
        sources[scores.ORDER[-1]] = methods.photographs(many, data)
        for name, pictures in sources.items():
            # Use all test images. A thousand cannot show a difference of 0.01.
            found = train_on_synthetic(
                pictures.images.astype(np.float32) / 255, pictures.classes,
                data.test.floats(), data.test.classes,
            )  # fmt: skip
            value = {"value": float(found.mean()), "low": None, "high": None}
            records[name]["metrics"]["train_on_synthetic"] = value
    print(scores.table(records))
    print(_judges(records))
    arguments.out.mkdir(parents=True, exist_ok=True)
    record = {
        "format": FORMAT,
        "track": track,
        "seeds": arguments.seeds,
        "seed": arguments.seed,
        "passes": arguments.passes,
        "train_on": arguments.train_on,
        "train_passes": arguments.train_passes or arguments.passes,
        "environment": environment.describe(),
        "faults_of_controls": faults,
        "methods": records,
    }
    file = arguments.out / f"{track}.json"
    file.write_text(json.dumps(record, indent=1), encoding="utf-8")
    picture.sheets(made, data.track.labels, arguments.out / f"{track}_sheets")
    picture.pareto(records, arguments.out / f"{track}_pareto.png")
    print(f"record: {file}")
    return int(bool(faults))


def _peers(
    arguments: argparse.Namespace, task: methods.Task, ours: methods.Made
) -> dict[str, methods.Made]:
    """Rows of the peers: defaults and tuned, at equal passes and, if asked for, at equal seconds."""
    made = {}
    for name, python, kinds in _kinds(arguments):
        for kind, one in zip(
            kinds,
            methods.peer(name, python, task, list(kinds.values()), passes=ours.passes),
            strict=True,
        ):
            made[f"{name}, {kind}"] = one
        if arguments.equal_seconds:
            for kind, one in zip(
                kinds,
                methods.peer(name, python, task, list(kinds.values()), seconds=ours.seconds),
                strict=True,
            ):
                made[f"{name}, {kind}, equal seconds"] = one
    return made


def _kinds(arguments: argparse.Namespace) -> list[tuple[str, Path, dict[str, dict[str, Any]]]]:
    """Peers with an environment, and their settings: defaults and, if available, tuned ones."""
    tuned = {} if arguments.tuned is None else json.loads(arguments.tuned.read_text("utf-8"))
    found = []
    for name in methods.PEERS:
        python = getattr(arguments, name.replace("-", "_"))
        if python is not None:
            kinds: dict[str, dict[str, Any]] = {"defaults": {}}
            if name in tuned:
                kinds["tuned"] = tuned[name][0]["settings"]
            found.append((name, python, kinds))
    return found


def _reporting(track: str, cache: Path) -> dict[str, actmax.Judge]:
    """The judge that was not used for tuning, or None."""
    if track == "mnist":
        file = Path(__file__).parents[2] / REPORTING[track]
        return {"reporting": scores.Remembering(keras.models.load_model(file))}
    file = cache / track / f"{REPORTING[track]}.keras"
    return {"reporting": scores.Remembering(keras.models.load_model(file))} if file.exists() else {}


def _judges(records: dict[str, Any]) -> str:
    """Transfer of each method to each judge, and the judge's accuracy on natural images."""
    first = next(iter(records.values()))["judges"]
    lines = [f"{'judge':12} {'natural':>8}  " + "  ".join(records)]
    for judge, known in first.items():
        cells = [
            f"{record['judges'][judge]['transfer']['value']:.3f}".ljust(len(name))
            for name, record in records.items()
        ]
        lines.append(f"{judge:12} {known['transfer']['natural']:8.3f}  " + "  ".join(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
