"""Objectives with a value for each image: lists of targets, weights of terms, soft labels, vectors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax

L = keras.layers
RANGE = {"input_range": (0, 1), "regularizers": []}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            L.Conv2D(4, 3, activation="tanh", name="conv"),
            L.Flatten(),
            L.Dense(5, activation="softmax", name="out"),
        ]
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=(3, 6, 6, 2)).astype("float32")


def by_hand(model, images):
    """Activations and logits of Keras' own layers."""
    conv = np.asarray(model.get_layer("conv")(images), np.float64)
    out = model.get_layer("out")
    kernel, bias = (np.asarray(weight, np.float64) for weight in (out.kernel, out.bias))
    return conv, conv.reshape(len(conv), -1) @ kernel + bias


def test_terms_have_targets_and_weights_of_their_own_for_each_image(model, images):
    vector = np.array([1.0, -2.0, 0.5, 0.0])
    objective = (
        [1.0, 0.5, 0.0] * actmax.Logit([3, 1, 2])
        + np.array([0.0, 0.5, 1.0]) * actmax.Channel("conv", range(3))
        - actmax.Direction("conv", vector=vector, position=(1, 2)) / 2
        + [1, 2, 3]
    )
    maximizer = actmax.Maximizer(model, objective, copies=2, **RANGE)
    result = maximizer(steps=1, initial_images=images, learning_rate=0.0)
    conv, logits = by_hand(model, images)
    rows = np.arange(3)
    expected = (
        np.array([1.0, 0.5, 0.0]) * logits[rows, [3, 1, 2]]
        + np.array([0.0, 0.5, 1.0]) * conv.mean((1, 2))[rows, rows]
        - conv[:, 1, 2] @ vector / np.linalg.norm(vector) / 2
        + [1, 2, 3]
    )
    np.testing.assert_allclose(result.scores, expected, rtol=1e-5)
    np.testing.assert_allclose(result.history["score"][0], expected, rtol=1e-5)
    # The number of images is the objective's: from one start, as many images.
    assert len(maximizer(steps=0, initial_images=images[:1]).scores) == 3
    _, gradient = maximizer.value_and_gradient(images)
    assert np.abs(gradient).max(axis=(1, 2, 3)).min() > 0
    text = result.config["python"]
    assert "(1.0, 0.5, 0.0) * actmax.Logit(target=(3, 1, 2))" in text


def test_targets_of_the_call_and_lists_of_terms_go_together(model, images):
    """A class and a reference for each image: one class up, and another one for each down."""
    objective = actmax.Logit() - actmax.Logit([0, 1, 2])
    result = actmax.maximize(model, objective, [4, 3, 3], steps=0, initial_images=images, **RANGE)
    _, logits = by_hand(model, images)
    rows = np.arange(3)
    expected = logits[rows, [4, 3, 3]] - logits[rows, rows]
    np.testing.assert_allclose(result.scores, expected, rtol=1e-5)


def test_soft_labels_and_vectors_for_functions(model, images):
    shares = np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4, 0]])
    _, logits = by_hand(model, images)
    logarithms = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = (shares * logarithms).sum(1)
    start = {"steps": 0, "initial_images": images, **RANGE}
    soft = actmax.maximize(model, actmax.CrossEntropy(), shares, **start)
    np.testing.assert_allclose(soft.scores, expected, rtol=1e-5)

    @actmax.objective(targets="vector")
    def overlap(output, targets):
        return tf.reduce_sum(tf.cast(targets, output.dtype) * output, axis=1)

    found = actmax.maximize(model, overlap, shares, **start)
    np.testing.assert_allclose(found.scores, (shares * np.exp(logarithms)).sum(1), rtol=1e-5)


