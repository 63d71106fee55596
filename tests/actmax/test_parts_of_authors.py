"""Parts as authors write them: what they may ask for, and faults that their checkers name."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
import regularizers
from actmax import testing
from regularizers import random

AXES = (1, 2, 3)


def model(images):
    return tf.reduce_sum(images, axis=[1, 2])


def maximizer(part=None, **arguments):
    listed = [] if part is None else [part]
    given = {"input_shape": (4, 4, 1), "input_range": (0, 1), "regularizers": listed}
    return actmax.Maximizer(model, **{**given, "optimizer": actmax.SGD(0.05), **arguments})


@regularizers.penalty
def drawn(images, seeds, step):
    number = random.uniform(seeds, [], dtype=images.dtype)
    value = number + 10.0 * tf.cast(step, images.dtype)
    return value + 0.0 * tf.reduce_mean(images, AXES)


def test_a_penalty_draws_for_its_row_and_sees_the_step():
    run = maximizer(drawn)
    forward = run([0, 0, 0], steps=3, seed=[5, 6, 7]).history["drawn"]
    backward = run([0, 0, 0], steps=3, seed=[7, 6, 5]).history["drawn"]
    np.testing.assert_array_equal(forward, backward[:, ::-1])
    np.testing.assert_array_equal(np.floor(forward), [[0] * 3, [10] * 3, [20] * 3])
    assert len(np.unique(forward % 10)) == 9  # other draws in every row and step
    assert run.traces == 1


def test_a_penalty_that_is_lazy_is_given_the_step_at_which_it_is_looked_at():
    run = maximizer(dataclasses.replace(drawn, every=2))
    values = run([0], steps=5, seed=1).history["drawn"][:, 0]
    np.testing.assert_array_equal(np.floor(values / 10), [0, 0, 2, 2, 4])


def test_a_penalty_of_two_inputs_pulls_both():
    left, right = (keras.Input((4, 4, 1), name=name) for name in ("left", "right"))
    flat = keras.layers.Flatten()(keras.layers.Concatenate()([left, right]))
    network = keras.Model([left, right], keras.layers.Dense(2)(flat))

    @regularizers.penalty
    def alike(images):
        return tf.reduce_mean((images["left"] - images["right"]) ** 2, AXES)

    start = {name: np.full((1, 4, 4, 1), value, "float32") for name, value in
             (("left", 0.75), ("right", 0.25))}  # fmt: skip
    ranges = {"left": (0, 1), "right": (0, 1)}
    part = dataclasses.replace(alike, on=("left", "right"))
    run = actmax.Maximizer(network, input_range=ranges, regularizers=[part],
                           parameterization={"left": actmax.Pixels(), "right": actmax.Pixels()},
                           optimizer=actmax.SGD(0.1))  # fmt: skip
    ends = [
        run([0], steps=1, initial_images=start, weights={"alike": weight}).images
        for weight in (0.0, 1.0)
    ]
    # The gradient of mean((l - r)^2) is 2 (l - r) / 16 on the left, and the opposite on the right.
    for name, sign in (("left", -1), ("right", 1)):
        np.testing.assert_allclose(
            ends[1][name] - ends[0][name], sign * 0.1 * 2 * 0.5 / 16, atol=1e-6
        )
    assert run([0], steps=1, initial_images=start).history["alike"][0, 0] == pytest.approx(0.25)


def test_a_gradient_function_sees_images_seeds_and_step():
    def masked(gradients, images, seeds, step):
        keep = random.uniform(seeds, [1, 1, 1], dtype=gradients.dtype) > 0.5
        bright = tf.cast(keep, gradients.dtype) * tf.cast(images > 0.1, gradients.dtype)
        return gradients * bright * tf.cast(step < 100, gradients.dtype)

    start = np.zeros((8, 4, 4, 1), "float32")
    start[:, :2] = 0.5
    run = maximizer(gradients=[masked], parameterization=actmax.Pixels())
    moved = run([0] * 8, steps=1, seed=list(range(8)), initial_images=start).images != start
    assert not moved[:, 2:].any()
    kept = moved[:, :2].all(axis=AXES)
    assert 0 < kept.sum() < 8 and (kept | ~moved.any(axis=AXES)).all()


def test_proximal_steps_end_at_the_optimum_of_the_lasso_whatever_the_rate():
    # The maximum of w x - s |x| - x^2 / 2 is w with s taken off.
    weights = np.random.default_rng(0).normal(size=(6, 2)).astype("float32")
    half = regularizers.penalty(lambda images: 0.5 * tf.reduce_sum(images * images, 1))
    optimizer = actmax.AfterUpdate(actmax.SGD(), [actmax.Proximal(actmax.soft_threshold, 0.3)])
    run = actmax.Maximizer(
        lambda images: images @ tf.constant(weights), input_shape=(6,), regularizers=[half],
        input_range=actmax.Unbounded(), optimizer=optimizer, parameterization=actmax.Pixels(),
    )  # fmt: skip
    found = run([0, 1], steps=150, learning_rate=[0.2, 0.1]).images
    expected = np.sign(weights.T) * np.maximum(np.abs(weights.T) - 0.3, 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_decorated_parts_are_pickled_by_name_with_their_settings():
    back = pickle.loads(pickle.dumps(3.0 * drawn))  # noqa: S301 - our own bytes
    assert back.weight == 3.0 and back.function is drawn.function


@regularizers.penalty
def branching(images, step):
    return tf.reduce_mean(images, AXES) * (1.0 if step < 3 else 2.0)


@regularizers.penalty
def misshaped(images):
    return tf.reduce_mean(images @ tf.ones([3, 3]), AXES)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"part": branching}, r"the penalty 'branching' to run.*tf.where or tf.cond"),
        ({"part": misshaped}, r"the penalty 'misshaped' to run"),
        ({"gradients": [lambda g: g @ tf.ones([3, 3])]}, r"the gradient function 'lambda' to run"),
    ],
    ids=["if on the step", "shapes", "gradient function"],
)
def test_errors_of_a_part_name_it(arguments, text):
    with pytest.raises(ValueError, match=text):
        maximizer(**arguments)([0], steps=1)


# Checkers of the other kinds


@dataclasses.dataclass(frozen=True)
class L1Ball(actmax.Constraint):
    """The L1 ball of radius 5 (Duchi et al. 2008), or one of three mistakes."""

    mistake: str = ""

    def project(self, images):
        values = tf.reshape(images, [-1, int(np.prod(images.shape[1:]))])
        size = tf.abs(values)
        total = tf.cumsum(tf.sort(size, 1, direction="DESCENDING"), 1)
        count = tf.cast(tf.range(1, size.shape[1] + 1), images.dtype)
        ordered = tf.sort(size, 1, direction="DESCENDING")
        last = tf.reduce_sum(tf.cast(ordered * count > total - 5, tf.int32), 1, keepdims=True)
        if self.mistake != "row of NaN":
            last = tf.maximum(last, 1)
        cut = (tf.gather(total, last - 1, batch_dims=1) - 5) / tf.cast(last, images.dtype)
        cut = tf.abs(cut) if self.mistake == "shrinks" else tf.maximum(cut, 0)
        found = tf.sign(values) * tf.nn.relu(size - cut)
        if self.mistake == "scaled":
            five = tf.constant(5.0, images.dtype)
            found = values * five / tf.maximum(total[:, -1:], five)
        return tf.reshape(found, tf.shape(images))


@pytest.mark.parametrize(
    ("mistake", "law"),
    [("", None), ("row of NaN", "isolated"), ("shrinks", "rest"), ("scaled", "nearest")],
)
def test_projections_on_convex_sets_go_to_the_nearest_point(mistake, law):
    if law is None:
        return testing.check_constraint(L1Ball(), convex=True)
    with pytest.raises(testing.ContractError) as caught:
        testing.check_constraint(L1Ball(mistake), convex=True)
    assert caught.value.law in (law, "idempotent", "finite"), str(caught.value)


@pytest.mark.parametrize(
    ("function", "law"),
    [
        (lambda g: -g, "sign"),
        (lambda g: g - tf.reduce_mean(g, 1, keepdims=True), "axes"),
        (lambda g, seeds: g, "seeds"),
        (lambda g: g * tf.cast(random.uniform(tf.constant([[1, 2]]), g.shape[1:]) > 0.5, g.dtype), "axes"),
    ],
    ids=["turned", "mean over rows", "seeds unused", "one mask for all steps"],
)  # fmt: skip
def test_gradient_functions_keep_sign_and_axes(function, law):
    with pytest.raises(testing.ContractError) as caught:
        testing.check_gradient_function(function)
    assert caught.value.law == law, str(caught.value)


def test_operators_have_a_checker():
    testing.check_operator(actmax.Proximal(actmax.soft_threshold, 0.1), shape=(4, 4, 1))

    def rateless(images, gradients, step, learning_rate):
        return images - 0.01

    def dividing(images, gradients, step):
        return images / tf.reduce_max(tf.abs(gradients), AXES, keepdims=True)

    for operator, law in ((rateless, "rate"), (dividing, "finite")):
        with pytest.raises(testing.ContractError) as caught:
            testing.check_operator(operator, shape=(4, 4, 1))
        assert caught.value.law == law, str(caught.value)


@dataclasses.dataclass(frozen=True)
class Style(actmax.Objective):
    """Distance from Gram matrices (Gatys et al. 2016), with its minus or without."""

    sign: float = -1.0
    layer: str = "features"

    @property
    def layers(self):
        return (self.layer,)

    @property
    def kind(self) -> Any:
        return None

    def __call__(self, activations, targets):
        values = activations[self.layer]
        flat = tf.reshape(values, [-1, values.shape[1] * values.shape[2], values.shape[3]])
        gram = tf.matmul(flat, flat, transpose_a=True) / flat.shape[1]
        return self.sign * tf.reduce_mean((gram - 0.3) ** 2, [1, 2])


def test_a_distance_without_its_minus_is_no_objective():
    layers = [keras.Input((4, 4, 1)), keras.layers.Conv2D(3, 2, activation="relu", name="features",
              kernel_initializer="ones"), keras.layers.Flatten(), keras.layers.Dense(2)]  # fmt: skip
    network = keras.Sequential(layers)
    testing.check_objective(Style(), network)
    with pytest.raises(testing.ContractError) as caught:
        testing.check_objective(Style(1.0), network)
    assert caught.value.law == "sign"
    assert "Put a minus" in str(caught.value)


def test_an_optimizer_that_divides_by_its_own_history_is_tried_with_gradients_of_0():
    @dataclasses.dataclass(frozen=True)
    class Divided(actmax.SGD):
        def init(self, params):
            return tf.nest.map_structure(tf.zeros_like, params)

        def update(self, gradients, state, params, learning_rate):
            state = tf.nest.map_structure(lambda s, g: 0.9 * s + 0.1 * g * g, state, gradients)
            rate = tf.reshape(learning_rate, [-1, 1, 1, 1])

            def move(p, g, s):
                return p - tf.cast(rate, p.dtype) * g / tf.sqrt(s)

            return tf.nest.map_structure(move, params, gradients, state), state

    with pytest.raises(testing.ContractError) as caught:
        testing.check_optimizer(Divided(0.05))
    assert caught.value.law == "finite"


# Terms with a state, the learning rate, and sets that move


@dataclasses.dataclass(frozen=True)
class Inertia(regularizers.Penalty):
    """Mean squared distance from a running mean of the images, which starts at the start."""

    momentum: float = 0.5

    def init(self, images):
        return images

    def update(self, images, state):
        return self.momentum * state + (1 - self.momentum) * images

    def __call__(self, images, state):
        return tf.reduce_mean((images - state) ** 2, AXES)


@pytest.fixture(scope="module")
def inert():
    return maximizer(3.0 * Inertia(), parameterization=actmax.Pixels())


def test_a_term_with_a_state_is_what_it_is_by_hand(inert):
    x = inert([0], steps=0, seed=1).images.astype(np.float64)
    mean, values = x.copy(), []
    for _ in range(5):
        values.append(np.mean((x - mean) ** 2))
        gradient = 1 - 3 * 2 * (x - mean) / 16
        mean = 0.5 * mean + 0.5 * x
        x = np.clip(x + 0.05 * gradient, 0, 1)
    result = inert([0, 0], steps=5, seed=[2, 1])
    np.testing.assert_allclose(result.history["inertia"][:, 1], values, rtol=1e-4)
    np.testing.assert_allclose(result.images[1], x[0], atol=1e-6)
    other = inert([0, 0, 0], steps=5, seed=[1, 3, 2])
    np.testing.assert_array_equal(other.images[[2, 0]], result.images)
    assert inert.traces == 1


def test_a_term_with_a_state_goes_on_from_a_checkpoint(inert, tmp_path):
    class StopError(Exception):
        pass

    def stop(snapshot):
        if snapshot.step == 4 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise StopError

    arguments = {
        "steps": 6,
        "callbacks": [stop],
        "callback_every": 2,
        "checkpoint": tmp_path / "run",
    }
    with pytest.raises(StopError):
        inert([0, 0], seed=[1, 2], **arguments)
    again = inert([0, 0], seed=[1, 2], **arguments)
    whole = inert([0, 0], seed=[1, 2], steps=6)
    np.testing.assert_array_equal(again.images, whole.images)
    np.testing.assert_array_equal(again.history["inertia"], whole.history["inertia"])


def test_a_state_of_another_shape_names_the_penalty():
    class Growing(Inertia):
        def update(self, images, state):
            return tf.concat([state, images], -1)

    with pytest.raises(ValueError, match="update of the penalty 'growing' to return a state like"):
        maximizer(Growing(), parameterization=actmax.Pixels())([0], steps=1)
    with pytest.raises(TypeError, match="to have the methods init"):
        type("Halfway", (regularizers.Penalty,), {"__call__": lambda self, images, state: images})()


def test_penalties_and_gradient_functions_get_the_rate_of_the_row_and_operators_seeds():
    @regularizers.penalty
    def rated(images, learning_rate):
        return learning_rate + 0.0 * tf.reduce_mean(images, AXES)

    def by_rate(gradients, learning_rate):
        return 0.05 * gradients / tf.reshape(learning_rate, [-1, 1, 1, 1])

    def shaken(images, gradients, step, seeds):
        return images + 0.01 * random.normal(seeds, images.shape[1:], dtype=images.dtype)

    run = maximizer(rated, gradients=[by_rate], parameterization=actmax.Pixels(),
                    optimizer=actmax.AfterUpdate(actmax.SGD(), [shaken]))  # fmt: skip
    result = run([0, 0], steps=2, seed=[1, 1], learning_rate=[0.1, 0.2])
    np.testing.assert_allclose(result.history["rated"], [[0.1, 0.2]] * 2, rtol=1e-6)
    np.testing.assert_array_equal(result.images[0], result.images[1])  # rate times 0.05 / rate
    other = run([0, 0], steps=2, seed=[2, 1], learning_rate=[0.1, 0.1]).images
    np.testing.assert_array_equal(other[1], result.images[0])
    assert (other[0] != other[1]).all()


@dataclasses.dataclass(frozen=True)
class Falling(actmax.Constraint):
    """Images in [0, 1 - step / 10]."""

    low = 0.0
    high = 1.0

    def project(self, images, step):
        return tf.clip_by_value(images, 0.0, 1.0 - 0.1 * tf.cast(step, images.dtype))


class Noisy(actmax.Constraint):
    def project(self, images, seeds):
        return images + 0.01 * random.normal(seeds, images.shape[1:], dtype=images.dtype)


def test_a_set_moves_with_the_step_and_draws_for_its_row():
    pixels = {"parameterization": actmax.Pixels(), "optimizer": actmax.SGD(1.0)}
    result = maximizer(input_range=Falling(), **pixels)([0], steps=5)
    assert result.images.max() == np.float32(1.0 - 0.1 * 4) and result.distance[0] == 0
    both = maximizer(input_range=actmax.Box(0.1, 1) & Falling(), **pixels)([0], steps=4)
    assert both.images.max() == np.float32(1.0 - 0.1 * np.float32(3))
    run = maximizer(input_range=Noisy(), **pixels)
    forward, backward = run([0, 0], steps=2, seed=[1, 2]), run([0, 0], steps=2, seed=[2, 1])
    np.testing.assert_array_equal(forward.images, backward.images[::-1])
    assert (forward.images[0] != forward.images[1]).all()
    testing.check_constraint(Falling())


@dataclasses.dataclass(frozen=True)
class Around(actmax.Constraint):
    """Images near a reference, which is used with its axes or with rows for columns."""

    reference: Any = dataclasses.field(compare=False, repr=False)
    turned: bool = False

    def project(self, images):
        center = self.reference.transpose(1, 0, 2) if self.turned else self.reference
        center = tf.constant(center, images.dtype)
        return tf.clip_by_value(images, center - 0.1, center + 0.1)


def test_an_array_of_a_set_is_used_with_its_own_axes():
    reference = np.random.default_rng(0).uniform(0.2, 0.8, (6, 6, 3))
    with pytest.raises(testing.ContractError) as caught:
        testing.check_constraint(Around(reference, turned=True))
    assert caught.value.law == "axes"
