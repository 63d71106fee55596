"""What is left of a run when its Maximizer is gone: nothing, and of a model nothing when it is gone."""

import gc
import weakref

import keras
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

import actmax
from regularizers import Flip, Jitter, RandomCrop, Rotate, TotalVariation


def second_output(outputs):
    return outputs[:, 1]


def network():
    layers = [keras.layers.Conv2D(4, 3, name="conv"), keras.layers.BatchNormalization()]
    top = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]
    return keras.Sequential([keras.Input((12, 12, 3)), *layers, *top])


def graphs():
    gc.collect()
    return sum(type(one).__name__.endswith("FuncGraph") for one in gc.get_objects())


def entries():
    return len(ops.gradient_registry.list())


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.mark.parametrize(
    "given",
    [
        {"targets": [1]},
        {
            "targets": [1],
            "regularizers": [TotalVariation(0.1), TotalVariation(0.1, beta=2), Jitter(1)],
        },
        {"targets": [1], "regularizers": [Rotate(5), RandomCrop((10, 10)), Flip()]},
        {"objective": actmax.Channel("conv", 0), "regularizers": [], "compile": "recompute"},
        {"objective": second_output, "input_range": actmax.Contrast(0.1), "regularizers": []},
    ],
    ids=["default", "variation", "warps", "recompute", "function and contrast"],
)
def test_a_run_leaves_no_graph_and_no_registered_gradient(model, given):
    given = {"input_range": (0, 1), "steps": 1, **given}
    actmax.maximize(model, **given)  # the model's own trace stays with it
    kept, known = graphs(), entries()
    actmax.maximize(model, **given)
    # Other tests' graphs may go meanwhile.
    assert graphs() <= kept
    assert entries() <= known


def test_a_model_that_is_gone_takes_its_trace_along():
    before = graphs()
    model = network()
    actmax.maximize(model, targets=[1], input_range=(0, 1), steps=1)
    gone = weakref.ref(model)
    del model
    keras.backend.clear_session()
    assert graphs() <= before
    assert gone() is None


def test_tensorflows_own_keeps_graphs_or_ours_is_not_needed():
    """What `regularizers.slopes` is for."""

    @tf.custom_gradient
    def same(values):
        return tf.identity(values), lambda upstream: upstream

    made = tf.function(lambda values: 2.0 * same(values)).get_concrete_function(tf.TensorSpec([2]))
    kept = weakref.ref(made.graph)
    del made
    gc.collect()
    assert kept() is not None
