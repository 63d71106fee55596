"""What is refused names a remedy, and the remedy works: each is done here as its sentence says.

Right values are Keras' own.
"""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax.maximizer.first_checks import ProbabilityWarning
from actmax.optimizers import KerasOptimizer

L = keras.layers
QUICK = {"input_range": (0, 1), "regularizers": [], "steps": 2}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    images = keras.Input((6, 6, 3), name="photo")
    seen = L.Conv2D(4, 3, activation="tanh", name="conv")(images)
    return keras.Model(images, L.Dense(3, name="head")(L.GlobalAveragePooling2D()(seen)))


@pytest.fixture(scope="module")
def two():
    keras.utils.set_random_seed(0)
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    heads = [L.Dense(2, name="x")(left), L.Dense(2, name="y")(right)]
    return keras.Model([left, right], heads)


def said(error, run):
    with pytest.raises(error) as raised:
        run()
    return str(raised.value)


@pytest.mark.parametrize(
    ("own", "count"),
    [
        ((6, 6, 1), 3),
        ((6, 6, 4), 3),
        ((6, 6, 3), 1),
        ((1, 6, 6), (3, 6, 6)),
        ((4, 6, 6), (3, 6, 6)),
    ],
)
def test_images_of_other_channels_go_through_layers_in_front(model, own, count):
    wanted = count if isinstance(count, tuple) else (6, 6, count)
    inner = keras.Sequential([keras.Input(wanted), L.Flatten(), L.Dense(2)])
    text = said(ValueError, lambda: actmax.maximize(inner, targets=[0], input_shape=own, **QUICK))
    remedy = text[text.index("images = ") :].rstrip(".")
    names = {"keras": keras, "model": inner}
    first, second = remedy.split("; ")
    exec(f"{first}; around = {second}", names)  # noqa: S102
    around = names["around"]
    assert around.input_shape == (None, *own)
    result = actmax.maximize(around, targets=[1], **QUICK)
    assert result.images.shape == (1, *own)
    np.testing.assert_allclose(result.scores, around(result.images)[:, 1], rtol=1e-5)


def test_a_layer_at_the_scale_of_a_larger_picture(model):
    run = {**QUICK, "targets": [2]}
    text = said(
        ValueError,
        lambda: actmax.maximize(model, actmax.Channel("conv"), input_shape=(12, 10, 3), **run),
    )
    assert "canvas=(12, 10)" in text and "(None, None, 3)" in text
    canvas = actmax.maximize(model, actmax.Channel("conv"), canvas=(12, 10), **run)
    assert canvas.images.shape == (1, 12, 10, 3)
    part = keras.Model(model.input, model.get_layer("conv").output)
    opened = keras.models.clone_model(part, input_tensors=keras.Input((None, None, 3)))
    opened.set_weights(part.get_weights())
    whole = actmax.maximize(opened, actmax.Channel("conv"), input_shape=(12, 10, 3), **run)
    by_hand = np.asarray(opened(whole.images))
    assert by_hand.shape == (1, 10, 8, 4)
    np.testing.assert_allclose(whole.scores, by_hand[..., 2].mean((1, 2)), rtol=1e-5)


def test_an_input_that_the_score_does_not_use_is_held(two):
    ranges = {"left": (0, 1), "right": (0, 1)}
    objective = actmax.Logit(0, output="x")
    text = said(
        ValueError, lambda: actmax.maximize(two, objective, **{**QUICK, "input_range": ranges})
    )
    assert "fixed={'right'" in text
    held = {"right": np.zeros((1, 3))}
    result = actmax.maximize(
        two, objective, fixed=held, **{**QUICK, "input_range": {"left": (0, 1)}}
    )
    values = result.images["left"] if isinstance(result.images, dict) else result.images
    np.testing.assert_allclose(result.scores, two([values, held["right"]])[0][:, 0], rtol=1e-5)


def test_the_only_input_needs_no_name(model):
    text = said(
        ValueError,
        lambda: actmax.maximize(model, targets=[0], **{**QUICK, "input_range": {"photo": (0, 1)}}),
    )
    assert "input_range=(low, high)" in text


def test_an_objective_is_no_metric(model):
    metrics = {"other": actmax.Channel("conv", 1)}
    text = said(TypeError, lambda: actmax.maximize(model, targets=[0], metrics=metrics, **QUICK))
    assert "channel(conv, 1)" in text
    part = keras.Model(model.inputs, model.get_layer("conv").output)

    def other(images):
        return tf.reduce_mean(part(images)[..., 1], [1, 2])

    result = actmax.maximize(model, targets=[0], metrics={"other": other}, **QUICK)
    assert np.isfinite(result.history["other"]).all()


def test_training_mode_is_asked_for_by_a_function(model):
    assert "training=True)" in said(
        TypeError, lambda: actmax.maximize(model, targets=[0], training=True, **QUICK)
    )


@pytest.mark.parametrize(
    "wrong",
    [lambda c: c / c, lambda c: 1.0 / c, lambda c: c**2, lambda c: 2**c, abs],
    ids=["/", "1/", "**", "2**", "abs"],
)
def test_what_objectives_have_no_operation_for_is_a_function(wrong):
    assert "@actmax.objective" in said(TypeError, lambda: wrong(actmax.Channel("conv", 0)))
    assert +actmax.Channel("conv", 0) == actmax.Channel("conv", 0)


