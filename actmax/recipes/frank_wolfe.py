"""Frank-Wolfe: steps towards the best point of the set, with a bound on the distance to the optimum.

For a box or a ball, the image s with the largest product with the gradient g is known: the corner by the
signs of g, or the point of the sphere in the direction of g. The step goes from x towards s:

    gap = <g, s - x>,    x <- x + rate (s - x),    rate in [0, 1]

The gap is 0 only at a stationary point of the set. If J is concave (a linear model minus convex penalties),
no image of the set has more than J(x) + gap. For other networks this holds only to first order. The rate
is the best one for a quadratic J. If J falls, the rate is halved. A step needs two passes or more.

Source: Frank and Wolfe, An algorithm for quadratic programming, 1956,
https://doi.org/10.1002/nav.3800030109; gap as in Jaggi, Revisiting Frank-Wolfe, ICML 2013.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import actmax
from actmax import checks, zoo
from actmax.recipes._deterministic import corner, finite, start_of
from regularizers import L2

# Of a step that falls, before it is left out.
_HALVINGS = 12


class Ascent(NamedTuple):
    """Last images as a run's result; J and gap before every step and after the last, `[T, N]`; passes."""

    result: actmax.Result
    objective: np.ndarray
    gap: np.ndarray
    passes: int


def frank_wolfe(
    maximizer: actmax.Maximizer, targets: Any = None, *, initial_images: Any = None,
    steps: int = 100, tolerance: float = 1e-6, seed: int = 0,
) -> Ascent:  # fmt: skip
    """Images of a box or a ball. `-> Ascent`.

    Args:
        maximizer: with one input, `actmax.Pixels()`, an `input_range` that is a pair or an
            `actmax.L2Ball`, and no random transforms.
        targets: as for a run.
        initial_images: as for a run.
        steps: at most.
        tolerance: gap, in units of J, at which all images are done.
        seed: of the start, where none is given.
    """
    begun = start_of(maximizer, targets, initial_images, seed, (actmax.Box, actmax.L2Ball))
    constraint = maximizer.problem.inputs[0].constraint
    if isinstance(constraint, actmax.Box) and None in (constraint.low, constraint.high):
        raise ValueError(checks.message("a box with two bounds", f"{constraint!r}", "Give both."))
    passes = 0

    def look(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal passes
        passes += 1
        return finite(*maximizer.value_and_gradient(images, targets))

    images = begun.images.astype(np.float64)
    axes = tuple(range(1, images.ndim))
    value, gradient = look(images)
    values, gaps = [], []
    for step in range(checks.integer(steps, "steps") + 1):
        corners = corner(constraint, images, gradient)
        away = corners - images
        gap = np.sum(gradient * away, axes)
        values.append(value)
        gaps.append(gap)
        if step == steps or np.all(gap <= tolerance):
            break
        slope = np.sum(look(corners)[1] * away, axes)
        # Slopes of a quadratic are linear in the rate; one that rises is largest at the far end.
        done = gap <= tolerance
        rate = np.where(done, 0.0, gap / np.where(done, 1.0, gap - np.minimum(slope, 0.0)))
        for _ in range(_HALVINGS):
            share = rate.reshape(-1, *[1] * len(axes))
            moved = (1.0 - share) * images + share * corners  # the corner itself at rate 1
            new, ascent = look(moved)
            fell = new < value
            if not np.any(fell):
                break
            rate = np.where(fell, rate / 2, rate)
        if np.all(fell | (rate == 0)):  # no digit of J is left to gain
            break
        stays, value = fell.reshape(share.shape), np.where(fell, value, new)
        images, gradient = np.where(stays, images, moved), np.where(stays, gradient, ascent)
    result = maximizer(targets, initial_images=images, steps=0, seed=seed)
    return Ascent(result, np.array(values), np.array(gaps), passes)


def main(argv: Sequence[str] | None = None) -> int:
    """The ten digits of an MNIST network from gray, and how far to first order each is from the best."""
    parser = argparse.ArgumentParser(prog="python -m actmax.recipes.frank_wolfe")
    parser.add_argument("--out", type=Path, default=Path("out/frank_wolfe"), metavar="DIR")
    parser.add_argument("--steps", type=int, default=50, metavar="N")
    arguments = parser.parse_args(argv)

    maximizer = actmax.Maximizer(zoo.load("mnist"), input_range=(0, 1), regularizers=[L2(20.0)])
    gray = np.full((10, 28, 28, 1), 0.5)
    found = frank_wolfe(maximizer, range(10), initial_images=gray, steps=arguments.steps)
    for digit, (value, gap) in enumerate(zip(found.objective[-1], found.gap[-1], strict=True)):
        print(f"{digit}: objective {found.objective[0, digit]:.4g} -> {value:.4g}, gap {gap:.2g}")
    print(f"{found.passes} passes; grid: {found.result.save(arguments.out) / 'grid.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
