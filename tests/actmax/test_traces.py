"""The model's own trace: outputs by name, calls in order, heads behind wrappings, models that change.

Right values are Keras' own, or NumPy's on them.
"""

import functools
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import models
from actmax.objectives import LOGITS, OUTPUT

L = keras.layers
QUICK = {"input_range": (0, 1), "regularizers": [], "steps": 2}


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def tapped(model, *names, given=None):
    """Activations of fixed inputs by name, as NumPy has them."""
    given = draw(model) if given is None else given
    found = models.Taps(model, names)({"images": given})
    return tf.nest.map_structure(np.asarray, found)


def draw(model, rows=3):
    shape = [side or 5 for side in model.input_shape[1:]]
    return tf.constant(np.random.default_rng(0).uniform(size=[rows, *shape]), tf.float32)


# Outputs.


def two_of_one_name():
    images = keras.Input((4,))
    head = L.Dense(3, name="head")
    return keras.Model(images, [head(images), head(2.0 * images)])


def test_two_outputs_of_one_name_are_asked_about_and_told_apart_by_position():
    model = two_of_one_name()
    images = draw(model)
    for place, wanted in enumerate(model(images)):
        name = f"{OUTPUT}/{place}"
        np.testing.assert_allclose(tapped(model, name)[name], wanted, rtol=1e-6)
    for output in (None, "head"):
        with pytest.raises(ValueError, match="output"):
            actmax.maximize(model, actmax.Logit(0, output=output), images=1, **QUICK)
    result = actmax.maximize(model, actmax.Logit(0, output=1), images=1, **QUICK)
    np.testing.assert_allclose(result.scores, model(result.images)[1][:, 0], rtol=1e-5)


def nested():
    images = keras.Input((4,))
    parts = {"a": {"p": L.Dense(2)(images), "q": L.Dense(3)(images)}, "b": [L.Dense(4)(images)]}
    return keras.Model(images, parts)


@pytest.mark.parametrize(("key", "size"), [("a/p", 2), ("a/q", 3), ("b/0", 4), ("0", 2), ("2", 4)])
def test_an_output_goes_by_its_path_or_its_place(key, size):
    model = nested()
    wanted = {2: lambda y: y["a"]["p"], 3: lambda y: y["a"]["q"], 4: lambda y: y["b"][0]}[size]
    name = f"{OUTPUT}/{key}"
    np.testing.assert_allclose(tapped(model, name)[name], wanted(model(draw(model))), rtol=1e-6)


def test_a_function_gets_the_models_own_structure_where_names_do_not_tell():
    model = two_of_one_name()
    result = actmax.maximize(model, lambda y: y[0][:, 0] - y[1][:, 1], images=1, **QUICK)
    first, second = model(result.images)
    np.testing.assert_allclose(result.scores, first[:, 0] - second[:, 1], rtol=1e-5)


# Calls.


def test_calls_of_a_shared_layer_are_in_the_order_in_which_they_were_written():
    """Keras runs a functional model by depth: the first call that was written may run last."""
    images = keras.Input((4,))
    shared = L.Dense(4, name="shared")
    first = shared(images)
    second = shared(L.Dense(4)(images))
    model = keras.Model(images, [second, L.Dense(2)(L.Dense(2)(first))])
    found = tapped(model, "shared:0", "shared:1")
    np.testing.assert_allclose(found["shared:0"], shared(draw(model)), rtol=1e-6)
    assert np.abs(found["shared:1"] - found["shared:0"]).max() > 1e-3


def test_a_layer_of_several_results_is_tapped_by_place():
    images = keras.Input((5, 8))
    attention = L.MultiHeadAttention(2, 4, name="attention")
    made, scores = attention(images, images, return_attention_scores=True)
    model = keras.Model(images, L.Dense(2)(made) + 0.0 * keras.ops.sum(scores))
    found = tapped(model, "attention[0]", "attention[1]", "attention")
    wanted = attention(draw(model), draw(model), return_attention_scores=True)
    for place, value in enumerate(wanted):
        np.testing.assert_allclose(found[f"attention[{place}]"], value, rtol=1e-5, atol=1e-6)
    assert len(found["attention"]) == 2
    with pytest.raises(ValueError, match=r"a result of 'attention' in 0\.\.1"):
        tapped(model, "attention[2]")


