"""Models and surroundings without a gradient: one true sentence each, or it works."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax.maximizer import unsupported

CALL = {"targets": [0], "input_range": (0, 1), "regularizers": [], "steps": 2}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("name", ["predict", "predict_on_batch"])
def test_a_method_that_returns_numpy_names_the_model(model, name):
    with pytest.raises(TypeError, match=rf"its method {name}(?s:.*)Give the model itself"):
        actmax.maximize(getattr(model, name), input_shape=(4, 4, 1), **CALL)


def test_a_call_inside_a_function_or_a_graph(model):
    inside = tf.function(lambda: actmax.maximize(model, **CALL).images, autograph=False)
    with pytest.raises(ValueError, match=r"inside of one(?s:.*)outside of the function"):
        inside()
    with tf.Graph().as_default(), pytest.raises(ValueError, match=r"outside of tf.Graph"):
        actmax.maximize(model, **CALL)


def test_another_backend(model, monkeypatch):
    monkeypatch.setattr(unsupported, "_backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"backend jax(?s:.*)KERAS_BACKEND"):
        actmax.maximize(model, **CALL)


def test_start_images_settle_an_open_size():
    wave = keras.Input((None, 5))
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Conv1D(4, 3)(wave))
    model = keras.Model(wave, keras.layers.Dense(2)(pooled))
    start = np.full((2, 9, 5), 0.5, "float32")
    call = CALL | {"targets": [0, 1]}
    assert actmax.maximize(model, initial_images=start, **call).images.shape == (2, 9, 5)
    with pytest.raises(ValueError, match=r"input_shape=\(length, 5\), or initial_images"):
        actmax.maximize(model, **call)


@pytest.mark.parametrize(
    "value", [np.array([["b"]]), [["b"]], tf.constant([["b"]])], ids=["array", "list", "tensor"]
)
def test_a_text_is_held(value):
    number, word = keras.Input((2,), name="number"), keras.Input((1,), name="word", dtype="string")
    lookup = keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    dense = keras.layers.Dense(1)
    model = keras.Model(
        {"number": number, "word": word}, dense(keras.layers.Concatenate()([number, lookup(word)]))
    )
    result = actmax.maximize(
        model, lambda output: output[:, 0], images=1, input_range={"number": (0, 1)}, fixed={"word": value},
        regularizers=[], steps=2,
    )  # fmt: skip
    kernel = dense.kernel.numpy()[:, 0]
    by_hand = (
        result.images["number"] @ kernel[:2] + kernel[2 + 2]
        if isinstance(result.images, dict)
        else result.images @ kernel[:2] + kernel[4]
    )
    np.testing.assert_allclose(result.scores, by_hand, atol=1e-5)


class Layer:
    """Stands for Keras 2, which is not installed here; `tests.soak.keras2` runs the real one."""

    name = "old"
    input_names = ("pixels",)
    inputs = (tf.TensorSpec([None, 4, 4, 1]),)

    def __call__(self, images, training=True):
        flat = tf.reshape(images, [-1, 16])[:, :3]
        return -flat if training else flat


Layer.__module__ = "tf_keras.src.engine.base_layer"


def test_a_model_of_keras_2_is_at_inference_and_knows_its_shape():
    result = actmax.maximize(Layer(), **(CALL | {"steps": 20}))
    np.testing.assert_allclose(result.scores, result.images[:, 0, 0, 0], atol=1e-6)


def test_a_layer_of_a_model_of_keras_2_names_the_ways_that_work():
    with pytest.raises(ValueError, match=r"tf_keras(?s:.*)actmax.load_model"):
        actmax.maximize(Layer(), actmax.Channel("conv"), **CALL)
    with pytest.raises(TypeError, match=r"model.layers"):
        actmax.layer_paths(Layer())


def test_python_whose_result_has_no_shape_is_named():
    wave = keras.Input((5,))
    doubled = keras.layers.Lambda(
        lambda x: tf.numpy_function(lambda v: v * 2, [x], tf.float32), output_shape=(5,)
    )(wave)
    model = keras.Model(wave, keras.layers.Dense(2)(doubled))
    with pytest.raises(ValueError, match=r"tf.numpy_function at .*PyFunc"):
        actmax.maximize(model, **CALL)


def test_inputs_of_no_real_numbers_have_a_sentence_each():
    for dtype, remedy in (
        ("string", "Text has no gradient"),
        ("bool", "behind the cast, or hold"),
        ("complex64", r"tf.complex\("),
        ("int32", "actmax.OneHot"),
    ):
        given = keras.Input((4,), dtype=dtype)
        model = keras.Model(given, keras.layers.Identity()(given))
        with pytest.raises(ValueError, match=rf"dtype {dtype}. .*{remedy}"):
            actmax.maximize(model, **CALL)


def test_an_input_without_axes_gets_one_in_front():
    given = keras.Input(())
    model = keras.Model(given, keras.layers.Dense(2)(keras.ops.reshape(given, (-1, 1))))
    with pytest.raises(ValueError, match=r"at least one axis(?s:.*)Reshape\(\(\)\), model"):
        actmax.maximize(model, **CALL)
    around = keras.Sequential([keras.Input((1,)), keras.layers.Reshape(()), model])
    result = actmax.maximize(around, **CALL)
    np.testing.assert_allclose(result.scores, model(result.images[:, 0])[:, 0], rtol=1e-5)


class _Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, given, second=None):
        given = given["a"] if isinstance(given, dict) else given
        return self.dense(given if second is None else given + second)


class _TwoArguments(_Subclass):
    def call(self, given, second):
        return super().call(given, second)


def test_a_subclassed_model_has_the_shape_with_which_keras_built_it():
    model, batch = _Subclass(), np.zeros((3, 5), "float32")
    with pytest.raises(ValueError, match="knows its input shape"):
        actmax.maximize(model, **CALL)
    model(batch)
    result = actmax.maximize(model, **CALL)
    assert result.images.shape == (1, 5)
    assert result.config["chosen"]["input_shape"] == "(5,), with which Keras built the model"
    np.testing.assert_allclose(result.scores, model(result.images)[:, 0], rtol=1e-5)
    named = _Subclass()
    named({"a": batch, "b": batch[:, :2]})
    fixed = {"b": np.zeros((1, 2), "float32")}
    result = actmax.maximize(named, fixed=fixed, **CALL | {"input_range": {"a": (0, 1)}})
    assert result.images["a"].shape == (1, 5)
    # Of two required arguments Keras keeps one shape.
    several = _TwoArguments()
    several(batch, batch)
    with pytest.raises(ValueError, match="knows its input shape"):
        actmax.maximize(several, **CALL)


def test_a_given_shape_goes_before_the_one_of_the_first_call():
    class Open(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(2, 3)

        def call(self, images):
            return keras.ops.mean(self.conv(images), (1, 2))

    model = Open()
    model(np.zeros((1, 8, 8, 1), "float32"))
    assert actmax.maximize(model, **CALL).images.shape == (1, 8, 8, 1)
    assert actmax.maximize(model, input_shape=(6, 7, 1), **CALL).images.shape == (1, 6, 7, 1)
    start = np.full((1, 5, 9, 1), 0.5, "float32")
    assert actmax.maximize(model, initial_images=start, **CALL).images.shape == (1, 5, 9, 1)


@pytest.mark.parametrize("nested", ["a subclass", "a Pipeline"])
def test_a_layer_that_keeps_a_tensor_of_another_graph_is_named(nested):
    """Keras itself cannot call such a model."""
    normalization = keras.layers.Normalization(mean=[0.5] * 3, variance=[0.25] * 3)
    if nested == "a subclass":
        model = _Around(normalization)
    elif hasattr(keras.layers, "Pipeline"):
        given = keras.Input((3,))
        model = keras.Model(given, keras.layers.Pipeline([normalization])(given))
    else:
        pytest.skip("an older Keras")
    shape = {"input_shape": (3,)} if nested == "a subclass" else {}
    with pytest.raises(
        ValueError, match=r"(?i)normalization.*, which keeps a tensor(?s:.*)layer\.build"
    ):
        actmax.maximize(model, **shape, **CALL)
    layer = keras.layers.Normalization(mean=[0.5] * 3, variance=[0.25] * 3)
    layer.build((None, 3))
    result = actmax.maximize(_Around(layer), input_shape=(3,), **CALL)
    np.testing.assert_allclose(result.scores[0], (result.images[0, 0] - 0.5) / 0.5, atol=1e-6)


class _Around(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, inputs):
        return self.layer(inputs)


@pytest.mark.skipif(not hasattr(keras, "RematScope"), reason="an older Keras")
def test_rematerialized_layers_are_refused():
    given = keras.Input((3,))
    with keras.RematScope(mode="full"):
        model = keras.Model(given, keras.layers.Dense(2)(given))
    with pytest.raises(ValueError, match=r"RematScope(?s:.*)compile='recompute'"):
        actmax.maximize(model, **CALL)
