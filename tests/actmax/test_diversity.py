"""Diversity against loops over pairs; what it does to a run, and what it never compares."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import actmax
from actmax.objectives import ROWS
from regularizers import Jitter
from tests.conformance.models import tiny


def reference(activations, rows=None):
    """Minus the mean cosine of Gram matrices over pairs of different images, pair by pair."""
    rows = range(len(activations)) if rows is None else rows
    grams = []
    for image in activations:
        positions = image.reshape(-1, image.shape[-1])
        gram = sum(np.outer(p, p) for p in positions)
        size = np.sqrt((gram**2).sum())
        grams.append(gram / size if size > 0 else gram)
    scores = []
    for n, one in enumerate(grams):
        others = [(one * g).sum() for m, g in enumerate(grams) if rows[m] != rows[n]]
        scores.append(-np.mean(others) if others else 0.0)
    return np.array(scores)


def score(activations, rows=None):
    rows = np.arange(len(activations)) if rows is None else np.asarray(rows)
    values = {"a": tf.constant(activations), ROWS: tf.constant(rows, tf.int32)}
    return actmax.Diversity("a")(values, None).numpy()


def some(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (2, 7, 4), (5, 3), (3, 2, 3, 2, 4)])
def test_it_is_the_mean_over_pairs(shape):
    values = some(*shape)
    np.testing.assert_allclose(score(values), reference(values), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("scale", [1e-2, 300.0])
def test_it_neither_overflows_nor_depends_on_the_scale(dtype, scale):
    values = (scale * some(3, 4, 4, 5)).astype(dtype)
    found = score(values)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, reference(values.astype(float)), rtol=2e-3)


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
        elements=st.floats(-10, 10).map(lambda v: round(v, 3)),
    )
)
def test_it_lies_between_minus_1_and_0_and_follows_the_images(values):
    found = score(values)
    assert np.all(found >= -1 - 1e-12) and np.all(found <= 1e-12)
    np.testing.assert_allclose(found, reference(values), atol=1e-9)
    np.testing.assert_allclose(score(values[::-1]), found[::-1], atol=1e-12)
    # Where a feature is does not matter.
    np.testing.assert_allclose(score(np.roll(values, 1, axis=1)), found, atol=1e-12)


def test_equal_images_score_minus_1_and_disjoint_ones_0():
    same = np.repeat(some(1, 4, 4, 3), 3, axis=0)
    np.testing.assert_allclose(score(same), -1.0, rtol=1e-12)
    disjoint = np.eye(3)[:, None, None, :] * np.ones((3, 4, 4, 1))
    np.testing.assert_array_equal(score(disjoint), 0.0)
    assert score(some(1, 4, 4, 3)) == [0.0]


def test_copies_of_one_image_are_not_compared():
    values, rows = some(6, 4, 4, 3), [0, 1, 2, 0, 1, 2]
    np.testing.assert_allclose(score(values, rows), reference(values, rows), rtol=1e-12)
    np.testing.assert_array_equal(score(values[:3], [0, 0, 0]), 0.0)


def test_a_silent_layer_has_a_gradient_that_is_0():
    values = tf.constant(np.concatenate([some(2, 3, 3, 2), np.zeros((1, 3, 3, 2))]))
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(actmax.Diversity("a")({"a": values, ROWS: tf.range(3)}, None))
    gradient = tape.gradient(total, values).numpy()
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(gradient[2], 0.0)


def conv(images):
    return tiny().get_layer("conv")(images).numpy()


@pytest.mark.parametrize("ways", [{}, {"compile": "fold"}, {"copies": 3}])
def test_a_run_scores_what_its_images_are(ways):
    maximizer = actmax.Maximizer(
        tiny(), actmax.Diversity("conv"), input_range=(0, 1), regularizers=[], **ways
    )
    result = maximizer(images=3, steps=2)
    np.testing.assert_allclose(result.scores, reference(conv(result.images)), rtol=1e-5)
    start = maximizer(images=3, steps=0)
    # Three equal copies of every image say what the images say.
    np.testing.assert_allclose(result.history["score"][0], start.scores, rtol=1e-5)
    assert maximizer(images=1, steps=1).scores == [0.0]
    assert maximizer.traces == 1


def test_images_of_one_channel_differ_more_with_it():
    def mean_score(objective):
        result = actmax.maximize(
            tiny(), objective, images=4, input_range=(0, 1), regularizers=[Jitter(1)], copies=2,
            optimizer=actmax.Adam(0.05), steps=40,
        )  # fmt: skip
        features = conv(result.images)
        return reference(features).mean(), np.median(features[..., 1].mean(axis=(1, 2)))

    alone, response = mean_score(actmax.Channel("conv", 1))
    together, less = mean_score(actmax.Channel("conv", 1) + 3.0 * actmax.Diversity("conv"))
    assert alone < -0.99
    assert together > -0.8
    assert 0.8 * response < less < response
