"""The inputs with the largest and smallest prediction of a regression model, and the true optima.

The article says that activation maximization also works for regression models, but shows no
example. Here a small network learns a known function of two numbers on a box, within seconds. Then
many starts in the box maximize its prediction at once, and the best result is compared with the
true optimum. The function has two maxima and two minima, so a single start may end at the lower
maximum. None of this needs images: an input is any array `[N, ...]`.

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
from actmax.recipes._ended import whole

LOW, HIGH = -2.0, 2.0
# Height and center of every bump.
BUMPS = (
    (1.0, (1.0, 0.8)),
    (0.7, (-1.1, -0.9)),
    (-0.9, (1.0, -1.1)),
    (-0.6, (-1.2, 1.0)),
)


def truth(points: np.ndarray) -> np.ndarray:
    """The function to learn, a sum of Gaussian bumps. `[N, 2] -> [N]`."""
    squares = [np.sum((points - center) ** 2, axis=-1) for _, center in BUMPS]
    return sum(height * np.exp(-s) for (height, _), s in zip(BUMPS, squares, strict=True))


def fit(seed: int, epochs: int) -> keras.Model:
    """A network of two hidden layers, fitted to 4096 points of the box."""
    points = np.random.default_rng(seed).uniform(LOW, HIGH, [4096, 2]).astype("float32")

    def dense(units: int, activation: str | None, number: int) -> keras.layers.Dense:
        # A seed of its own, and no shuffling below: no global state is drawn from.
        start = keras.initializers.GlorotUniform(seed=seed + number)
        return keras.layers.Dense(units, activation, kernel_initializer=start)

    model = keras.Sequential(
        [keras.Input((2,)), dense(64, "tanh", 1), dense(64, "tanh", 2), dense(1, None, 3)]
    )
    # A rate that falls to zero, because the last digits are what the comparison is about.
    rate = keras.optimizers.schedules.CosineDecay(1e-2, decay_steps=epochs * 64)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="mse")
    model.fit(points, truth(points), batch_size=64, epochs=epochs, shuffle=False, verbose=0)
    return model


def main(argv: Sequence[str] | None = None) -> int:
    """Fits, climbs and descends, and prints both optima beside the true ones."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.regression")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to save; default: nowhere")
    parser.add_argument("--restarts", type=int, default=32, metavar="N")
    parser.add_argument("--epochs", type=int, default=40, metavar="N")
    parser.add_argument("--steps", type=int, default=256, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args(argv)

    model = fit(arguments.seed, arguments.epochs)
    axis = np.linspace(LOW, HIGH, 1001)  # neighbors are 0.004 apart
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    values = truth(points)
    starts = np.random.default_rng(arguments.seed).uniform(LOW, HIGH, [arguments.restarts, 2])

    for name, sign in (("maximum", 1.0), ("minimum", -1.0)):
        result = actmax.maximize(
            model,
            sign * actmax.Logit(0),  # the only output; its negative for the minimum
            input_range=(LOW, HIGH),
            regularizers=[],
            optimizer=actmax.Adam(0.05),
            initial_images=starts,
            steps=arguments.steps,
        )
        best = int(np.argmax(whole(result).scores))
        found, true = result.images[best], points[np.argmax(sign * values)]
        print(
            f"{name}: prediction {sign * result.scores[best]:.4f} at "
            f"({found[0]:.3f}, {found[1]:.3f}), where the truth is {truth(found[None])[0]:.4f}; "
            f"true {name} {truth(true[None])[0]:.4f} at ({true[0]:.3f}, {true[1]:.3f}), "
            f"{np.linalg.norm(found - true):.3f} away"
        )
        if arguments.out is not None:
            result.save(arguments.out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
