"""Draws a class octave by octave, with a blur after every step that gets weaker.

Each step adds the gradient of the unit, divided by the mean of its absolute values, and then blurs
the image. The canvas grows by 1.2 from octave to octave, beyond the model's input; the model sees a
random part of its own size. The blur is a smoothness prior. It gets weaker during the run, so coarse
shapes come first and fine ones later.

Source: Oygard, Visualizing GoogLeNet classes, 2015,
https://www.auduno.com/2015/07/29/visualizing-googlenet-classes, constants of
https://github.com/auduno/deepdraw. There the last octaves use GoogLeNet's auxiliary classifiers, and
the random parts are around the middle. Here all octaves use the same unit, and parts are anywhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import actmax
from actmax import zoo
from actmax.recipes._ended import exit_code, interrupted
from regularizers import RandomCrop


class Octave(NamedTuple):
    """One size: its scale over the model's, steps, blur and step size from first to last.

    Blurs are in pixels of a model of 224, steps are the mean move of a value on 0 to 255.
    """

    scale: float
    steps: int
    sigma: tuple[float, float]
    step: tuple[float, float]


OCTAVES = (
    Octave(1.0, 190, (2.5, 0.78), (11.0, 11.0)),
    Octave(1.2, 150, (0.94, 0.78), (6.0, 6.0)),
    Octave(1.44, 150, (0.94, 0.44), (6.0, 3.0)),
    Octave(1.44, 10, (0.44, 0.304), (3.0, 3.0)),
)


def draw(
    model: Any, targets: Any, input_range: tuple[float, float], *, octaves: Sequence[Octave] = OCTAVES,
    seed: int = 0,
) -> list[actmax.Result]:  # fmt: skip
    """The runs of all octaves; the last is the largest. Ctrl-C ends it with its octave.

    Args:
        model: a Keras model of one image input of known size.
        targets: units of its output.
        input_range: a pair.
        octaves: sizes in their order.
        seed: of the noise at the start and the parts that are seen.
    """
    low, high = input_range
    unit = (high - low) / 255.0
    height, width, channels = model.inputs[0].shape[1:]
    # At a small model's size the blur would cover everything that it could see.
    reach = min(height, width) / 224.0
    generator = np.random.default_rng(seed)
    shape = (len(np.atleast_1d(targets)), height, width, channels)
    images = low + unit * generator.normal(200.0, 8.0, shape)
    results: list[actmax.Result] = []
    for number, octave in enumerate(octaves):
        size = (round(height * octave.scale), round(width * octave.scale))
        sigma = actmax.Linear(reach * octave.sigma[0], reach * octave.sigma[1], octave.steps)
        step = actmax.Linear(unit * octave.step[0], unit * octave.step[1])
        result = actmax.maximize(
            model,
            targets=targets,
            input_range=input_range,
            canvas=size,
            regularizers=[RandomCrop((height, width))],
            gradients=[actmax.Normalize("mean_abs")],
            optimizer=actmax.AfterUpdate(actmax.SGD(step), [actmax.BlurImage(sigma)]),
            parameterization=actmax.Pixels(),
            initial_images=np.clip(tf.image.resize(images, size).numpy(), low, high),
            steps=octave.steps,
            seed=seed + number,
        )
        images = result.images
        results.append(result)
        if interrupted(result):
            break
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the ten classes of the CIFAR-10 network, and prints their score octave by octave."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.class_octaves")
    parser.add_argument("--out", type=Path, default=Path("out/class_octaves"), metavar="DIR")
    parser.add_argument(
        "--steps", type=float, default=1.0, metavar="F", help="times the number of steps"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    given = parser.parse_args(argv)

    octaves = [each._replace(steps=max(round(given.steps * each.steps), 1)) for each in OCTAVES]
    results = draw(zoo.load("cifar10"), range(10), (0.0, 1.0), octaves=octaves, seed=given.seed)
    for result in results:
        mean = float(np.mean(result.scores))
        print(f"canvas {result.images.shape[1:3]}: mean score {mean:.4g}")
    print(f"grid: {results[-1].save(given.out) / 'grid.png'}")
    return exit_code(results[-1])


if __name__ == "__main__":
    sys.exit(main())
