"""Constraints refuse what is no set, and say in their attributes what they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax.constraints import Intersection, Rescale, from_range, width


@pytest.mark.parametrize("kind", [actmax.Box, actmax.Sigmoid])
@pytest.mark.parametrize(
    ("bounds", "error", "words"),
    [
        ((math.nan, 1), ValueError, "lower to be a finite number"),
        ((math.inf, 1), ValueError, "lower to be a finite number"),
        (("0", 1), TypeError, "lower to be a number"),
        ((0, "1"), TypeError, "upper to be a number"),
        (((0, math.nan), 1), ValueError, "every value of lower"),
        ((0, (1, True)), TypeError, "every value of upper"),
        ((1, 1), ValueError, "low < high"),
        ((2, 1), ValueError, "low < high"),
        (((0, 0, 2), (1, 1, 1)), ValueError, "low < high"),
        (((0, 1), (0, 1)), ValueError, "Equal bounds hold a column; leave at least one"),
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


@pytest.mark.parametrize(
    ("part", "projects", "by_value", "convex", "low", "high"),
    [
        (actmax.Box(), True, True, True, 0.0, 1.0),
        (actmax.Sigmoid(), False, True, True, 0.0, 1.0),
        (Rescale(), False, True, True, 0.0, 1.0),
        (actmax.Unbounded(), False, True, True, None, None),
        (actmax.L2Ball(1.0), True, False, True, None, None),
        (actmax.PixelBall(1.0), True, False, True, None, None),
        (actmax.Contrast(1.0), True, False, False, None, None),
        (actmax.Box() & actmax.L2Ball(1.0), True, False, True, 0.0, 1.0),
    ],
    ids=lambda part: type(part).__name__,
)
def test_what_every_set_says_of_itself(part, projects, by_value, convex, low, high):
    """`projects` says which parameterizations it goes with, `by_value` whether a mask does."""
    assert (part.projects, part.by_value, part.convex) == (projects, by_value, convex)
    assert (part.low, part.high) == (low, high)


def test_settings_that_are_not_given():
    assert actmax.L2Ball(1.0) == actmax.L2Ball(1.0, center=0.0, surface=False)
    assert actmax.PixelBall(1.0) == actmax.PixelBall(1.0, center=0.0)
    assert actmax.Contrast(1.0).mean is None
    assert Rescale() == Rescale(0.0, 1.0, (0.0, 1.0))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: actmax.L2Ball("1"), TypeError, "radius to be a number"),
        (lambda: actmax.L2Ball(True), TypeError, "radius to be a number"),
        (lambda: actmax.L2Ball(1.0, center=None), TypeError, "center to be a number"),
        (lambda: actmax.PixelBall(-0.1), ValueError, "radius"),
        (lambda: actmax.PixelBall(1.0, center=math.nan), ValueError, "center"),
        (lambda: actmax.Contrast(-0.1), ValueError, "std"),
        (lambda: actmax.Contrast("1"), TypeError, "std to be a number"),
        (lambda: actmax.Contrast(0.1, mean="1"), TypeError, "mean to be a number"),
        (lambda: Intersection((actmax.Box(),)), ValueError, "two or more projecting constraints"),
        (Intersection, ValueError, "two or more projecting constraints"),
        (lambda: actmax.Box() & 3, TypeError, "unsupported operand"),
        (lambda: actmax.Box((0, 0), (1, 1, 1)), ValueError, r"as many channels.*\(0.0, 0.0\) and"),
        (lambda: actmax.Box((0, 0), 1) & actmax.Box(-1, (1, 1, 1)), ValueError, "as many channels"),
        (lambda: actmax.Box((0, 0)) & actmax.Box((0, 0, 0)), ValueError, "as many channels"),
        (lambda: from_range("01"), TypeError, "input_range to be a pair"),
        (lambda: from_range((0, 1, 2)), TypeError, "input_range to be a pair"),
        (lambda: from_range(1.0), TypeError, "input_range to be a pair"),
    ],
)
def test_what_else_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_small_sets_are_sets():
    assert actmax.L2Ball(0.25).radius == actmax.PixelBall(0.25).radius == 0.25
    assert actmax.Contrast(0.25, mean=0.0).std == 0.25
    assert actmax.Box(None, None).low is None
    assert from_range(np.array([-1.0, 2.0])) == from_range([-1, 2]) == actmax.Box(-1.0, 2.0)
    assert from_range(actmax.Sigmoid(0, 2)) == actmax.Sigmoid(0, 2)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (actmax.Box(-1, 3), 4.0),
        (actmax.Sigmoid((0, 1), (1, 4)), 2.0),
        (actmax.Box(None, 1), None),
        (actmax.Box(0, None), None),
        (actmax.Unbounded(), None),
        (actmax.Box(-1.7e308, 1.7e308), None),
    ],
)
def test_the_width_of_a_range_is_a_mean_over_channels_or_none(part, expected):
    with np.errstate(over="ignore"):
        assert width(part) == expected


def test_a_rescaling_maps_the_ends_of_its_source_on_the_range_and_back():
    part = Rescale(2.0, (6.0, 10.0), (-1.0, 1.0))
    raw = np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [-3.0, 3.0]])
    found = part.apply(tf.constant(raw)).numpy()
    assert found.tolist() == [[2.0, 2.0], [4.0, 6.0], [6.0, 10.0], [2.0, 10.0]]
    np.testing.assert_allclose(part.invert(tf.constant(found[:3])), raw[:3], atol=1e-15)


def test_both_bounds_of_a_sigmoid_are_inverted_alike():
    part = actmax.Sigmoid(-1, 3)
    raw = part.invert(tf.constant([[-1.0, 3.0]], tf.float64)).numpy()
    np.testing.assert_allclose(raw, [[-math.log(1e6 - 1), math.log(1e6 - 1)]], rtol=1e-9)


# On the bound itself nothing is outside: 3, 4, 5 and their like have exact lengths.
TRIPLES = [
    (3, 4, 5),
    (5, 12, 13),
    (8, 15, 17),
    (7, 24, 25),
    (20, 21, 29),
    (12, 35, 37),
    (9, 40, 41),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_lies_in_a_ball_or_on_its_surface_is_left_as_it_is_to_the_bit(dtype):
    for scale in (1.0, 1 / 3, 0.7, 1.1):
        for x, y, length in TRIPLES:
            image = (scale * np.array([[x, y]])).astype(dtype)
            largest = np.abs(image).max()
            unit = image / largest
            radius = float(largest * np.sqrt(np.sum(unit * unit, dtype=dtype)))
            assert radius == pytest.approx(scale * length)
            for part in (
                actmax.L2Ball(radius),
                actmax.PixelBall(radius),
                actmax.L2Ball(2 * radius),
            ):
                np.testing.assert_array_equal(part.project(tf.constant(image)), image)


def test_a_ball_of_pixels_moves_the_pixels_outside_alone():
    image = np.array([[[3.0, 4.0], [0.3, 0.4]], [[0.0, 0.0], [0.0, -8.0]]])[None] + 1.0
    found = actmax.PixelBall(2.5, center=1.0).project(tf.constant(image)).numpy() - 1.0
    expected = [[[1.5, 2.0], [0.3, 0.4]], [[0.0, 0.0], [0.0, -2.5]]]
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


def test_a_sphere_is_met_from_inside_and_outside_but_not_from_its_centre():
    part = actmax.L2Ball(2.0, center=1.0, surface=True)
    images = 1.0 + np.array([[0.5, 0.0], [0.0, -8.0], [0.0, 0.0], [3.0, 4.0]])
    found = part.project(tf.constant(images)).numpy() - 1.0
    np.testing.assert_allclose(found, [[2, 0], [0, -2], [0, 0], [1.2, 1.6]], atol=1e-12)


def test_a_contrast_keeps_the_mean_or_sets_it():
    image = np.array([[0.0, 1.0, 2.0, 5.0]])
    free = actmax.Contrast(0.5).project(tf.constant(image)).numpy()
    np.testing.assert_allclose((free.mean(), free.std()), (2.0, 0.5))
    both = actmax.Contrast(0.5, mean=-3.0).project(tf.constant(image)).numpy()
    np.testing.assert_allclose(both, free - 5.0)
    flat = actmax.Contrast(0.5, mean=0.25).project(tf.ones([1, 4])).numpy()
    assert flat.tolist() == [[0.25] * 4]


def test_clipping_knows_open_ends_and_channels():
    images = tf.constant([[-2.0, -2.0], [5.0, 5.0]])
    assert actmax.Box((-1, -3), None).clip(images).numpy().tolist() == [[-1, -2], [5, 5]]
    assert actmax.Box(None, (1, 9)).clip(images).numpy().tolist() == [[-2, -2], [1, 5]]
    assert actmax.Unbounded().clip(images).numpy().tolist() == images.numpy().tolist()


def test_what_a_set_does_not_do_leaves_images_as_they_are():
    images = tf.constant([[-2.0, 5.0]])
    for part in (actmax.Unbounded(), actmax.Box(), actmax.L2Ball(1.0)):
        assert part.apply(images) is images
        assert part.invert(images) is images
    assert actmax.Sigmoid().project(images) is images
