"""Constraints refuse what is no set, and say in their attributes what they are."""

from __future__ import annotations

import math

import numpy as np
import pytest

import actmax
from actmax.constraints import Rescale


@pytest.mark.parametrize("kind", [actmax.Box, actmax.Sigmoid])
@pytest.mark.parametrize(
    ("bounds", "error", "words"),
    [
        ((math.nan, 1), ValueError, "lower to be a finite number"),
        ((0, math.inf), ValueError, "upper to be a finite number"),
        (("0", 1), TypeError, "lower to be a number"),
        ((0, "1"), TypeError, "upper to be a number"),
        (((0, math.nan), 1), ValueError, "every value of lower"),
        ((0, (1, True)), TypeError, "every value of upper"),
        ((1, 1), ValueError, "low < high"),
        ((2, 1), ValueError, "low < high"),
        (((0, 0, 1), (1, 1, 1)), ValueError, "low < high"),
    ],
)
def test_a_range_that_is_none(kind, bounds, error, words):
    with pytest.raises(error, match=words):
        kind(*bounds)


@pytest.mark.parametrize("kind", [actmax.Box, actmax.Sigmoid])
def test_bounds_of_channels_are_kept_as_tuples(kind):
    constraint = kind(np.array([-1.0, 0.0]), [1, 2])
    assert (constraint.low, constraint.high) == ((-1.0, 0.0), (1.0, 2.0))
    assert hash(constraint) == hash(kind((-1.0, 0.0), (1.0, 2.0)))


@pytest.mark.parametrize("name", ["lower", "upper"])
def test_a_sigmoid_has_two_ends(name):
    with pytest.raises(ValueError, match=f"{name} of Sigmoid to be finite.*Use Box"):
        actmax.Sigmoid(**{name: None})


@pytest.mark.parametrize(("source", "bounds"), [((1.0, 0.0), (0, 1)), ((0.0, 1.0), (1, 0))])
def test_a_rescaling_needs_ranges(source, bounds):
    with pytest.raises(ValueError, match="low < high"):
        Rescale(*bounds, source)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: actmax.L2Ball(0.0), ValueError, "radius to be positive"),
        (lambda: actmax.L2Ball(-1.0), ValueError, "radius"),
        (lambda: actmax.L2Ball(1.0, center=math.inf), ValueError, "center"),
        (lambda: actmax.PixelBall(0.0), ValueError, "radius to be positive"),
        (lambda: actmax.PixelBall(1.0, center="0"), TypeError, "center"),
        (lambda: actmax.Contrast(0.0), ValueError, "std to be positive"),
        (lambda: actmax.Contrast(0.1, mean=math.nan), ValueError, "mean"),
        (lambda: actmax.Box(0, 1) & actmax.Sigmoid(0, 1), ValueError, "put Box in its place"),
        (lambda: actmax.Box(0, 1) & actmax.Box(2, 3), ValueError, "low < high"),
    ],
)
def test_a_set_that_is_none(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_what_a_set_is():
    assert actmax.Box(0, 1).convex
    assert actmax.L2Ball(1.0).convex
    assert actmax.PixelBall(1.0).convex
    assert not actmax.L2Ball(1.0, surface=True).convex
    assert not actmax.Contrast(0.2).convex
    both = actmax.Box(0, 1) & actmax.L2Ball(2.0)
    assert both.convex
    assert not (both & actmax.Contrast(0.2)).convex
    assert len((both & actmax.Contrast(0.2)).parts) == 3


def test_the_tightest_bounds_of_several():
    both = actmax.Box((0.0, -1.0), None) & actmax.Box(-0.5, (2.0, 3.0)) & actmax.L2Ball(9.0)
    assert (both.low, both.high) == ((0.0, -0.5), (2.0, 3.0))
    assert (actmax.L2Ball(1.0) & actmax.PixelBall(1.0)).low is None
    assert actmax.Box(0, 1).__and__(3) is NotImplemented


def test_a_start_is_in_units_of_the_width_around_the_middle():
    noise = np.array([[-0.25, 0.0, 0.25, 9.0]], np.float32)
    assert actmax.Box(2, 6).start(noise).numpy().tolist() == [[3.0, 4.0, 5.0, 6.0]]
    assert actmax.Box(None, 6).start(noise).numpy().tolist() == [[-0.25, 0.0, 0.25, 6.0]]
    # Its slope at the middle is that of the identity: 4 noise * 1/4.
    small = actmax.Sigmoid(2, 6)
    images = small.apply(small.start(0.01 * noise[:, :3])).numpy()
    np.testing.assert_allclose(images, 4 + 4 * 0.01 * noise[:, :3], rtol=1e-5)


def test_the_bounds_of_a_sigmoid_are_inverted_to_finite_numbers():
    sigmoid = actmax.Sigmoid(-1, 3)
    images = np.array([[-1.0, 0.0, 3.0]], np.float32)
    raw = sigmoid.invert(images).numpy()
    np.testing.assert_allclose(raw[0, 1], math.log(0.25 / 0.75), rtol=1e-5)
    np.testing.assert_allclose(raw[0, 0], math.log(1e-6 / (1 - 1e-6)), rtol=1e-3)
    np.testing.assert_allclose(sigmoid.apply(raw).numpy(), images, atol=1e-5)
