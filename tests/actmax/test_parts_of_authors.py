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
