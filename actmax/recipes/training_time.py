"""The effect of longer training on the pictures: the same network after 25 and after 100 epochs.

The article trained its CIFAR-10 network twice. It found the pictures of the longer training
"sharper, but not more detailed". Here both networks come from one training, so that only the
training time differs, and both sets of pictures start from the same noise. The training takes
minutes to an hour. `--data FILE.npz` takes arrays `x_train`, `y_train`, `x_test`, `y_test`; without
it `keras.datasets` downloads them.

Source: MachineCurve, Visualizing Keras model inputs with Activation Maximization, 2019 (rewritten
2021), https://github.com/christianversloot/machine-learning-articles.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

import actmax
from actmax import zoo
from actmax.recipes._ended import whole
from actmax.zoo import train


def main(argv: Sequence[str] | None = None) -> int:
    """Trains, writes the pictures of both epochs and one sheet of them, prints the numbers."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.training_time")
    parser.add_argument("--out", type=Path, default=Path("out/training_time"), metavar="DIR")
    parser.add_argument("--name", default="cifar10", choices=sorted(train.RECIPES))
    parser.add_argument("--data", type=Path, metavar="FILE.npz")
    parser.add_argument("--images", type=int, metavar="N", help="training images; default: all")
    parser.add_argument("--epochs", type=int, nargs=2, default=(25, 100), metavar=("A", "B"))
    parser.add_argument("--steps", type=int, default=512, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args(argv)
    first, last = arguments.epochs
    if not 0 <= first < last:
        parser.error(f"Expected --epochs A B with A < B. Received: {first} {last}.")

    recipe = train.RECIPES[arguments.name]
    used = recipe.training_images if arguments.images is None else slice(0, arguments.images)
    data = train.read(arguments.name, arguments.data, used)
    labels = zoo.labels(arguments.name)
    # A program of its own: training draws from the global state, so it seeds it.
    keras.utils.set_random_seed(arguments.seed)  # noqa: TID251
    model = train.build(recipe.input_shape, len(labels))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])

    sheets: list[np.ndarray] = []
    done = 0
    for epochs in (first, last):
        model.fit(
            data.train_images,
            data.train_labels,
            batch_size=train.BATCH_SIZE,
            initial_epoch=done,
            epochs=epochs,
            verbose=0,
        )
        done = epochs
        result = actmax.maximize(
            model,
            targets=range(len(labels)),
            labels=labels,
            input_range=(0, 1),
            steps=arguments.steps,
            seed=arguments.seed,
        )
        result.save(arguments.out / f"{epochs}_epochs")
        whole(result)
        sheets.append(result.to_uint8())
        seen = model.evaluate(data.train_images, data.train_labels, verbose=0)[1]
        unseen = model.evaluate(data.test_images, data.test_labels, verbose=0)[1]
        print(
            f"{epochs} epochs: accuracy {seen:.3f} on training and {unseen:.3f} on test images, "
            f"logits {result.scores.min():.4g} to {result.scores.max():.4g}"
        )

    # Two rows: the shorter training above, the longer below.
    sheet = actmax.grid(
        np.concatenate(sheets),
        [f"{label} ({epochs})" for epochs in (first, last) for label in labels],
        columns=len(labels),
    )
    actmax.save_png(arguments.out / "side_by_side.png", sheet)
    print(f"grid: {arguments.out / 'side_by_side.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
