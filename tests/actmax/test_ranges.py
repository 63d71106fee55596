"""The range of an input, as the model's own operations say it, and what is done to images before a network.

What is right follows from how each front was made: of the values that black and white have, by hand.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax.evaluation.networks import Judge
from actmax.models import detect_range, readings
from actmax.models.structure import InputSpec
from actmax.resizing import resize

layers = keras.layers
SHAPE = (8, 8, 3)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def _adapted(low, high):
    layer = layers.Normalization(axis=-1)
    layer.adapt(np.random.default_rng(0).beta(2, 1.5, size=(99, 8, 8, 3)) * (high - low) + low)
    return layer


def _normalized(scale):
    return layers.Normalization(mean=MEAN * scale, variance=(STD * scale) ** 2)


# By name: the range, and what stands before the first convolution.
FRONTS = {
    "nothing": (None, lambda x: x),
    "identity": (None, layers.Rescaling(1.0)),
    "layer / 255": ((0, 255), layers.Rescaling(1 / 255)),
    "layer / 127.5 - 1": ((0, 255), layers.Rescaling(1 / 127.5, -1)),
    "layer 2 x - 1": ((0, 1), layers.Rescaling(2.0, -1)),
    "layer (x + 1) / 2": ((-1, 1), layers.Rescaling(0.5, 0.5)),
    "layer std x + mean": (None, layers.Rescaling(STD, MEAN)),
    "operation / 255": ((0, 255), lambda x: x / 255.0),
    "operation (x - 127.5) / 127.5": ((0, 255), lambda x: (x - 127.5) / 127.5),
    "operation (x + 1) 127.5": ((-1, 1), lambda x: (x + 1.0) * 127.5),
    "operation 1 - x": ((0, 1), lambda x: 1.0 - x),
    "operation x 255": ((0, 1), lambda x: x * 255.0),
    "x 255, then layer / 255": ((0, 1), lambda x: layers.Rescaling(1 / 255)(x * 255.0)),
    "Lambda x 255, then / 127.5 - 1": (
        (0, 1), lambda x: layers.Rescaling(1 / 127.5, -1)(layers.Lambda(lambda y: y * 255.0)(x)),
    ),
    "(x + 1) 127.5, then / 255": ((-1, 1), lambda x: layers.Rescaling(1 / 255)((x + 1.0) * 127.5)),
    "/ 255, then mean and std": ((0, 255), lambda x: _normalized(1.0)(x / 255.0)),
    "mean and std of 0..1": ((0, 1), _normalized(1.0)),
    "mean and std of 0..255": ((0, 255), _normalized(255.0)),
    "adapted to 0..1": ((0, 1), _adapted(0, 1)),
    "adapted to 0..255": ((0, 255), _adapted(0, 255)),
    "adapted to -1..1": (None, _adapted(-1, 1)),
    "caffe": ((0, 255), keras.applications.vgg16.preprocess_input),
    "tf": ((0, 255), keras.applications.mobilenet_v2.preprocess_input),
    "torch": ((0, 255), keras.applications.densenet.preprocess_input),
    "augmentation": (
        (0, 255),
        keras.Sequential(
            [layers.Resizing(8, 8), layers.RandomFlip(), layers.Rescaling(1 / 255), layers.RandomZoom(0.1)]
        ),
    ),
    "cut out": ((0, 255), lambda x: layers.CenterCrop(6, 6)(x) / 255.0),
    "clipped": ((0, 255), lambda x: keras.ops.clip(x, 0, 255) / 255.0),
    "gray": ((0, 255), lambda x: keras.ops.repeat(keras.ops.image.rgb_to_grayscale(x), 3, -1) / 255.0),
    "turned to blue first": ((0, 255), lambda x: x[..., ::-1] / 255.0),
    "a batch norm": (None, layers.BatchNormalization()),
    "by each image": (None, lambda x: layers.LayerNormalization(axis=[1, 2, 3])(x) / 255.0),
}  # fmt: skip


@functools.cache
def network(front):
    inputs = keras.Input(SHAPE)
    seen = layers.Conv2D(3, 3, name="conv")(FRONTS[front][1](inputs))
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(seen)))


def range_of(model):
    found = detect_range(model)
    return None if found is None else found[0]


@pytest.mark.parametrize("front", FRONTS)
def test_the_range_is_what_the_operations_make_of_black_and_white(front):
    assert range_of(network(front)) == FRONTS[front][0]


@pytest.mark.parametrize("front", ["nothing", "layer / 255", "operation 1 - x", "adapted to -1..1"])
def test_a_run_has_the_range_or_asks_for_it(front):
    expected = FRONTS[front][0]
    if expected is None:
        with pytest.raises(ValueError, match="Expected the input range of 'images'"):
            actmax.Maximizer(network(front))
    else:
        made = actmax.Maximizer(network(front), regularizers=[])
        constraint = made.problem.inputs[0].constraint
        assert (constraint.low, constraint.high) == expected


@pytest.mark.parametrize(
    "front", ["nothing", "layer / 255", "operation 1 - x", "layer (x + 1) / 2"]
)
def test_a_judge_has_the_range_that_a_run_has_else_that_of_0_to_1(front):
    assert Judge(network(front)).bounds == (FRONTS[front][0] or (0.0, 1.0))
    assert Judge(network(front), preprocess=lambda x: x).bounds == (0.0, 1.0)
    assert Judge(network(front), input_range=(0, 2)).bounds == (0, 2)


@pytest.mark.parametrize(
    ("fronts", "match"),
    [
        (("layer / 255", "operation / 255"), None),
        (("layer / 255", "operation 1 - x"), r"the models speak for \(0, 255\), \(0, 1\)"),
        (("layer / 255", "nothing"), r"the models speak for \(0, 255\), nothing"),
    ],
)
def test_members_of_an_ensemble_agree_or_the_range_is_asked_for(fronts, match):
    members = [network(front) for front in fronts]
    if match is None:
        assert actmax.Maximizer(members, regularizers=[]).problem.inputs[0].constraint.high == 255
    else:
        with pytest.raises(ValueError, match=match):
            actmax.Maximizer(members)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("layer / 255", "layer / 127.5 - 1", (0, 255)),
        ("layer / 255", "nothing", None),
        ("layer / 255", "layer 2 x - 1", None),
        ("nothing", "nothing", None),
    ],
)
def test_branches_agree_or_nothing_is_said(one, two, expected):
    inputs = keras.Input(SHAPE)
    seen = [layers.Conv2D(2, 3)(FRONTS[front][1](inputs)) for front in (one, two)]
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Concatenate()(seen)))
    assert range_of(model) == expected


def test_inputs_have_ranges_of_their_own():
    photo, plan = keras.Input(SHAPE, name="photo"), keras.Input(SHAPE, name="plan")
    seen = [layers.Conv2D(2, 3)(photo / 255.0), layers.Conv2D(2, 3)(plan * 2.0 - 1.0)]
    model = keras.Model([photo, plan], layers.GlobalAveragePooling2D()(layers.Concatenate()(seen)))
    made = actmax.Maximizer(model, regularizers=[])
    assert [entry.constraint.high for entry in made.problem.inputs] == [255.0, 1.0]


@pytest.mark.parametrize("wrapped", ["function", "subclass"])
def test_functions_and_subclasses_are_looked_into(wrapped):
    inner = network("layer / 127.5 - 1")

    class Own(keras.Model):
        def call(self, images):
            return inner(images)

    model = Own()
    call = model if wrapped == "subclass" else tf.function(lambda x: inner(x, training=False))
    model(np.zeros((1, *SHAPE), "float32"))
    found = readings(call, [InputSpec("images", SHAPE, "float32")])
    assert found["images"].range == (0.0, 255.0)


@pytest.mark.parametrize(
    "first", [layers.Rescaling(1 / 255), layers.Normalization(mean=0.4, variance=0.05)]
)
def test_of_a_table_no_range_is_guessed(first):
    model = keras.Sequential([keras.Input((3,)), first, layers.Dense(1)])
    assert detect_range(model) is None
    with pytest.raises(ValueError, match="least and the largest value of each column"):
        actmax.Maximizer(model)


def test_with_preprocess_no_range_is_guessed():
    with pytest.raises(ValueError, match="with preprocess= none is guessed"):
        actmax.Maximizer(network("layer / 255"), preprocess=lambda x: x * 255.0)


def _gamma(images):
    return images**0.5


def _trained():
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Resizing(8, 8),
            layers.RandomFlip(),
            layers.BatchNormalization(),
        ]
    )
    for place, variable in enumerate(model.layers[-1].weights):
        variable.assign(np.full(variable.shape, 0.5 + place))
    return model


@functools.cache
def preparing(name):
    """What is given as preprocess=, and what it is at inference."""
    if name == "function":
        return _gamma, _gamma
    model = _trained()
    return {
        "model": model,
        "layer": model.layers[-1],
        "lambda": lambda images: 1.0 * model(images),
    }[name], lambda images: (model.layers[-1] if name == "layer" else model)(images, training=False)


@pytest.mark.parametrize("canvas", [None, (11, 12)])
@pytest.mark.parametrize("name", ["function", "model", "layer", "lambda"])
@pytest.mark.parametrize("place", ["run", "ensemble", "judge", "prior"])
def test_images_are_resized_then_preprocessed_at_inference(place, name, canvas):
    preprocess, right = preparing(name)
    model = normed()
    variables = getattr(preparing("model")[0], "variables", [])
    before = [np.asarray(keras.ops.convert_to_numpy(v)) for v in variables]
    size = canvas or SHAPE[:2]
    images = np.random.default_rng(0).uniform(0.1, 0.9, (2, *size, 3)).astype("float32")
    prepared = right(resize(tf.constant(images), SHAPE))
    outputs = np.asarray(model(prepared, training=False))
    if place == "judge":
        found = Judge(model, preprocess=preprocess).look(images)[":logits"]
        np.testing.assert_allclose(found, outputs, atol=1e-5)
    elif place == "prior":
        penalty = actmax.BatchNormPenalty(1.0, model=model, preprocess=preprocess)
        entering = np.asarray(model.layers[0](prepared))
        norm = model.layers[1]
        mean, variance = (np.asarray(v) for v in (norm.moving_mean, norm.moving_variance))
        gaps = [entering.mean((1, 2)) - mean, entering.var((1, 2)) - variance]
        expected = sum(
            np.linalg.norm(gap, axis=1) / np.linalg.norm(scale)
            for gap, scale in zip(gaps, (np.sqrt(variance), variance), strict=True)
        )
        np.testing.assert_allclose(penalty(tf.constant(images)), expected, rtol=1e-4)
    else:
        members = model if place == "run" else [model, model]
        result = actmax.maximize(
            members, targets=[0, 1], input_range=(0, 1), preprocess=preprocess, canvas=canvas,
            regularizers=[], steps=0, initial_images=images, compile="plain",
        )  # fmt: skip
        np.testing.assert_allclose(result.scores, outputs[[0, 1], [0, 1]], atol=1e-5)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


@functools.cache
def normed():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(3, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Activation("tanh"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
