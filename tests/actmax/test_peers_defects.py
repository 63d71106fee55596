"""Eighteen defects found in other activation maximization libraries, one test each: not here."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import Maximizer
from regularizers import L1, L2, Jitter, Rotate, TotalVariation

SHAPE = (6, 6, 3)


def make_model(dtype="float32"):
    model = keras.Sequential(
        [
            keras.Input(SHAPE, dtype=dtype),
            keras.layers.Conv2D(3, 3, activation="tanh", name="conv", dtype=dtype),
            keras.layers.Flatten(dtype=dtype),
            keras.layers.Dense(4, activation="softmax", name="out", dtype=dtype),
        ]
    )
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(0.0, 0.4, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def penalized(model):
    """Two penalties of one kind, and jitter by 0 pixels."""
    return Maximizer(
        model, input_range=(0, 1), regularizers=[L2(1.0), L2(3.0), Jitter(0)], optimizer=actmax.SGD(1.0)
    )  # fmt: skip


@pytest.fixture(scope="module")
def rotated(model):
    return Maximizer(model, input_range=(0, 1), regularizers=[Rotate(20.0), Jitter(2)])


def images(count=2):
    return np.random.default_rng(1).uniform(0.2, 0.8, (count, *SHAPE)).astype(np.float32)


def logits(model, values):
    for layer in model.layers[:-1]:
        values = layer(values)
    last = model.layers[-1]
    return np.asarray(tf.matmul(values, last.kernel) + last.bias)


def test_01_two_regularizers_of_one_type_both_count(model, penalized):
    start = images()
    value, _ = penalized.value_and_gradient(start, [0, 1])
    expected = np.diag(logits(model, start)) - 4.0 * np.mean(start**2, axis=(1, 2, 3))
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    assert {"l2", "l2_2"} <= set(penalized([0], steps=1).history)


def test_02_the_range_holds_inside_the_loop_not_only_at_the_end(penalized):
    frames = actmax.Frames()
    penalized([0, 1], steps=4, learning_rate=100.0, callbacks=[frames], callback_every=1)
    assert all(frame.min() >= 0.0 and frame.max() <= 1.0 for frame in frames.frames)


def test_03_differences_and_weighted_sums_of_objectives_mean_what_they_say(model):
    first, second = actmax.Logit(0), actmax.Logit(1)
    before = repr((first, second))
    activations = {first.layers[0]: tf.constant(logits(model, images()))}
    a, b = (part(activations, None).numpy() for part in (first, second))
    np.testing.assert_allclose((first - second)(activations, None), a - b, rtol=1e-6)
    np.testing.assert_allclose(
        (2 * first + 3 * second)(activations, None), 2 * a + 3 * b, rtol=1e-6
    )
    np.testing.assert_allclose((-first)(activations, None), -a, rtol=1e-6)
    assert repr((first, second)) == before


@pytest.mark.parametrize("objective", [actmax.Direction("conv"), actmax.Layer("conv")])
def test_04_direction_and_layer_scores_are_per_row(objective):
    values = tf.constant(np.random.default_rng(2).normal(size=(3, 4, 4, 3)), tf.float32)
    vectors = tf.constant([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 1.0]])
    given = vectors if objective.kind == "vector" else None
    together = objective({"conv": values}, given)
    assert together.shape == (3,)
    for n in range(3):
        alone = objective({"conv": values[n : n + 1]}, None if given is None else given[n : n + 1])
        np.testing.assert_allclose(together[n], alone[0], rtol=1e-5)


def test_05_the_gradient_of_a_float16_model_is_as_large_as_that_of_a_float32_one(model):
    half = keras.Sequential(
        [keras.Input(SHAPE), *[
            type(layer).from_config({**layer.get_config(), "dtype": "mixed_float16"})
            for layer in model.layers
        ]]
    )  # fmt: skip
    half.set_weights(model.get_weights())
    norms = []
    for one in (model, half):
        maximizer = Maximizer(one, input_range=(0, 1), regularizers=[])
        norms.append(np.linalg.norm(maximizer.value_and_gradient(images(1), [0])[1]))
    assert norms[1] == pytest.approx(norms[0], rel=0.02)


def test_06_a_seed_repeats_a_run_with_rotation(rotated):
    first, second, other = (rotated([0, 1], steps=5, seed=seed) for seed in (3, 3, 4))
    assert first.images.tobytes() == second.images.tobytes()
    assert first.images.tobytes() != other.images.tobytes()


def test_07_jitter_has_zero_mean_and_jitter_of_0_is_legal(penalized):
    line = tf.tile(tf.reshape(tf.range(11.0), [1, 11, 1]), [4000, 1, 1])
    seeds = tf.stack([tf.range(4000), tf.zeros(4000, tf.int32)], axis=1)
    moved = Jitter(2)(line, seeds, tf.constant(0)).numpy()
    shifts = 5 - moved[:, 5, 0]
    assert set(shifts) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    # Five standard errors of the mean of a uniform shift, sqrt(2 / 4000) each.
    assert abs(shifts.mean()) < 5 * np.sqrt(2 / 4000)
    assert penalized([0], steps=1).status.tolist() == [actmax.Status.OK]


def test_08_steps_0_returns_the_seed_image(rotated):
    start = images(1)
    result = rotated([0, 1], steps=0, initial_images=start)
    np.testing.assert_array_equal(result.images, np.concatenate([start, start]))
    assert result.history["score"].shape == (0, 2)


def test_09_an_optimizer_object_can_be_used_again(model):
    optimizer = keras.optimizers.Adam(0.05)
    maximizer = Maximizer(model, input_range=(0, 1), regularizers=[], optimizer=optimizer)
    first, second = maximizer([0], steps=3), maximizer([0], steps=3)
    assert first.images.tobytes() == second.images.tobytes()


def test_10_an_index_list_that_does_not_fit_the_batch_is_an_error_before_step_1(model):
    maximizer = Maximizer(model, input_range=(0, 1), regularizers=[])
    with pytest.raises(ValueError, match=r"one for each of the 2 targets. Received: 3"):
        maximizer([0, 1], initial_images=images(3))
    assert maximizer.traces == 0


def test_11_a_nan_is_named():
    bad = make_model()
    weights = bad.get_weights()
    weights[0][0, 0, 0, 0] = np.nan
    bad.set_weights(weights)
    result = actmax.maximize(bad, targets=[0], input_range=(0, 1), regularizers=[], steps=2)
    assert result.status.tolist() == [actmax.Status.NON_FINITE]
    assert "score was not finite" in result.messages[0]
    assert "conv/kernel" in result.messages[0]


def test_12_a_softmax_layer_is_handled(model, rotated):
    result = rotated([0, 3], steps=2)
    values = logits(model, result.images)
    np.testing.assert_allclose(result.scores, [values[0, 0], values[1, 3]], rtol=1e-4)


def test_13_a_constant_image_does_not_divide_zero_by_zero(rotated):
    flat = np.full((1, *SHAPE), 0.5, np.float32)
    result = rotated([0], steps=3, initial_images=flat)
    assert np.all(np.isfinite(result.images))
    assert actmax.to_uint8(flat, 0, 1).max() == actmax.to_uint8(flat, 0, 1).min() == 128
    for penalty in (TotalVariation(), L1(), L2()):
        assert np.isfinite(penalty(flat)).all()


def test_14_the_vertical_term_of_total_variation_is_as_the_horizontal_one():
    image = np.random.default_rng(0).uniform(size=(1, 5, 8, 2)).astype(np.float32)
    turned = np.swapaxes(image, 1, 2)
    np.testing.assert_allclose(TotalVariation()(image), TotalVariation()(turned), rtol=1e-6)
    stripes = np.zeros((1, 4, 4, 1), np.float32)
    stripes[:, 1::2] = 1.0
    # Three of four row differences are 1, in each of four columns: 12 of 16 values.
    np.testing.assert_allclose(TotalVariation()(stripes), [12 / 16])


def test_15_trainable_flags_and_weights_are_as_before(model, penalized):
    weights = [np.array(weight) for weight in model.weights]
    model.get_layer("conv").trainable = False
    try:
        penalized([0, 1], steps=3)
        assert [layer.trainable for layer in model.layers] == [False, True, True]
    finally:
        model.get_layer("conv").trainable = True
    for before, after in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("given", [(1, 0), (0, 0), lambda step: (0, 1), "0..1"])
def test_16_an_input_range_that_is_callable_or_reversed_is_refused(model, given):
    with pytest.raises((TypeError, ValueError), match=r"^Expected (low < high|input_range to be)"):
        Maximizer(model, input_range=given)


def test_17_no_viewer_is_imported():
    # Keras imports matplotlib where it is installed, hence the difference.
    program = (
        "import sys, tensorflow, keras; keras.Sequential; before = set(sys.modules); "
        "import actmax, regularizers; new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new & {'matplotlib', 'tkinter', 'PyQt5', 'PyQt6', 'IPython', 'cv2'}))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert run.stdout.split() == [b"[]"]


def test_17_nothing_that_is_slow_to_import_comes_with_the_loop():
    program = (
        "import sys, tensorflow, keras; keras.Sequential; before = set(sys.modules); "
        "import actmax, regularizers; actmax.maximize, actmax.Strokes(1); "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new & {'matplotlib', 'scipy', 'pandas', 'pyarrow', 'sklearn'}))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert run.stdout.split() == [b"[]"]


def test_18_a_new_class_index_is_no_new_trace(rotated):
    for target in range(4):
        rotated(target, steps=1)
    assert rotated.traces == 1
