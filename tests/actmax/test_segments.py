"""`compile="recompute"`: the same scores and gradients from a model in segments, in less memory."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import models
from actmax.models import passes
from actmax.objectives import LOGITS
from regularizers import L2, Jitter, TotalVariation

L = keras.layers


def conv(x, channels=4, **options):
    return L.Conv2D(channels, 3, padding="same", activation="swish", **options)(x)


def residual():
    """Blocks with a way around, a model inside, one shared layer."""
    keras.utils.set_random_seed(0)
    entry = keras.Input((None, None, 4))
    inner = keras.Model(entry, L.BatchNormalization()(conv(conv(entry))), name="inner")
    shared = L.Conv2D(4, 1)
    images = keras.Input((12, 12, 3))
    x = conv(images)
    x = L.Add()([x, conv(conv(x))])
    x = shared(L.Dropout(0.5)(inner(shared(x))))
    x = L.Concatenate()([x, conv(x)])
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(images, L.Dense(5, activation="softmax")(x))


def chain():
    keras.utils.set_random_seed(1)
    layers = [L.Conv2D(4, 3, activation="swish") for _ in range(4)]
    top = [L.GlobalAveragePooling2D(), L.Dense(5)]
    body = keras.Sequential([keras.Input((12, 12, 3)), *layers], name="body")
    return keras.Sequential([keras.Input((12, 12, 3)), body, *top])


def two_heads():
    keras.utils.set_random_seed(2)
    images = keras.Input((12, 12, 3))
    x = conv(conv(conv(images)))
    early = L.Dense(5)(L.GlobalAveragePooling2D()(x))
    late = L.Dense(5)(L.GlobalAveragePooling2D()(conv(conv(x))))
    return keras.Model(images, {"early": early, "late": late})


def trained_way():
    """A norm called with `training=True`, which `model(x, training=False)` overrules."""
    keras.utils.set_random_seed(3)
    images = keras.Input((12, 12, 3))
    x = L.BatchNormalization()(conv(images), training=True)
    x = L.GlobalAveragePooling2D()(conv(conv(x)))
    return keras.Model(images, L.Dense(5)(x))


def pull(model, names=(LOGITS,), **way):
    """Sum of the activations and its gradient at fixed images; and the variant."""
    taps = models.Taps(model, names)
    run = models.Variant(taps, **way) if way else taps
    images = tf.random.stateless_uniform([3, 12, 12, 3], [0, 1])

    @tf.function(autograph=False)
    def graph(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            found = run({"images": images})
            total = tf.add_n([tf.reduce_sum(tf.cast(v, tf.float32) ** 2) for v in found.values()])
        return total, tape.gradient(total, images)

    return [value.numpy().astype(np.float64) for value in graph(images)], run


def chosen(way):
    """The segments of a variant."""
    return planned(way).segments


def planned(way):
    found = way.taps.traced({"images": tf.TensorSpec([None, 12, 12, 3])})
    return way.way.plan(found, ["images"], way.taps.wanted(found)[1])


def assert_same(found, expected, tolerance=1e-5):
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("build", [residual, chain, two_heads, trained_way])
def test_scores_and_gradients_are_the_models_own(build):
    model = build()
    names = ["output/early", "output/late"] if build is two_heads else [LOGITS]
    names = [f":{name}" for name in names] if build is two_heads else names
    (found, way), (wanted, _) = pull(model, names, recompute=True), pull(model, names)
    assert len(chosen(way)) > 1
    assert np.abs(wanted[1]).max() > 0
    assert_same(found, wanted)


@pytest.mark.parametrize("way", [{"fold": True}, {"compute": "bfloat16"}, {"compute": "float64"}])
def test_the_backward_pass_runs_layers_in_the_way_of_the_forward_pass(way):
    """By the time of the gradient, what had been put in place of layers' calls is gone again."""
    model = residual()
    # oneDNN joins other operations of bfloat16 in a segment than in the whole graph, and rounds less often.
    tolerance = 0.03 if way.get("compute") == "bfloat16" else 1e-5
    assert_same(pull(model, recompute=True, **way)[0], pull(model, **way)[0], tolerance)


