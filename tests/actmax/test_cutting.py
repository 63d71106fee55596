"""An objective of inner layers traces a functional model up to them, and nothing of the model changes."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax.models import Taps
from actmax.models.cutting import cut_behind


def block(values, name):
    """Two convolutions beside each other."""
    left = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name=f"{name}_left")(values)
    right = keras.layers.DepthwiseConv2D(3, padding="same", name=f"{name}_right")(values)
    return keras.layers.Concatenate(name=name)([left, right])


@pytest.fixture(scope="module")
def model():
    images = keras.Input((8, 8, 3))
    first = block(images, "first")
    second = block(first, "second")
    third = block(second, "third")
    pooled = keras.layers.GlobalAveragePooling2D()(third)
    return keras.Model(images, keras.layers.Dense(3, activation="softmax")(pooled))


IMAGES = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype(np.float32)


def traced(model, names):
    taps = Taps(model, names)
    return taps, taps.traced({"images": tf.constant(IMAGES)})


def convolutions(trace):
    return sum("onv2d" in node.kind.lower() for node in trace.program.nodes)


@pytest.mark.parametrize(
    ("names", "count"),
    [(["first_left"], 1), (["first"], 2), (["second_right"], 3), (["first", "second"], 4)],
)
def test_only_what_is_needed_is_traced_and_values_are_the_models(names, count):
    images = keras.Input((8, 8, 3))
    own = keras.Model(images, block(block(block(images, "first"), "second"), "third"))
    taps, trace = traced(own, names)
    assert convolutions(trace) == count
    found = taps({"images": tf.constant(IMAGES)})
    for name in names:
        wanted = keras.Model(own.input, own.get_layer(name).output)(IMAGES)
        np.testing.assert_allclose(found[name], wanted, rtol=1e-6)


def test_the_output_and_a_second_part_take_the_whole_and_share_it(model):
    _, part = traced(model, ["first"])
    assert traced(model, ["first"])[1] is part
    _, whole = traced(model, ["second"])
    assert convolutions(whole) == 6
    assert traced(model, ["first"])[1] is whole
    assert traced(model, [":logits"])[1] is whole


def test_a_sequential_model_is_cut_too():
    layers = [keras.layers.Dense(4, name=f"dense_{n}") for n in range(4)]
    own = keras.Sequential([keras.Input((5,)), *layers])
    taps = Taps(own, ["dense_1"])
    found = taps({"images": tf.ones([2, 5])})["dense_1"]
    np.testing.assert_allclose(found, layers[1](layers[0](np.ones([2, 5]))), rtol=1e-6)
    trace = taps.traced({"images": tf.ones([2, 5])})
    assert sum(node.kind == "MatMul" for node in trace.program.nodes) == 2


def test_what_cannot_be_cut_is_whole():
    class Own(keras.Model):
        def call(self, values):
            return super().call(values) * 2.0

    images = keras.Input((8, 8, 3))
    shared = keras.layers.Conv2D(3, 1, name="shared")
    outputs = block(shared(shared(images)), "last")
    own, plain = Own(images, outputs), keras.Model(images, outputs)
    around = keras.Sequential([keras.Input((8, 8, 3)), plain, keras.layers.ReLU()])
    assert cut_behind(own, images, [own.get_layer("last_left")]) is None
    assert cut_behind(plain, images, [shared]) is None
    assert cut_behind(plain, images, [plain.get_layer("last")]) is None
    assert cut_behind(around, around.inputs, [plain.get_layer("last_left")]) is None
    assert cut_behind(plain, images, [plain.get_layer("last_left")]) is not None


def test_a_cut_counts_no_names_and_keeps_no_model(model):
    before = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).name
    actmax.maximize(model, actmax.Channel("first", 1), input_range=(0, 1), regularizers=[], steps=1)
    after = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).name
    number = [int(name.rpartition("_")[2]) if "_" in name else 0 for name in (before, after)]
    assert number[1] == number[0] + 1
    images = keras.Input((8, 8, 3))
    own = keras.Model(images, block(block(images, "first"), "second"))
    traced(own, ["first"])
    gone = weakref.ref(own)
    del own, images
    keras.backend.clear_session()
    gc.collect()
    assert gone() is None


def test_a_model_that_changed_is_traced_anew():
    images = keras.Input((8, 8, 3))
    own = keras.Model(images, block(block(images, "first"), "second"))
    taps, part = traced(own, ["first_left"])
    own.get_layer("first_left").activation = keras.activations.tanh
    found = taps({"images": tf.constant(IMAGES)})["first_left"]
    np.testing.assert_allclose(found, own.get_layer("first_left")(IMAGES), rtol=1e-6)
    assert taps.traced({"images": tf.constant(IMAGES)}) is not part
