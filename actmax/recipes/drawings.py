"""Every class as drawings with a pen: many starts, of which the best are kept.

A pen's strokes cannot jump from one place to another, so some starts give bad drawings. For each
target, `starts` runs are made to their end. Those with the highest mean score over fixed random
transforms are kept. Only the network itself is used for this choice. An image depends only on its own
seed, so the seeds of the kept images can make them again.

Source: Frans, Soros and Witkowski, CLIPDraw, 2021, https://arxiv.org/abs/2106.14843, for what is drawn;
keeping the best of several starts is older than any paper.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import actmax
from actmax import checks, zoo
from actmax.recipes._ended import exit_code, interrupted, whole


def best_seeds(
    maximizer: actmax.Maximizer, targets: Sequence[Any], *, starts: int = 24, keep: int = 8,
    steps: int = 192, draws: int = 8, batch_size: int = 120, seed: int = 0,
) -> np.ndarray:  # fmt: skip
    """Seeds of the best of many runs for every target, the best first. `-> [T, keep]` uint64.

    Args:
        maximizer: whose images do not depend on one another.
        targets: T class numbers or names.
        starts: runs per target, each with a seed of its own, the same ones for every target.
        keep: how many stay, at most `starts`.
        steps: updates of every run.
        draws: of the transforms over which finished images are scored.
        batch_size: images at a time.
        seed: of the seeds, and of these draws.

    Raises:
        ValueError: if images depend on one another, or more are to stay than there are.
        KeyboardInterrupt: if Ctrl-C ended a run, for a choice from half of them is none.
    """
    if maximizer.problem.couples_images:
        raise ValueError(
            checks.message("images that do not depend on one another", "parts that couple them")
        )
    starts = checks.integer(starts, "starts", low=1)
    keep = checks.integer(keep, "keep", low=1, high=starts)
    batch_size = checks.integer(batch_size, "batch_size", low=1)
    seeds = np.random.SeedSequence(seed).generate_state(starts, np.uint64)
    rows = [(target, int(one)) for target in targets for one in seeds]
    scores: list[np.ndarray] = []
    for first in range(0, len(rows), batch_size):
        chosen, own = zip(*rows[first : first + batch_size], strict=True)
        result = whole(maximizer(list(chosen), steps=steps, seed=list(own)))
        scores.append(maximizer.robust_scores(result.images, list(chosen), draws=draws, seed=seed))
    found = np.concatenate(scores).reshape(len(targets), starts)
    ranks = np.argsort(-np.where(np.isfinite(found), found, -np.inf), axis=1, kind="stable")
    return seeds[ranks[:, :keep]]


def main(argv: Sequence[str] | None = None) -> int:
    """Ten digits, a row each."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.drawings")
    parser.add_argument("--out", type=Path, default=Path("out/drawings"), metavar="DIR")
    parser.add_argument("--starts", type=int, default=24, metavar="N", help="per digit")
    parser.add_argument("--keep", type=int, default=8, metavar="N", help="per digit")
    parser.add_argument("--steps", type=int, default=192, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args(argv)

    model = zoo.load("mnist")
    preset = actmax.presets.drawn(model, (0, 1), steps=arguments.steps)
    steps = preset.pop("steps")
    maximizer = actmax.Maximizer(model, **preset, labels=zoo.labels("mnist"))
    digits = list(range(10))
    seeds = best_seeds(
        maximizer, digits, starts=arguments.starts, keep=arguments.keep, steps=steps,
        seed=arguments.seed,
    )  # fmt: skip
    result = maximizer(
        np.repeat(digits, arguments.keep), steps=steps, seed=[int(one) for one in seeds.ravel()]
    )
    folder = result.save(arguments.out)
    if not interrupted(result):
        # The preset's score is a sum of two things, of which neither is the probability.
        outputs = model.predict(result.images, verbose=0).reshape(10, arguments.keep, 10)
        for digit in digits:
            sure = outputs[digit, :, digit]
            print(f"{digit}  probability {np.mean(sure):.3f}, least {np.min(sure):.3f}")
    sheet = folder / "sheet.png"
    actmax.save_png(sheet, actmax.grid(result.to_uint8(), columns=arguments.keep))
    print(f"a row per digit: {sheet}")
    return exit_code(result)


if __name__ == "__main__":
    sys.exit(main())