@pytest.mark.parametrize("build", [residual, chain, trained_way])
def test_segments_have_every_operation_once_and_pass_on_one_tensor(build):
    way = models.Variant(models.Taps(build(), [LOGITS]), recompute=True)
    plan = planned(way)
    nodes = [node for segment in plan.segments for node in segment.nodes]
    assert nodes == list(plan.nodes)
    given = plan.sources
    for segment in plan.segments:
        assert segment.given == given
        known = set(given)
        for node in segment.nodes:
            # Nothing of an earlier segment but the one tensor.
            assert set(node.inputs) & plan.moving <= known
            known |= set(node.outputs)
        assert segment.last or len(segment.results) == 1
        given = segment.results
    assert given == plan.wanted


def test_layers_that_are_asked_for_stay_in_the_last_segment():
    model = residual()
    middle = model.layers[4].name
    found, way = pull(model, [middle, LOGITS], recompute=True)
    assert_same(found, pull(model, [middle, LOGITS])[0])
    found = way.taps.traced({"images": tf.TensorSpec([None, 12, 12, 3])})
    *others, last = chosen(way)
    wanted = way.taps.wanted(found)[0][middle]
    assert wanted in last.results
    assert not any(wanted in node.outputs for part in others for node in part.nodes)
    assert others


def test_recomputed_layers_are_in_the_graph_twice_and_wait_for_the_gradient():
    model = chain()
    way = models.Variant(models.Taps(model, [LOGITS]), recompute=True)

    @tf.function(autograph=False)
    def graph(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            score = tf.reduce_sum(way({"images": images})[LOGITS])
        return tape.gradient(score, images)

    traced = graph.get_concrete_function(tf.TensorSpec([2, 12, 12, 3]))
    convolutions = [op for op in traced.graph.get_operations() if op.type == "Conv2D"]
    *cut, last = chosen(way)
    again = sum(node.operation.type == "Conv2D" for part in cut for node in part.nodes)
    kept = sum(node.operation.type == "Conv2D" for node in last.nodes)
    assert again > 0
    assert len(convolutions) == 2 * again + kept == 4 + again
    waits = [any(before.control_inputs for before in _before(op)) for op in convolutions]
    assert waits == [False] * 4 + [True] * again


def _before(operation):
    """All operations that one reads, near or far."""
    found, waiting = {}, [operation]
    while waiting:
        for tensor in waiting.pop().inputs:
            if tensor.op.name not in found:
                found[tensor.op.name] = tensor.op
                waiting.append(tensor.op)
    return found.values()


_PEAK = """
import resource, sys
import keras, numpy as np, tensorflow as tf
import actmax
layers = [keras.layers.Conv2D(16, 3, padding="same", activation="relu") for _ in range(12)]
top = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
model = keras.Sequential([keras.Input((384, 384, 3)), *layers, *top])
parts = dict(input_range=(0, 1), regularizers=[], compile=sys.argv[1])
start = np.full([1, 384, 384, 3], 0.5, "float32")
result = actmax.Maximizer(model, **parts)([0, 1], steps=3, initial_images=start)
scale = 2**20 if sys.platform == "darwin" else 2**10
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale)
"""


# With glibc, memory that is freed goes back to the system, so that the peak is that of living tensors.
_GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "1000000"}
# A new program's peak counts the memory of the process that starts it: a small one does here.
_START = (
    "import subprocess, sys; sys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)"
)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_a_run_takes_less_memory():
    """Twelve layers of 9 MB per image and layer: at least 100 MB of 220 are not kept."""

    def peak(way):
        run = subprocess.run(
            [sys.executable, "-c", _START, "-c", _PEAK, way],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | _GIVEN_BACK,
        )
        (line,) = [line for line in run.stdout.splitlines() if line.startswith("peak")]
        return float(line.split()[1])

    assert peak("recompute") < peak("plain") - 60


