"""Ten digits: for each class of an MNIST model, the input with the highest score.

The article trained a small convolutional network on MNIST. It wrote one function that replaces the
softmax by a linear activation, and one that takes `output[i, i]` for ten images. It then drew ten
start images, ran 512 steps, and plotted the result. Here this is one call of `actmax.maximize`. It
finds the softmax and uses the values before it, makes the start images from the seed, and labels
the pictures.

Source: MachineCurve, Visualizing Keras model inputs with Activation Maximization, 2019 (rewritten
2021), https://github.com/christianversloot/machine-learning-articles.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import actmax
from actmax import zoo
from actmax.recipes._ended import exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the ten digits to a folder and prints their scores."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.mnist_digits")
    parser.add_argument("--out", type=Path, default=Path("out/mnist_digits"), metavar="DIR")
    parser.add_argument("--steps", type=int, default=512, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args(argv)

    model = zoo.load("mnist")
    result = actmax.maximize(
        model,
        targets=range(10),
        labels=zoo.labels("mnist"),
        input_range=(0, 1),
        steps=arguments.steps,
        seed=arguments.seed,
    )
    folder = result.save(arguments.out)

    probabilities = model(result.images, training=False).numpy()
    for row, name in enumerate(result.names()):
        print(f"{name}: logit {result.scores[row]:.4g}, probability {probabilities[row, row]:.4f}")
    print(f"grid: {folder / 'grid.png'}")
    return exit_code(result)


if __name__ == "__main__":
    sys.exit(main())
