"""L-BFGS: second-order steps for one image at a time, if nothing is random.

A quasi-Newton method needs a deterministic objective. So it is for penalties on plain pixels, without
transforms. There it reaches many more digits than a first-order method, in fewer passes. SciPy's
L-BFGS-B works in float64, keeps every value between its bounds, and ends when J cannot improve within
its precision: about seven digits for a float32 model.

Source: Byrd, Lu, Nocedal and Zhu, A limited memory algorithm for bound constrained optimization, 1995,
https://doi.org/10.1137/0916069, through `scipy.optimize.minimize`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from scipy import optimize

import actmax
from actmax import checks, zoo
from actmax.recipes._deterministic import finite, start_of
from actmax.recipes._ended import whole
from regularizers import L2, TotalVariation


class Found(NamedTuple):
    """The last images as a `Result`; and per image J, the number of passes, and why SciPy stopped, `[N]`."""

    result: actmax.Result
    objective: np.ndarray
    passes: np.ndarray
    messages: tuple[str, ...]


def lbfgs(
    maximizer: actmax.Maximizer, targets: Any = None, *, initial_images: Any = None,
    steps: int = 200, tolerance: float = 1e-10, seed: int = 0,
) -> Found:  # fmt: skip
    """Images between bounds, or unbounded. `-> Found`.

    Args:
        maximizer: of one input in float64 (`precision="float64"`), with `actmax.Pixels()`, an
            `input_range` that is a pair or `actmax.Unbounded()`, and no transforms that draw.
        targets: as for a run.
        initial_images: as for a run.
        steps: iterations per image, at most; most are one pass.
        tolerance: largest slope, inside the bounds, at which an image is done, in units of J per unit of
            the images.
        seed: of the start, where none is given.
    """
    if maximizer.problem.dtype != tf.float64:
        raise ValueError(
            checks.message(
                "a problem in float64", maximizer.problem.dtype.name, "precision='float64'"
            )
        )
    steps = checks.integer(steps, "steps", low=1)
    begun = start_of(maximizer, targets, initial_images, seed, (actmax.Box, actmax.Unbounded))
    constraint = maximizer.problem.inputs[0].constraint
    shape = begun.images.shape[1:]
    ends = [
        np.broadcast_to(limit if bound is None else bound, shape).ravel()
        for bound, limit in ((constraint.low, -np.inf), (constraint.high, np.inf))
    ]
    ended = []
    for row, first in enumerate(begun.images):
        target = None if begun.targets is None else begun.targets[[row]]

        def descend(flat: np.ndarray, target: Any = target) -> tuple[float, np.ndarray]:
            found = maximizer.value_and_gradient(flat.reshape(1, *shape), target)
            value, gradient = finite(*found)
            return -value[0], -gradient.ravel()

        options = {"maxiter": steps, "maxfun": 20 * steps, "gtol": tolerance, "ftol": 0.0}
        bounds = optimize.Bounds(*ends)
        ended.append(
            optimize.minimize(
                descend, first.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options
            )
        )
    images = np.stack([end.x.reshape(shape) for end in ended])
    return Found(
        maximizer(targets, initial_images=images, steps=0, seed=seed),
        np.array([-end.fun for end in ended]),
        np.array([end.nfev for end in ended]),
        tuple(str(end.message) for end in ended),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The ten digits of an MNIST network, by L-BFGS and by Adam with as many passes."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.lbfgs")
    parser.add_argument("--out", type=Path, default=Path("out/lbfgs"), metavar="DIR")
    parser.add_argument("--steps", type=int, default=50, metavar="N")
    arguments = parser.parse_args(argv)

    maximizer = actmax.Maximizer(
        zoo.load("mnist"), input_range=(0, 1), precision="float64", parameterization=actmax.Pixels(),
        regularizers=[L2(20.0), TotalVariation(20.0, beta=2.0)], optimizer=actmax.Adam(0.05),
    )  # fmt: skip
    gray = np.full((10, 28, 28, 1), 0.5)
    found = lbfgs(maximizer, range(10), initial_images=gray, steps=arguments.steps)
    for digit, (value, passes) in enumerate(zip(found.objective, found.passes, strict=True)):
        adam = whole(maximizer(digit, initial_images=gray[:1], steps=int(passes))).images
        other = maximizer.value_and_gradient(adam, digit)[0][0]
        print(f"{digit}: objective {value:.6g} in {passes} passes; Adam {other:.6g}")
    print(f"grid: {found.result.save(arguments.out) / 'grid.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
