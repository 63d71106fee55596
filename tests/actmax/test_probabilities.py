"""`Result.probabilities` are the model's own, of the returned images, or None."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

import actmax
from actmax import zoo

SHAPE = (6, 6, 1)


def network(*head, units=4):
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Flatten(), keras.layers.Dense(units, name="dense"), *head]
    return keras.Sequential([keras.Input(SHAPE), *layers])


def run(model, objective=None, targets=(0, 2, 2), **settings):
    settings = {"input_range": (-1, 1), "regularizers": [], "steps": 3} | settings
    return actmax.maximize(model, objective, targets=list(targets), **settings)


@pytest.mark.parametrize("objective", [actmax.Logit(), actmax.LogProbability(), actmax.Margin()])
def test_they_are_the_softmax_of_the_returned_images(objective):
    model = network(keras.layers.Softmax())
    result = run(model, objective)
    expected = model.predict(result.images, verbose=0)[np.arange(3), [0, 2, 2]]
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-5)
    assert result.probabilities.shape == (3,)


def test_of_logits_that_the_objective_sees():
    """Against SciPy, from the layer before the softmax."""
    model = network(keras.layers.Activation("softmax"))
    result = run(model)
    logits = keras.Model(model.inputs[0], model.get_layer("dense").output)(result.images).numpy()
    expected = softmax(logits, axis=-1)[np.arange(3), [0, 2, 2]]
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-5)


def test_sigmoid_units_have_one_each():
    model = network(keras.layers.Activation("sigmoid"))
    result = run(model)
    np.testing.assert_allclose(result.probabilities, expit(result.scores), rtol=1e-5)


def test_one_sigmoid_unit_is_two_classes():
    model = network(keras.layers.Activation("sigmoid"), units=1)
    result = run(model, targets=(1, 0))
    outputs = model.predict(result.images, verbose=0)[:, 0]
    np.testing.assert_allclose(result.probabilities, [outputs[0], 1 - outputs[1]], rtol=1e-5)


def test_a_log_softmax_counts():
    model = network(keras.layers.Activation("log_softmax"))
    result = run(model)
    expected = np.exp(model.predict(result.images, verbose=0))[np.arange(3), [0, 2, 2]]
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "objective"),
    [
        (network(), actmax.Logit()),
        (network(keras.layers.Softmax()), actmax.Channel("dense")),
        (network(keras.layers.Softmax()), actmax.Logit() - actmax.Logit(1)),
        (network(keras.layers.Softmax()), lambda outputs, targets: outputs[:, 0]),
    ],
    ids=["linear", "channel", "combination", "function"],
)
def test_none_where_nothing_says_so(model, objective, tmp_path):
    result = run(model, objective)
    assert result.probabilities is None
    assert actmax.Result.load(result.save(tmp_path)).probabilities is None
    assert result.take([0]).probabilities is None


def test_a_map_of_classes_has_none():
    """The mean over space of logits is no logit, so its softmax would be nobody's probability."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(3, 3), keras.layers.Softmax()]
    model = keras.Sequential([keras.Input(SHAPE), *layers])
    assert run(model).probabilities is None


def test_an_ensemble_has_the_mean():
    one, other = network(keras.layers.Softmax()), network(keras.layers.Softmax())
    other.set_weights([2 * weight for weight in other.get_weights()])
    result = run([one, other])
    expected = [m.predict(result.images, verbose=0)[np.arange(3), [0, 2, 2]] for m in (one, other)]
    np.testing.assert_allclose(result.probabilities, np.mean(expected, axis=0), rtol=1e-5)


def test_an_ensemble_with_a_linear_member_has_none():
    assert run([network(keras.layers.Softmax()), network()]).probabilities is None


def test_the_named_output_of_several():
    keras.utils.set_random_seed(0)
    images = keras.Input(SHAPE)
    flat = keras.layers.Flatten()(images)
    outputs = {
        "kind": keras.layers.Dense(4, activation="softmax", name="kind")(flat),
        "size": keras.layers.Dense(2, name="size")(flat),
    }
    model = keras.Model(images, outputs)
    result = run(model, actmax.Logit(output="kind"))
    expected = model.predict(result.images, verbose=0)["kind"][np.arange(3), [0, 2, 2]]
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-5)
    assert run(model, actmax.Logit(output="size"), targets=(0, 1)).probabilities is None


def test_they_are_saved_taken_and_swept(tmp_path):
    maximizer = actmax.Maximizer(
        network(keras.layers.Softmax()), input_range=(-1, 1), regularizers=[]
    )
    result = maximizer([0, 1, 2], steps=2)
    again = actmax.Result.load(result.save(tmp_path / "saved"))
    assert again.probabilities.tobytes() == result.probabilities.tobytes()
    assert result.take([2, 0]).probabilities.tolist() == result.probabilities[[2, 0]].tolist()
    sweep = maximizer.sweep([0, 1, 2], steps=2, batch_size=2)
    np.testing.assert_allclose(sweep.result.probabilities, result.probabilities, rtol=1e-5)
    assert len(sweep.result.probabilities) == 3


def test_the_report_and_the_command_line_say_them(tmp_path, capsys):
    from actmax.cli import main

    result = actmax.maximize(zoo.load("mnist"), targets=[3], input_range=(0, 1), steps=64)
    text = result.report(tmp_path / "page.html").read_text("utf-8")
    assert f"probability {result.probabilities[0]:.4f}" in text
    file = tmp_path / "model.keras"
    zoo.load("mnist").save(file)
    main(["run", str(file), "--targets", "3", "--input-range", "0", "1", "--steps", "4",
          "--out", str(tmp_path / "out")])  # fmt: skip
    printed = capsys.readouterr().out
    head, row = printed.splitlines()[:2]
    assert head.split() == [
        "target",
        "probability",
        "the",
        "model",
        "says",
        "score",
        "optimality",
        "status",
    ]
    saved = actmax.Result.load(tmp_path / "out")
    assert row.split()[1] == f"{saved.probabilities[0]:.4f}"


def test_a_probability_that_is_not_one_per_image_is_refused():
    """An objective of anyone's may say what it likes; what has the wrong shape is said, not kept."""

    class Wrong(actmax.Logit):
        def probability(self, activations, targets, heads):
            return activations[":logits"]

    with pytest.raises(
        ValueError, match="the objective's probability to return one value per image"
    ):
        run(network(keras.layers.Softmax()), Wrong())
