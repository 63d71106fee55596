"""Every part of the catalogue in every way that a run may be computed, beside the plain one in float32.

A few are tried by `test_ways.py`, all of them by `python -m tests.soak.ways`.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import actmax
from tests.conformance.test_laws import Case

# Other arguments of Maximizer, and how far images in (0, 1) may be from those of the plain way after
# three steps: kernels that round otherwise; in float64 all that float32 rounds; half precision is of the
# model alone, and is held to the size and direction of the gradient.
WAYS = {
    "eager": ({"compile": False}, 1e-5),
    "XLA": ({"compile": "xla"}, 1e-4),
    "float64": ({"precision": "float64"}, 2e-3),
    "bfloat16": ({"precision": "bfloat16"}, None),
    "float16": ({"precision": "float16"}, None),
    "mixed": ({"precision": "mixed"}, None),
}
# The cosine and the ratio of lengths of two gradients. bfloat16 has 8 bits; a scale of float16's 2^15
# that is not taken off again is far outside.
_COSINE, _RATIO = 0.9, 1.5

# Wider for these alone: 1.1e-5 was seen. It divides every pixel's step by one sum over all of them.
WIDER = {("Normalize mean_abs", "eager"): 3e-5}

# XLA compiles none of these, and says so before anything is run; why.
NOT_IN_XLA: dict[str, str] = {}
# Half precision has no gradient of these, and the status says NO_GRADIENT; why.
NOT_IN_HALF = {
    "BatchNormPrior": "its network's tanh is saturated: 1 - y^2 is below what eight bits resolve of 1",
}


def look(name: str, ways=tuple(WAYS)) -> dict[str, str]:
    """What is wrong by way, an empty text where nothing is; `refused: ...` where a named error says so."""
    plain = Case(name)
    whole = plain(steps=3)
    pictures = whole.images
    slope = _slope(plain, pictures)
    found = {}
    for way in ways:
        options, tolerance = WAYS[way]
        tolerance = WIDER.get((name, way), tolerance)
        try:
            case = Case(name, **options)
            result = case(steps=3)
            found[way] = _compared(case, result, whole, tolerance, slope, pictures, way)
        except (ValueError, TypeError) as error:
            if not str(error).startswith("Expected "):
                raise
            found[way] = f"refused: {error}"
    return found


def _compared(case, result, whole, tolerance, slope, pictures, way) -> str:
    arrays = [result.images, result.scores, *result.history.values()]
    if not all(np.isfinite(array).all() for array in arrays):
        return "not finite"
    wide = np.float64 if way == "float64" else np.float32
    if any(array.dtype != wide for array in arrays):
        return f"of {sorted({array.dtype.name for array in arrays})}"
    if tolerance is not None:
        gap = float(np.abs(result.images - whole.images).max())
        scale = max(1.0, float(np.abs(whole.images).max()))
        return "" if gap <= tolerance * scale else f"images differ by {gap:.2g}"
    if (result.status == actmax.Status.NO_GRADIENT).all():
        return "refused: NO_GRADIENT"
    half = _slope(case, pictures)
    size = np.linalg.norm(slope) * np.linalg.norm(half)
    cosine, ratio = float(slope @ half / size), np.linalg.norm(half) / np.linalg.norm(slope)
    if cosine < _COSINE or not 1 / _RATIO < ratio < _RATIO:
        return f"a gradient with cosine {cosine:.3f} and {ratio:.3g} times the length"
    return ""


def _slope(case, pictures) -> np.ndarray:
    """The gradient of J with respect to the images' params, flat."""
    problem = case.maximizer.problem
    if not problem.inputs[0].parameterization.invertible:
        start = case(steps=0)
        moved = case(steps=1)
        return (moved.images - start.images).astype(np.float64).ravel()
    rows = case.entry.targets
    _, gradient = case.maximizer.value_and_gradient(pictures, rows, seed=[100, 101, 102])
    leaves = [np.asarray(leaf, np.float64).ravel() for leaf in tf.nest.flatten(gradient)]
    return np.concatenate(leaves)