class Compiled(keras.Model):
    """`tf.function` on call."""

    def __init__(self):
        super().__init__()
        self.hidden = L.Dense(8, activation="tanh", name="hidden")
        self.out = L.Dense(3, activation="softmax", name="out")

    @tf.function
    def call(self, images):
        return self.out(self.hidden(self.hidden(images) if images.shape[-1] == 8 else images))


@pytest.mark.parametrize("called", [False, True])
def test_layers_inside_of_a_tf_function_are_tapped(called):
    model = Compiled()
    if called:
        model(tf.zeros([2, 4]))
    given = tf.constant(np.random.default_rng(0).uniform(size=[3, 4]), tf.float32)
    found = tapped(model, "hidden", LOGITS, given=given)
    np.testing.assert_allclose(found["hidden"], model.hidden(given), rtol=1e-5)
    logits = tf.matmul(model.hidden(given), model.out.kernel) + model.out.bias
    np.testing.assert_allclose(found[LOGITS], logits, rtol=1e-5)


def test_a_gradient_that_the_model_writes_itself_is_the_models():
    @tf.custom_gradient
    def doubled(x):
        return x * x, lambda upstream: 4.0 * x * upstream

    images = keras.Input((4,))
    model = keras.Model(images, L.Lambda(doubled)(images))
    given = draw(model)
    taps = models.Taps(model, [OUTPUT])
    with tf.GradientTape() as tape:
        tape.watch(given)
        total = tf.reduce_sum(taps({"images": given})[OUTPUT])
    np.testing.assert_allclose(tape.gradient(total, given), 4.0 * given, rtol=1e-6)


# Heads.


def test_two_labels_of_one_linear_unit_are_asked_about():
    model = keras.Sequential([keras.Input((4,)), L.Dense(1)])
    for target in ("cat", "dog"):
        with pytest.raises(ValueError, match=r"^Expected to know which of two labels"):
            actmax.maximize(model, targets=[target], labels=["cat", "dog"], **QUICK)


# Numbers of rows.


@pytest.mark.parametrize("rows", [1, 4, 6])
def test_a_fixed_number_of_rows_is_met_by_padding(rows):
    images = keras.Input((2, 3), batch_size=4)
    top = L.Dense(2)
    flat = L.Lambda(lambda x: tf.reshape(x, (4, 6)), output_shape=(6,))
    model = keras.Model(images, top(flat(images)))
    given = draw(model, rows)
    for compile_ in ("plain", False):
        found = actmax.Maximizer(
            model, input_range=(0, 1), regularizers=[], compile=compile_
        ).value_and_gradient(given, [n % 2 for n in range(rows)])
        wanted = np.asarray(top(tf.reshape(given, [rows, 6])))
        np.testing.assert_allclose(found[0], [wanted[n, n % 2] for n in range(rows)], rtol=1e-5)
        slopes = np.asarray(top.kernel).T.reshape(2, 2, 3)
        np.testing.assert_allclose(found[1], [slopes[n % 2] for n in range(rows)], rtol=1e-5)


def test_a_layer_that_goes_on_from_the_call_before_is_refused():
    images = keras.Input(batch_shape=(2, 5, 3))
    model = keras.Model(images, L.Dense(2)(L.LSTM(4, stateful=True, name="memory")(images)))
    with pytest.raises(ValueError, match=r"layer 'memory' with stateful=True"):
        actmax.maximize(model, targets=[0], **QUICK)


# Models that change, and others who use them.


def test_a_model_that_was_changed_in_place_is_traced_anew():
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, name="a"), L.Dense(3)])
    maximizer = actmax.Maximizer(model, input_range=(0, 1), regularizers=[])

    def holds():
        result = maximizer([0, 1], steps=2)
        np.testing.assert_allclose(
            result.scores, np.diag(np.asarray(model(result.images))[:, :2]), rtol=1e-5
        )

    holds()
    assert maximizer.traces == 1
    model.get_layer("a").activation = keras.activations.tanh
    holds()
    model.get_layer("a").enable_lora(2)
    for weight in model.weights:
        if "lora" in weight.path:
            weight.assign(np.ones(weight.shape))
    holds()
    assert maximizer.traces == 1  # of the model as it is


def test_a_trace_is_shared_and_goes_with_the_model():
    from actmax.models import trace as room

    model = keras.Sequential([keras.Input((6,)), L.Dense(3)])
    given = {"images": draw(model)}
    first, second = (models.Taps(model, [LOGITS]).traced(given) for _ in range(2))
    assert first is second
    kept = len(room._KEPT)
    del model, first, second
    import gc

    gc.collect()
    assert len(room._KEPT) < kept


