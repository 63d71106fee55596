"""Ten pictures: for each class of a CIFAR-10 model, the input with the highest score.

This is the article's second experiment. There the start images were gray noise of 30 to 150 and the
values of the pictures had no limits, but the network was trained on values in (0, 1). So the
network never saw values like those of the pictures. Here the range is an argument,
`input_range=(0, 1)`, and no image leaves it at any step.

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
    """Writes the ten classes to a folder and prints their scores and the range of each picture."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.cifar10_classes")
    parser.add_argument("--out", type=Path, default=Path("out/cifar10_classes"), metavar="DIR")
    parser.add_argument("--steps", type=int, default=512, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args(argv)

    result = actmax.maximize(
        zoo.load("cifar10"),
        targets=range(10),
        labels=zoo.labels("cifar10"),
        input_range=(0, 1),
        steps=arguments.steps,
        seed=arguments.seed,
    )
    folder = result.save(arguments.out)

    for name, score, image in zip(result.names(), result.scores, result.images, strict=True):
        print(f"{name}: logit {score:.4g}, values in [{image.min():.3f}, {image.max():.3f}]")
    print(f"grid: {folder / 'grid.png'}")
    return exit_code(result)


if __name__ == "__main__":
    sys.exit(main())
