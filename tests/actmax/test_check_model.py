"""check_model finds what is wrong with a model, and nothing in one that is right."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import zoo
from actmax.cli import main
from actmax.testing import ContractError, check_model


def dense(*layers):
    return keras.Sequential(
        [keras.Input((6, 6, 1)), *layers, keras.layers.Flatten(), keras.layers.Dense(3)]
    )


@keras.saving.register_keras_serializable("tests")
class Rounding(keras.layers.Layer):
    def call(self, inputs):
        return tf.round(inputs * 9.0)


def failed(report):
    return {finding.name for finding in report.findings if finding.level == "fail"}


def test_a_sound_model_passes_more_than_twenty_checks():
    report = check_model(zoo.load("mnist"), (0, 1), labels=zoo.labels("mnist"))
    assert report.ok, str(report)
    assert len(report.findings) > 20
    assert "softmax found" in report["head"].message
    assert str(report).splitlines()[-1].endswith("0 failed")


def train_mode():
    inner = dense(keras.layers.BatchNormalization())
    return lambda images: inner(images, training=True)


def block():
    return dense(Rounding(name="stairs"))


def probabilities():
    return lambda images: tf.math.divide_no_nan(
        exp := tf.exp(tf.reduce_mean(images, 1)[:, :, 0]), tf.reduce_sum(exp, -1, keepdims=True)
    )


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (train_mode, "batch independence"),
        (block, "differentiable layers"),
        (block, "gradient"),
        (probabilities, "head"),
        (lambda: lambda x: tf.math.log(x[:, 0, :, 0] - 0.5), "finite outputs"),
        (lambda: tf.reduce_sum, "forward pass"),
        (lambda: lambda x: x[:, 0, :, 0] * 0.0, "sensitive"),
        (
            lambda: lambda x: x[:, 0, :, 0] + tf.cast(tf.timestamp() % 1.0, tf.float32),
            "deterministic",
        ),
        (lambda: lambda x: tf.cumsum(x, axis=0)[:, 0, :, 0], "batch order"),
    ],
)
def test_what_is_wrong_is_named(make, name):
    report = check_model(make(), (0, 1), input_shape=(6, 6, 1))
    assert name in failed(report), str(report)


def test_a_failure_is_raised_where_that_is_asked_for():
    with pytest.raises(ContractError, match="forward pass"):
        check_model(tf.reduce_sum, (0, 1), input_shape=(6, 6, 1), raise_on_failure=True)


def test_a_layer_without_a_gradient_is_named():
    assert "stairs" in check_model(block(), (0, 1))["differentiable layers"].message


def test_range_and_labels():
    report = check_model(dense(), labels=["a"])
    assert {"input range", "outputs and labels"} <= failed(report)
    report = check_model(dense(keras.layers.Rescaling(1 / 255)), (0, 1))
    assert report["input range"].level == "warning"


def test_the_command(tmp_path, capsys):
    assert main(["check", str(zoo.path("mnist")), "--input-range", "0", "1"]) == 0
    assert "batch independence" in capsys.readouterr().out
    assert actmax.testing.check_model is check_model


@tf.custom_gradient
def _four_times(x):
    return x, lambda upstream: 4.0 * upstream


@keras.saving.register_keras_serializable("tests")
class Steep(keras.layers.Layer):
    def call(self, inputs):
        return _four_times(inputs)


def test_a_layer_with_a_wrong_gradient_is_named():
    model = dense(keras.layers.Conv2D(2, 3, activation="relu"), Steep(name="steep"))
    report = check_model(model, (0, 1))
    assert report["gradient is the slope"].level == "fail"
    assert "first in steep" in report["gradient is the slope"].message


@pytest.mark.parametrize("activation", ["relu", "tanh", "elu", "gelu"])
def test_right_gradients_are_the_slope(activation):
    model = dense(keras.layers.Conv2D(4, 3, activation=activation), keras.layers.MaxPooling2D(2))
    for span in ((0, 1), (0, 255), (-1, 1)):
        assert check_model(model, span)["gradient is the slope"].level == "ok"


def test_only_the_gradient_of_the_input_is_taken(monkeypatch):
    asked = []
    real = tf.GradientTape.gradient

    def watched(tape, target, sources, *args, **kwargs):
        asked.append((tf.executing_eagerly(), tf.nest.flatten(sources)))
        return real(tape, target, sources, *args, **kwargs)

    monkeypatch.setattr(tf.GradientTape, "gradient", watched)
    check_model(dense(keras.layers.Conv2D(2, 3)), (0, 1))
    assert asked
    assert not any(eager for eager, _ in asked)
    assert all(source.shape[1:] == (6, 6, 1) for _, sources in asked for source in sources)


def test_other_inputs_are_held(tmp_path, capsys):
    a, b = keras.Input((6, 6, 1), name="a"), keras.Input((3,), name="b")
    model = keras.Model(
        [a, b], keras.layers.Dense(2)(keras.layers.Concatenate()([keras.layers.Flatten()(a), b]))
    )
    path, array = tmp_path / "two.keras", tmp_path / "b.npy"
    model.save(path)
    np.save(array, np.ones([1, 3], "float32"))
    assert check_model(model, (0, 1), fixed={"b": np.ones([1, 3])}).ok
    assert (
        main(["check", str(path), "--input-range", "a", "0", "1", "--fixed", "b", str(array)]) == 0
    )
    assert "gradient is the slope" in capsys.readouterr().out