def test_another_thread_uses_the_model_meanwhile():
    model = keras.Sequential([keras.Input((6,)), L.Dense(8), L.BatchNormalization(), L.Dense(3)])
    given = draw(model)
    wanted, wrong, done = np.asarray(model(given)), [], threading.Event()

    def use():
        while not done.is_set():
            if not np.array_equal(model(given), wanted):
                wrong.append(1)

    other = threading.Thread(target=use)
    other.start()
    try:
        for way in ({}, {"compile": "fold"}, {"precision": "mixed"}):
            actmax.maximize(model, targets=[0], **QUICK, **way)
    finally:
        done.set()
        other.join()
    assert not wrong


def test_a_run_does_not_mind_functions_that_run_eagerly():
    model = keras.Sequential([keras.Input((6,)), L.Dense(3, activation="softmax")])
    wanted = actmax.maximize(model, targets=[1], **QUICK)
    tf.config.run_functions_eagerly(True)
    try:
        found = actmax.maximize(model, targets=[1], **QUICK)
    finally:
        tf.config.run_functions_eagerly(False)
    np.testing.assert_array_equal(found.images, wanted.images)


def test_python_in_the_graph_is_refused():
    model = keras.Sequential([keras.Input((6,)), L.Dense(3)])

    def twice(images):
        return tf.numpy_function(lambda x: 2 * x, [model(images)], tf.float32)

    with pytest.raises(ValueError, match=r"tf\.py_function or tf\.numpy_function"):
        actmax.maximize(twice, lambda y: y[:, 0], images=1, input_shape=(6,), **QUICK)


MODULE = {"factor": 1.0}


def scaled_by_data():
    """Models of Python data that may change in place, with the function that changes the data."""
    keras.utils.set_random_seed(0)
    factor, options, array = [1.0], {"by": {"factor": 1.0}}, np.ones(3, "float32")

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.options = L.Dense(3), options

        def call(self, given):
            return self.dense(given) * self.options["by"]["factor"]

    class Call:
        def __init__(self, model):
            self.model, self.factor = model, 1.0

        def __call__(self, given):
            return self.model(given) * self.factor

    inputs = keras.Input((4,))
    dense = L.Dense(3)(inputs)
    inner = keras.Model(inputs, dense)
    by_list = L.Lambda(lambda x: x * factor[0], output_shape=(3,))(dense)
    by_array = L.Lambda(lambda x: x * array, output_shape=(3,))(dense)
    called, model = Call(inner), Model()

    def double():
        factor[0] *= 2.0

    def adapt():
        inner.layers[1].enable_lora(1)
        inner.layers[1].lora_kernel_b.assign(np.ones([1, 3]))

    return {
        "dict of a layer": (model, lambda: model.options["by"].update({"factor": 2.0})),
        "list in a Lambda": (keras.Model(inputs, by_list), double),
        "array in a Lambda": (keras.Model(inputs, by_array), lambda: array.__imul__(2.0)),
        "closure": (lambda x: inner(x) * factor[0], double),
        "default of an argument": (lambda x, by=factor: inner(x) * by[0], double),
        "partial": (functools.partial(lambda by, x: inner(x) * by[0], factor), double),
        "data of the module": (
            lambda x: inner(x) * MODULE["factor"],
            lambda: MODULE.update(factor=2.0),
        ),
        "attribute of an object": (called, lambda: setattr(called, "factor", 2.0)),
        "method": (called.__call__, lambda: setattr(called, "factor", 4.0)),
        "model in a function": (lambda x: inner(x, training=False), adapt),
    }


def test_data_of_python_that_changed_in_place_are_traced_anew():
    images = np.random.default_rng(0).uniform(size=[2, 4]).astype("float32")
    for name, (model, change) in scaled_by_data().items():
        maximizer = actmax.Maximizer(model, input_range=(0, 1), regularizers=[], input_shape=(4,))
        before, _ = maximizer.value_and_gradient(images, [0, 1])
        maximizer([0], steps=0)
        traces = maximizer.traces
        maximizer([0], steps=0)
        assert maximizer.traces == traces, name  # nothing changed
        change()
        after = maximizer([0, 1], steps=0, initial_images=images).scores
        wanted = np.diag(model(images))
        np.testing.assert_allclose(after, wanted, rtol=1e-5, err_msg=name)
        assert np.abs(after - before).max() > 1e-3, name
