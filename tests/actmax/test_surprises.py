"""What docs/surprises.md says of TensorFlow and Keras, and what actmax does about it."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import actmax
from actmax import Status
from regularizers import L2, Jitter, TotalVariation, random

PAGE = Path(__file__).parents[2] / "docs" / "surprises.md"
KEEP = {"regularizers": [], "input_range": (0, 1)}


def gradient(function, values):
    values = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        value = function(values)
    return tape.gradient(value, values)


def network(*parts, shape=(4, 4, 3)):
    """A functional model of these parts behind an input, and two units."""
    inputs = keras.Input(shape)
    value = inputs
    for part in parts:
        value = part(value)
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(value)))


def rows():
    return re.findall(r"`(test_\w+\.py)::(\w+)`", PAGE.read_text("utf-8"))


def test_every_row_names_a_test_that_is_there():
    assert len(rows()) >= 18
    for file, name in rows():
        (found,) = PAGE.parents[1].joinpath("tests").rglob(file)
        assert f"\ndef {name}(" in found.read_text("utf-8"), (file, name)


def test_cells_are_short():
    cells = [
        cell for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")
        for cell in line.strip("| ").split(" | ")
    ]  # fmt: skip
    assert [cell for cell in cells if len(cell) > 120] == []


# Gradients ---------------------------------------------------------------------------------------


def test_an_operation_that_gives_no_gradient_is_named():
    assert gradient(keras.ops.image.hsv_to_rgb, np.full((1, 2, 2, 3), 0.5, "float32")) is None
    with pytest.raises(ValueError, match=r"no gradient after the operation .*HSVToRGB"):
        actmax.maximize(network(keras.ops.image.hsv_to_rgb), targets=[0], steps=1, **KEEP)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: tf.image.adjust_hue(x, 0.1), "AdjustHue"),
        (lambda x: tf.image.adjust_saturation(x, 0.5), "AdjustSaturation"),
        (lambda x: tf.image.adjust_contrast(x, 0.5), "AdjustContrast"),
        (lambda x: tf.image.resize(x, (2, 2), method="area"), "ResizeArea"),
    ],
)
def test_an_operation_that_refuses_a_gradient_is_named(function, name):
    def model(images):
        return tf.reduce_mean(function(images), axis=(1, 2))

    with pytest.raises((LookupError, ValueError), match=name):
        actmax.maximize(model, targets=[0], input_shape=(4, 4, 3), steps=1, **KEEP)


def test_a_clip_inside_of_a_model_stops_the_gradient():
    assert gradient(lambda x: tf.clip_by_value(x, 0.0, 0.5), [0.2, 0.9]).numpy().tolist() == [1, 0]

    def model(images):
        return tf.reduce_sum(tf.clip_by_value(images, 0.0, 0.5), axis=(1, 2))

    start = np.full((1, 2, 2, 1), 0.9, "float32")
    found = actmax.maximize(
        model, targets=[0], initial_images=start, steps=3, on_failure="status", **KEEP
    )
    assert Status(found.status[0]) is Status.NO_GRADIENT


def test_penalties_have_a_gradient_at_zero():
    assert np.isnan(gradient(tf.norm, [0.0, 0.0]).numpy()).all()
    for penalty in (L2(), TotalVariation(), TotalVariation(beta=1.0)):
        found = gradient(penalty, np.zeros((1, 4, 4, 3), "float32"))
        assert np.isfinite(found.numpy()).all()


# Not a number ------------------------------------------------------------------------------------


def test_max_pooling_hides_what_is_not_finite():
    hole = np.zeros((1, 2, 2, 1), "float32")
    hole[0, 0, 0] = np.nan
    assert float(tf.nn.max_pool2d(hole, 2, 2, "VALID")[0, 0, 0, 0]) == 0.0
    model = network(lambda x: keras.ops.sqrt(x - 0.5), layers.MaxPooling2D(4), shape=(4, 4, 1))
    start = np.full((1, 4, 4, 1), 0.6, "float32")
    start[0, 0, 0] = 0.1  # the root of a negative number
    found = actmax.maximize(model, targets=[0], initial_images=start, steps=0, **KEEP)
    assert np.isfinite(found.scores).all()


def test_what_is_not_finite_in_the_score_is_a_status():
    masked = layers.GlobalAveragePooling1D()(np.ones((1, 3, 2)), mask=tf.zeros((1, 3), bool))
    assert np.isnan(masked.numpy()).all()
    model = network(layers.Masking(0.0), layers.GlobalAveragePooling1D(), shape=(5, 2))
    start = np.zeros((1, 5, 2), "float32")
    found = actmax.maximize(model, targets=[0], initial_images=start, steps=2, **KEEP)
    assert Status(found.status[0]) is Status.NON_FINITE
    assert "at step 0" in found.messages[0]


# Graphs and XLA ----------------------------------------------------------------------------------


def test_draws_are_the_same_inside_of_xla():
    seed = tf.constant([1, 2])

    def theirs():
        return tf.random.stateless_uniform([4], seed)

    def ours():
        return random.uniform(seed[None], [4])

    assert not np.array_equal(theirs(), tf.function(theirs, jit_compile=True)())
    np.testing.assert_array_equal(ours(), tf.function(ours, jit_compile=True)())


def test_numpy_draws_once_in_a_compiled_function():
    draws = np.random.default_rng(0)
    drawn = tf.function(lambda: tf.constant(draws.random()))
    assert float(drawn()) == float(drawn())
    images = tf.reshape(tf.range(49.0), (1, 7, 7, 1))
    moved = [Jitter(3)(images, tf.constant([[1, seed]]), tf.constant(0)) for seed in range(8)]
    assert len({each.numpy().tobytes() for each in moved}) > 3


def test_xla_compiles_for_every_number_of_images():
    def model(images):
        return tf.reduce_mean(images, axis=(1, 2))

    maximizer = actmax.Maximizer(model, input_shape=(3, 3, 2), compile="xla", **KEEP)
    for targets in ([0], [0, 1], [1, 0]):
        maximizer(targets, steps=2)
    assert maximizer.compilations == 2


# Keras -------------------------------------------------------------------------------------------


def test_a_replaced_activation_is_what_is_maximized():
    model = network(layers.Flatten(), layers.Dense(3, activation="tanh", name="inner"))
    model.predict(np.ones((1, 4, 4, 3)), verbose=0)
    model.get_layer("inner").activation = keras.activations.linear
    found = actmax.maximize(model, targets=[0], steps=3, **KEEP)
    np.testing.assert_allclose(found.scores, model(found.images)[:, 0], rtol=1e-5)
    stale = model.predict(found.images, verbose=0)[:, 0]
    assert not np.allclose(found.scores, stale, rtol=1e-2)


@pytest.mark.parametrize("way", [{}, {"compile": "fold"}, {"precision": "float64"}])
def test_normalization_keeps_its_statistics_in_every_way_of_computing(way):
    data = np.random.default_rng(0).normal(100, 30, (50, 4, 4, 3)).astype("float32")
    normalization = layers.Normalization()
    normalization.adapt(data)
    model = network(normalization, layers.Conv2D(2, 3), layers.BatchNormalization())
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert not np.allclose(clone(data), model(data), atol=1.0)
    settings = {"input_range": (0, 255), "regularizers": [], "steps": 2}
    found = actmax.maximize(model, targets=[0], **settings, **way)
    np.testing.assert_allclose(found.scores, model(found.images)[:, 0], rtol=1e-4)


def test_a_shared_layer_is_asked_for_its_call():
    inputs = keras.Input((4,))
    dense = layers.Dense(4, name="dense")
    first = dense(inputs)
    model = keras.Model(inputs, dense(keras.ops.relu(first)))
    assert model.get_layer("dense").output is first
    with pytest.raises(ValueError, match="one of the calls 'dense:0', 'dense:1'"):
        actmax.maximize(model, actmax.Channel("dense"), targets=[0], steps=1, **KEEP)


def test_an_index_is_no_input():
    table = layers.Embedding(4, 1)
    table.build()
    out = tf.constant([9])
    with pytest.raises(tf.errors.InvalidArgumentError):
        table(out)
    last = tf.function(table, jit_compile=True)(out)
    np.testing.assert_array_equal(last[0], table(tf.constant([3]))[0])
    inputs = keras.Input((3,), dtype="int32")
    model = keras.Model(inputs, layers.Flatten()(table(inputs)))
    with pytest.raises(ValueError, match="a floating-point input"):
        actmax.maximize(model, targets=[0], steps=1, **KEEP)
