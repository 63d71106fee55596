"""The effect of the softmax on activation maximization: with and without it.

The article shows both, as two separate lists of pictures without numbers. With the softmax, its
digits are static noise. There are two reasons: a probability also rises when the other logits fall,
and its gradient vanishes near 1. Here the first objective is a plain function of the model's
output, and the second is the default objective. Everything else is equal, without regularizers.
Both sets of images are measured by logit and by probability.

Source: MachineCurve, Visualizing Keras model inputs with Activation Maximization, 2019 (rewritten
2021), https://github.com/christianversloot/machine-learning-articles.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

import actmax
from actmax import zoo
from actmax.recipes._ended import whole


def probability(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """The softmax kept: probability of the target, `[N, C], [N] -> [N]`."""
    return tf.gather(outputs, targets, batch_dims=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Writes both sets of images and one sheet of them side by side, and prints the numbers."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.softmax_kept")
    parser.add_argument("--out", type=Path, default=Path("out/softmax_kept"), metavar="DIR")
    parser.add_argument("--model", default="mnist", choices=("mnist", "cifar10"))
    parser.add_argument("--steps", type=int, default=512, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args(argv)

    model, labels = zoo.load(arguments.model), zoo.labels(arguments.model)
    targets = range(len(labels))
    by_objective = {
        "kept": actmax.Maximizer(
            model, probability, input_range=(0, 1), regularizers=[], labels=labels
        ),
        "removed": actmax.Maximizer(
            model, actmax.Logit(), input_range=(0, 1), regularizers=[], labels=labels
        ),
    }
    results = {
        name: whole(maximizer(targets, steps=arguments.steps, seed=arguments.seed))
        for name, maximizer in by_objective.items()
    }

    # A run of no steps scores the images that it is given.
    def measure(yardstick: str, images: np.ndarray) -> np.ndarray:
        return by_objective[yardstick](targets, steps=0, initial_images=images).scores

    print(f"{'':12}{'softmax kept':>24}{'softmax removed':>24}")
    print(f"{'class':12}" + 2 * f"{'probability':>14}{'logit':>10}")
    for name, result in results.items():
        result.save(arguments.out / name)
    columns = [
        measure(yardstick, result.images)
        for result in results.values()
        for yardstick in ("kept", "removed")
    ]
    for label, *values in zip(labels, *columns, strict=True):
        cells = [f"{value:{'14.4f' if k % 2 == 0 else '10.2f'}}" for k, value in enumerate(values)]
        print(f"{label:12}" + "".join(cells))

    # Two rows: above the softmax kept, below it removed.
    sheet = actmax.grid(
        np.concatenate([result.to_uint8() for result in results.values()]),
        [f"{label} ({name})" for name in results for label in labels],
        columns=len(labels),
    )
    actmax.save_png(arguments.out / "side_by_side.png", sheet)
    print(f"grid: {arguments.out / 'side_by_side.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
