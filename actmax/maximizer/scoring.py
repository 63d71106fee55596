"""Values for given images, without a run: J and its gradient, and robust scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.loop import Arguments
from actmax.maximizer import rows
from actmax.maximizer.runner import Runner
from actmax.maximizer.running import JUDGE
from actmax.types import Images
from regularizers import random


def prepare(
    maximizer: Runner,
    images: Any,
    targets: Any,
    weights: Any,
    seed: Any,
    span: int,
    arrays: Any,
) -> tuple[Images, Arguments, np.ndarray | None]:
    """The images by input, the run's tensors, and checked targets."""
    maximizer.renew()
    problem = maximizer.problem
    first = rows.start_images(images, problem.inputs)
    missing = sorted({entry.name for entry in problem.inputs} - set(first))
    if missing:
        raise ValueError(checks.message("images of every optimized input", f"none of {missing}"))
    started = max(len(value) for value in first.values())
    found, count = rows.as_targets(targets, problem.objective, maximizer.labels, None, started)
    for name, value in first.items():
        if len(value) != count:
            raise ValueError(
                checks.message(f"{count} images of {name!r}, one per target", f"{len(value)}")
            )
    table, rates = rows.tables(problem, weights, None, span, count)
    seeds = rows.row_seeds(seed, found, count)
    given = {name: tf.constant(value, problem.dtype) for name, value in first.items()}
    own = rows.arrays(problem, arrays, count)
    kept = problem.keep(given) | problem.moment(seeds, tf.constant(0))
    arguments = rows.arguments(problem, found, table, rates, seeds, maximizer.fixed, kept, own)
    return given, arguments, found


def robust_scores(loop: Any, images: Images, arguments: Arguments, draws: int) -> np.ndarray:
    """Mean scores over `draws` fixed draws of the transforms. The draws are equal for every row. `[N]`."""
    first = random.fold_in(arguments.seeds, JUDGE)
    scores = [
        loop.robust_scores(images, arguments, random.fold_in(first, draw)).numpy()
        for draw in range(draws)
    ]
    return np.mean(scores, axis=0, dtype=np.float64).astype(scores[0].dtype)
