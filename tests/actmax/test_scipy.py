"""Random small networks on a box: the engine ends no worse than SciPy's L-BFGS-B."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize

import actmax
from regularizers import L2

LOW, HIGH = -1.0, 1.0
STARTS, STEPS = 16, 200
ACTIVATIONS = {"tanh": tf.tanh, "relu": tf.nn.relu, "softplus": tf.nn.softplus}


def network(seed):
    """A network of two or three dense layers and its number of inputs, drawn from a seed."""
    rng = np.random.default_rng(seed)
    depth = int(rng.integers(2, 4))
    sizes = [*rng.integers(6, 20, depth), 1]
    activation = list(ACTIVATIONS.values())[seed % 3]
    weights = [
        (rng.normal(size=(a, b)) * np.sqrt(1 / a), 0.3 * rng.normal(size=b))
        for a, b in itertools.pairwise(sizes)
    ]

    def model(x):
        for number, (w, b) in enumerate(weights):
            x = x @ tf.constant(w) + b
            x = activation(x) if number < len(weights) - 1 else x
        return x

    return model, int(sizes[0])


def l_bfgs_b(maximizer, starts):
    """J that L-BFGS-B ends at, from every start, by our own value and gradient. `[N, D] -> [N]`.

    The sum over rows is one problem: rows do not depend on each other.
    """
    targets = [0] * len(starts)

    def loss(x):
        value, gradient = maximizer.value_and_gradient(x.reshape(starts.shape), targets)
        return -value.sum(), -gradient.ravel()

    # The cap is for ReLU networks, at whose kinks its line search would go on for hundreds of calls.
    found = optimize.minimize(
        loss, starts.ravel(), jac=True, method="L-BFGS-B", bounds=[(LOW, HIGH)] * starts.size,
        options={"maxfun": 50},
    )  # fmt: skip
    return maximizer.value_and_gradient(found.x.reshape(starts.shape), targets)[0]


@pytest.mark.parametrize("seed", range(20))
def test_objective_is_not_worse_than_l_bfgs_b_from_the_same_starts(seed):
    model, inputs = network(seed)
    maximizer = actmax.Maximizer(
        model, input_range=(LOW, HIGH), input_shape=(inputs,), regularizers=[L2(0.2)],
        optimizer=actmax.Adam(actmax.Cosine(0.1, 0.0, STEPS)), precision="float64",
    )  # fmt: skip
    starts = np.random.default_rng(seed + 100).uniform(LOW / 2, HIGH / 2, (STARTS, inputs))
    result = maximizer(targets=[0] * STARTS, initial_images=starts, steps=STEPS)
    ours, _ = maximizer.value_and_gradient(result.images, targets=[0] * STARTS)
    theirs = l_bfgs_b(maximizer, starts)
    assert ours.max() >= theirs.max() - 0.01 * abs(theirs.max())
    # From one start the two may end in different valleys; of ours, L-BFGS-B finds no way up.
    best = int(ours.argmax())
    polished = l_bfgs_b(maximizer, result.images[best : best + 1])[0]
    assert polished <= ours[best] + 1e-3 * abs(ours[best])
