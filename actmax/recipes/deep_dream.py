"""DeepDream: strengthens what a layer detects in an image, octave by octave.

Each step adds the gradient of the mean square activation, divided by the mean of its absolute values
for every image. The canvas grows by 1.4 from octave to octave. The changes of one octave are enlarged
and added to the start image of the next. Images are rolled at random before the model sees them, and
the gradient is rolled back. If the model has a fixed size, every canvas is resized for it.

Source: Mordvintsev, Olah and Tyka, Inceptionism, 2015, https://github.com/google/deepdream: 10 steps
of 1.5 (on 0 to 255) in each of 4 octaves, rolled by up to 32 pixels.
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
from regularizers import Jitter


def resized(images: Any, size: tuple[int, int]) -> Any:
    """Bilinear, smoothed where it shrinks. `[N, H, W, C] -> [N, *size, C]`."""
    return tf.image.resize(images, size, antialias=True).numpy()


def dream(
    model: Any, layer: str, images: Any, input_range: tuple[float, float], *, octaves: int = 4,
    scale: float = 1.4, steps: int = 10, step: float = 1.5, jitter: int = 32, seed: int = 0,
) -> actmax.Result:  # fmt: skip
    """The run of the last octave, at the size of the images. `[N, H, W, C]`.

    Ctrl-C ends the run in the current octave. The image has the size of this octave.

    Args:
        model: a Keras model of one image input.
        layer: path of the layer.
        images: where to start, in the input range.
        input_range: a pair.
        octaves: number of sizes.
        scale: from one size to the next.
        steps: in every octave.
        step: mean move of a value in one step, on the scale of 0 to 255.
        jitter: largest roll in pixels; at most a seventh of the canvas.
        seed: of the rolls.
    """
    low, high = input_range
    height, width = np.shape(images)[1:3]
    is_open = None in tuple(model.inputs[0].shape[1:3])
    detail = np.zeros_like(images)
    for octave in reversed(range(octaves)):
        size = (round(height / scale**octave), round(width / scale**octave))
        base = resized(images, size)
        place = {"input_shape": (*size, base.shape[-1])} if is_open else {"canvas": size}
        result = actmax.maximize(
            model,
            actmax.Layer(layer),
            input_range=input_range,
            gradients=[actmax.Normalize("mean_abs")],
            optimizer=actmax.SGD(step * (high - low) / 255.0),
            regularizers=[Jitter(min(jitter, min(size) // 7))],
            parameterization=actmax.Pixels(),
            initial_images=np.clip(base + resized(detail, size), low, high),
            steps=steps,
            seed=seed + octave,
            **place,
        )
        if interrupted(result):
            break
        detail = result.images - base
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Dreams on smooth noise with the layer of a CIFAR-10 network, and prints the layer's energy."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.deep_dream")
    parser.add_argument("--out", type=Path, default=Path("out/deep_dream"), metavar="DIR")
    parser.add_argument("--steps", type=int, default=10, metavar="N")
    parser.add_argument("--octaves", type=int, default=4, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args(argv)

    model = zoo.load("cifar10")
    layer = actmax.layer_paths(model)[0]
    noise = np.random.default_rng(arguments.seed).uniform(0.3, 0.7, (4, 4, 4, 3))
    images = resized(noise.astype(np.float32), (64, 64))
    result = dream(
        model, layer, images, (0.0, 1.0), octaves=arguments.octaves, steps=arguments.steps,
        seed=arguments.seed,
    )  # fmt: skip
    folder = result.save(arguments.out)
    if interrupted(result):
        print(f"grid: {folder / 'grid.png'}")
        return exit_code(result)
    before = actmax.maximize(
        model, actmax.Layer(layer), input_range=(0, 1), initial_images=images, canvas=(64, 64),
        regularizers=[], parameterization=actmax.Pixels(), steps=0,
    )  # fmt: skip
    for number, (first, last) in enumerate(zip(before.scores, result.scores, strict=True)):
        print(f"image {number}: energy of {layer!r} {first:.4g} -> {last:.4g}")
    print(f"grid: {folder / 'grid.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
