"""`Result.named`: what the model itself calls the 8-bit picture, by Keras, and who is told of it."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

import actmax

SHAPE = (6, 6, 1)
PLAIN = {"input_range": (-1, 1), "regularizers": [], "steps": 3}


def network(*head, units=4, shape=SHAPE, loss=None):
    """Its last class wins whatever the picture is: the others are named otherwise."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Flatten(), keras.layers.Dense(units, name="dense"), *head]
    model = keras.Sequential([keras.Input(shape), *layers])
    model.get_layer("dense").bias.assign([0.0] * (units - 1) + [50.0])
    if loss is not None:
        model.compile(loss=loss)
    return model


def run(model, objective=None, targets=(0, 3), **settings):
    """Starts as they are: a run of no steps, which traces no loop."""
    given = PLAIN | {"steps": 0, "targets": list(targets) or None} | settings
    return actmax.maximize(model, objective, **given)


def eight_bits(result):
    """Pictures as a person reads them back from files."""
    low, high = result.bounds()
    return result.to_uint8().astype(np.float64) / 255 * (high - low) + low


@pytest.mark.parametrize("objective", [actmax.Logit(), actmax.LogProbability(), actmax.Margin()])
def test_it_is_keras_own_class_and_probability_of_the_rounded_picture(objective):
    model = network(keras.layers.Softmax())
    model.get_layer("dense").bias.assign([0.0, 0.0, 0.0, 2.0])
    result = run(model, objective, range(4))
    outputs = model.predict(eight_bits(result), verbose=0)
    assert result.named.classes.tolist() == outputs.argmax(axis=1).tolist()
    np.testing.assert_allclose(result.named.probabilities, outputs.max(axis=1), rtol=1e-5)
    assert result.named.agrees.tolist() == (outputs.argmax(axis=1) == range(4)).tolist()


def test_a_picture_that_only_rounding_turns_is_named_as_it_is_seen():
    # Of one value: class 1 from 0.5 upwards. 0.501 is 128 of 255, 0.50196; -0.6 apart they differ.
    model = keras.Sequential(
        [
            keras.Input((1, 1, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
            keras.layers.Softmax(),
        ]
    )
    model.layers[1].set_weights([np.array([[0.0, 1e4]]), np.array([0.0, -5015.0])])
    start = np.full([1, 1, 1, 1], 0.501, np.float32)
    result = actmax.maximize(
        model, targets=[0], input_range=(0, 1), regularizers=[], initial_images=start, steps=0
    )
    assert model.predict(result.images, verbose=0).argmax() == 0
    assert result.named.classes.tolist() == [1] and not result.named.agrees[0]


def test_the_status_stays_and_message_warning_and_record_say_it(tmp_path):
    model = network(keras.layers.Softmax())
    labels = ["cat", "dog", "cow", "hen"]
    with pytest.warns(actmax.NamedOtherwiseWarning, match="1 of 2 .*'cat' .row 0. as 'hen', prob"):
        result = actmax.maximize(model, targets=["cat", "hen"], labels=labels, **PLAIN)
    assert [actmax.Status(s).name for s in result.status] == ["OK", "OK"]
    assert (
        "does not see 'cat' in this input: it says 'hen', probability 1.0000" in result.messages[0]
    )
    assert "does not see" not in result.messages[1]
    loaded = actmax.Result.load(result.save(tmp_path / "run"))
    for part in ("classes", "probabilities", "agrees"):
        np.testing.assert_array_equal(getattr(loaded.named, part), getattr(result.named, part))
    assert loaded.named.names == ("hen", "hen") and loaded.named.asked == ("cat", "hen")
    assert "the model says &#x27;hen&#x27;" in result.report(tmp_path / "r.html").read_text("utf-8")
    assert loaded.take([1]).named.agrees.tolist() == [True]


def test_as_asked_there_is_nothing_to_say():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = actmax.maximize(network(keras.layers.Softmax()), targets=[3], **PLAIN)
        start = run(network(keras.layers.Softmax()))
    assert start.named.agrees.tolist() == [False, True]
    assert result.named.agrees.all() and "does not see" not in result.messages[0]


def test_a_class_that_is_bound_counts_and_a_combination_is_no_class():
    model = network(keras.layers.Softmax())
    result = run(model, actmax.Logit(2), targets=(), images=2)
    assert result.named.asked == ("2", "2") and result.named.classes.tolist() == [3, 3]
    assert run(model, 2.0 * actmax.Logit()).named is None


def test_one_sigmoid_unit_is_two_classes():
    model = network(keras.layers.Activation("sigmoid"), units=1)
    model.get_layer("dense").bias.assign([3.0])
    result = run(model, targets=(1, 0))
    outputs = model.predict(eight_bits(result), verbose=0)[:, 0]
    assert result.named.classes.tolist() == (outputs > 0.5).astype(int).tolist()
    np.testing.assert_allclose(
        result.named.probabilities, np.maximum(outputs, 1 - outputs), rtol=1e-5
    )


def test_sigmoid_units_answer_each_for_itself():
    model = network(keras.layers.Activation("sigmoid"))
    model.get_layer("dense").bias.assign([9.0, 0.0, -50.0, 50.0])
    result = run(model, targets=(0, 2))
    # Unit 3 is surer still, and unit 0 is there all the same.
    assert result.named.agrees.tolist() == [True, False]
    assert result.named.classes.tolist() == [3, 3]
    raw = model.get_layer("dense")(eight_bits(result).reshape(2, -1)).numpy()
    np.testing.assert_allclose(result.named.probabilities, expit(raw).max(axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "labels", "units", "shape", "known"),
    [
        (None, None, 4, SHAPE, True),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), None, 2, (5,), True),
        ("mse", None, 4, SHAPE, False),
        ("mse", ["a", "b", "c", "d"], 4, SHAPE, True),
        (None, None, 4, (5,), False),
        (None, None, 1, SHAPE, False),
    ],
    ids=["image", "loss", "regression", "labels", "table", "one unit"],
)
def test_linear_outputs_are_classes_where_something_says_so(loss, labels, units, shape, known):
    model = network(units=units, shape=shape, loss=loss)
    result = run(model, targets=[0], labels=labels)
    assert (result.named is not None) == known
    if known:
        raw = model.predict(eight_bits(result) if shape == SHAPE else result.images, verbose=0)
        np.testing.assert_allclose(result.named.probabilities, softmax(raw, -1).max(-1), rtol=1e-5)