def refused(model):
    listed = actmax.Logit([0, 1])
    start = actmax.Maximizer(model, listed, **RANGE)
    soft = actmax.Maximizer(model, actmax.CrossEntropy(), **RANGE)
    return {
        "two lengths": (lambda: listed + [1, 2, 3] * actmax.Logit(0), "same number of images"),
        "another number": (lambda: start(images=3, steps=0), "2 images, one for each value"),
        "targets": (
            lambda: actmax.maximize(model, listed - actmax.Logit(), [1], steps=0, **RANGE),
            "2 images, one for each value",
        ),
        "sweep": (lambda: start.sweep(seeds=[0, 1], steps=0), "batch"),
        "no unit": (
            lambda: actmax.maximize(model, actmax.Logit([0, 9]), steps=0, **RANGE),
            r"in 0\.\.4.*9 at position 1",
        ),
        "no list": (lambda: actmax.Logit([]), "target"),
        "a negative one": (lambda: actmax.Logit([-1]), "every target"),
        "division by 0": (lambda: actmax.Logit(0) / [1, 0], "other than 0"),
        "no shares": (lambda: soft([[1, 1, 0, 0, 0]], steps=0), "sum to 1"),
        "too few shares": (lambda: soft([[0.5, 0.5]], steps=0), "soft labels of 5 numbers"),
        "a short direction": (
            lambda: actmax.maximize(model, actmax.Direction("conv"), [[1, 2, 3]], steps=0, **RANGE),
            "directions of 4 numbers, as layer 'conv' has channels. Received: 3 numbers",
        ),
        "a position of one number": (
            lambda: actmax.maximize(model, actmax.Neuron("conv", (1,)), [0], steps=0, **RANGE),
            r"a position inside the \(4, 4\) map of layer 'conv'. Received: \(1,\)",
        ),
        "outside": (
            lambda: actmax.maximize(
                model, actmax.Direction("conv", vector=[1, 0, 0, 0], position=(9, 9)), **RANGE
            ),
            "a position inside the",
        ),
    }


def test_what_does_not_fit_is_refused(model):
    for name, (call, message) in refused(model).items():
        with pytest.raises((TypeError, ValueError), match=message):
            call()
            pytest.fail(name)


@pytest.mark.parametrize(
    "expression",
    [
        lambda c: np.float32(0.5) * c,
        lambda c: c * np.float32(0.5),
        lambda c: c / np.int64(2),
        lambda c: c / 2,
        lambda c: np.array(0.5) * c,
    ],
)
def test_numbers_of_numpy_are_numbers(expression):
    found = expression(actmax.Logit(0))
    assert sorted([found.left, found.right], key=str)[0] == 0.5


def test_chosen_steps_of_snapshots(model, tmp_path):
    files = actmax.Snapshots(tmp_path, steps=[0, 1, 4])
    actmax.maximize(
        model, targets=[0], steps=5, callbacks=[files], callback_every=1, compile=False, **RANGE
    )
    names = sorted(file.name for file in tmp_path.glob("*.npz"))
    assert names == ["step-000000.npz", "step-000001.npz", "step-000004.npz"]
    with pytest.raises(ValueError, match=r"every= or steps="):
        actmax.Snapshots(tmp_path, 2, steps=[1])


def test_the_terms_of_a_sum_are_told_recorded_and_shown(model, images, tmp_path):
    objective = actmax.Logit(3) - 0.5 * actmax.Channel("conv", 1) + actmax.Channel("conv", 1)
    seen = []

    def look(snapshot):
        seen.append((snapshot.images, snapshot.terms(), snapshot.gradient()))

    result = actmax.maximize(
        model,
        objective,
        images=3,
        steps=2,
        initial_images=images,
        callbacks=[look],
        callback_every=2,
        keep="last",
        **RANGE,
    )
    conv, logits = by_hand(model, result.images)
    mean = conv[..., 1].mean((1, 2))
    expected = [logits[:, 3], -0.5 * mean, mean]
    assert list(result.terms) == ["logit(3)", "channel(conv, 1)", "channel(conv, 1) #2"]
    np.testing.assert_allclose(list(result.terms.values()), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sum(result.terms.values()), result.scores, rtol=1e-5)
    pictures, terms, gradient = seen[-1]
    np.testing.assert_array_equal(pictures, result.images)
    np.testing.assert_allclose(terms["logit(3)"], result.terms["logit(3)"], rtol=1e-5)
    # The gradient beside a difference of the scores by hand, along itself.
    step = 1e-3 * gradient / np.abs(gradient).max()
    ends = []
    for sign in (1, -1):
        conv, logits = by_hand(model, pictures + sign * step)
        ends.append(logits[:, 3] + 0.5 * conv[..., 1].mean((1, 2)))
    slope = (gradient * step).sum((1, 2, 3))
    np.testing.assert_allclose((ends[0] - ends[1]) / 2, slope, rtol=2e-2)
    result.save(tmp_path / "r")
    again = actmax.Result.load(tmp_path / "r")
    assert list(again.terms) == list(result.terms)
    np.testing.assert_array_equal(again.terms["logit(3)"], result.terms["logit(3)"])
    assert again.take([1]).terms["logit(3)"].shape == (1,)
    page = result.report(tmp_path / "page.html").read_text("utf-8")
    assert "of the score, channel(conv, 1) #2" in page


def test_what_is_no_sum_has_no_terms():
    assert actmax.Logit(3).terms_by_name == (0.5 * actmax.Logit(3)).terms_by_name == ()
    assert (actmax.Logit(3) + 1).terms_by_name == ()
