"""Certified global maxima of small ReLU networks on a box, by mixed-integer programming.

A ReLU network is piecewise linear, so its maximum on a box is a mixed-integer linear program, which
the solver proves optimal. Source: Tjeng, Xiao and Tedrake, 2017, https://arxiv.org/abs/1711.07356.
"""

from __future__ import annotations

import functools
import itertools

import keras
import numpy as np
import pytest
from scipy import optimize, sparse

import actmax

LOW, HIGH = -1.0, 1.0
CASES = [((16, 12, 1), 0), ((16, 12, 1), 1), ((32, 16, 8, 1), 0), ((32, 16, 8, 1), 1)]
cases = pytest.mark.parametrize(("sizes", "seed"), CASES)


def network(sizes, seed):
    """Weights and biases of a random network, `[(w [in, out], b [out]), ...]`."""
    rng = np.random.default_rng(seed)
    pairs = itertools.pairwise(sizes)
    return [(rng.normal(size=(a, b)) / np.sqrt(a), 0.3 * rng.normal(size=b)) for a, b in pairs]


def forward(layers, x):
    """Output of the network. `[M, in] -> [M]`."""
    for number, (w, b) in enumerate(layers):
        x = x @ w + b
        if number < len(layers) - 1:
            x = np.maximum(x, 0)
    return x[:, 0]


@functools.cache
def certificate(sizes, seed):
    """`(upper bound, image)` of the maximum on the box.

    For every hidden unit `h = max(z, 0)` with bounds `l <= z <= u` there is a binary `a`:
    `h >= z`, `h <= z - l (1 - a)`, `0 <= h <= u a`.
    """
    layers = network(sizes, seed)
    hidden = sum(sizes[1:-1])
    count = sizes[0] + 2 * hidden  # image, hidden units, binaries
    low, high = np.full(sizes[0], LOW), np.full(sizes[0], HIGH)
    upper = np.concatenate([high, np.full(hidden, np.inf), np.ones(hidden)])
    lower = np.concatenate([low, np.zeros(2 * hidden)])
    rows, limits = [], []
    first, unit = 0, sizes[0]
    for w, b in layers[:-1]:
        below = low @ np.maximum(w, 0) + high @ np.minimum(w, 0) + b
        above = high @ np.maximum(w, 0) + low @ np.minimum(w, 0) + b
        for j in range(w.shape[1]):
            z = np.zeros(count)
            z[first : first + len(w)] = w[:, j]
            h, a = np.eye(count)[unit + j], np.eye(count)[unit + hidden + j]
            u, ell = max(above[j], 0.0), min(below[j], 0.0)
            rows += [z - h, h - z - ell * a, h - u * a]
            limits += [-b[j], b[j] - ell, 0.0]
        first, unit = unit, unit + w.shape[1]
        low, high = np.maximum(below, 0), np.maximum(above, 0)
    w, b = layers[-1]
    gain = np.zeros(count)
    gain[first:unit] = w[:, 0]
    solution = optimize.milp(
        -gain,
        integrality=np.arange(count) >= sizes[0] + hidden,
        bounds=optimize.Bounds(lower, upper),
        constraints=optimize.LinearConstraint(sparse.csr_array(np.array(rows)), ub=limits),
        options={"mip_rel_gap": 1e-6},
    )
    assert solution.status == 0, solution.message  # proven optimal
    return -solution.mip_dual_bound + b[0], solution.x[: sizes[0]]


@cases
def test_certificate_is_attained_and_no_sampled_point_is_above_it(sizes, seed):
    bound, image = certificate(sizes, seed)
    layers = network(sizes, seed)
    np.testing.assert_allclose(forward(layers, image[None])[0], bound, rtol=1e-5)
    rng = np.random.default_rng(2)
    inside = rng.uniform(LOW, HIGH, (20000, sizes[0]))
    corners = rng.choice([LOW, HIGH], (20000, sizes[0]))
    near = np.clip(image + 0.1 * rng.normal(size=(20000, sizes[0])), LOW, HIGH)
    for points in (inside, corners, near):
        assert forward(layers, points).max() <= bound + 1e-6


@cases
def test_best_of_sixteen_starts_reaches_the_certified_maximum(sizes, seed):
    bound, _ = certificate(sizes, seed)
    assert bound > 0
    layers = network(sizes, seed)
    parts = [keras.layers.Dense(n, activation="relu") for n in sizes[1:-1]]
    model = keras.Sequential([keras.Input((sizes[0],)), *parts, keras.layers.Dense(1)])
    model.set_weights([array for pair in layers for array in pair])
    result = actmax.maximize(
        model, targets=[0] * 16, input_range=(LOW, HIGH), regularizers=[],
        parameterization=actmax.Pixels(std=0.25), optimizer=actmax.Adam(0.05), steps=200,
    )  # fmt: skip
    np.testing.assert_allclose(result.scores, forward(layers, result.images), rtol=1e-4, atol=1e-4)
    assert np.all(result.scores <= bound * (1 + 1e-5))
    assert result.scores.max() >= 0.995 * bound
