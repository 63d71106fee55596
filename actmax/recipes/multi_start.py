"""Many starts for each target. In every round the better half continues, until one is left.

A network's score has many local maxima, and a single start reaches a near one. Here `starts` runs
share the passes through the model that one run would have. Every round has the same number of passes,
so each run that continues gets twice the steps. The better half is that with the higher mean score
over fixed random transforms (`robust_scores`). This costs one forward pass per draw and image: in
total less than `2 starts draws` per target. An image goes unchanged from round to round, but the
optimizer starts again.

Source: Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization,
2016, https://arxiv.org/abs/1502.07943, after Karnin, Koren and Somekh, 2013.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import actmax
from actmax import checks, zoo
from actmax.recipes._ended import exit_code, interrupted, whole


def successive_halving(
    maximizer: actmax.Maximizer, targets: Any, *, starts: int = 8, steps: int = 256,
    draws: int = 4, seed: int = 0,
) -> list[actmax.Result]:  # fmt: skip
    """The runs of all rounds: the first of `starts` images per target, the last of one.

    Rows of one target stand together, in the order of the targets. Starts and draws are the same for
    every target, so one target's images do not depend on the others. Ctrl-C ends it with its round, all
    of whose images come back with status INTERRUPTED.

    Args:
        maximizer: of one input, whose parameterization can start from an image.
        targets: as for a run.
        starts: images per target in the first round; of an odd number the larger half goes on.
        steps: passes through the model per target, of all rounds together, times `copies`.
        draws: of the transforms over which images are judged; 1 where nothing is drawn.
        seed: of the starts, and of the transforms in every round.

    Raises:
        ValueError: if a round cannot start from the images of another, images depend on one another,
            or `steps` are too few for a step in every round.
    """
    problem = maximizer.problem
    if problem.couples_images:
        raise ValueError(
            checks.message("images that do not depend on one another", "parts that couple them")
        )
    if len(problem.inputs) > 1 or not problem.inputs[0].parameterization.invertible:
        parts = [type(entry.parameterization).__name__ for entry in problem.inputs]
        raise ValueError(
            checks.message("one input that can start from a given image", ", ".join(parts))
        )
    starts = checks.integer(starts, "starts", low=1)
    rounds = 1 + math.ceil(math.log2(starts))
    steps = checks.integer(steps, "steps", low=rounds * starts)
    given = maximizer(targets, steps=0, seed=seed).targets
    count = 1 if given is None else len(given)
    alive, left, images, results = starts, steps, None, []
    for number in range(rounds):
        rows = np.repeat(np.arange(count), alive)
        chosen = None if given is None else given[rows]
        # What is left, in equal parts: the last round has what rounding left of the others.
        length = left // (rounds - number) // alive
        left -= length * alive
        words = np.random.SeedSequence([seed, number]).generate_state(alive, np.uint64)
        result = maximizer(
            chosen, images=alive if given is None else None, initial_images=images,
            steps=length, seed=[int(word) for word in np.tile(words, count)],
        )  # fmt: skip
        results.append(result)
        if interrupted(result):
            return results
        if alive > 1:
            judged = maximizer.robust_scores(result.images, chosen, draws=draws)
            alive -= alive // 2
            ranks = np.where(np.isfinite(judged), judged, -np.inf).reshape(count, -1)
            # A stable sort: of two equals the earlier start goes on.
            best = np.sort(np.argsort(-ranks, axis=1, kind="stable")[:, :alive], axis=1)
            images = result.images[(best + ranks.shape[1] * np.arange(count)[:, None]).ravel()]
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Ten classes of a CIFAR-10 network, from one start each and from several, for as many passes."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.multi_start")
    parser.add_argument("--out", type=Path, default=Path("out/multi_start"), metavar="DIR")
    parser.add_argument("--starts", type=int, default=8, metavar="N")
    parser.add_argument("--steps", type=int, default=256, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args(argv)

    maximizer = actmax.Maximizer(
        zoo.load("cifar10"), input_range=(0, 1), regularizers=[], labels=zoo.labels("cifar10")
    )
    names = zoo.labels("cifar10")
    several = successive_halving(
        maximizer, names, starts=arguments.starts, steps=arguments.steps, draws=1,
        seed=arguments.seed,
    )[-1]  # fmt: skip
    folder = several.save(arguments.out)
    if not interrupted(several):
        single = whole(maximizer(names, steps=arguments.steps, seed=arguments.seed))
        print(f"{'class':12s} one start   best of {arguments.starts}")
        for name, one, best in zip(names, single.scores, several.scores, strict=True):
            print(f"{name:12s} {one:9.4g}   {best:9.4g}")
    print(f"grid: {folder / 'grid.png'}")
    return exit_code(several)


if __name__ == "__main__":
    sys.exit(main())
