"""Gradients of layers as forward passes: TensorFlow's own gradient, to the last bits."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import actmax
from actmax import models
from actmax.maximizer import fastest_way
from actmax.models import agreement, pooling, products
from actmax.objectives import LOGITS, OUTPUT

L = keras.layers
CHANNELS = 8


def draw(shape, seed=0, dtype=tf.float64):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def pulled(function, images, upstream):
    """What a function returns, and its gradient against `upstream`."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        result = function(images)
    return result.numpy(), tape.gradient(result, images, output_gradients=upstream).numpy()


@pytest.fixture(autouse=True)
def in_float64():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


def adjoint(layer):
    """The layer with gradients as forward passes, and how many operations have one of their own."""
    way = models.Variant(models.Taps(layer, [OUTPUT]), adjoint=True)

    def replaced(images):
        found = way.taps.traced({"images": images})
        plan = way.way.plan(found, ["images"], way.taps.wanted(found)[1])
        return list(plan.program.adjoint)

    return (lambda images: way({"images": images})[OUTPUT]), replaced


def compare(layer, images, *, exact=False):
    """Holds result and gradient to what they are without us; how many gradients are forward passes."""
    upstream = draw(layer(images).shape, 1)
    wanted = pulled(layer, images, upstream)
    function, replaced = adjoint(layer)
    found = pulled(function, images, upstream)
    np.testing.assert_array_equal(found[0], wanted[0])
    if exact:
        np.testing.assert_array_equal(found[1], wanted[1])
    else:
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-11, atol=1e-11)
    assert not set(vars(layer)) & {"call", "convolution_op"}
    return len(replaced(images))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, (1, 3), (5, 2)])
@pytest.mark.parametrize("shape", [(9, 9), (6, 11)])
def test_a_convolution_goes_back_as_a_convolution(size, padding, shape):
    layer = L.Conv2D(5, size, padding=padding, activation="tanh", bias_initializer="ones")
    assert compare(layer, draw([2, *shape, CHANNELS])) == 1


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [2, 3, (1, 2)])
@pytest.mark.parametrize("shape", [(9, 9), (6, 11)])
def test_a_convolution_of_single_pixels_may_skip_some(strides, padding, shape):
    layer = L.Conv2D(5, 1, strides=strides, padding=padding, activation="tanh")
    assert compare(layer, draw([2, *shape, CHANNELS])) == 1


