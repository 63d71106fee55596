r"""Cost and scores of half precision for your own models: `python -m benchmarks.precisions`.

    python -m benchmarks.precisions mnist cifar10 EFFICIENTNET.keras MOBILENET.keras --range 0 255

It makes the same runs with the same seeds once for every `precision`. The unchanged model scores the
images, never the half-precision copy. It prints the scores divided by those of float32 (median and
minimum over the images) and the milliseconds of a step. The steps are measured in turn with those of
float32.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import actmax
from actmax import zoo
from benchmarks import environment
from benchmarks.measure import interleaved, timed

PRECISIONS = ("float32", "bfloat16", "float16", "mixed")


@dataclasses.dataclass(frozen=True)
class Row:
    """One precision of one model.

    Attributes:
        model: its name.
        precision: precision of the model's computation.
        scores: reached scores from the unchanged model, `[N]`.
        finite: number of images with finite values only.
        seconds: seconds of a step for each round.
    """

    model: str
    precision: str
    scores: list[float]
    finite: int
    seconds: list[float]


def measure(
    name: str,
    model: keras.Model,
    input_range: tuple[float, float],
    targets: Sequence[int],
    *,
    steps: int,
    rounds: int,
    timed_steps: int,
    seed: int = 0,
) -> list[Row]:
    """A row for every precision, float32 the first.

    Args:
        name: of the model.
        model: with one input and class scores.
        input_range: of its images.
        targets: one image for each.
        steps: of the runs that are scored.
        rounds: of timing.
        timed_steps: in one sample of the time.
        seed: of all runs.
    """
    made = {
        precision: actmax.Maximizer(model, input_range=input_range, copies=1, precision=precision)
        for precision in PRECISIONS
    }
    found = {each: one(targets, steps=steps, seed=seed) for each, one in made.items()}
    clocks = {
        each: timed(functools.partial(one, targets, steps=timed_steps, seed=seed), timed_steps)
        for each, one in made.items()
    }
    seconds = interleaved(clocks, rounds)
    return [
        Row(
            name,
            each,
            result.scores.astype(float).tolist(),
            int(np.sum(result.status != actmax.Status.NON_FINITE)),
            seconds[each].tolist(),
        )
        for each, result in found.items()
    ]


def lines(rows: Sequence[Row]) -> list[str]:
    """The table of one model."""
    base = np.asarray(rows[0].scores)
    clock = np.asarray(rows[0].seconds)
    told = []
    for row in rows:
        reached = np.asarray(row.scores) / base
        told.append(
            f"{row.model:20} {row.precision:9} {np.median(reached):7.3f} {np.min(reached):7.3f} "
            f"{row.finite:3} of {len(base):<3} "
            f"{1e3 * np.median(row.seconds):8.1f} {np.median(np.asarray(row.seconds) / clock):6.2f}"
        )
    return told


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables. Returns 1 if an image was not finite."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precisions", description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a file, or mnist or cifar10")
    parser.add_argument("--range", nargs=2, type=float, default=(0.0, 255.0), help="of files")
    parser.add_argument(
        "--targets", nargs="+", type=int, default=[1, 88, 207, 301], help="of files"
    )
    parser.add_argument("--steps", type=int, default=64, metavar="N", help="of a run")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of timing")
    parser.add_argument("--timed-steps", type=int, default=8, metavar="N", help="in a sample")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args(argv)
    print(
        "model                precision  median   least  finite      ms a step, over float32's",
        flush=True,
    )
    rows: list[Row] = []
    for given in arguments.models:
        known = given in ("mnist", "cifar10")
        model: Any = zoo.load(given) if known else keras.models.load_model(given, compile=False)
        found = measure(
            given if known else Path(given).stem,
            model,
            (0.0, 1.0) if known else tuple(arguments.range),
            list(range(10)) if known else arguments.targets,
            steps=arguments.steps,
            rounds=arguments.rounds,
            timed_steps=arguments.timed_steps,
        )
        print("\n".join(lines(found)), flush=True)
        rows += found
    if arguments.out is not None:
        environment.save(
            arguments.out,
            {"steps": arguments.steps, "rows": [dataclasses.asdict(row) for row in rows]},
        )
    return int(any(row.finite < len(row.scores) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
