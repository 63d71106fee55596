"""The two kinds of regularizer: weights, names, functions made into parts, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import regularizers
from regularizers import L2, Jitter, LInf, Penalty, TotalVariation, Transform, base


@regularizers.penalty
def brightness(images):
    return tf.reduce_mean(images, axis=(1, 2, 3))


@regularizers.transform
def fade(images, seeds, step):
    return 0.5 * images


# Weights


@pytest.mark.parametrize(
    ("weight", "stored"),
    [
        (2, 2.0),
        (np.float32(0.5), 0.5),
        (np.array(3), 3.0),
        (tf.constant(0.25), 0.25),
        ([1, 2], (1.0, 2.0)),
        (np.array([1.0, 0.5]), (1.0, 0.5)),
        (tf.constant([1.0, 0.5]), (1.0, 0.5)),
    ],
)
def test_weights_are_stored_as_plain_numbers(weight, stored):
    part = L2(weight)
    assert part.weight == stored
    assert hash(part) == hash(L2(stored))


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), [1.0, float("nan")], []])
def test_weights_are_finite(weight):
    with pytest.raises(
        ValueError, match=r"Expected the weight of l2 to be finite. Received: .*Give"
    ):
        L2(weight)


@pytest.mark.parametrize("weight", ["1", b"1", None, True, object(), ["a"], [[1.0]]])
def test_weights_are_numbers_sequences_or_schedules(weight):
    with pytest.raises(TypeError, match=r"Expected the weight of l2 .*Received: .*Give one of the"):
        L2(weight)


def test_multiplying_scales_a_new_penalty():
    part = TotalVariation(2.0, beta=1.5)
    assert 3 * part == part * 3 == TotalVariation(6.0, beta=1.5)
    assert part.weight == 2.0
    assert (2 * L2([1, 2])).weight == (2.0, 4.0)
    assert (2 * L2(lambda step: step + 1)).weight(4) == 10
    assert (2 * (3 * brightness)).weight == 6.0
    assert (2 * brightness).name == "brightness"


@pytest.mark.parametrize("factor", ["2", True, None, [1.0]])
def test_multiplying_takes_numbers_alone(factor):
    with pytest.raises(TypeError):
        factor * L2()


def test_calls_give_the_unweighted_value():
    images = tf.ones([2, 3, 3, 1])
    for weight in (1.0, 5.0, (1.0, 2.0), lambda step: step):
        np.testing.assert_array_equal(L2(weight)(images), [1, 1])


@pytest.mark.parametrize("strength", [0.1, lambda step: 0.1])
def test_numbers_reach_float64_whole(strength):
    assert float(base.value_at(strength, tf.constant(0), tf.float64)) == 0.1


def test_schedules_get_the_step():
    received = base.value_at(lambda step: 2 * step, tf.constant(3), tf.float32)
    assert received.dtype == tf.float32
    assert float(received) == 6


# Names


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (TotalVariation(), "total_variation"),
        (L2(), "l2"),
        (LInf(), "l_inf"),
        (brightness, "brightness"),
    ],
)
def test_names_are_of_functions_or_classes(part, name):
    assert part.name == name


def test_lambdas_and_objects_have_names_too():
    class MeanSquare:
        def __call__(self, images):
            return tf.reduce_mean(images**2, axis=(1, 2, 3))

    assert regularizers.penalty(MeanSquare()).name == "mean_square"
    assert regularizers.penalty(lambda images: images).name == "lambda"


# Functions


def test_functions_become_parts():
    images = tf.ones([2, 3, 3, 1])
    assert isinstance(brightness, Penalty)
    assert isinstance(fade, Transform)
    np.testing.assert_array_equal(brightness(images), [1, 1])
    faded = fade(images, tf.zeros([2, 2], tf.int32), tf.constant(0))
    np.testing.assert_array_equal(faded, 0.5 * images)


def test_default_arguments_are_left_alone():
    part = regularizers.penalty(lambda images, power=2: tf.reduce_mean(images**power, axis=1))
    np.testing.assert_array_equal(part(tf.constant([[1.0, 3.0]])), [5])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: regularizers.penalty(3),
            r"Expected a function \(images\) to make a penalty of. Rec",
        ),
        (lambda: regularizers.penalty(L2), "To write a penalty with parameters, subclass"),
        (lambda: regularizers.penalty(lambda: 0), r"function of \(images\).*Received: lambda\(\)"),
        (lambda: regularizers.transform(lambda images: 0), r"\(images, seeds, step\)"),
        (lambda: regularizers.transform(lambda a, b, c, d: 0), r"lambda\(a, b, c, d\)"),
    ],
)
def test_what_cannot_be_called_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


# Records


def test_parts_are_values():
    assert Jitter(2) == Jitter(2) != Jitter(3)
    assert len({L2(), L2(), L2(on="left")}) == 2
    assert repr(Jitter(2)) == "Jitter(on=None, pixels=2, axes=None)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        L2().weight = 2.0


def test_the_weight_comes_first():
    assert TotalVariation(3.0).weight == 3.0
    assert L2(4.0, on="left").on == "left"


def test_abstract_kinds_cannot_be_made():
    for kind in (Penalty, Transform, regularizers.Affine):
        with pytest.raises(TypeError, match="abstract"):
            kind()


@pytest.mark.parametrize(
    ("limits", "value", "message"),
    [
        ({}, float("inf"), "Expected the x to be a finite number. Received: inf"),
        ({"at_least": 1.0}, 0.5, "a finite number of at least 1. Received: 0.5"),
        ({"above": 0.0}, 0, "a finite number above 0. Received: 0"),
    ],
)
def test_numbers_are_checked(limits, value, message):
    with pytest.raises(ValueError, match=message):
        base.check_number(value, "x", **limits)


def test_sizes_must_be_known():
    with pytest.raises(ValueError, match=r"in somewhere\. Received shape"):
        base.image_sizes(tf.zeros([3]), "somewhere")


def test_axes():
    images = tf.zeros([2, 3, 4, 5])
    assert base.spatial_axes(images) == (1, 2)
    assert base.image_axes(images) == (1, 2, 3)
    assert base.image_sizes(images, "x") == (3, 4, 5)


def test_public_names():
    assert regularizers.__all__ == sorted(regularizers.__all__)
    for name in regularizers.__all__:
        assert hasattr(regularizers, name)
