"""The learning rate that goes with the params, where a user names a parameterization and no optimizer."""

from __future__ import annotations

import keras
import pytest

import actmax
from actmax import zoo

RANGE = (0, 255)


def rate(**given):
    maximizer = actmax.Maximizer(zoo.load("cifar10"), input_range=RANGE, **given)
    return maximizer.problem.optimizer.learning_rate, maximizer(0, steps=0).config["chosen"]


@pytest.mark.parametrize("part", [actmax.Fourier(), actmax.Blurred(), actmax.LaplacianPyramid(2)])
def test_params_that_are_no_images_have_no_steps_in_units_of_the_range(part):
    assert rate(parameterization=part, regularizers=[])[0] == 0.05


@pytest.mark.parametrize("more", [{}, {"regularizers": []}], ids=["recipe", "plain"])
def test_pixels_have_steps_in_units_of_the_range(more):
    assert rate(parameterization=actmax.Pixels(), **more)[0] == 0.05 * 255


@pytest.mark.parametrize("more", [{}, {"regularizers": []}], ids=["recipe", "plain"])
@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (actmax.CPPN(2, 8), 0.005),
        (actmax.Decorrelated(actmax.CPPN(2, 8)), 0.005),
        (actmax.LowResolutionSum(actmax.CPPN(2, 8), factors=(2,)), 0.005),
        (actmax.Strokes(), 0.02),
    ],
)
def test_a_parameterization_brings_its_own_rate(part, expected, more):
    found, chosen = rate(parameterization=part, **more)
    assert found == expected
    assert chosen["optimizer"] == f"rate {expected:g}, which fits the parameterization given"


def test_an_optimizer_that_is_given_stays():
    found, chosen = rate(parameterization=actmax.Strokes(), optimizer=actmax.Adam(0.3))
    assert found == 0.3
    assert "optimizer" not in chosen


def test_of_several_inputs_the_smallest_rate_that_one_asks_for_holds():
    inputs = [keras.Input((8, 8, 1), name=name) for name in "ab"]
    flat = [keras.layers.Flatten()(x) for x in inputs]
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Concatenate()(flat)))
    parts = {"a": actmax.CPPN(1, 4), "b": actmax.Strokes()}
    maximizer = actmax.Maximizer(
        model, input_range={"a": (0, 1), "b": (0, 1)}, parameterization=parts
    )
    assert maximizer.problem.optimizer.learning_rate == 0.005
