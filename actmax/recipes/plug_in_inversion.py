"""Plug-In Inversion: augmentations in place of penalties, on a canvas that grows from its middle.

The canvas begins at a quarter of the model's input and grows to its full size in seven stages. In each
stage the last image is enlarged (zoom) and put into the middle of uniform noise (centering). Then Adam
maximizes the mean log-probability over copies. The copies are rolled by up to 1/7 of the size, and
their channels are scaled and shifted at random. The method claims that no setting depends on the
model. If the model has a fixed size, every canvas is resized for it.

Source: Ghiasi, Kazemi, Reich, Zhu, Goldblum and Goldstein, Plug-In Inversion, ICML 2022,
https://arxiv.org/abs/2201.12961. Constants of the authors' code
(https://github.com/youranonymousefriend/plugininversion, experiment/iteration20/pii.py): 400 steps a
stage, Adam with rate 0.01, betas (0.5, 0.99) and a cosine schedule on images of 0 to 1, 32 copies, and
noise for half of a stage's growth. There the roll is by up to 32 pixels of 224. This is 90,000 passes
per image.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import actmax
from actmax import zoo
from actmax.recipes._ended import exit_code, interrupted
from regularizers import ColorShift, Jitter

STAGES = 8  # the canvas grows by an eighth of the model's size, from two of them


def grown(images: Any, size: tuple[int, int], border: tuple[int, int], noise: Any) -> Any:
    """Images enlarged to `size` less `border`, in the middle of noise. `[N, h, w, C] -> [N, *size, C]`."""
    inner = (size[0] - border[0], size[1] - border[1])
    top, left = border[0] // 2, border[1] // 2
    canvas = np.array(noise)
    canvas[:, top : top + inner[0], left : left + inner[1]] = tf.image.resize(images, inner)
    return canvas


def invert(
    model: Any, targets: Any, input_range: tuple[float, float], *, steps: int = 400,
    copies: int = 32, learning_rate: float = 0.01, seed: int = 0,
) -> list[actmax.Result]:  # fmt: skip
    """The runs of all stages; the last has the model's size. Ctrl-C ends it with its stage.

    Args:
        model: a Keras model of one image input of known size, of classes.
        targets: classes.
        input_range: a pair.
        steps: in every stage.
        copies: transformed copies of every image in a step.
        learning_rate: on the scale of 0 to 1.
        seed: of the noise and the draws.
    """
    low, high = input_range
    classes = np.atleast_1d(targets)
    height, width, channels = model.inputs[0].shape[1:]
    generator = np.random.default_rng(seed)
    results: list[actmax.Result] = []
    for stage in range(2, STAGES + 1):
        size = (height * stage // STAGES, width * stage // STAGES)
        noise = generator.uniform(low, high, (len(classes), *size, channels)).astype(np.float32)
        border = (height // STAGES // 2, width // STAGES // 2)
        start = grown(results[-1].images, size, border, noise) if results else noise
        result = actmax.maximize(
            model,
            actmax.LogProbability(),
            targets=classes,
            input_range=input_range,
            canvas=size,
            regularizers=[
                Jitter(max(min(size) // 7, 1)),
                ColorShift(1.0, high - low),
            ],
            copies=copies,
            parameterization=actmax.Pixels(),
            optimizer=actmax.Adam(
                actmax.Cosine(learning_rate * (high - low), 0.0), beta_1=0.5, beta_2=0.99
            ),
            initial_images=np.clip(start, low, high),
            steps=steps,
            seed=seed + stage,
        )
        results.append(result)
        if interrupted(result):
            break
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Inverts classes of the CIFAR-10 network, and prints their probability stage by stage."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.plug_in_inversion")
    parser.add_argument("--out", type=Path, default=Path("out/plug_in_inversion"), metavar="DIR")
    parser.add_argument("--steps", type=int, default=60, metavar="N")
    parser.add_argument("--copies", type=int, default=8, metavar="N")
    parser.add_argument("--targets", type=int, nargs="+", default=list(range(10)), metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    given = parser.parse_args(argv)

    results = invert(
        zoo.load("cifar10"), given.targets, (0.0, 1.0), steps=given.steps, copies=given.copies,
        learning_rate=0.05, seed=given.seed,
    )  # fmt: skip
    for result in results:
        mean = float(np.mean(np.exp(result.scores)))
        print(f"canvas {result.images.shape[1:3]}: mean probability {mean:.4f}")
    print(f"grid: {results[-1].save(given.out) / 'grid.png'}")
    return exit_code(results[-1])


if __name__ == "__main__":
    sys.exit(main())
