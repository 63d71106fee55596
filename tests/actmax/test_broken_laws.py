"""Models for which the laws of a run cannot hold: the first run says so, and leaves them as they were."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import models
from actmax.maximizer.laws import BrokenLawWarning

L, K = keras.layers, keras.ops
GRAY = {"input_range": (0, 1), "regularizers": [], "input_shape": (4, 4, 1)}


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


class Net(keras.Model):
    """A convolution, something in between, and units."""

    def __init__(self, between, **settings):
        super().__init__()
        self.first, self.between, self.settings = L.Conv2D(2, 3), between, settings
        self.last = L.Dense(3)

    def call(self, images, training=False):
        between = self.between(self.first(images), **self.settings)
        return self.last(K.reshape(between, (-1, 8)))


class Own(L.Layer):
    """A layer of one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, values):
        return self.function(self, values)


class Counter(L.Layer):
    """Adds how often it was called."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, values):
        self.calls.assign_add(1.0)
        return values + self.calls


class Compiled(Counter):
    """The same inside of a tf.function, where TensorFlow keeps the order of writes."""

    @tf.function
    def call(self, values):
        self.calls.assign_add(1.0)
        return values + self.calls


def drawn(values, seed):
    return values + keras.random.normal(K.shape(values), seed=seed)


GENERATOR = tf.random.Generator.from_seed(1)
# law that is lost: what stands in between.
MODELS = {
    "seeds of Keras": ("same call", lambda: Net(Own(lambda s, x: drawn(x, s.seeds)))),
    "no seeds": ("same call", lambda: Net(Own(lambda s, x: x * keras.random.uniform(K.shape(x))))),
    "of TensorFlow": ("same call", lambda: Net(Own(lambda s, x: x + tf.random.normal(tf.shape(x))))),
    "a generator": ("same call", lambda: Net(Own(lambda s, x: x + GENERATOR.normal(tf.shape(x))))),
    "dropout in training": ("same call", lambda: Net(L.Dropout(0.5), training=True)),
    "noise in training": ("same call", lambda: Net(L.GaussianNoise(0.5), training=True)),
    "a mean over the batch": ("row alone", lambda: Net(Own(lambda s, x: x - K.mean(x, 0, keepdims=True)))),
    "a softmax over the batch": ("row alone", lambda: Net(Own(lambda s, x: K.exp(x) / K.sum(K.exp(x), 0)))),
    "batch norm in training": ("row alone", lambda: Net(L.BatchNormalization(), training=True)),
    "noise of a fixed seed": ("row alone", lambda: Net(Own(lambda s, x: drawn(x, 4)))),
    "a counter": ("state", lambda: Net(Counter())),
    "a counter in a function": ("state", lambda: Net(Compiled())),
}  # fmt: skip


def run(model, **settings):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = actmax.maximize(model, targets=[0, 1], **{**GRAY, "steps": 2, **settings})
    return result, [str(w.message) for w in seen if w.category is actmax.BrokenLawWarning]


@pytest.mark.parametrize("name", MODELS)
def test_the_law_that_is_lost_is_named_and_the_model_is_as_it_was(name):
    law, make = MODELS[name]
    model = make()
    model(np.zeros([1, 4, 4, 1], "float32"))
    before = [np.array(v) for v in model.variables] + [GENERATOR.state.numpy()]
    result, said = run(model)
    assert list(result.config["broken_laws"]) == [law]
    assert len(said) == 1
    after = [np.array(v) for v in model.variables] + [GENERATOR.state.numpy()]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    if law == "state":
        # The score is what the next call of the model answers.
        np.testing.assert_allclose(result.scores, np.diag(model(result.images)), rtol=1e-5)


class Temporary(L.Layer):
    """Writes a variable and reads it again: its answer depends on the images alone."""

    def build(self, shape):
        self.kept = self.add_weight(shape=(), initializer="zeros", trainable=False, name="kept")

    def call(self, values):
        self.kept.assign(2.0)
        return values * self.kept


@pytest.mark.parametrize(
    "between", [L.BatchNormalization, lambda: L.Dropout(0.5), Temporary, L.Softmax]
)
def test_models_that_keep_the_laws_are_left_alone(between):
    model = Net(between())
    result, said = run(model)
    assert not said
    assert "broken_laws" not in result.config
    np.testing.assert_allclose(result.scores, np.diag(model(result.images)), rtol=1e-4)


def test_a_callable_around_a_model_in_training_mode_and_sweeps_carry_the_mark():
    inner = Net(L.BatchNormalization())
    maximizer = actmax.Maximizer(lambda images: inner.last(
        K.reshape(inner.between(inner.first(images), training=True), (-1, 8))
    ), **GRAY)  # fmt: skip
    with pytest.warns(actmax.BrokenLawWarning, match="training=False"):
        sweep = maximizer.sweep([0, 1], steps=1)
    assert "row alone" in sweep.result.config["broken_laws"]
    assert "row alone" in maximizer([0], steps=1).config["broken_laws"]


def test_a_catalog_carries_the_mark(tmp_path):
    images = keras.Input((4, 4, 1))
    centered = Own(lambda s, x: x - K.mean(x, 0, keepdims=True))(L.Flatten()(images))
    model = keras.Model(images, L.Dense(2)(centered))
    with pytest.warns(actmax.BrokenLawWarning):
        found = actmax.catalog(
            model, out=tmp_path, input_range=(0, 1), regularizers=[], steps=1, batch_size=2
        )
    assert "row alone" in found.manifest.config["broken_laws"]


class _Dense(keras.Model):
    """A linear model that answers by `factor`."""

    def __init__(self, factor):
        super().__init__()
        self.dense, self.factor, self.calls = keras.layers.Dense(2), factor, []

    def call(self, images):
        self.calls += [1]
        return self.dense(images) * self.factor(self, images)


@pytest.mark.parametrize(
    ("factor", "warns"),
    [
        (lambda model, images: 2.0 if images.shape[0] == 1 else 1.0, True),
        (lambda model, images: 2.0 if tf.executing_eagerly() else 1.0, True),
        (lambda model, images: float(len(model.calls)), True),
        (lambda model, images: tf.cast(tf.shape(images)[1], tf.float32), False),
    ],
    ids=["rows", "eager execution", "calls before", "no Python"],
)
@pytest.mark.parametrize("function", [False, True], ids=["model", "function"])
def test_a_model_that_answers_otherwise_from_python_warns(factor, warns, function):
    model = _Dense(factor)
    model(np.zeros((2, 3), "float32"))
    given = (lambda images: model(images, training=False)) if function else model
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = actmax.maximize(
            given, targets=[0], input_range=(0, 1), input_shape=(3,), regularizers=[], steps=1
        )
    said = [str(each.message) for each in caught if each.category is BrokenLawWarning]
    assert ["from Python as in a graph" in each for each in said] == [True] * warns
    assert ("own answer" in result.config.get("broken_laws", {})) is warns


def test_layers_of_keras_alone_are_not_called_from_python(monkeypatch):
    called = []
    monkeypatch.setattr(models.Taps, "answers", lambda *given: called.append(1) or {})
    images = keras.Input((3,))
    for end, count in ((keras.layers.Dense(2), 0), (keras.layers.Lambda(lambda x: 2.0 * x), 1)):
        actmax.maximize(
            keras.Model(images, end(images)),
            targets=[0],
            input_range=(0, 1),
            regularizers=[],
            steps=1,
        )
        assert len(called) == count
