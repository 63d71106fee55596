"""What is chosen where a part is left out: learning rates, and the prior of a network's own statistics."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import zoo

RANGE = (0, 255)


def rate(**given):
    maximizer = actmax.Maximizer(zoo.load("cifar10"), input_range=RANGE, **given)
    return maximizer.problem.optimizer.learning_rate, maximizer(0, steps=0).config["chosen"]


@pytest.mark.parametrize("part", [actmax.Fourier(), actmax.Blurred(), actmax.LaplacianPyramid(2)])
def test_params_that_are_no_images_have_no_steps_in_units_of_the_range(part):
    assert rate(parameterization=part, regularizers=[])[0] == 0.05


@pytest.mark.parametrize("more", [{}, {"regularizers": []}], ids=["recipe", "plain"])
def test_pixels_have_steps_in_units_of_the_range(more):
    assert rate(parameterization=actmax.Pixels(), **more)[0] == 0.05 * 255


@pytest.mark.parametrize("more", [{}, {"regularizers": []}], ids=["recipe", "plain"])
@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (actmax.CPPN(2, 8), 0.005),
        (actmax.Decorrelated(actmax.CPPN(2, 8)), 0.005),
        (actmax.LowResolutionSum(actmax.CPPN(2, 8), factors=(2,)), 0.005),
        (actmax.Strokes(), 0.02),
    ],
)
def test_a_parameterization_brings_its_own_rate(part, expected, more):
    found, chosen = rate(parameterization=part, **more)
    assert found == expected
    assert chosen["optimizer"] == f"rate {expected:g}, which fits the parameterization given"


def test_an_optimizer_that_is_given_stays():
    found, chosen = rate(parameterization=actmax.Strokes(), optimizer=actmax.Adam(0.3))
    assert found == 0.3
    assert "optimizer" not in chosen


def test_of_several_inputs_the_smallest_rate_that_one_asks_for_holds():
    inputs = [keras.Input((8, 8, 1), name=name) for name in "ab"]
    flat = [keras.layers.Flatten()(x) for x in inputs]
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Concatenate()(flat)))
    parts = {"a": actmax.CPPN(1, 4), "b": actmax.Strokes()}
    maximizer = actmax.Maximizer(
        model, input_range={"a": (0, 1), "b": (0, 1)}, parameterization=parts
    )
    assert maximizer.problem.optimizer.learning_rate == 0.005


def normalized(side=16, channels=3):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    steps = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()]
    pooled = [layers.GlobalAveragePooling2D(), layers.Dense(3)]
    return keras.Sequential([keras.Input((side, side, channels)), *steps, *pooled])


def priors(model, **given):
    maximizer = actmax.Maximizer(model, **{"input_range": (0, 1)} | given)
    kinds = [penalty for _, _, penalty in maximizer.problem.penalties]
    found = [penalty for penalty in kinds if isinstance(penalty, actmax.BatchNormPenalty)]
    return found, maximizer([0], steps=2).config["chosen"].get("prior", "")


def test_of_a_small_color_network_with_batch_norm_the_statistics_are_a_prior():
    model = normalized()
    (penalty,), why = priors(model, preprocess=lambda x: 2 * x - 1)
    assert penalty.model is model and penalty.scope == "image"
    assert (penalty.weight, penalty.every) == (actmax.Linear(0.04, 0.0), 8)
    assert "because it has batch-norm layers" in why and "second pass" in why
    images = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    there = actmax.BatchNormPenalty(1.0, model=model)(tf.constant(2 * images - 1))
    np.testing.assert_allclose(penalty(tf.constant(images)), there, rtol=1e-6)
    # What is reported is the score alone.
    result = actmax.maximize(model, targets=[1, 2], input_range=(0, 1), steps=3)
    np.testing.assert_allclose(
        result.scores, np.diag(model(result.images).numpy()[:, 1:]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (lambda: zoo.load("cifar10"), {}),
        (lambda: normalized(channels=1), {}),
        (lambda: normalized(side=80), {}),
        (normalized, {"regularizers": []}),
        (lambda: [normalized(), normalized()], {}),
        (lambda: normalized().call, {"input_shape": (16, 16, 3)}),
    ],
    ids=["no batch norm", "gray", "large", "regularizers", "ensemble", "callable"],
)
def test_elsewhere_there_is_no_prior_and_no_second_pass(model, given):
    assert priors(model(), **given) == ([], "")


def test_batch_norm_that_a_pass_does_not_call_is_said_and_left_alone():
    class Idle(keras.Model):
        def __init__(self):
            super().__init__()
            self.idle = keras.layers.BatchNormalization()
            self.inner = keras.Sequential(
                [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
            )
            self.build((None, 8, 8, 3))

        def build(self, shape):
            self.idle.build(shape)
            self.built = True

        def call(self, images):
            return self.inner(images)

    found, why = priors(Idle(), input_shape=(8, 8, 3))
    assert found == []
    assert why.startswith("none, because the model's layers cannot be read: Expected")


@pytest.mark.parametrize("precision", ["float16", "float64"])
def test_the_prior_goes_with_every_precision(precision):
    result = actmax.maximize(
        normalized(), targets=[0, 1], input_range=(0, 1), steps=3, precision=precision
    )
    assert np.all(np.isfinite(result.history["batch_norm_penalty"]))


def recipe(model, **given):
    maximizer = actmax.Maximizer(model, **{"input_range": (0, 1)} | given)
    return maximizer.problem.inputs[0].parameterization, maximizer.problem.optimizer.learning_rate


def test_small_color_images_have_a_limit_on_their_contrast_and_a_prior_longer_steps():
    limited = actmax.LimitedContrast(actmax.Decorrelated(actmax.Fourier(1.5)), 0.15)
    assert recipe(zoo.load("cifar10")) == (limited, actmax.Linear(0.1, 0.02))
    assert recipe(normalized(), input_range=RANGE) == (limited, actmax.Linear(0.8, 0.08))
    maximizer = actmax.Maximizer(normalized(), input_range=RANGE)
    result = maximizer([0, 1, 2], steps=64)
    assert result.config["chosen"]["contrast"] == (
        "at most 0.15 of the range, because images are small"
    )
    deviations = np.std(result.images / 255, axis=(1, 2))
    assert np.all(np.sqrt(np.mean(np.square(deviations), axis=1)) <= 0.15 * (1 + 1e-5))


def test_the_default_starts_from_a_picture_of_any_contrast():
    stark = np.random.default_rng(0).uniform(1, 254, (2, 16, 16, 3)).astype(np.float32)
    maximizer = actmax.Maximizer(normalized(), input_range=RANGE, preprocess=lambda x: x / 255)
    start = maximizer([0, 1], initial_images=stark, steps=0)
    np.testing.assert_allclose(start.images, stark, atol=0.01)
    end = maximizer([0, 1], initial_images=stark, steps=16)
    assert np.all(end.scores > start.scores)


@pytest.mark.parametrize(
    ("model", "given", "expected", "rate"),
    [
        (
            normalized,
            {"input_range": actmax.Sigmoid(0, 1)},
            actmax.Decorrelated(actmax.Fourier(1.5)),
            actmax.Linear(0.4, 0.04),
        ),
        (
            normalized,
            {"parameterization": actmax.Fourier(1.0)},
            actmax.Fourier(1.0),
            actmax.Linear(0.4, 0.04),
        ),
        (
            lambda: normalized(side=80),
            {},
            actmax.Decorrelated(actmax.Fourier(1.5)),
            actmax.Linear(0.1, 0.02),
        ),
        (
            normalized,
            {"input_range": actmax.Box(0, 1) & actmax.Contrast(0.2)},
            actmax.Pixels(),
            actmax.Linear(0.2 * 0.4, 0.0),
        ),
    ],
    ids=["sigmoid", "parameterization", "large", "projected"],
)
def test_elsewhere_contrast_has_no_limit(model, given, expected, rate):
    assert recipe(model(), **given) == (expected, rate)


@pytest.mark.parametrize(
    "model",
    [lambda: zoo.load("mnist"), normalized, lambda: zoo.load("cifar10")],
    ids=["gray", "batch norm", "no batch norm"],
)
@pytest.mark.parametrize("low_high", [(0.0, 255.0), (-1.0, 1.0), (-0.5, 3.5)])
def test_pictures_do_not_depend_on_the_units_of_the_range(model, low_high):
    low, high = low_high
    model = model()
    common = {"targets": [1, 2], "steps": 12, "seed": 3}
    expected = actmax.maximize(model, input_range=(0, 1), **common).images
    found = actmax.maximize(
        model, input_range=low_high, preprocess=lambda x: (x - low) / (high - low), **common
    ).images
    np.testing.assert_allclose((found - low) / (high - low), expected, atol=2e-3)
    assert np.ptp(expected) > 0.1
