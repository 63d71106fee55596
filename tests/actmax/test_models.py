"""Every kind of model: taps by path, the softmax found, inputs and outputs by name, nothing changed."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import Maximizer, ProbabilityWarning, maximize
from actmax.models import Taps, detect_range, layer_paths, look_like_probabilities
from actmax.objectives import LOGITS

layers = keras.layers
SHAPE = (6, 6, 3)


def seeded(model):
    """The model with weights from a seed of its own; Keras draws from a global one."""
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(0.0, 0.5, w.shape) for w in model.get_weights()])
    return model


def body():
    return [layers.Conv2D(3, 3, activation="tanh", name="conv"), layers.Flatten(name="flat")]


def sequential(*end, inputs=SHAPE):
    return seeded(keras.Sequential([keras.Input(inputs), *body(), *end]))


def batch(*shape, count=2):
    return np.random.default_rng(1).uniform(size=(count, *shape)).astype(np.float32)


def run(model, objective=None, targets=(0, 1), **arguments):
    given = {"input_range": (0, 1), "regularizers": [], "steps": 2, **arguments}
    return maximize(model, objective, list(targets) if targets is not None else None, **given)


# Layers by path.


class Subclassed(keras.Model):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.conv = layers.Conv2D(3, 3, name="conv")
        self.head = keras.Sequential([layers.Flatten(), layers.Dense(4, name="dense")], name="head")

    def call(self, inputs):
        return keras.ops.softmax(self.head(self.conv(inputs)))


def built_subclass():
    model = Subclassed()
    model(np.zeros((1, *SHAPE), np.float32))
    return seeded(model)


def nested(depth):
    model = keras.Sequential([keras.Input(SHAPE), *body()], name="level0")
    for level in range(1, depth + 1):
        inputs = keras.Input(SHAPE)
        model = keras.Model(inputs, model(inputs), name=f"level{level}")
    return seeded(model)


def test_a_built_sequential_is_tapped_by_name():
    model = sequential(layers.Dense(4, name="out"))
    found = Taps(model, ("conv",))({"images": tf.constant(batch(*SHAPE))})
    expected = model.get_layer("conv")(batch(*SHAPE))
    np.testing.assert_allclose(found["conv"], expected, rtol=1e-6)


def test_an_unbuilt_sequential_asks_for_its_input_shape_and_then_runs():
    model = keras.Sequential([*body(), layers.Dense(4)])
    with pytest.raises(ValueError, match=r"Give input_shape=\(height, width, channels\)"):
        run(model)
    assert run(model, input_shape=SHAPE).images.shape == (2, *SHAPE)


def test_a_subclassed_model_is_tapped_also_inside_its_parts():
    model = built_subclass()
    assert {"conv", "head", "head/dense"} <= set(layer_paths(model))
    found = Taps(model, ("head/dense", LOGITS))({"images": tf.constant(batch(*SHAPE))})
    np.testing.assert_array_equal(found["head/dense"], found[LOGITS])
    assert run(model, actmax.Channel("conv"), input_shape=SHAPE).status.tolist() == [0, 0]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_nested_model_is_tapped_by_path(depth):
    path = "/".join(f"level{level}" for level in range(depth - 1, -1, -1)) + "/conv"
    assert path in layer_paths(nested(depth))
    values = {"images": tf.constant(batch(*SHAPE))}
    expected = Taps(nested(0), ("conv",))(values)["conv"]
    np.testing.assert_allclose(Taps(nested(depth), (path,))(values)[path], expected, rtol=1e-4)


def test_an_unknown_layer_raises_with_the_nearest_paths():
    with pytest.raises(ValueError, match=r"Received: 'level0/cov'\. Did you mean 'level0/conv'"):
        Maximizer(nested(1), actmax.Channel("level0/cov"), input_range=(0, 1))


def shared():
    layer = layers.Dense(3, name="twice", activation="tanh")
    inputs = keras.Input((3,))
    return seeded(keras.Model(inputs, layer(layer(inputs))))


def test_a_shared_layer_is_tapped_call_by_call():
    model, values = shared(), tf.constant(batch(3))
    found = Taps(model, ("twice:0", "twice:1"))({"images": values})
    layer = model.get_layer("twice")
    np.testing.assert_allclose(found["twice:0"], layer(values), rtol=1e-6)
    np.testing.assert_allclose(found["twice:1"], layer(layer(values)), rtol=1e-4)


def test_the_bare_name_of_a_shared_layer_raises_and_lists_its_calls():
    with pytest.raises(ValueError, match=r"one of the calls 'twice:0', 'twice:1'"):
        run(shared(), actmax.Channel("twice"))


def test_a_call_that_a_shared_layer_does_not_have_raises():
    with pytest.raises(ValueError, match=r"a call of 'twice' in 0\.\.1\. Received: 'twice:2'"):
        run(shared(), actmax.Channel("twice:2"))


# Several inputs and outputs.


def two_inputs():
    image, mask = keras.Input((4, 4, 1), name="image"), keras.Input((4, 4, 1), name="mask")
    flat = layers.Flatten()(layers.Multiply()([image, mask]))
    return seeded(keras.Model({"image": image, "mask": mask}, layers.Dense(3)(flat)))


def test_several_inputs_are_optimized_by_name():
    result = run(two_inputs(), input_range={"image": (0, 1), "mask": (-1, 1)})
    assert set(result.images) == {"image", "mask"}
    assert result.images["image"].min() >= 0.0
    assert result.images["mask"].shape == (2, 4, 4, 1)


def test_a_fixed_input_is_held_bit_exactly():
    model, mask = two_inputs(), batch(4, 4, 1, count=1)
    # The model hands its mask out again as a second output.
    inputs = {name: keras.Input((4, 4, 1), name=name) for name in ("image", "mask")}
    out = {"out": model(inputs), "mask": layers.Identity()(inputs["mask"])}
    maximizer = Maximizer(
        keras.Model(inputs, out),
        actmax.Logit(output="out"),
        input_range={"image": (0, 1)},
        fixed={"mask": mask},
        regularizers=[],
    )
    result = maximizer([0, 1], steps=3)
    assert set(result.images) == {"image"}
    assert maximizer._built.fixed["mask"].tobytes() == mask.tobytes()
    logits = model({"image": result.images["image"], "mask": np.repeat(mask, 2, axis=0)})
    np.testing.assert_allclose(result.scores, np.diag(logits), rtol=1e-5)


def test_a_dict_of_outputs_needs_a_name_and_takes_it():
    inputs = keras.Input((4,))
    outputs = {"a": layers.Dense(2, name="x")(inputs), "b": layers.Dense(3, name="y")(inputs)}
    model = seeded(keras.Model(inputs, outputs))
    with pytest.raises(ValueError, match=r"one of the outputs \['a', 'b'\].*output=\.\.\."):
        run(model)
    result = run(model, actmax.Logit(output="b"), targets=[2])
    expected = model(result.images)["b"][0, 2]
    np.testing.assert_allclose(result.scores, [expected], rtol=1e-5)


# The softmax is found, and what stands before it is maximized.


def dense(units=4, **arguments):
    return layers.Dense(units, name="logits", **arguments)


HEADS = {
    "activation": lambda: sequential(dense(activation="softmax")),
    "Softmax layer": lambda: sequential(dense(), layers.Softmax()),
    "Activation layer": lambda: sequential(dense(), layers.Activation("softmax")),
    "nested": lambda: seeded(
        keras.Sequential(
            [keras.Input(SHAPE), keras.Sequential([*body(), dense(activation="softmax")])]
        )
    ),
    "reshape after": lambda: sequential(dense(), layers.Softmax(), layers.Reshape((4,))),
    "cast after": lambda: sequential(
        dense(), layers.Softmax(), layers.Activation("linear", dtype="float64")
    ),
    "sigmoid": lambda: sequential(dense(activation="sigmoid")),
}


@pytest.mark.parametrize("name", list(HEADS))
def test_the_score_is_the_logit_before_the_head(name):
    model = HEADS[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ProbabilityWarning)
        result = run(model)
    kernel, bias = model.get_weights()[-2:]
    conv = sequential(layers.Identity())
    conv.set_weights(model.get_weights()[:-2])
    logits = np.asarray(conv(result.images)) @ kernel + bias
    np.testing.assert_allclose(result.scores, np.diag(logits), rtol=1e-4, atol=1e-5)


def test_the_softmax_of_a_subclassed_model_is_found():
    taps = Taps(built_subclass(), (LOGITS,))
    taps({"images": tf.constant(batch(*SHAPE))})
    assert taps.heads == {"": "softmax"}


def test_a_single_sigmoid_unit_has_two_targets():
    model = sequential(layers.Dense(1, activation="sigmoid"))
    result = run(model, targets=[1, 0], steps=0, seed=[3, 3])
    probability = float(np.ravel(model(result.images[:1]))[0])
    logit = np.log(probability / (1.0 - probability))
    np.testing.assert_allclose(result.scores, [logit, -logit], rtol=1e-3)


def test_a_plain_callable_of_probabilities_warns():
    def model(images):
        # Normalized squares, so that there is no softmax to find.
        values = tf.square(1.0 + tf.reduce_mean(images, axis=[1, 2]))
        return values / tf.reduce_sum(values, axis=-1, keepdims=True)

    with pytest.warns(ProbabilityWarning, match="positive and sum to 1"):
        run(model, input_shape=SHAPE)


@pytest.mark.parametrize(
    "bias", [[0.3, 0.7], [1.0, 0.0], [0.998]], ids=["sum to 1", "all but 0 or 1", "one unit"]
)
def test_a_linear_output_that_is_like_probabilities_at_the_start_does_not_warn(bias):
    """By chance, or because all that is learned is the bias: far from the start it is no probability."""
    size = len(bias)

    def model(images):
        middle = tf.reduce_mean(images, axis=[1, 2, 3])[:, None] - 0.5
        return tf.constant([bias]) + middle * tf.constant([[1.0, -1.0][:size]])

    with warnings.catch_warnings():
        warnings.simplefilter("error", ProbabilityWarning)
        flat = np.full((1, *SHAPE), 0.5, "float32")
        run(model, input_shape=SHAPE, targets=[0], steps=0, initial_images=flat)


@pytest.mark.parametrize(
    ("end", "error", "text"),
    [
        (tf.RaggedTensor.from_tensor, TypeError, r"returns tensors.*RaggedTensor.*to_tensor"),
        (tf.sparse.from_dense, TypeError, r"returns tensors.*SparseTensor.*tf\.sparse\.to_dense"),
        (lambda x: tf.cast(x, tf.complex64), ValueError, r"real numbers.*complex64.*tf\.abs"),
    ],
    ids=["ragged", "sparse", "complex"],
)
def test_outputs_that_no_objective_can_use_are_refused(end, error, text):
    with pytest.raises(error, match=text):
        run(end, targets=[0], input_shape=(4,))


def test_a_saturated_sigmoid_that_cannot_be_found_warns():
    def model(images):
        means = 100.0 * (tf.reduce_mean(images, axis=[1, 2]) + 1.0)
        return tf.square(means) / (1.0 + tf.square(means))

    with pytest.warns(ProbabilityWarning, match="all but 0 or 1"):
        run(model, input_shape=SHAPE)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_probabilities_are_told_by_their_sum_in_their_type(dtype):
    draws = np.random.default_rng(0)
    shares = tf.nn.softmax(tf.constant(draws.normal(size=(3, 1000)), dtype))
    values = tf.cast(shares, tf.float64).numpy()
    assert look_like_probabilities(values)
    assert not look_like_probabilities(values * (0.97 if dtype != "float32" else 0.9999))


def test_a_softmax_by_hand_in_a_plain_callable_is_found():
    def model(images):
        values = tf.exp(tf.reduce_mean(images, axis=[1, 2]))
        return values / tf.reduce_sum(values, axis=-1, keepdims=True)

    with warnings.catch_warnings():
        warnings.simplefilter("error", ProbabilityWarning)
        found = run(model, input_shape=SHAPE)
    means = found.images.mean((1, 2))
    np.testing.assert_allclose(found.scores, means[np.arange(len(means)), found.targets], rtol=1e-5)


# Inputs that are no images.

INPUTS = {
    "vector": ((5,), lambda: layers.Dense(3, name="unit", activation="tanh")),
    "LSTM": ((7, 2), lambda: layers.LSTM(3, name="unit")),
    "Conv1D": ((8, 2), lambda: layers.Conv1D(3, 3, name="unit")),
    "Conv3D": ((4, 4, 4, 1), lambda: layers.Conv3D(3, 2, name="unit")),
}


@pytest.mark.parametrize("name", list(INPUTS))
def test_inputs_need_not_be_images(name):
    shape, make = INPUTS[name]
    model = seeded(keras.Sequential([keras.Input(shape), make(), layers.Flatten()]))
    start = run(model, actmax.Channel("unit"), steps=0)
    end = run(model, actmax.Channel("unit"), steps=20)
    assert end.images.shape == (2, *shape)
    assert np.all(end.scores > start.scores)


# The rest of what a Maximizer takes.


def test_a_model_is_left_as_it_was():
    model = sequential(dense(activation="softmax"))
    weights, config = [w.copy() for w in model.get_weights()], model.get_config()
    trainable = [layer.trainable for layer in model.layers]
    run(model, actmax.Channel("conv") + actmax.Logit())
    assert model.get_config() == config
    assert [layer.trainable for layer in model.layers] == trainable
    assert all("call" not in vars(layer) for layer in [model, *model.layers])
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_preprocess_keeps_colours_where_the_user_sees_them():
    mean = np.array([103.9, 116.8, 123.7], np.float32)

    def bgr_minus_mean(images):
        return images[..., ::-1] - mean

    def red(values):
        # After the preprocessing red is the last channel.
        return tf.reduce_mean(values[..., 2], axis=[1, 2])

    result = run(
        lambda values: values, red, None, input_shape=SHAPE, input_range=(0, 255),
        preprocess=bgr_minus_mean, steps=40, optimizer=actmax.Adam(20.0), images=1,
    )  # fmt: skip
    picture = result.to_uint8()[0]
    assert picture[..., 0].min() == 255
    np.testing.assert_allclose(picture[..., 1:].mean(), 127.5, atol=3)
    np.testing.assert_allclose(result.scores, 255 - mean[2], rtol=1e-4)


def test_a_canvas_of_another_size_is_resized_to_the_model():
    model = sequential(dense())
    result = run(model, canvas=(12, 10))
    assert result.images.shape == (2, 12, 10, 3)
    fitted = tf.image.resize(result.images, SHAPE[:2], antialias=True)
    np.testing.assert_allclose(result.scores, np.diag(model(fitted)), rtol=1e-4, atol=1e-5)


def test_an_ensemble_scores_the_mean_of_its_members():
    first, second = sequential(dense()), sequential(dense())
    second.set_weights([-0.5 * weight for weight in second.get_weights()])
    result = run([first, second])
    expected = (np.diag(first(result.images)) + np.diag(second(result.images))) / 2
    np.testing.assert_allclose(result.scores, expected, rtol=1e-4, atol=1e-5)


def test_eager_agrees_with_compiled():
    model = sequential(dense(activation="softmax"))
    compiled, eager = run(model, steps=5), run(model, steps=5, compile=False)
    np.testing.assert_allclose(eager.images, compiled.images, atol=1e-5)


def test_a_keras_optimizer_instance_is_copied_and_can_be_used_again():
    model, optimizer = sequential(dense()), keras.optimizers.Adam(0.1)
    maximizer = Maximizer(model, input_range=(0, 1), regularizers=[], optimizer=optimizer)
    first, second = maximizer([0, 1], steps=4), maximizer([0, 1], steps=4)
    elsewhere = run(model, optimizer=optimizer, steps=4)
    assert first.images.tobytes() == second.images.tobytes() == elsewhere.images.tobytes()
    assert int(optimizer.iterations) == 0


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (lambda: layers.Rescaling(1 / 255), (0.0, 255.0)),
        (lambda: layers.Rescaling(2.0, offset=-1.0), (0.0, 1.0)),
        (lambda: layers.Rescaling(1 / 127.5, offset=-1.0), (0.0, 255.0)),
        (lambda: layers.Normalization(mean=[0.5] * 3, variance=[0.06] * 3), (0.0, 1.0)),
        (lambda: layers.Normalization(mean=[120.0] * 3, variance=[3600.0] * 3), (0.0, 255.0)),
    ],
)
def test_the_input_range_is_read_off_the_models_own_first_layer(first, expected):
    model = keras.Sequential([keras.Input(SHAPE), first(), layers.Flatten(), layers.Dense(2)])
    assert detect_range(model)[0] == expected
    result = maximize(model, targets=[0], regularizers=[], steps=1)
    assert (result.low["images"], result.high["images"]) == expected
    assert "read off the layer" in result.config["chosen"]["input_range"]


@pytest.mark.parametrize("name", ["resnet50", "vgg16"])
def test_without_a_range_a_model_of_keras_applications_gets_its_preprocessing_offered(name):
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(2)], name=name)
    module = {"resnet50": "resnet", "vgg16": "vgg16"}[name]
    with pytest.raises(ValueError, match=rf"preprocess=keras\.applications\.{module}\.preprocess"):
        Maximizer(model)


class _Private(keras.Model):
    """Keras names it `__private`, which TensorFlow refuses as the name of a scope in a graph."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2, name="my dense (1)")

    def call(self, given):
        return self.dense(given)