@settings(max_examples=25, deadline=None)
@given(
    high=st.integers(1, 5), wide=st.integers(1, 5), rows=st.integers(5, 9), made=st.integers(1, 6),
    padding=st.sampled_from(["same", "valid"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_back_is_the_transpose_of_forth(high, wide, rows, made, padding, seed):
    layer = L.Conv2D(made, (high, wide), padding=padding, use_bias=False)
    layer.build([None, rows, 7, CHANNELS])
    layer.kernel.assign(draw([high, wide, CHANNELS, made], seed))
    forth, _ = adjoint(layer)
    images = draw([1, rows, 7, CHANNELS], seed + 1)
    result = forth(images)
    upstream = draw(result.shape, seed + 2)
    _, back = pulled(forth, images, upstream)
    np.testing.assert_allclose(
        np.sum(result.numpy() * upstream.numpy()),
        np.sum(images.numpy() * back),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("shape", [[3], [2, 3], [2, 3, 4]])
def test_a_dense_layer_goes_back_through_the_transposed_matrix(shape):
    layer = L.Dense(256, activation="tanh", bias_initializer="ones")
    assert compare(layer, draw([*shape, 256])) == 1


@pytest.mark.parametrize("window", [2, 3, (2, 3), (1, 4)])
@pytest.mark.parametrize("shape", [(6, 12), (7, 13)])
@pytest.mark.parametrize("values", ["distinct", "ties", "constant"])
def test_a_pooling_gives_the_gradient_to_the_first_of_the_largest(window, shape, values):
    images = draw([2, *shape, 3])
    images = {"distinct": images, "ties": tf.round(images), "constant": tf.zeros_like(images)}[
        values
    ]
    assert compare(L.MaxPooling2D(window), images, exact=True) == 1


@pytest.mark.parametrize("shape", [(6, 12), (7, 13)])
def test_a_pooling_over_a_padded_image_has_tensorflows_gradient(shape):
    compare(L.MaxPooling2D(2, padding="same"), tf.round(draw([2, *shape, 3])), exact=True)


def test_an_image_of_open_size_is_pooled_by_tensorflow():
    layer = L.MaxPooling2D(2)
    images = draw([2, 6, 6, 3])

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float64)])
    def graph(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            result = adjoint(layer)[0](images)
        return tape.gradient(result, images)

    wanted = pulled(layer, images, tf.ones([2, 3, 3, 3], tf.float64))[1]
    np.testing.assert_array_equal(graph(images), wanted)


@pytest.mark.parametrize(
    "layer",
    [
        L.Conv2D(4, 3, strides=2), L.DepthwiseConv2D(3), L.Conv2DTranspose(4, 3), L.Dense(4),
        L.MaxPooling2D(3, strides=2), L.AveragePooling2D(2),
        L.Conv2D(4, 3, dtype="mixed_bfloat16"),
    ],
    ids=lambda layer: layer.name,
)  # fmt: skip
def test_other_layers_are_left_alone(layer):
    images = draw([1, 8, 8, CHANNELS])
    layer(images)
    assert adjoint(layer)[1](images) == []


def test_few_channels_are_left_alone():
    thin, images = L.Conv2D(4, 3), draw([1, 8, 8, CHANNELS - 1])
    thin(images)
    assert adjoint(thin)[1](images) == []


def test_a_quantized_layer_is_left_alone():
    layer = L.Dense(256, dtype="float32")
    layer.build([None, 256])
    images = draw([2, 256], dtype=tf.float32)
    assert len(adjoint(layer)[1](images)) == 1
    layer.quantize("int8")
    assert adjoint(layer)[1](images) == []


class Doubled(L.Conv2D):
    def convolution_op(self, inputs, kernel):
        return 2.0 * super().convolution_op(inputs, kernel)


class Standardized(L.Conv2D):
    def convolution_op(self, inputs, kernel):
        mean, variance = tf.nn.moments(kernel, [0, 1, 2], keepdims=True)
        return super().convolution_op(inputs, (kernel - mean) * tf.math.rsqrt(variance + 1e-3))


class Averaged(L.Layer):
    """A layer that gives the layer inside of it another kernel while it is called."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def build(self, shape):
        self.inner.build(shape)
        self.other = self.add_weight(shape=self.inner.kernel.shape, initializer="glorot_uniform")
        self.built = True

    def call(self, inputs):
        own = self.inner._kernel if hasattr(self.inner, "_kernel") else self.inner.kernel
        name = "_kernel" if hasattr(self.inner, "_kernel") else "kernel"
        object.__setattr__(self.inner, name, 0.5 * (tf.convert_to_tensor(own) + self.other))
        result = self.inner(inputs)
        object.__setattr__(self.inner, name, own)
        return result


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: Doubled(4, 3), [2, 8, 8, CHANNELS]),
        (lambda: Standardized(4, 3), [2, 8, 8, CHANNELS]),
        (lambda: Averaged(L.Conv2D(4, 3)), [2, 8, 8, CHANNELS]),
        (lambda: Averaged(L.Dense(256)), [2, 256]),
    ],
    ids=["doubled", "standardized", "averaged", "averaged_dense"],
)
def test_the_kernel_is_the_one_that_the_operation_gets(make, shape):
    assert compare(make(), draw(shape)) == 1


@pytest.mark.parametrize("groups", [2, 4, 8])
@pytest.mark.parametrize("options", [{}, {"padding": "same"}, {"strides": 2, "padding": "same"}])
def test_a_convolution_in_groups_goes_back_group_by_group(groups, options):
    """In every way of computing: TensorFlow's gradient of all groups at once is slow, not wrong."""
    keras.config.set_dtype_policy("float32")
    layer = L.Conv2D(16, 3, groups=groups, activation="tanh", **options)
    images = draw([2, 9, 8, CHANNELS], dtype=tf.float32)
    upstream = draw(layer(images).shape, 1, tf.float32)
    taps = models.Taps(layer, [OUTPUT])
    found = pulled(lambda x: taps({"images": x})[OUTPUT], images, upstream)
    wanted = by_hand(layer, images, upstream, groups)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-4, atol=1e-5)


def by_hand(layer, images, upstream, groups):
    """By hand: as many layers without groups, each with its part of channels and kernel."""

    def parts(images):
        kernels = tf.split(tf.convert_to_tensor(layer.kernel), groups, -1)
        images = tf.split(images, groups, -1)
        made = [
            tf.nn.conv2d(x, kernel, layer.strides, layer.padding.upper())
            for x, kernel in zip(images, kernels, strict=True)
        ]
        return tf.tanh(tf.concat(made, -1) + layer.bias)

    return pulled(parts, images, upstream)


@pytest.mark.parametrize("groups", [2, 8])
def test_a_convolution_of_series_or_volumes_in_groups(groups):
    keras.config.set_dtype_policy("float32")
    kinds = [(L.Conv1D(16, 3, groups=groups), [9]), (L.Conv3D(16, 2, groups=groups), [4, 3, 5])]
    for layer, shape in kinds:
        images = draw([2, *shape, CHANNELS], dtype=tf.float32)
        upstream = draw(layer(images).shape, 1, tf.float32)
        taps = models.Taps(layer, [OUTPUT])
        found = pulled(lambda x, taps=taps: taps({"images": x})[OUTPUT], images, upstream)
        wanted = pulled(layer, images, upstream)
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def first_of_the_largest(volumes, upstream, size, stride, padding):
    """By hand: the gradient of a max pooling over volumes, all of it to the first of the largest."""
    found = np.zeros_like(volumes)
    made = upstream.shape[1:4]
    before = [
        max((m - 1) * s + k - side, 0) // 2 if padding == "same" else 0
        for m, s, k, side in zip(made, stride, size, volumes.shape[1:4], strict=True)
    ]
    for n, *place, c in np.ndindex(*upstream.shape):
        begin = [p * s - b for p, s, b in zip(place, stride, before, strict=True)]
        window = [
            range(max(b, 0), min(b + k, side))
            for b, k, side in zip(begin, size, volumes.shape[1:4], strict=True)
        ]
        part = volumes[n][np.ix_(*window)][..., c]
        at = np.unravel_index(np.argmax(part), part.shape)
        found[(n, *(w[i] for w, i in zip(window, at, strict=True)), c)] += upstream[(n, *place, c)]
    return found


@pytest.mark.parametrize("values", ["distinct", "near", "constant"])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), ((1, 2, 3), (1, 1, 2))])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_pooling_over_volumes_pays_each_window_once(values, size, stride, padding):
    """TensorFlow's kernel pays all values within 1e-5 of the largest, in full."""
    volumes = draw([2, 5, 4, 6, 2], dtype=tf.float32).numpy()
    volumes = {"distinct": volumes, "near": volumes * 1e-6, "constant": np.ones_like(volumes)}[
        values
    ]
    layer = L.MaxPooling3D(size, strides=stride, padding=padding, dtype="float32")
    upstream = draw(layer(volumes).shape, 1, tf.float32)
    taps = models.Taps(layer, [OUTPUT])
    result, found = pulled(lambda x: taps({"images": x})[OUTPUT], tf.constant(volumes), upstream)
    np.testing.assert_array_equal(result, layer(volumes))
    sizes = [(value,) * 3 if isinstance(value, int) else value for value in (size, stride)]
    wanted = first_of_the_largest(volumes, upstream.numpy(), *sizes, padding)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def network():
    keras.utils.set_random_seed(0)
    images = keras.Input((16, 15, 3))
    x = L.Conv2D(8, 3, activation="relu")(images)
    x = L.BatchNormalization()(L.Conv2D(12, 3, padding="same")(x))
    x = L.MaxPooling2D(2)(L.ReLU()(x))
    inner = keras.Sequential([keras.Input(x.shape[1:]), L.Conv2D(16, 1), L.Conv2D(16, 2)])
    x = L.Flatten()(inner(x))
    x = L.Dense(256, activation="relu")(x)
    return keras.Model(images, L.Dense(5, activation="softmax")(x))


