"""Feature accentuation: strengthens what a unit detects in a given image.

The run starts from the image. It raises the unit's score and stays near the image in the activations of
another layer. The weight of this second term is `strength` times the ratio of the two gradients at the
start, each as the sum of absolute values over the image with the same random transforms. So both are
equally strong at the start. The params are Fourier coefficients of decorrelated colors, so that steps
look natural. The model sees the image through random boxes with a little noise.

Source: Hamblin, Fel, Saha, Konkle and Alvarez, Feature accentuation: revealing 'what' features respond
to in natural images, 2024, https://arxiv.org/abs/2402.10039, and its code: boxes of 0.05 to 0.99 of the
side, noise of 0.02, 16 of them, 100 steps of Adam 0.05. The code can also move only the phase, and its
distance is not squared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import actmax
from actmax import zoo
from actmax.recipes._ended import whole
from actmax.recipes.deep_dream import resized
from regularizers import Noise, RandomBox


def balance(
    model: Any, objective: actmax.Objective, anchor: actmax.Objective, image: Any, views: Any
) -> float:
    """How much stronger the objective pulls at an image `[1, H, W, C]` than the anchor does.

    Raises:
        ValueError: if one of the two gradients is 0.
    """
    pulls = []
    for part in (objective, anchor):
        maximizer = actmax.Maximizer(model, part, parameterization=actmax.Pixels(), **views)
        _, gradient = maximizer.value_and_gradient(image)
        pulls.append(float(np.sum(np.abs(gradient))))
    if min(pulls) == 0.0:
        raise ValueError(f"Expected two gradients that are not 0. Received sums {pulls}.")
    return pulls[0] / pulls[1]


def accentuate(
    model: Any, objective: actmax.Objective, layer: str, image: Any,
    input_range: tuple[float, float], *, strength: float = 1.0, crops: int = 16, steps: int = 100,
    seed: int = 0,
) -> actmax.Result:  # fmt: skip
    """A run of one image, whose score is the objective's less what the anchor costs. `[H, W, C] -> [1]`.

    Args:
        model: a Keras model of one image input.
        objective: what is raised, with its target bound, as `actmax.Logit(3)`.
        layer: path of the layer whose activations are to stay.
        image: in the input range.
        input_range: a pair.
        strength: of the anchor, in units of the objective's pull.
        crops: views per step.
        steps: updates.
        seed: of the views.
    """
    low, high = input_range
    first = np.asarray(image, np.float32)[None]
    anchor = actmax.Inversion(layer, actmax.activations(model, first, layer)[0])
    views: dict[str, Any] = {
        "input_range": input_range,
        "regularizers": [RandomBox(0.05, 0.99, None), Noise(0.02 * (high - low))],
        "copies": crops,
    }
    weight = strength * balance(model, objective, anchor, first, views)
    base = actmax.Fourier(1.0)
    colors = first.shape[-1] == 3
    return actmax.maximize(
        model, objective + weight * anchor, initial_images=first, steps=steps, seed=seed,
        parameterization=actmax.Decorrelated(base) if colors else base,
        optimizer=actmax.Adam(0.05), **views,
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Accentuates classes of the CIFAR-10 network in one smooth image, and prints their logits."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.accentuation")
    parser.add_argument("--out", type=Path, default=Path("out/accentuation"), metavar="DIR")
    parser.add_argument("--targets", type=int, nargs="+", default=[0, 3, 5], metavar="N")
    parser.add_argument("--steps", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    given = parser.parse_args(argv)

    model, labels = zoo.load("cifar10"), zoo.labels("cifar10")
    noise = np.random.default_rng(given.seed).uniform(0.2, 0.8, (1, 4, 4, 3)).astype(np.float32)
    image = resized(noise, (32, 32))[0]
    shown = [image]
    for target in given.targets:
        result = whole(accentuate(
            model, actmax.Logit(target), "pool", image, (0.0, 1.0), steps=given.steps, seed=given.seed,
        ))  # fmt: skip
        both = np.stack([image, result.images[0]])
        logits = actmax.activations(model, both, ":logits")[:, target]
        print(f"{labels[target]}: logit {logits[0]:.4g} -> {logits[1]:.4g}")
        shown.append(result.images[0])
    sheet = given.out / "grid.png"
    given.out.mkdir(parents=True, exist_ok=True)
    actmax.save_png(sheet, actmax.grid(actmax.to_uint8(np.stack(shown), 0, 1), columns=len(shown)))
    print(f"grid: {sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