# Keras' optimizers scale gradients down by what its own training scaled the loss up.


def updated(optimizer):
    """Params after two updates, started in two places."""
    rule = KerasOptimizer(optimizer)
    params, gradients = tf.constant([[1.0], [2.0]]), tf.constant([[0.5], [-3.0]])
    state = rule.init(params)
    for _ in range(2):
        params, state = rule.update(gradients, state, params, tf.constant([0.1, 0.1]))
    return params.numpy()


def test_a_loss_scale_of_a_keras_optimizer_changes_nothing():
    by_hand = np.array([[1.0], [2.0]]) - 2 * 0.1 * np.array([[0.5], [-3.0]])
    np.testing.assert_allclose(updated(keras.optimizers.SGD(0.1)), by_hand, rtol=1e-6)
    scaled = keras.optimizers.SGD(0.1, loss_scale_factor=128.0)
    np.testing.assert_allclose(updated(scaled), by_hand, rtol=1e-6)
    around = keras.optimizers.LossScaleOptimizer(scaled)
    assert "inner_optimizer" in said(ValueError, lambda: KerasOptimizer(around))
    np.testing.assert_allclose(updated(around.inner_optimizer), by_hand, rtol=1e-6)


def test_an_average_that_keras_takes_at_the_end_of_fit_is_refused():
    text = said(ValueError, lambda: updated(keras.optimizers.SGD(0.1, use_ema=True)))
    assert "ema_overwrite_frequency" in text
    often = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.0, ema_overwrite_frequency=1)
    np.testing.assert_allclose(updated(often), updated(keras.optimizers.SGD(0.1)), rtol=1e-6)


# Layers that return several tensors, and layers that are called by other means.


def test_one_of_several_tensors_of_a_layer_is_named():
    keras.utils.set_random_seed(0)
    tokens = keras.Input((5, 4))
    seen, shares = L.MultiHeadAttention(2, 3, name="look")(
        tokens, tokens, return_attention_scores=True
    )
    attention = keras.Model(tokens, L.Dense(2)(L.Flatten()(seen)))
    by_keras = keras.Model(tokens, [seen, shares])
    objectives = {
        actmax.Channel: lambda values: values.mean(axis=tuple(range(1, values.ndim - 1)))[:, 0],
        actmax.Layer: lambda values: (values**2).mean(axis=tuple(range(1, values.ndim))),
    }
    for kind, by_hand in objectives.items():
        run = {**QUICK, **({"targets": [0]} if kind is actmax.Channel else {"images": 1})}
        text = said(
            ValueError, lambda kind=kind, run=run: actmax.maximize(attention, kind("look"), **run)
        )
        assert "'look[0]', 'look[1]'" in text
        for place in range(2):
            with warnings.catch_warnings():  # attention is a softmax, as is said
                warnings.simplefilter("ignore", ProbabilityWarning)
                result = actmax.maximize(attention, kind(f"look[{place}]"), **run)
            values = np.asarray(by_keras(result.images)[place])
            np.testing.assert_allclose(result.scores, by_hand(values), rtol=1e-5)


def test_the_layer_around_one_that_is_called_by_other_means():
    frames = keras.Input((2, 5, 3))
    seen = L.TimeDistributed(L.Conv1D(4, 2, name="inner"), name="each")(frames)
    film = keras.Model(frames, L.Dense(2)(L.Flatten()(seen)))
    run = {**QUICK, "targets": [1]}
    text = said(ValueError, lambda: actmax.maximize(film, actmax.Channel("each/inner"), **run))
    assert "the layer around it" in text
    result = actmax.maximize(film, actmax.Channel("each"), **run)
    by_hand = np.asarray(keras.Model(frames, seen)(result.images))[..., 1].mean((1, 2))
    np.testing.assert_allclose(result.scores, by_hand, rtol=1e-5)


def test_an_operation_without_a_gradient_is_named():
    values = keras.Input((4,))
    binned = L.Discretization(bin_boundaries=[0.3, 0.6], output_mode="one_hot")(values)
    model = keras.Model(values, L.Dense(2)(L.Flatten()(binned)))
    text = said(ValueError, lambda: actmax.maximize(model, targets=[0], **QUICK))
    assert "of type Bucketize" in text


@pytest.mark.parametrize("axes", [(1, 2), (1, 3), (-3, -1)])
def test_a_softmax_over_several_axes_is_told(axes):
    keras.utils.set_random_seed(0)
    images = keras.Input((4, 3, 2))
    maps = L.Softmax(axis=axes)(L.Conv2D(2, 1)(images))
    spread = keras.Model(images, maps)
    run = {**QUICK, "steps": 0, "targets": [1]}
    with pytest.warns(ProbabilityWarning, match="sum to 1"):
        actmax.maximize(spread, **run)


def test_soft_labels_of_a_function_name_the_objectives_that_take_rows():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), L.Dense(3)])
    soft = [[0.5, 0.5, 0.0], [0.0, 0.3, 0.7]]

    def score(outputs, targets):
        return outputs[:, 0]

    run = {**QUICK, "targets": soft, "input_range": (0, 1)}
    text = said(TypeError, lambda: actmax.maximize(model, score, **run))
    assert "actmax.CrossEntropy()" in text
    found = actmax.maximize(model, actmax.CrossEntropy(), **run)
    logits = np.asarray(model(found.images), np.float64)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(found.scores, (np.array(soft) * logs).sum(1), rtol=1e-4)
