"""What cannot be right is an error before anything is traced, or a status that names its cause."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
import regularizers
from actmax import Maximizer, Status

SHAPE = (6, 6, 3)


def make_model(head=None, name="small"):
    parts = [
        keras.Input(SHAPE),
        keras.layers.Conv2D(3, 3, activation="tanh", name="conv"),
        keras.layers.Flatten(),
        keras.layers.Dense(4, name="out"),
    ]
    model = keras.Sequential(parts + ([] if head is None else [head]), name=name)
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(0.0, 0.4, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


# Arguments of Maximizer: (arguments, error, what the message must say).

CONSTRUCTION = {
    "model is a path": ({"model": "m.keras"}, TypeError, "Load it first: actmax.load_model"),
    "model is an empty list": ({"model": []}, ValueError, "Expected at least one model"),
    "objective is a class": ({"objective": actmax.Logit}, TypeError, "Write the parentheses"),
    "objective is a number": ({"objective": 3}, TypeError, "Classes go into targets="),
    "objective is a range": ({"objective": range(3)}, TypeError, "Classes go into targets="),
    "objective is a name": ({"objective": "conv"}, TypeError, "as in actmax.Channel"),
    "objective is something else": ({"objective": 0.5}, TypeError, "Expected an objective such as"),
    "no such layer": ({"objective": actmax.Channel("cnv")}, ValueError, "Did you mean 'conv'"),
    "no range": ({"input_range": None}, ValueError, "as input_range=(0, 1)"),
    "reversed range": ({"input_range": (1, 0)}, ValueError, "Give the smaller bound first"),
    "range of NaN": ({"input_range": (0, np.nan)}, ValueError, "to be a finite number"),
    "range of three": ({"input_range": (0, 1, 2)}, TypeError, "Expected input_range to be a pair"),
    "no list": ({"regularizers": regularizers.L2()}, TypeError, "Put it in [...]"),
    "bare function": ({"regularizers": [len]}, TypeError, "Decorate it with @regularizers.penalty"),
    "a tuple with a weight": (
        {"regularizers": [(0.1, regularizers.L2())]}, TypeError, "The weight is the first argument",
    ),
    "regularizer is a class": (
        {"regularizers": [regularizers.L2]}, TypeError, "Write the parentheses: L2()",
    ),
    "no such input": (
        {"regularizers": [regularizers.L2(on="mask")]}, ValueError, "Received: 'mask'",
    ),
    "parameterization is a name": (
        {"parameterization": "fourier"}, TypeError, "such as actmax.Pixels()",
    ),
    "optimizer is a name": ({"optimizer": "adam"}, TypeError, "such as actmax.Adam(0.05)"),
    "clipnorm couples rows": (
        {"optimizer": keras.optimizers.Adam(0.1, clipnorm=1.0)}, ValueError, "Take clipnorm",
    ),
    "gradients is a function": (
        {"gradients": actmax.Normalize()}, TypeError, "gradients to be a list of functions",
    ),
    "metric of a taken name": (
        {"metrics": {"score": lambda x: x}}, ValueError, "['score'], already taken",
    ),
    "no copies": ({"copies": 0}, ValueError, "copies to be at least 1"),
    "labels is a text": ({"labels": "cat"}, TypeError, "labels to be a list of names"),
    "unknown compile": ({"compile": True}, ValueError, "Expected compile to be one of"),
    "unknown precision": ({"precision": "half"}, ValueError, "Expected precision to be one of"),
    "canvas without channels": ({"canvas": (8, 8, 3)}, ValueError, "canvas=(height, width)"),
    "input_shape that does not fit": (
        {"input_shape": (5, 5, 3)}, ValueError, "give canvas=",
    ),
    "fixed input that is none": ({"fixed": {"age": [[1.0]]}}, ValueError, "Received: 'age'"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CONSTRUCTION))
def test_a_wrong_part_is_refused_at_construction(model, name):
    given, error, text = CONSTRUCTION[name]
    arguments = {"model": model, "input_range": (0, 1), "regularizers": [], **given}
    with pytest.raises(error) as caught:
        Maximizer(**arguments)
    message = str(caught.value)
    assert message.startswith("Expected ")
    assert "Received: " in message
    assert text in message


# Arguments of the call.

CALL = {
    "no targets": ({"targets": None}, ValueError, "Give targets=range(10)"),
    "empty targets": ({"targets": []}, ValueError, "Give targets=[0]"),
    "target beyond the classes": ({"targets": [0, 7]}, ValueError, "7 at position 1"),
    "negative target": ({"targets": [-1]}, ValueError, "targets counted from 0"),
    "target is a fraction": ({"targets": [0.5]}, TypeError, "a whole number or a name as target 0"),
    "target is a flag": ({"targets": [True]}, TypeError, "a whole number or a name as target 0"),
    "misspelt name": ({"targets": ["dgo"]}, ValueError, "Did you mean 'dog'?"),
    "images beside targets": ({"images": 2}, ValueError, "Drop images="),
    "steps below 0": ({"steps": -1}, ValueError, "Expected steps to be in [0, 2147483646]"),
    "steps is a fraction": ({"steps": 2.5}, TypeError, "Expected steps to be an integer"),
    "seed is a name": ({"seed": "a"}, TypeError, "Expected seed to be an integer"),
    "too few seeds": ({"seed": [1]}, ValueError, "one seed, or 2 of them"),
    "unknown weight": ({"weights": {"tv": 1.0}}, ValueError, "['tv']"),
    "weights that do not fit": (
        {"weights": {"l2": [1.0, 2.0, 3.0]}}, ValueError, "a number or 2 numbers, one per image",
    ),
    "infinite weight": ({"weights": {"l2": np.inf}}, ValueError, "the weight of l2 to be finite"),
    "negative rate": ({"learning_rate": -1.0}, ValueError, "negate the objective"),
    "start of another shape": (
        {"initial_images": np.zeros((1, 5, 5, 3))}, ValueError, "of shape [1 or N, 6, 6, 3]",
    ),
    "start without a batch": (
        {"initial_images": np.zeros(SHAPE)}, ValueError, "One image needs images[None].",
    ),
    "start out of range": (
        {"initial_images": np.full((1, *SHAPE), 200.0)}, ValueError, "200, above it",
    ),
    "start of NaN": (
        {"initial_images": np.full((1, *SHAPE), np.nan)}, ValueError, "nan at index (0, 0, 0, 0)",
    ),
    "too many starts": (
        {"initial_images": np.zeros((3, *SHAPE))}, ValueError, "one for each of the 2 targets",
    ),
    "callback is a number": ({"callbacks": [3]}, TypeError, "Expected a callback or a function"),
    "no step between callbacks": ({"callback_every": 0}, ValueError, "to be at least 1"),
    "unknown keep": ({"keep": "first"}, ValueError, "Expected keep to be one of"),
}  # fmt: skip


@pytest.fixture(scope="module")
def untraced(model):
    return Maximizer(
        model, input_range=(0, 1), regularizers=[regularizers.L2()],
        labels=["cat", "dog", "emu", "fox"],
    )  # fmt: skip


@pytest.mark.parametrize("name", list(CALL))
def test_a_wrong_argument_of_the_call_is_refused_before_anything_is_traced(untraced, name):
    given, error, text = CALL[name]
    with pytest.raises(error) as caught:
        untraced(**{"targets": [0, 1], "steps": 3, **given})
    message = str(caught.value)
    assert message.startswith("Expected ")
    assert "Received: " in message
    assert text in message
    assert untraced.traces == 0


def test_an_unknown_argument_of_maximize_is_refused_with_the_nearest(model):
    with pytest.raises(TypeError, match=r"Did you mean 'steps'\?"):
        actmax.maximize(model, targets=[0], input_range=(0, 1), step=3)


# NaN, in every place, at step 1 and step 5.

RATE = 0.01
FAILING, COUNT = 1, 3


class Clock:
    """A run whose pixel [0, 0, 0] counts the steps: every step adds `RATE` to it, in every row.

    A part can then fail at a step of its choice, in graph, without state: it looks at that pixel.
    The failing row starts where the clock is visible; the others far from it.
    """

    @staticmethod
    def starts():
        images = np.full((COUNT, *SHAPE), 0.5, np.float32)
        images[FAILING, 0, 0, 0] = 2.0
        return images

    @staticmethod
    def struck(images, step):
        """Whether the failing row has reached a step. `[N, ...] -> [N]`."""
        return images[:, 0, 0, 0] > 2.0 + (step - 0.5) * RATE


def nan_where(struck, values):
    # Added, so that the gradient of the healthy rows is as without it.
    nan = tf.where(struck, tf.constant(np.nan, values.dtype), tf.zeros([], values.dtype))
    return values + tf.reshape(nan, [-1] + [1] * (values.shape.rank - 1))


def clocked(images):
    """A model whose output is the clock; its gradient moves that pixel by `RATE` a step."""
    return images[:, 0, 0, :1]


def failing_objective(step):
    def objective(output):
        return nan_where(output[:, 0] > 2.0 + (step - 0.5) * RATE, output[:, 0])

    return {"objective": objective}


def failing_penalty(step):
    def broken(images):
        return nan_where(Clock.struck(images, step), images[:, 0, 0, 0] * 0.0)

    return {"regularizers": [regularizers.penalty(broken)]}


@dataclasses.dataclass(frozen=True)
class FailingPixels(actmax.Parameterization):
    """Pixels, which decode to NaN once the clock has struck."""

    step: int = 1

    def init(self, shape, seed, dtype=tf.float32):
        return tf.zeros([seed.shape[0], *shape], dtype)

    def decode(self, params, shape):
        return nan_where(Clock.struck(params, self.step), params)

    def encode(self, images):
        return images


def failing_gradient(step):
    @tf.custom_gradient
    def mark(x):
        # The gradient carries the step: it is larger once the clock has struck.
        return tf.identity(x), lambda up: tf.where(x > 2.0 + (step - 0.5) * RATE, 1.5 * up, up)

    def spoilt(gradients):
        return nan_where(tf.abs(gradients[:, 0, 0, 0]) > 1.25, gradients)

    return {"model": lambda images: mark(images[:, 0, 0, :1]), "gradients": [spoilt]}


def rates(step):
    # One rate per step and image; 3e38 twice over is beyond float32.
    table = np.full((8, COUNT), RATE)
    table[step, FAILING] = 3e38
    return table


PLACES = {
    "objective": (failing_objective, "The score was not finite at step {}"),
    "penalty": (failing_penalty, "The penalty 'broken' was not finite at step {}"),
    "gradient function": (failing_gradient, "A gradient function made the gradient not finite"),
    "parameterization": (
        lambda step: {"parameterization": FailingPixels(step)},
        "The parameterization or the constraint made an image that was not finite at step {}",
    ),
    "learning rate": (lambda step: {"factor": 10.0}, "The update was not finite"),
}  # fmt: skip


def run_clock(step, place, targets_failing=True):
    arguments = {"model": clocked, "objective": lambda output: output[:, 0], "regularizers": []}
    arguments |= PLACES[place][0](step)
    factor = arguments.pop("factor", 1.0)
    if factor != 1.0:
        arguments["objective"] = lambda output: factor * output[:, 0]
    maximizer = Maximizer(
        **arguments, input_range=actmax.Unbounded(), input_shape=SHAPE, optimizer=actmax.SGD(RATE)
    )
    bad = Clock.starts()
    fine = np.full_like(bad, 0.5)
    call = {"images": COUNT, "steps": 8}
    rate = rates(step) if place == "learning rate" else RATE
    failed = maximizer(initial_images=bad, learning_rate=rate, **call)
    healthy = maximizer(initial_images=fine, learning_rate=RATE, **call)
    return failed, healthy, maximizer


@pytest.mark.parametrize("step", [1, 5])
@pytest.mark.parametrize("place", list(PLACES))
def test_a_nan_ends_its_row_with_its_place_and_step_and_leaves_the_others(place, step):
    failed, healthy, maximizer = run_clock(step, place)
    expected = [Status.OK] * COUNT
    expected[FAILING] = Status.NON_FINITE
    assert failed.status.tolist() == expected
    message = failed.messages[FAILING]
    assert PLACES[place][1].format(step) in message
    assert f"at step {step}; the image is the last finite one." in message
    assert failed.steps.tolist() == [8, step, 8]
    assert np.all(np.isfinite(failed.images))
    assert healthy.status.tolist() == [Status.OK] * COUNT
    others = [row for row in range(COUNT) if row != FAILING]
    assert failed.images[others].tobytes() == healthy.images[others].tobytes()
    assert maximizer.traces == 1


def test_a_penalty_without_a_gradient_is_refused():
    @regularizers.penalty
    def count(images):
        return tf.reduce_sum(tf.cast(images > 0.5, tf.float32), axis=(1, 2, 3))

    maximizer = Maximizer(make_model(), input_range=(0, 1), regularizers=[count])
    with pytest.raises(ValueError, match="a penalty 'count' that depends differentiably"):
        maximizer([0], steps=1)


def test_on_failure_raise_makes_an_error_of_it():
    _, _, maximizer = run_clock(1, "objective")
    with pytest.raises(actmax.NonFiniteError, match=r"image 1 \(1\): The score was not finite"):
        maximizer(images=COUNT, initial_images=Clock.starts(), steps=4, on_failure="raise")


def test_a_nan_in_a_weight_of_the_model_is_named():
    bad = make_model()
    kernel = np.array(bad.get_layer("out").kernel)
    kernel[0, 1] = np.nan
    bad.get_layer("out").kernel.assign(kernel)
    result = actmax.maximize(bad, targets=[0, 1, 2], input_range=(0, 1), regularizers=[], steps=3)
    # The score of unit 1 is NaN; of the others only the gradient, in which 0 times NaN is summed.
    assert result.status.tolist() == [Status.NON_FINITE] * 3
    assert "The score was not finite at step 0" in result.messages[1]
    assert "The gradient was not finite, though the score was at step 0" in result.messages[0]
    assert "The model's weight 'small/out/kernel'" in result.messages[1]
    alone = actmax.maximize(bad, targets=[0], input_range=(0, 1), regularizers=[], steps=3)
    assert "The model's weight 'small/out/kernel'" in alone.messages[0]


def test_a_dead_relu_is_no_gradient():
    dead = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2, activation="relu")]
    )
    dead.set_weights([np.zeros((108, 2)), np.array([-1.0, -1.0])])
    result = actmax.maximize(dead, targets=[0, 1], input_range=(0, 1), regularizers=[], steps=3)
    assert result.status.tolist() == [Status.NO_GRADIENT] * 2
    assert "The gradient was zero at all 3 steps" in result.messages[0]
    assert "try another seed" in result.messages[0]


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_a_model_of_integers_is_refused(dtype):
    inputs = keras.Input(SHAPE, dtype=dtype)
    outputs = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    with pytest.raises(ValueError, match=f"Received: dtype {dtype}"):
        Maximizer(keras.Model(inputs, outputs), input_range=(0, 255))


CUTS = {
    "argmax": (lambda x: tf.cast(tf.argmax(x, axis=1), tf.float32)[:, 0], "ArgMax"),
    "round": (lambda x: tf.round(x)[:, 0, 0], "Round"),
    "stop_gradient": (lambda x: tf.stop_gradient(x)[:, 0, 0], "StopGradient"),
    "integer cast": (lambda x: tf.cast(tf.cast(x, tf.int32), tf.float32)[:, 0, 0], "Cast"),
}


@pytest.mark.parametrize("name", list(CUTS))
def test_what_cuts_the_gradient_is_named(name):
    model, operation = CUTS[name]
    with pytest.raises(ValueError, match=f"no gradient.*{operation}") as caught:
        actmax.maximize(
            model, lambda output: tf.reduce_sum(output, axis=1), input_shape=SHAPE,
            input_range=(0, 1), regularizers=[], images=2,
        )  # fmt: skip
    assert "cut the gradient" in str(caught.value)


def test_python_code_in_the_graph_is_named():
    def sine(x):
        return tf.ensure_shape(tf.numpy_function(np.sin, [x], tf.float32), [None, *SHAPE])[:, 0, 0]

    with pytest.raises(
        ValueError, match=r"Received: .*tf\.numpy_function at 'PyFunc'.*no gradient"
    ):
        actmax.maximize(
            sine, lambda output: tf.reduce_sum(output, axis=1), input_shape=SHAPE,
            input_range=(0, 1), regularizers=[], images=2,
        )  # fmt: skip


def test_a_model_that_answers_in_numpy_is_refused():
    with pytest.raises(TypeError, match="calls predict or NumPy has no gradient"):
        actmax.maximize(
            lambda images: np.zeros((2, 3)), targets=[0, 1], input_shape=SHAPE, input_range=(0, 1)
        )


@pytest.mark.parametrize("known", [(6,), (None, 6), (None, 4, 4, 6)], ids=str)
def test_an_input_shape_of_another_rank_or_size_is_refused_for_every_kind_of_input(known):
    given = keras.Input(known)
    network = keras.Model(given, keras.layers.Dense(2)(given))
    for shape in (tuple(5 if size else 9 for size in known), (8, 8, 3), (2,)):
        with pytest.raises(ValueError, match="Expected an input_shape that fits the model's"):
            actmax.maximize(
                network, lambda outputs: outputs, input_shape=shape, input_range=(0, 1), images=1
            )
