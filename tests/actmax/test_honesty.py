"""Law 1: what is reported is true of what is returned. And objectives mean what they say."""

from __future__ import annotations

import copy
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import Channel, Direction, Layer, Logit, Neuron, zoo
from regularizers import L1, L2, AlphaNorm, Jitter, Rotate, TotalVariation

SHAPE = (8, 7, 2)
LOW, HIGH = -0.5, 1.5


def filled(model):
    """The model with weights of its own, whatever state the global generator is in."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        fan_in = max(math.prod(variable.shape[:-1]), 1)
        variable.assign(rng.normal(size=variable.shape) / math.sqrt(fan_in))
    return model


def dense(dtype="float32"):
    parts = [
        keras.layers.Flatten(dtype=dtype),
        keras.layers.Dense(9, activation="tanh", name="hidden", dtype=dtype),
        keras.layers.Dense(4, name="logits", dtype=dtype),
    ]
    return filled(keras.Sequential([keras.Input(SHAPE, dtype=dtype), *parts]))


def convolutional():
    """Ends in a softmax, of which the objective sees what stands before it."""
    images = keras.Input(SHAPE)
    x = keras.layers.Conv2D(5, 3, activation="relu", name="conv")(images)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(4, name="logits")(x)
    return filled(keras.Model(images, keras.layers.Softmax()(x)))


def recomputed(model, images, targets):
    """Logits of the targets by the original model, one image at a time."""
    inner = keras.Model(model.inputs[0], model.get_layer("logits").output)
    return np.array(
        [
            inner(image[None]).numpy()[0, target]
            for image, target in zip(images, targets, strict=True)
        ]
    )


def a_ball_in_a_box():
    return actmax.Box(LOW, HIGH) & actmax.L2Ball(4.0)


RUNS = {
    "pixels, box, adam": (dense, {}),
    "pixels, box, too fast": (dense, {"optimizer": actmax.Adam(3.0)}),
    "pixels, box, sgd": (convolutional, {"optimizer": actmax.SGD(5.0, momentum=0.9)}),
    "pixels, sigmoid, adam": (convolutional, {"input_range": actmax.Sigmoid(LOW, HIGH)}),
    "pixels, intersection": (
        dense,
        {"input_range": a_ball_in_a_box(), "optimizer": actmax.Adam(0.3, per="image")},
    ),
    "fourier, rmsprop": (
        convolutional,
        {"parameterization": actmax.Fourier(), "optimizer": actmax.RMSprop(0.3)},
    ),
    "blurred, keras optimizer": (
        dense,
        {"parameterization": actmax.Blurred(), "optimizer": keras.optimizers.Nadam(0.3)},
    ),
    "transforms and copies": (
        convolutional,
        {"regularizers": [TotalVariation(0.1), Jitter(2), Rotate(10.0)], "copies": 2},
    ),
    "float64": (lambda: dense("float64"), {"optimizer": actmax.Adam(0.3)}),
}
TARGETS = [3, 0, 3]
STEPS = 12


@pytest.mark.parametrize("name", RUNS)
def test_scores_are_the_objective_of_the_returned_images_which_never_leave_the_range(name):
    make, parts = RUNS[name]
    model = make()
    frames = actmax.Frames()
    result = actmax.maximize(
        model, targets=TARGETS, steps=STEPS, callbacks=[frames], callback_every=1,
        **{"input_range": (LOW, HIGH), "regularizers": [], "optimizer": actmax.Adam(0.3), **parts},
    )  # fmt: skip
    again = recomputed(model, result.images, TARGETS)
    gap = np.abs(result.scores - again) / np.maximum(np.abs(again), 1e-3)
    assert gap.max() <= (1e-6 if result.images.dtype == np.float32 else 1e-14)
    shown = np.array([*frames.frames, result.images])
    assert len(shown) == STEPS + 2
    assert shown.min() >= LOW and shown.max() <= HIGH
    assert np.all(np.abs(np.diff(shown[:-1], axis=0)).max((2, 3, 4)).max(0) > 0)
    np.testing.assert_array_equal(shown[-1], shown[-2])


@pytest.mark.parametrize("bound", [actmax.L2Ball(1.2), actmax.PixelBall(0.3)])
def test_images_never_leave_a_ball(bound):
    frames = actmax.Frames()
    actmax.maximize(
        dense(), targets=TARGETS, steps=STEPS, callbacks=[frames], callback_every=1,
        input_range=bound, regularizers=[], optimizer=actmax.SGD(1.0),
    )  # fmt: skip
    axes = (2, 3, 4) if isinstance(bound, actmax.L2Ball) else (4,)
    sizes = np.sqrt(np.sum(np.square(np.array(frames.frames, np.float64)), axes))
    assert sizes.max() <= bound.radius * (1 + 1e-6)
    assert sizes[-1].max() >= bound.radius * (1 - 1e-5)


def test_the_best_image_kept_is_honest_too():
    model = dense()
    result = actmax.maximize(
        model, targets=TARGETS, steps=20, keep="best", callback_every=2, input_range=(LOW, HIGH),
        regularizers=[L2(30.0)], optimizer=actmax.Adam(1.0),
    )  # fmt: skip
    np.testing.assert_allclose(
        result.scores, recomputed(model, result.images, TARGETS), rtol=1e-6, atol=1e-9
    )
    assert np.all(result.scores >= result.history["score"][::2].max(0) * (1 - 1e-6))


# History.


def naive_penalties(x):
    """The penalties of one image, by loops."""
    variation = sum(
        abs(x[i + 1, j, c] - x[i, j, c]) * (i + 1 < len(x))
        for i in range(len(x) - 1) for j in range(x.shape[1]) for c in range(x.shape[2])
    ) + sum(
        abs(x[i, j + 1, c] - x[i, j, c])
        for i in range(len(x)) for j in range(x.shape[1] - 1) for c in range(x.shape[2])
    )  # fmt: skip
    return {
        "total_variation": variation / x.size,
        "l2": sum(v * v for v in x.flat) / x.size,
        "l1": sum(abs(v) for v in x.flat) / x.size,
        "alpha_norm": sum(v**6 for v in x.flat) / x.size,
    }


def test_history_is_the_score_less_the_weighted_penalties_of_the_image_before_each_update():
    model, steps = dense("float64"), 5
    weights = {
        "total_variation": lambda step: 0.5 + 0.1 * step,
        "l2": np.array([0.3, 0.6, 0.9]),
        "l1": np.linspace(0.1, 0.7, steps * 3).reshape(steps, 3),
        "alpha_norm": 0.01,
    }
    frames = actmax.Frames()
    result = actmax.maximize(
        model, targets=TARGETS, steps=steps, weights=weights, callbacks=[frames], callback_every=1,
        input_range=(LOW, HIGH), regularizers=[TotalVariation(9.0), L2(9.0), L1(9.0), AlphaNorm(9.0)],
        optimizer=actmax.Adam(0.1),
    )  # fmt: skip
    assert len(frames.frames) == steps + 1
    for step in range(steps):
        images = frames.frames[step]
        scores = recomputed(model, images, TARGETS)
        np.testing.assert_allclose(result.history["score"][step], scores, rtol=1e-12)
        for row, image in enumerate(images):
            used = {
                "total_variation": 0.5 + 0.1 * step,
                "l2": weights["l2"][row],
                "l1": weights["l1"][step, row],
                "alpha_norm": 0.01,
            }
            penalties = naive_penalties(image)
            for name, value in penalties.items():
                np.testing.assert_allclose(result.history[name][step, row], value, rtol=1e-12)
            burden = sum(used[name] * value for name, value in penalties.items())
            np.testing.assert_allclose(
                result.history["objective"][step, row], scores[row] - burden, rtol=1e-10
            )


def test_transforms_change_the_score_in_history_and_neither_penalties_nor_images():
    model = dense("float64")
    images = np.random.default_rng(1).uniform(LOW, HIGH, (3, *SHAPE))
    result = actmax.maximize(
        model, targets=TARGETS, steps=4, learning_rate=0.0, initial_images=images,
        input_range=(LOW, HIGH), regularizers=[TotalVariation(1.0), Jitter(3)],
    )  # fmt: skip
    np.testing.assert_array_equal(result.images, images)
    clean = recomputed(model, images, TARGETS)
    np.testing.assert_allclose(result.scores, clean, rtol=1e-12)
    assert np.all(np.abs(result.history["score"] - clean).max(0) > 1e-6)
    variation = [naive_penalties(image)["total_variation"] for image in images]
    for row in result.history["total_variation"]:
        np.testing.assert_allclose(row, variation, rtol=1e-12)


# T19: objective algebra.

A, B = Logit(0), Logit(1)
GOLDEN = {  # for logits a = 3, b = 5, c = -2, the third the target
    "a - b": (A - B, -2.0),
    "b - a": (B - A, 2.0),
    "a + 3b": (A + 3 * B, 18.0),
    "2a + b": (2 * A + B, 11.0),
    "-a": (-A, -3.0),
    "-(a - b)": (-(A - B), 2.0),
    "a - (b - a)": (A - (B - A), 1.0),
    "2(a - 3(b - 1)) + 4": (2 * (A - 3 * (B - 1)) + 4, -14.0),
    "10 - a": (10 - A, 7.0),
    "a * b": (A * B, 15.0),
    "a * 0.5": (A * 0.5, 1.5),
    "c - a": (Logit() - A, -5.0),
    "c * c - c": (Logit() * Logit() - Logit(), 6.0),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_objective_algebra_means_what_it_says(name):
    objective, value = GOLDEN[name]
    logits = tf.constant([3.0, 5.0, -2.0])
    targets = {"images": 2} if objective.kind is None else {"targets": [2, 2]}
    result = actmax.maximize(
        lambda images: images[:, :1] * 0 + logits, objective, input_shape=(4,),
        input_range=(0, 1), regularizers=[], steps=0, **targets,
    )  # fmt: skip
    np.testing.assert_allclose(result.scores, [value] * 2, rtol=1e-6)


def test_objective_algebra_changes_no_operand():
    parts = [
        Logit(0),
        Channel("a"),
        Neuron("b", (1, 2)),
        Layer("c"),
        Direction("d", vector=(1.0, 2.0)),
    ]
    before = copy.deepcopy(parts)
    first = parts[0] - 2 * parts[1]
    kept = copy.deepcopy(first)
    assert -(first + parts[2]) * 3 - parts[3] + parts[4] != first
    assert parts == before
    assert first == kept


def test_algebra_of_layers_is_the_arithmetic_of_their_activations():
    model = convolutional()
    objective = (
        0.5 * Channel("conv") - 2 * Neuron("conv", (1, 2), target=4) + Layer("conv") * Logit(1)
    )
    result = actmax.maximize(
        model, objective, targets=[0, 3], input_range=(LOW, HIGH), regularizers=[], steps=5,
    )  # fmt: skip
    taps = keras.Model(model.inputs[0], [model.get_layer(n).output for n in ("conv", "logits")])
    conv, logits = (value.numpy().astype(np.float64) for value in taps(result.images))
    channel = conv[[0, 1], :, :, [0, 3]].mean((1, 2))
    energy = np.square(conv).mean((1, 2, 3))
    best = 0.5 * channel - 2 * conv[:, 1, 2, 4] + energy * logits[:, 1]
    np.testing.assert_allclose(result.scores, best, rtol=1e-5)


def test_a_score_that_fell_is_said():
    """Penalties so strong that the image dies: every step was done, and no picture came of it."""
    model = zoo.load("mnist")
    fine = actmax.maximize(model, targets=[3], input_range=(0, 1), regularizers=[], steps=16)
    crushed = actmax.maximize(
        model, targets=[3], input_range=(0, 1), regularizers=[L2(1e5)], steps=16,
        initial_images=fine.images,
    )  # fmt: skip
    assert crushed.scores[0] < crushed.history["score"][0, 0]
    assert "the score fell, from" in crushed.messages[0]
    assert "penalties won" in crushed.messages[0]
    assert fine.messages[0].startswith("All 16 steps done.")
    assert "fell" not in fine.messages[0]


def test_a_score_that_fell_without_penalties_blames_the_rate():
    def hill(points):
        return 3.0 - points**2

    wild = actmax.maximize(
        hill, actmax.Logit(0), input_shape=(1,), input_range=actmax.Unbounded(), steps=1,
        initial_images=np.array([[0.1]], np.float32), regularizers=[], optimizer=actmax.SGD(50.0),
    )  # fmt: skip
    assert "learning rate may be too large" in wild.messages[0]
    assert "penalties" not in wild.messages[0]
