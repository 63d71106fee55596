"""The batch-norm prior against NumPy, closed forms, and the laws that it could break."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import actmax
from actmax import testing
from actmax.models import Taps
from actmax.objectives import BATCH_NORM, Normalized, statistics_distance
from tests.conformance.models import normalized as network


def pictures(n=3, seed=1, shape=(8, 8, 3)):
    return np.random.default_rng(seed).uniform(0, 1, (n, *shape)).astype(np.float32)


def entering(model, images):
    """What enters the two layers, computed layer by layer, and their statistics."""
    stem, inner, norm = model.get_layer("stem"), model.get_layer("inner"), model.get_layer("norm")
    first = stem(images)
    second = inner(first, training=False)
    layers = [inner.get_layer("norm"), norm]
    return [
        (
            value.numpy().astype(np.float64),
            np.array(layer.moving_mean),
            np.array(layer.moving_variance),
        )
        for value, layer in zip((first, second), layers, strict=True)
    ]


def naive(entries, n, *, scope="image", first=1.0, relative=True):
    total = 0.0
    for k, (values, mean, variance) in enumerate(entries):
        rows = values.reshape(-1, values.shape[-1]) if scope == "batch" else None
        rows = values[n].reshape(-1, values.shape[-1]) if rows is None else rows
        shift = np.linalg.norm(rows.mean(0) - mean)
        stretch = np.linalg.norm(rows.var(0) - variance)
        if relative:
            shift /= np.linalg.norm(np.sqrt(variance))
            stretch /= np.linalg.norm(variance)
        total += (first if k == 0 else 1.0) * (shift + stretch)
    return total / (first + len(entries) - 1) if relative else total


@pytest.mark.parametrize("scope", ["image", "batch"])
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("first", [1.0, 10.0])
def test_value_is_the_formula(scope, relative, first):
    model, images = network(), pictures()
    prior = actmax.BatchNormPrior(scope, first, relative)
    found = prior(Taps(model, prior.layers)({"images": tf.constant(images)}), None)
    entries = entering(model, images)
    expected = [naive(entries, n, scope=scope, first=first, relative=relative) for n in range(3)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5)


@settings(deadline=None, max_examples=25)
@given(
    st.floats(-3, 3),
    st.floats(0.05, 4),
    st.integers(0, 1000),
    st.sampled_from(["image", "batch"]),
    st.booleans(),
)
def test_an_affine_rescale_of_any_values_has_distance_zero(mean, variance, seed, scope, relative):
    """One channel, target (mu, v): `(x - mean) / std * sqrt(v) + mu` is at distance 0."""
    x = np.random.default_rng(seed).normal(size=(2, 5, 7, 1))
    axes = (1, 2) if scope == "image" else (0, 1, 2)
    x = (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True) * np.sqrt(variance) + mean
    entry = Normalized(
        tf.constant(x),
        tf.fill([2, 1], tf.constant(mean, tf.float64)),
        tf.fill([2, 1], tf.constant(variance, tf.float64)),
    )
    found = statistics_distance([entry], scope, first=1.0, relative=relative)
    assert np.all(found.numpy() >= 0)
    assert np.max(found.numpy()) < 1e-12
    moved = Normalized(entry.inputs + 0.5, entry.mean, entry.variance)
    found = statistics_distance([moved], scope, first=1.0, relative=False)
    np.testing.assert_allclose(found.numpy(), 0.5, atol=1e-5)


def test_gradient_is_finite_where_statistics_agree_and_where_nothing_varies():
    for values in (np.zeros((2, 4, 4, 1)), np.full((2, 4, 4, 1), 0.3)):
        x = tf.constant(values)
        with tf.GradientTape() as tape:
            tape.watch(x)
            entry = Normalized(x, tf.fill([2, 1], x[0, 0, 0, 0]), tf.zeros([2, 1], tf.float64))
            value = tf.reduce_sum(statistics_distance([entry], "image", first=1.0, relative=True))
        assert np.all(np.isfinite(tape.gradient(value, x).numpy()))


def test_half_precision_does_not_overflow():
    x = np.random.default_rng(0).normal(300, 200, (2, 16, 16, 3)).astype(np.float16)
    entry = Normalized(*(tf.constant(v, tf.float16) for v in (x, np.ones((2, 3)), np.ones((2, 3)))))
    found = statistics_distance([entry], "image", first=1.0, relative=True)
    assert found.dtype == tf.float16 and np.all(np.isfinite(found.numpy()))


def test_channels_first_reads_the_channel_axis():
    model = keras.Sequential(
        [keras.Input((2, 5, 5)), keras.layers.BatchNormalization(axis=1, name="norm")]
    )
    images = pictures(2, shape=(2, 5, 5))
    (entry,) = Taps(model, (BATCH_NORM,))({"images": tf.constant(images)})[BATCH_NORM]
    np.testing.assert_array_equal(entry.inputs.numpy(), images.transpose(0, 2, 3, 1))


def test_a_shared_layer_counts_at_every_call_once():
    norm = keras.layers.BatchNormalization(name="norm")
    images = keras.Input((4, 4, 2))
    model = keras.Model(images, norm(norm(images) * 2.0))
    found = Taps(model, (BATCH_NORM,))({"images": tf.constant(pictures(1, shape=(4, 4, 2)))})
    assert len(found[BATCH_NORM]) == 2


def test_statistics_are_read_at_run_time_and_never_written():
    model = network()
    maximizer = actmax.Maximizer(
        model, actmax.Logit() - actmax.BatchNormPrior(), input_range=(0, 1), regularizers=[]
    )
    before = [w.copy() for w in model.get_weights()]
    start = pictures(2)
    first = maximizer([0, 1], steps=3, initial_images=start)
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    model.get_layer("norm").moving_mean.assign_add(np.full(5, 0.5, np.float32))
    second = maximizer([0, 1], steps=3, initial_images=start)
    assert maximizer.traces == 1
    assert not np.allclose(first.scores, second.scores)
    entries = entering(model, second.images)
    alone = actmax.Maximizer(model, actmax.BatchNormPrior(), input_range=(0, 1), regularizers=[])(
        images=2, steps=0, initial_images=second.images
    )
    np.testing.assert_allclose(alone.scores, [naive(entries, n) for n in range(2)], rtol=2e-5)


def test_images_are_independent_unless_the_scope_is_the_batch():
    model, start = network(), pictures(3)
    for scope, same in (("image", True), ("batch", False)):
        maximizer = actmax.Maximizer(
            model,
            actmax.LogProbability() - 2.0 * actmax.BatchNormPrior(scope),
            input_range=(0, 1),
            regularizers=[],
            optimizer=actmax.SGD(5.0),
        )
        assert maximizer.problem.objective.couples_images is not same
        together = maximizer([0, 1, 2], steps=4, initial_images=start).images
        other = start.copy()
        other[2] = 0.0
        changed = maximizer([0, 1, 2], steps=4, initial_images=other).images
        assert (together[:2].tobytes() == changed[:2].tobytes()) is same


def test_it_brings_the_statistics_nearer():
    model, start = network(), pictures(2)
    run = actmax.Maximizer(
        model, -1.0 * actmax.BatchNormPrior(), input_range=(0, 1), regularizers=[]
    )(images=2, steps=60, initial_images=start)
    entries, after = entering(model, start), entering(model, run.images)
    for n in range(2):
        assert naive(after, n) < 0.6 * naive(entries, n)


def test_the_laws_of_objectives():
    testing.check_objective(actmax.BatchNormPrior(), network())
    testing.check_objective(actmax.BatchNormPrior("batch", 10.0, False), network())


def test_penalty_of_a_second_network_is_the_same_distance():
    judge, images = network(3), pictures(2, shape=(8, 8, 3))
    penalty = actmax.BatchNormPenalty(0.5, model=judge)
    entries = entering(judge, images)
    np.testing.assert_allclose(
        penalty(tf.constant(images)).numpy(), [naive(entries, n) for n in range(2)], rtol=2e-5
    )
    assert (2.0 * penalty).weight == 1.0
    scaled = actmax.BatchNormPenalty(model=judge, preprocess=lambda x: x / 255.0)
    np.testing.assert_allclose(
        scaled(tf.constant(images * 255)), penalty(tf.constant(images)), rtol=1e-4
    )


def test_penalty_resizes_to_the_second_network():
    penalty = actmax.BatchNormPenalty(model=network(3))
    large = tf.image.resize(pictures(2), (16, 16), method="nearest")
    np.testing.assert_allclose(
        penalty(large),
        penalty(tf.image.resize(large, (8, 8), antialias=True)),
        rtol=1e-5,
    )


def test_penalty_runs_for_a_model_without_batch_norm():
    plain = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    result = actmax.maximize(
        plain,
        targets=[0, 1],
        input_range=(0, 1),
        regularizers=[actmax.BatchNormPenalty(1.0, model=network())],
        steps=3,
    )
    assert np.all(np.isfinite(result.history["batch_norm_penalty"]))
    assert "BatchNormPenalty" in str(result.config["penalties"])


def test_errors_say_what_to_do():
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=r"BatchNormalization layers.*BatchNormPenalty\(model="):
        actmax.Maximizer(plain, actmax.BatchNormPrior(), input_range=(0, 1))
    with pytest.raises(ValueError, match="BatchNormalization layers"):
        actmax.BatchNormPenalty(model=plain)
    with pytest.raises(ValueError, match="scope"):
        actmax.BatchNormPrior("layer")
    with pytest.raises(TypeError, match="model"):
        actmax.BatchNormPenalty(1.0)


def test_classes_beside_it_may_have_names():
    """A KeyError ':batch_norm' once: what enters the layers has no units to be named."""
    model = network()
    units = model.output_shape[-1]
    names = [f"class {n}" for n in range(units)]
    result = actmax.maximize(
        model, actmax.Logit() - actmax.BatchNormPrior("image"), targets=["class 0", "class 1"],
        labels=names, input_range=(0, 1), regularizers=[], steps=1,
    )  # fmt: skip
    assert result.labels == ("class 0", "class 1")
    with pytest.raises(ValueError, match=f"one label per unit, {units}"):
        actmax.maximize(
            model, actmax.Logit() - actmax.BatchNormPrior("image"), targets=[0],
            labels=names[1:], input_range=(0, 1), regularizers=[], steps=1,
        )  # fmt: skip


@pytest.mark.parametrize("scope", ["image", "batch"])
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("shape", [(3, 5, 4, 2), (3, 2), (2, 3, 2, 4, 3)])
def test_the_gradient_written_out_is_that_of_the_formula(scope, relative, shape):
    draws = np.random.default_rng(0)
    rows, channels = shape[0], shape[-1]
    values = tf.constant(draws.normal(1.0, 2.0, shape))
    # Every row has the network's statistics, and each may be asked for its own slope.
    expected, spread = (tf.constant(draws.uniform(0.5, 2.0, (rows, channels))) for _ in range(2))
    upstream = tf.constant(draws.normal(size=rows))

    def formula(values, expected, spread):
        axes = list(range(0 if scope == "batch" else 1, len(shape) - 1))
        mean, variance = tf.nn.moments(values, axes) if axes else (values, 0.0 * values)
        shift, stretch = tf.norm(mean - expected, axis=-1), tf.norm(variance - spread, axis=-1)
        if relative:
            shift /= tf.norm(tf.sqrt(spread), axis=-1)
            stretch /= tf.norm(spread, axis=-1)
        return shift + stretch

    def ours(values, expected, spread):
        entry = Normalized(values, expected, spread)
        return statistics_distance([entry], scope, first=1.0, relative=relative)

    found = []
    for function in (ours, formula):
        with tf.GradientTape() as tape:
            tape.watch([values, expected, spread])
            value = function(values, expected, spread)
        slopes = tape.gradient(value, [values, expected, spread], output_gradients=upstream)
        found.append([value, *slopes])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-9)