@pytest.fixture
def model():
    return network()


def scores_and_gradient(model, **way):
    taps = models.Taps(model, [LOGITS])
    seen = models.Variant(taps, **way) if way else taps
    images = draw([3, *model.input_shape[1:]])

    @tf.function
    def graph(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            score = seen({"images": images})[LOGITS][:, 1]
        return score, tape.gradient(score, images)

    return [value.numpy() for value in graph(images)]


@pytest.mark.parametrize("way", [{}, {"fold": True}], ids=["plain", "folded"])
def test_a_network_scores_the_same_and_has_the_same_gradient(model, way):
    wanted = scores_and_gradient(model, **way)
    found = scores_and_gradient(model, **way, adjoint=True)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_allclose(found[1], wanted[1], rtol=0, atol=1e-10 * np.abs(wanted[1]).max())


def test_layers_are_found_inside_models_and_nothing_remains_of_them(model):
    layers = {id(layer): layer for layer in models.layers(model).values()}.values()
    images = tf.TensorSpec([None, *model.input_shape[1:]], tf.float64)
    kinds = adjoint(model)[1](images)
    assert sorted(kinds) == ["Conv2D"] * 3 + ["MatMul", "MaxPool"]
    scores_and_gradient(model, adjoint=True)
    assert not any(set(vars(layer)) & {"call", "convolution_op"} for layer in layers)


def test_it_is_for_cpus_without_onednn(monkeypatch):
    def chosen(name="plain", precision=None, gpu=False):
        return fastest_way.way_of(name, precision, gpu=gpu).adjoint

    for known in (True, None):
        monkeypatch.setattr(fastest_way, "onednn", lambda known=known: known)
        assert not chosen()
    monkeypatch.setattr(fastest_way, "onednn", lambda: False)
    assert chosen() and chosen("fold") and chosen("auto") and chosen("recompute")
    assert not any(chosen(name) for name in (False, "xla"))
    assert not chosen(gpu=True) and not chosen(precision="bfloat16")


def test_the_loop_follows_the_weights(monkeypatch, model):
    monkeypatch.setattr(fastest_way, "onednn", lambda: False)
    settings = {"input_range": (0, 1), "regularizers": [], "copies": 1}
    turned = actmax.Maximizer(model, **settings)
    images = np.random.default_rng(0).uniform(size=(2, 16, 15, 3))
    first = turned.value_and_gradient(images, [0, 1])[1]
    for layer in (model.layers[1], model.layers[-2]):
        layer.kernel.assign(2.0 * layer.kernel + 0.05)
    again = turned.value_and_gradient(images, [0, 1])[1]
    eager = actmax.Maximizer(model, **settings, compile=False)
    wanted = eager.value_and_gradient(images, [0, 1])[1]
    assert np.abs(first - again).max() > 1e-3
    np.testing.assert_allclose(again, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


PROGRAM = """
import numpy as np, actmax
from actmax import models, zoo
assert models.onednn() is False
model = zoo.load("mnist")
ways = [
    actmax.Maximizer(model, input_range=(0, 1), regularizers=[], copies=1, compile=way)
    for way in ("plain", False)
]
images = np.random.default_rng(0).uniform(size=(10, 28, 28, 1)).astype("float32")
images[:5, 10:] = 0.0  # one value everywhere: every window is a tie
(ours, found), (theirs, wanted) = (way.value_and_gradient(images, range(10)) for way in ways)
np.testing.assert_allclose(ours, theirs, rtol=1e-5)
np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
"""


def test_without_onednn_the_default_has_tensorflows_gradient():
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]


class Inside(L.Layer):
    """A convolution called where Keras does not look: in a function, a loop or a map."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.inner = L.Conv2D(CHANNELS, 3, padding="same")

    def build(self, shape):
        self.inner.build(shape)
        self.built = True

    def call(self, x):
        if self.how == "function":
            return tf.function(self.inner.__call__)(x)
        if self.how == "map":
            return tf.map_fn(lambda image: self.inner(image[None])[0], x)

        def body(i, x):
            return i + 1, tf.tanh(self.inner(x))

        return tf.while_loop(lambda i, _: i < 3, body, (0, x), maximum_iterations=3)[1]


def ending(middle):
    images = keras.Input((12, 12, CHANNELS))
    x = L.Dense(256)(L.Dense(300)(L.Flatten()(middle(images))))
    return keras.Model(images, L.Dense(4)(x))


def adapted():
    model = ending(L.Conv2D(9, 3))
    for layer in model.layers:
        if hasattr(layer, "enable_lora"):
            layer.enable_lora(2)
    draws = np.random.default_rng(0)
    for weight in model.weights:
        if "lora" in weight.path:
            weight.assign(draws.normal(size=weight.shape))
    return model


def over_time():
    apart = L.Reshape((2, 6, 12, CHANNELS))
    distributed = [L.TimeDistributed(layer) for layer in (L.Conv2D(9, 3), L.MaxPooling2D(2))]
    return ending(keras.Sequential([keras.Input((12, 12, CHANNELS)), apart, *distributed]))


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.steps = [L.Conv2D(9, 3), L.Flatten(), L.Dense(300), L.Dense(4)]

    def call(self, x):
        for step in self.steps:
            x = step(x)
        return x


def own():
    model = Own()
    model(tf.zeros([1, 12, 12, CHANNELS]))
    return model


@pytest.mark.parametrize(
    "make",
    [
        adapted, over_time, own, lambda: ending(Inside("function")),
        lambda: ending(Inside("loop")), lambda: ending(Inside("map")),
        lambda: ending(L.Conv2D(9, 3, dtype="mixed_bfloat16")),
    ],
    ids=["lora", "time", "subclass", "function", "loop", "map", "mixed"],
)  # fmt: skip
def test_wherever_a_layer_is_called_the_gradient_is_the_same(monkeypatch, make):
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    model = make()
    monkeypatch.setattr(fastest_way, "onednn", lambda: False)
    images = np.random.default_rng(0).uniform(size=(3, 12, 12, CHANNELS))
    settings = {"input_range": (0, 1), "regularizers": [], "copies": 1}
    settings["input_shape"] = images.shape[1:]
    found, wanted = (
        actmax.Maximizer(model, **settings, compile=way).value_and_gradient(images, [0, 1, 2])
        for way in ("plain", False)
    )
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], wanted[1], rtol=0, atol=1e-5 * np.abs(wanted[1]).max())


@pytest.fixture
def compared_afresh(monkeypatch):
    monkeypatch.setattr(agreement, "_KNOWN", {})


def two_layers():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 9, CHANNELS)),
            L.Conv2D(CHANNELS, 3, padding="same", activation="tanh"),
            L.MaxPooling2D(2),
            L.Flatten(),
            L.Dense(3),
        ]
    )


@pytest.mark.usefixtures("compared_afresh")
@pytest.mark.parametrize(
    ("owner", "name", "wrong", "kept"),
    [
        (products.Product, "_convolved", lambda found: 1.01 * found, ["MaxPool"]),
        (products.Product, "_convolved", lambda found: found[:, 1:], ["MaxPool"]),
        (pooling.Windows, "slope", lambda found: tf.reverse(found, [2]), ["Conv2D"]),
    ],
    ids=["another size", "another shape", "another place"],
)
def test_a_gradient_that_differs_is_not_used_and_the_record_says_so(
    monkeypatch, owner, name, wrong, kept
):
    own = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *given: wrong(own(*given)))
    monkeypatch.setattr(fastest_way, "onednn", lambda: False)
    layer = two_layers()
    assert compare(layer, draw([2, 8, 9, CHANNELS])) == len(kept)
    maximizer = actmax.Maximizer(layer, input_range=(0, 1), regularizers=[])
    result = maximizer([0], steps=1)
    (said,) = result.config["left_out"]
    assert said.startswith("Conv2D: " if kept == ["MaxPool"] else "MaxPool: ")
    _, gradient = maximizer.value_and_gradient(result.images, [0])
    wanted = pulled(layer, tf.constant(result.images), tf.one_hot([0], 3, dtype=tf.float64))[1]
    np.testing.assert_allclose(gradient, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("compared_afresh")
def test_equal_operations_are_compared_once(monkeypatch):
    compared = []
    difference = agreement._difference
    monkeypatch.setattr(
        agreement, "_difference", lambda *given: compared.append(given[0]) or difference(*given)
    )
    for _ in range(2):
        assert compare(two_layers(), draw([2, 8, 9, CHANNELS])) == 2
    assert sorted(compared) == ["Conv2D", "MaxPool"]
    monkeypatch.setattr(fastest_way, "onednn", lambda: False)
    result = actmax.maximize(
        two_layers(), targets=[0], input_range=(0, 1), regularizers=[], steps=1
    )
    assert "left_out" not in result.config