def test_an_ensemble_names_by_its_mean_probability():
    members = [network(keras.layers.Softmax()), network(keras.layers.Softmax())]
    members[1].get_layer("dense").bias.assign([0.0, 51.0, 0.0, 0.0])
    result = run(members, targets=[0])
    mean = np.mean([m.predict(eight_bits(result), verbose=0) for m in members], axis=0)
    assert result.named.classes.tolist() == mean.argmax(axis=1).tolist()
    np.testing.assert_allclose(result.named.probabilities, mean.max(axis=1), rtol=1e-5)


def test_a_hidden_unit_has_no_name():
    assert run(network(keras.layers.Softmax()), actmax.Channel("dense")).named is None


def test_a_sweep_warns_once_and_a_catalog_has_it_in_its_rows(tmp_path):
    model = network(keras.layers.Softmax())
    with pytest.warns(actmax.NamedOtherwiseWarning) as told:
        sweep = actmax.Maximizer(model, input_range=(-1, 1), regularizers=[]).sweep(
            [0, 1, 3], steps=2, batch_size=1
        )
    assert len(told) == 1 and sweep.result.named.agrees.tolist() == [False, False, True]
    with pytest.warns(actmax.NamedOtherwiseWarning) as told:
        made = actmax.catalog(
            model, out=tmp_path, input_range=(-1, 1), regularizers=[], steps=2, batch_size=2
        )
    assert len(told) == 1
    assert [row["target"] for row in made.named_otherwise()] == [0, 1, 2]
    assert {row["named"] for row in made.select()} == {"3"}


def trained_on(scale):
    """A network whose batch-norm layer saw images in (0, scale)."""
    keras.utils.set_random_seed(0)
    norm = keras.layers.BatchNormalization()
    layers = [keras.layers.Conv2D(4, 3), norm, keras.layers.ReLU(), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((9, 9, 3)), *layers, keras.layers.Dense(3)])
    images = scale * np.random.default_rng(0).uniform(0.1, 0.9, [64, 9, 9, 3])
    before = model.layers[0](images).numpy()
    norm.moving_mean.assign(before.mean((0, 1, 2)))
    norm.moving_variance.assign(before.var((0, 1, 2)))
    return model


def told(model, input_range, **given):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        actmax.maximize(model, targets=[0], input_range=input_range, steps=0, **given)
    return [str(each.message) for each in found if each.category is actmax.InputRangeWarning]


def test_a_wrong_input_range_is_told_by_batch_norm_statistics():
    for scale, wrong in ((1, 255), (255, 1)):
        model = trained_on(scale)
        (text,) = told(model, (0, wrong))
        assert (
            f"Received: (0, {wrong}), and in it what textures make of the first batch-norm" in text
        )
        assert told(model, (0, scale)) == [] == told(model, (0, scale / 2))
    assert told(trained_on(1), (0, 255), preprocess=lambda x: x / 255) == []


def test_a_wrong_input_range_is_told_by_a_saturated_output():
    from actmax import zoo

    (text,) = told(zoo.load("mnist"), (0, 255), regularizers=[])
    assert "saturated: one logit leads by" in text
    assert told(zoo.load("mnist"), (0, 1), regularizers=[]) == []