def test_names_that_tensorflow_refuses_in_a_graph_are_names():
    model = _Private()
    images = np.random.default_rng(0).uniform(size=[2, 3]).astype("float32")
    wanted = model(images)
    for objective in (actmax.Logit(), actmax.Channel("my dense (1)")):
        maximizer = actmax.Maximizer(
            model, objective, input_range=(0, 1), regularizers=[], input_shape=(3,)
        )
        value, _ = maximizer.value_and_gradient(images, [0, 1])
        np.testing.assert_allclose(value, np.diag(wanted), rtol=1e-5)


def test_a_name_may_end_like_the_number_of_a_call_or_of_a_result():
    images = keras.Input((3,))
    first = keras.layers.Dense(2, name="first:0")(images)
    model = keras.Model(images, keras.layers.Dense(2, name="second[1]")(first))
    wanted = {"first:0": first, "second[1]": model.output}
    pictures = np.random.default_rng(0).uniform(size=[2, 3]).astype("float32")
    for name, tensor in wanted.items():
        maximizer = actmax.Maximizer(
            model, actmax.Channel(name), input_range=(0, 1), regularizers=[]
        )
        value, _ = maximizer.value_and_gradient(pictures, [0, 1])
        np.testing.assert_allclose(value, np.diag(keras.Model(images, tensor)(pictures)), rtol=1e-5)
