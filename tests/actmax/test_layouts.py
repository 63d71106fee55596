"""Channels first and last alike: what a part makes of one layout is what it makes of the other.

Every kind of layer stands in two models with the same weights, one for each layout. The right values are
those of the channels-last one computed by Keras, and NumPy on its activations.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax.models import Taps
from actmax.objectives import CHANNELS_LAST

layers = keras.layers
SIZES = {1: (9,), 2: (7, 8), 3: (4, 5, 6)}
CHANNELS = 3


def _norm(kind, form, rank, **more):
    return kind(axis=1 if form == "channels_first" else -1, name="seen", **more)


# By name: how many axes of space, and the layer, given its data format.
KINDS = {
    "conv1": (1, lambda f: layers.Conv1D(4, 3, data_format=f, name="seen")),
    "conv2": (2, lambda f: layers.Conv2D(4, 3, data_format=f, name="seen")),
    "conv3": (3, lambda f: layers.Conv3D(4, 3, data_format=f, name="seen")),
    "groups": (2, lambda f: layers.Conv2D(6, 3, groups=3, data_format=f, name="seen")),
    "depthwise1": (1, lambda f: layers.DepthwiseConv1D(3, data_format=f, name="seen")),
    "depthwise2": (2, lambda f: layers.DepthwiseConv2D(3, data_format=f, name="seen")),
    "separable": (2, lambda f: layers.SeparableConv2D(4, 3, data_format=f, name="seen")),
    "max1": (1, lambda f: layers.MaxPooling1D(2, data_format=f, name="seen")),
    "average2": (2, lambda f: layers.AveragePooling2D(2, data_format=f, name="seen")),
    "average3": (3, lambda f: layers.AveragePooling3D(2, data_format=f, name="seen")),
    "batch_norm": (2, lambda f: _norm(layers.BatchNormalization, f, 2)),
    "group_norm": (2, lambda f: _norm(layers.GroupNormalization, f, 2, groups=3)),
    "layer_norm": (2, lambda f: _norm(layers.LayerNormalization, f, 2)),
    "padding": (2, lambda f: layers.ZeroPadding2D(1, data_format=f, name="seen")),
    "larger": (2, lambda f: layers.UpSampling2D(2, data_format=f, name="seen")),
}
# Keras compiles these with XLA in one layout: the right values are those of the same layout.
OWN = ("conv3", "groups")
# The sums of conv3 are large at the start, where the tanh behind it is flat: a run says so, rightly.
SATURATES = pytest.mark.filterwarnings("ignore:Expected activations that do not saturate")


def _weights(shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype("float32") * 0.5


@functools.cache
def pair(kind):
    """The two models, `(first, last)`, with a pool and a dense layer of the same weights on top."""
    rank, make = KINDS[kind]
    made = []
    for form in ("channels_first", "channels_last"):
        size = SIZES[rank]
        shape = (CHANNELS, *size) if form == "channels_first" else (*size, CHANNELS)
        given = keras.Input(shape)
        seen = make(form)(given)
        behind = layers.Activation("tanh", name="behind")(seen)
        pool = getattr(layers, f"GlobalAveragePooling{rank}D")(data_format=form)(behind)
        model = keras.Model(given, layers.Dense(2, name="head")(pool))
        for place, variable in enumerate(model.weights):
            value = _weights(variable.shape, place)
            variable.assign(np.abs(value) + 0.1 if "variance" in variable.path else value)
        made.append(model)
    return tuple(made)


def last(kind, images):
    """What Keras makes of images: the layer, the activation, the output, channels last."""
    model = pair(kind)[kind not in OWN]
    seen = [model.get_layer(name).output for name in ("seen", "behind")]
    call = keras.Model(model.input, [*seen, model.output])
    if kind in OWN:
        found = [np.asarray(value) for value in call(first(images), training=False)]
        return [np.moveaxis(value, 1, -1) if value.ndim > 2 else value for value in found]
    return [np.asarray(value) for value in call(images, training=False)]


@functools.cache
def pictures(kind, count=2):
    size = SIZES[KINDS[kind][0]]
    return np.random.default_rng(5).uniform(size=(count, *size, CHANNELS)).astype("float32")


def first(images):
    return np.moveaxis(images, -1, 1)


@functools.cache
def kernels():
    """Kinds whose pass or gradient Keras refuses with channels first on this CPU."""
    missing = set()
    for kind in KINDS:
        model = pair(kind)[0]
        images = tf.constant(first(pictures(kind)))

        @tf.function(autograph=False)
        def slope(images, model=model):
            with tf.GradientTape() as tape:
                tape.watch(images)
                total = tf.reduce_sum(model(images, training=False))
            return tape.gradient(total, images)

        try:
            slope(images)
        except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
            missing.add(kind)
    return missing


def runs(kind):
    if kind in kernels():
        pytest.skip("Keras has no kernel for it on this CPU")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", ["seen", "behind"])
def test_a_layer_hands_over_its_channels_last(kind, layer):
    runs(kind)
    images = pictures(kind)
    found = Taps(pair(kind)[0], [layer, layer + CHANNELS_LAST])(
        {"images": tf.constant(first(images))}
    )
    expected = last(kind, images)[layer == "behind"]
    np.testing.assert_allclose(found[layer + CHANNELS_LAST], expected, atol=2e-5)
    np.testing.assert_allclose(found[layer], first(expected), atol=2e-5)


OBJECTIVES = {
    "channel": (actmax.Channel, lambda a, t: a.reshape(len(a), -1, a.shape[-1]).mean(1)[[0, 1], t]),
    "neuron": (
        actmax.Neuron,
        lambda a, t: a[(slice(None), *(s // 2 for s in a.shape[1:-1]))][[0, 1], t],
    ),
    "layer": (actmax.Layer, lambda a, t: (a**2).reshape(len(a), -1).mean(1)),
}


@SATURATES
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_scores_and_gradients_are_those_of_the_other_layout(kind, name):
    runs(kind)
    part, by_hand = OBJECTIVES[name]
    objective = part("behind")
    images = pictures(kind)
    targets = None if objective.kind is None else [0, 2]
    value, gradient = maximizer(kind, objective, 0).value_and_gradient(first(images), targets)
    np.testing.assert_allclose(value, by_hand(last(kind, images)[1], [0, 2]), atol=2e-5)
    if kind in OWN:
        return
    same, twin = maximizer(kind, objective, 1).value_and_gradient(images, targets)
    np.testing.assert_allclose(value, same, atol=2e-5)
    np.testing.assert_allclose(gradient, first(twin), atol=2e-5)


@functools.cache
def maximizer(kind, objective, which, **more):
    settings = {"input_range": (0, 1), "regularizers": [], "compile": "plain"} | more
    return actmax.Maximizer(pair(kind)[which], objective, **settings)


@SATURATES
@pytest.mark.parametrize(
    "kind", ["conv3", "groups", "depthwise2", "separable", "group_norm", "conv2"]
)
def test_a_direction_is_one_among_channels(kind):
    runs(kind)
    images = pictures(kind)
    activations = last(kind, images)[1]
    vector = np.arange(1.0, activations.shape[-1] + 1)
    objective = actmax.Direction("behind", vector=tuple(vector))
    value, _ = maximizer(kind, objective, 0).value_and_gradient(first(images))
    dot = activations @ (vector / np.linalg.norm(vector))
    np.testing.assert_allclose(value, dot.reshape(2, -1).mean(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "kind", ["conv3", "groups", "depthwise1", "depthwise2", "group_norm", "conv2"]
)
def test_a_unit_that_does_not_exist_is_refused(kind):
    runs(kind)
    count = last(kind, pictures(kind))[1].shape[-1]
    with pytest.raises(ValueError, match=rf"in 0\.\.{count - 1}"):
        maximizer(kind, actmax.Channel("behind"), 0)([0, count], steps=0)


def test_a_catalog_has_an_entry_for_each_unit(tmp_path):
    found = actmax.catalog(
        pair("separable")[0], [actmax.Channel("seen")], out=tmp_path / "units", input_range=(0, 1),
        regularizers=[], steps=1, compile="plain",
    )  # fmt: skip
    assert len(found) == 4


def test_a_run_with_mask_bounds_and_pictures_is_the_run_of_the_other_layout(tmp_path):
    kind = "separable"
    images = np.random.default_rng(5).uniform(0.1, 0.4, (2, *SIZES[2], 3)).astype("float32")
    mask = np.zeros(SIZES[2])
    mask[2:5] = 1.0
    settings = {
        "input_range": ((0, 0.1, 0), (1, 0.5, 2)),
        "regularizers": [],
        "mask": mask,
        "compile": "plain",
    }
    found = []
    for which in (0, 1):
        start = images if which else first(images)
        frames = actmax.Frames()
        run = actmax.Maximizer(pair(kind)[which], actmax.Channel("seen"), **settings)
        found.append(run([1, 3], steps=3, initial_images=start, callbacks=[frames]))
        assert frames.film(*found[-1].bounds()).frames.shape[2:] == (*SIZES[2], 3)
    ours, theirs = found
    assert ours.images.shape == (2, 3, *SIZES[2])
    np.testing.assert_allclose(ours.images, first(theirs.images), atol=1e-5)
    np.testing.assert_array_equal(ours.images[:, :, 5:], first(images)[:, :, 5:])
    np.testing.assert_array_equal(ours.to_uint8().shape, theirs.to_uint8().shape)
    assert ours.images[:, 1].max() <= 0.5 + 1e-6 and ours.images[:, 2].max() > 0.5 - 1e-6
    back = actmax.Result.load(ours.save(tmp_path / "run"))
    np.testing.assert_array_equal(back.pictures(), ours.pictures())
    value = actmax.evaluate(
        ours, model=pair(kind)[0], objective=actmax.Channel("seen"), classes=[0, 1]
    )
    assert abs(value["honesty_gap_float"]) < 1e-5


@pytest.mark.parametrize("channels", [1, 3])
def test_the_default_recipe_is_that_of_images(channels):
    given = keras.Input((channels, 12, 14))
    seen = layers.SeparableConv2D(3, 3, data_format="channels_first")(given)
    model = keras.Model(given, layers.Dense(2)(layers.Flatten()(seen)))
    made = actmax.Maximizer(model, input_range=(0, 1))
    assert made.problem.inputs[0].shape == (12, 14, channels)
    kind = "gray_images" if channels == 1 else "color_images"
    result = made([0], steps=1)
    assert result.config["chosen"]["recipe"].startswith(kind) and result.shows()


def test_bounds_of_other_channels_than_the_images_have_are_refused():
    total = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(ValueError, match="one for each of its 1 channels"):
        actmax.Maximizer(total, input_range=((0, 0, 0), (1, 1, 1)))
