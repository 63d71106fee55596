"""VITAL: images whose activations have the distribution of those of real images.

It does not maximize an activation. In a few layers, it matches the distribution of every channel over
the image with the mean of its sorted values over reference images. So the images exaggerate nothing
that the references do not have. They are good only if the references are typical.

Source: Gorgun, Schiele and Fischer, VITAL: More understandable feature visualization through
distribution alignment and relevant information flow, ICCV 2025, https://arxiv.org/abs/2503.22399. Of
the paper this is the alignment. Its weights by relevance and its transparency are left out.
"""

from __future__ import annotations

import argparse
import functools
import operator
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import actmax
from actmax import zoo
from actmax.recipes._ended import exit_code


def align(
    model: Any, layers: Sequence[str], references: Any, input_range: tuple[float, float],
    **settings: Any,
) -> actmax.Result:  # fmt: skip
    """Images whose activations are distributed as those of the references. `[M, H, W, C] -> N images`.

    Args:
        model: a Keras model of one image input.
        layers: paths of layers with positions, each counting the same; the paper takes an early and
            a late block.
        references: natural images of one thing, in the input range.
        input_range: a pair.
        **settings: of `maximize`: `images=`, `steps=`, `seed=`, `parameterization=`, ...
    """
    terms = [
        actmax.SortMatching(
            layer, actmax.SortMatching.mean(actmax.activations(model, references, layer))
        )
        for layer in layers
    ]
    objective = functools.reduce(operator.add, terms) * (1.0 / len(terms))
    return actmax.maximize(model, objective, input_range=input_range, **settings)


def stripes(count: int, size: int, seed: int) -> np.ndarray:
    """References for a try: orange stripes on blue, in one direction, anywhere. `[N, S, S, 3]`."""
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, (count, 1, 1))
    rows, columns = np.mgrid[:size, :size]
    waves = 0.5 + 0.5 * np.sin(2 * np.pi * (rows + 0.5 * columns) / 8.0 + phases)
    colors = np.array([[0.95, 0.6, 0.1], [0.1, 0.2, 0.6]])
    return waves[..., None] * colors[0] + (1 - waves[..., None]) * colors[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Aligns with references, a `.npy` file or stripes, and prints how much of them is missed."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.distributions")
    parser.add_argument(
        "--references", type=Path, metavar="FILE", help=".npy, [M, 32, 32, 3] in 0..1"
    )
    parser.add_argument("--out", type=Path, default=Path("out/distributions"), metavar="DIR")
    parser.add_argument("--images", type=int, default=4, metavar="N")
    parser.add_argument("--steps", type=int, default=256, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    given = parser.parse_args(argv)

    model = zoo.load("cifar10")
    references = (
        stripes(16, 32, given.seed)
        if given.references is None
        else np.load(given.references, allow_pickle=False)
    )
    result = align(
        model, ("conv", "pool"), references, (0.0, 1.0), images=given.images,
        steps=given.steps, seed=given.seed, regularizers=[],
        parameterization=actmax.Decorrelated(actmax.Fourier(1.0)),
    )  # fmt: skip
    for number, score in enumerate(result.scores):
        print(f"image {number}: misses {-score:.4f} of the references' activations")
    print(f"grid: {result.save(given.out) / 'grid.png'}")
    return exit_code(result)


if __name__ == "__main__":
    sys.exit(main())