def maximizer(model, **options):
    parts = [TotalVariation(0.1), L2(0.1), Jitter(2)]
    return actmax.Maximizer(model, input_range=(0, 1), regularizers=parts, **options)


def test_a_run_ends_where_the_plain_one_does_and_leaves_the_model_alone():
    model = residual()
    nodes = [len(layer._inbound_nodes) for layer in models.layers(model).values()]
    weights = [weight.numpy().tobytes() for weight in model.weights]
    found = maximizer(model, compile="recompute")([0, 1, 2], steps=20)
    plain = maximizer(model)([0, 1, 2], steps=20)
    np.testing.assert_allclose(found.images, plain.images, atol=1e-4)
    assert found.config["compile"] == "recompute"
    assert [len(layer._inbound_nodes) for layer in models.layers(model).values()] == nodes
    assert [weight.numpy().tobytes() for weight in model.weights] == weights
    assert not any("call" in vars(layer) for layer in models.layers(model).values())


def test_it_follows_the_weights():
    model = residual()
    run = maximizer(model, compile="recompute")
    run([0], steps=1)
    model.layers[1].kernel.assign(2.0 * model.layers[1].kernel + 0.1)
    again, plain = run([0], steps=1), maximizer(model)([0], steps=1)
    np.testing.assert_allclose(again.history["score"], plain.history["score"], rtol=1e-5)
    assert run.traces == 1


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.top = L.Dense(5)

    def call(self, images):
        return self.top(tf.reduce_mean(tf.nn.tanh(3.0 * images), [1, 2]))


def two_inputs():
    images, extra = keras.Input((12, 12, 3), name="image"), keras.Input((2,), name="extra")
    x = L.Concatenate()([L.GlobalAveragePooling2D()(images), extra])
    return keras.Model([images, extra], L.Dense(5)(x))


def test_a_class_of_ones_own_is_cut_as_well():
    model = Own()
    model(tf.zeros([1, 12, 12, 3]))
    (found, way), (wanted, _) = pull(model, recompute=True), pull(model)
    assert len(chosen(way)) > 1
    assert_same(found, wanted)


def test_a_model_of_two_inputs_is_cut_behind_the_place_where_they_meet():
    model = two_inputs()
    images = {"image": tf.random.stateless_uniform([3, 12, 12, 3], [0, 1])}
    images["extra"] = tf.random.stateless_uniform([3, 2], [0, 2])

    def found(**way):
        taps = models.Taps(model, [LOGITS])
        run = models.Variant(taps, **way) if way else taps
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(run(images)[LOGITS] ** 2)
        return tape.gradient(total, images)

    ours, theirs = found(recompute=True), found()
    assert_same([ours[name] for name in images], [theirs[name].numpy() for name in images])


def test_nothing_to_cut_is_an_error():
    model = residual()
    first = actmax.Maximizer(
        model, actmax.Channel(model.layers[1].name), input_range=(0, 1),
        regularizers=[], compile="recompute",
    )  # fmt: skip
    # The convolution, its bias and its activation are cut: what is behind them is not needed.
    assert len(first([0], steps=1).scores) == 1
    one = keras.Sequential([keras.Input((4,)), L.Dense(2, use_bias=False)])
    with pytest.raises(ValueError, match=r"^Expected a place to cut before the layers"):
        actmax.maximize(
            one, targets=[0], input_range=(0, 1), regularizers=[], compile="recompute", steps=1
        )


def test_a_model_that_is_cut_wrongly_is_found_out(monkeypatch):
    own = passes.TracedPass._in_segments
    monkeypatch.setattr(
        passes.TracedPass, "_in_segments", lambda *given: [value + 0.1 for value in own(*given)]
    )
    with pytest.raises(ValueError, match=r"^Expected a model that computes the same layer by"):
        maximizer(residual(), compile="recompute")([0], steps=1)
