"""Elementwise functions round a row the same wherever it stands."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from regularizers import lanes

FUNCTIONS = {
    "exp": (tf.exp, np.exp),
    "log": (tf.math.log, np.log),
    "sigmoid": (tf.sigmoid, special.expit),
    "root": (tf.sqrt, np.sqrt),
    "power": (lambda values: values**1.7, lambda values: values**1.7),
    "sine": (tf.sin, np.sin),
}
SHAPES = ((), (1,), (5, 7, 3), (4, 4), (3, 11))


def rows_of(values, function):
    """Values and gradients of every row, as bytes."""
    values = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = function(values)
    gradient = tape.gradient(result, values)
    pairs = zip(result.numpy(), gradient.numpy(), strict=True)
    return [(value.tobytes(), slope.tobytes()) for value, slope in pairs]


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(FUNCTIONS)),
    shape=st.sampled_from(SHAPES),
    count=st.integers(1, 40),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_a_row_has_the_same_bytes_in_every_place(name, shape, count, seed, dtype):
    function, expected = FUNCTIONS[name]
    draws = np.random.default_rng(seed)
    values = draws.uniform(0.01, 5.0, (count, *shape)).astype(dtype)
    order = draws.permutation(count)

    def by_row(tensor):
        return lanes.by_row(function, tensor)

    here = rows_of(values, by_row)
    there = rows_of(values[order], by_row)
    assert [here[row] for row in order] == there
    np.testing.assert_allclose(
        lanes.by_row(function, values), expected(values.astype(np.float64)), rtol=1e-5, atol=1e-6
    )


def test_without_it_the_place_of_a_row_shows():
    # Why it is there, on processors whose kernels round the tail in another way.
    values = np.random.default_rng(0).uniform(0.01, 5.0, (1000, 35)).astype(np.float32)
    whole, alone = tf.exp(values), tf.concat([tf.exp(row[None]) for row in values], 0)
    if np.array_equal(whole, alone):
        pytest.skip("this processor's kernels round the tail of an array like its body")
    assert np.array_equal(
        lanes.by_row(tf.exp, values),
        tf.concat([lanes.by_row(tf.exp, row[None]) for row in values], 0),
    )


@pytest.mark.parametrize("classes", [1, 2, 10, 16, 17, 1000])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_probabilities_are_those_of_scipy_wherever_their_row_stands(classes, dtype):
    draws = np.random.default_rng(classes)
    logits = (10 * draws.normal(size=(19, classes))).astype(dtype)
    tolerance = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    for ours, theirs in (
        (lanes.softmax, special.softmax),
        (lanes.log_softmax, special.log_softmax),
    ):
        found = ours(tf.constant(logits))
        assert found.dtype == dtype and found.shape == logits.shape
        expected = theirs(logits.astype(np.float64), axis=1)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
        here, there = rows_of(logits, ours), rows_of(logits[::-1], ours)
        assert here == there[::-1]
        assert all(np.isfinite(np.frombuffer(part, dtype)).all() for row in here for part in row)


def test_sizes_that_are_known_in_the_run_alone_are_filled_up_then():
    values = np.random.default_rng(0).uniform(size=(3, 5, 7, 1)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1])])
    def unknown(images):
        return lanes.by_row(tf.exp, images)

    @tf.function(input_signature=[tf.TensorSpec([None, 5, 7, 1])])
    def known(images):
        return lanes.by_row(tf.exp, images)

    expected = lanes.by_row(tf.exp, values).numpy().tobytes()
    assert unknown(values).numpy().tobytes() == known(values).numpy().tobytes() == expected
    assert known(values).shape == (3, 5, 7, 1)
    np.testing.assert_allclose(
        tf.function(known.python_function, jit_compile=True)(tf.constant(values)),
        np.exp(values),
        rtol=1e-6,
    )
