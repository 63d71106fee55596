"""Objectives of given activations against loops, and what they find in networks where it is known."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import actmax
from tests.conformance.models import SHAPE, tiny

KINDS = (actmax.Inversion, actmax.Caricature, actmax.SortMatching)


def some(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def inversion(a, r):
    return -sum((x - y) ** 2 for x, y in zip(a.flat, r.flat, strict=True)) / sum(
        y**2 for y in r.flat
    )


def caricature(a, r, power):
    dot = sum(x * y for x, y in zip(a.flat, r.flat, strict=True))
    sizes = [sum(x * x for x in side.flat) for side in (a, r)]
    return dot / sizes[1] * max(0.1, dot / (sizes[0] * sizes[1]) ** 0.5) ** power


def sort_matching(a, r):
    missed = total = 0.0
    for c in range(a.shape[-1]):
        own, other = sorted(a[..., c].flat), list(r[..., c].flat)
        missed += sum((x - y) ** 2 for x, y in zip(own, other, strict=True))
        total += sum(y * y for y in other)
    return -missed / total


REFERENCES = {
    "Inversion": (actmax.Inversion, inversion),
    "Caricature": (actmax.Caricature, lambda a, r: caricature(a, r, 1.0)),
    "Caricature of power 2": (
        lambda *at: actmax.Caricature(*at, power=2.0), lambda a, r: caricature(a, r, 2.0)
    ),
    "SortMatching": (actmax.SortMatching, sort_matching),
}  # fmt: skip


@pytest.mark.parametrize(("make", "naive"), REFERENCES.values(), ids=REFERENCES)
@pytest.mark.parametrize("shape", [(3, 4, 2), (5, 3), (2, 3, 2, 2)])
def test_they_are_the_sums_over_values(make, naive, shape):
    values, given = some(3, *shape), some(3, *shape, seed=1)
    expected = [naive(a, r) for a, r in zip(values, given, strict=True)]
    by_row = make("a")({"a": tf.constant(values)}, tf.constant(given.reshape(3, -1)))
    np.testing.assert_allclose(by_row, expected, rtol=1e-12)
    bound = make("a", given[0])({"a": tf.constant(values)}, None)
    np.testing.assert_allclose(bound, [naive(a, given[0]) for a in values], rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 10.0), st.integers(1, 6), st.integers(1, 4))
def test_what_they_are_at_the_reference_and_beyond(seed, scale, positions, channels):
    a = some(1, positions, 2, channels, seed=seed)
    ordered = actmax.SortMatching.mean(a)
    at = {"a": tf.constant(a)}
    assert abs(actmax.Inversion("a", a[0])(at, None)) < 1e-12
    np.testing.assert_allclose(actmax.Caricature("a", a[0])(at, None), 1.0)
    assert abs(actmax.SortMatching("a", ordered)(at, None)) < 1e-12
    # Where things are does not matter to sorted values; how large they are does to all.
    flat = a.reshape(1, -1, channels)
    shuffled = np.random.default_rng(seed).permuted(flat, axis=1).reshape(a.shape)
    other = {"a": tf.constant(shuffled)}
    assert abs(actmax.SortMatching("a", ordered)(other, None)) < 1e-12
    larger = {"a": tf.constant(scale * a)}
    np.testing.assert_allclose(
        actmax.Inversion("a", a[0])(larger, None), -((scale - 1) ** 2), atol=1e-9
    )
    np.testing.assert_allclose(actmax.Caricature("a", a[0])(larger, None), scale)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_does_not_overflow(kind):
    values = (60 * some(2, 16, 16, 8)).astype(np.float16)
    found = kind("a", some(16, 16, 8))({"a": tf.constant(values)}, None)
    assert found.dtype == tf.float16
    assert np.all(np.isfinite(found))


def test_a_silent_image_has_a_caricature_of_zero_and_a_gradient_towards_the_reference():
    given, at = some(4, 4, 2), tf.zeros([1, 4, 4, 2], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(at)
        score = actmax.Caricature("a", given, power=1.0)({"a": at}, None)
    gradient = tape.gradient(score, at)[0]
    assert score.numpy() == 0.0
    np.testing.assert_allclose(gradient, 0.1 * given / np.sum(given**2), rtol=1e-9)


def test_the_reference_is_found_where_the_layer_tells_all():
    """An orthogonal layer loses nothing, so its inversion is the reference image itself."""
    turn = np.linalg.qr(some(12, 12))[0]
    model = keras.Sequential(
        [keras.Input((12,)), keras.layers.Dense(12, use_bias=False, name="turn")]
    )
    model.layers[0].set_weights([turn])
    images = np.random.default_rng(2).uniform(0, 1, (3, 12)).astype(np.float32)
    references = actmax.activations(model, images, "turn")
    np.testing.assert_allclose(references, images @ turn, atol=1e-5)
    result = actmax.maximize(
        model, actmax.Inversion("turn"), targets=references, input_range=(0, 1), regularizers=[],
        parameterization=actmax.Pixels(), optimizer=actmax.Adam(actmax.Cosine(0.1, 0.0)), steps=300,
    )  # fmt: skip
    np.testing.assert_allclose(result.images, images, atol=1e-3)
    assert np.all(result.scores > -1e-5)


def test_a_run_meets_the_sorted_activations_of_several_images():
    model, photos = tiny(), np.random.default_rng(4).uniform(0, 1, (6, *SHAPE))
    wanted = actmax.SortMatching.mean(actmax.activations(model, photos, "conv"))
    assert wanted.shape == (6, 6, 4)
    run = {"input_range": (0, 1), "regularizers": [], "parameterization": actmax.Pixels()}
    objective = actmax.SortMatching("conv", wanted)
    result = actmax.maximize(model, objective, images=2, steps=120, **run)
    own = np.sort(actmax.activations(model, result.images, "conv").reshape(2, 36, 4), axis=1)
    missed = np.sum((own - wanted.reshape(36, 4)) ** 2, axis=(1, 2)) / np.sum(wanted**2)
    np.testing.assert_allclose(-result.scores, missed, rtol=1e-3)
    assert np.all(missed < 0.05)
    assert result.config["objective"]["reference"]["array"] == [6, 6, 4]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: actmax.Inversion(3), TypeError, "layer"),
        (lambda: actmax.Inversion("conv", []), TypeError, "a reference of numbers"),
        (lambda: actmax.Inversion("conv", ["a"]), TypeError, "a reference of numbers"),
        (lambda: actmax.Inversion("conv", [1.0, np.nan]), ValueError, "reference"),
        (lambda: actmax.Caricature("conv", power=-1.0), ValueError, "power"),
        (lambda: actmax.SortMatching.mean(np.zeros((3, 4))), ValueError, "with positions"),
        (lambda: run(actmax.Inversion("conv", np.ones(5))), ValueError, "references of 144 numbers"),
        (lambda: run(actmax.Inversion("conv"), [[1.0] * 5]), ValueError, "references of 144"),
        (lambda: run(actmax.Inversion("conv", np.zeros(144))), ValueError, "zero everywhere"),
        (lambda: run(actmax.SortMatching("pool", np.ones(4))), ValueError, "Use actmax.Inversion"),
        (lambda: actmax.activations(tiny(), np.zeros((0, 8, 8, 3)), "conv"), ValueError, "images"),
        (lambda: actmax.activations(tiny(), np.full((1, 8, 8, 3), np.inf), "conv"), ValueError, "images"),
        (lambda: actmax.activations(tiny(), np.zeros((1, 8, 8, 3)), "none"), ValueError, "none"),
        (lambda: actmax.activations(tiny(), np.zeros((1, 8, 8, 3)), "conv", batch_size=0), ValueError,
         "batch_size"),
    ],
)  # fmt: skip
def test_what_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def run(objective, targets=None):
    return actmax.maximize(tiny(), objective, targets=targets, input_range=(0, 1), steps=1)


def test_activations_come_in_batches_of_any_size():
    model, images = tiny(), some(5, *SHAPE)
    whole = actmax.activations(model, images, "conv")
    parts = actmax.activations(model, images, "conv", batch_size=2)
    assert whole.shape == (5, 6, 6, 4)
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    expected = keras.Model(model.inputs[0], model.layers[0].output)(images.astype("float32"))
    np.testing.assert_allclose(whole, expected, atol=1e-6)
