"""Drawings against de Boor's recursion and naive loops, closed forms, and what they are for."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import actmax
from actmax import zoo
from regularizers import random
from tests.reference import parameterizations as reference


def seeds(n, stream=0):
    return random.fold_in(tf.fill([n, 2], stream), tf.range(n))


def at(points, size, margin=0.1):
    """Params of control points that are given in pixels from the middle, `[P, 2]`."""
    reach = np.array(size) / min(size) / 2 - margin
    return tf.constant((reach * np.arctanh(points / min(size) / reach))[None, None])


def line(y, x, radius=1.0):
    """Params of one stroke through two points, `(begin, end)` in pixels of an 8 x 12 image."""
    points = np.stack([np.broadcast_to(y, 2), np.broadcast_to(x, 2)], axis=-1)
    return {
        "points": at(points, (8, 12)),
        "log_radius": tf.constant([[np.log(radius)]], tf.float64),
    }


@pytest.mark.parametrize("ink", ["bright", "dark", "color"])
@pytest.mark.parametrize(("strokes", "points"), [(1, 2), (2, 3), (2, 4), (1, 7)])
def test_a_drawing_is_that_of_naive_loops(ink, strokes, points):
    part = actmax.Strokes(strokes, points, radius=1.1, softness=0.7, margin=0.05, ink=ink)
    shape = (7, 9, 2)
    params = part.init(shape, seeds(2), tf.float64)
    images = part.decode(params, shape)
    for n in range(2):
        pen = []
        for k in range(strokes):
            given_ink = {"bright": [1.0, 1.0], "dark": [0.0, 0.0]}.get(ink)
            if given_ink is None:
                given_ink = special.expit(params["colors"][n, k].numpy())
            radius = 1.1 * np.exp(params["log_radius"][n, k].numpy())
            reach = np.array([0.5, 9 / 14]) - 0.05
            places = reach * np.tanh(params["points"][n, k].numpy() / reach)
            pen.append((7 * places, radius, given_ink))
        ground = {"bright": [0.0, 0.0], "dark": [1.0, 1.0]}.get(ink)
        if ground is None:
            ground = special.expit(params["ground"][n].numpy())
        expected = reference.drawing(pen, ground, 7, 9, 0.7)
        # The length under the root, 1e-6, moves a distance of 0 by a thousandth of a pixel.
        np.testing.assert_allclose(images[n], expected, atol=4e-4)


def test_a_straight_stroke_in_closed_form():
    """Inside its ends the distance is that from the line; beyond them that from the end."""
    part = actmax.Strokes(1, 2, radius=1.0, softness=0.5)
    image = part.decode(line(0.0, (-3.0, 3.0)), (8, 12, 1))[0, :, :, 0].numpy()
    y, x = np.meshgrid(np.arange(8) - 3.5, np.arange(12) - 5.5, indexing="ij")
    distance = np.hypot(y, np.maximum(np.abs(x) - 3.0, 0.0))
    np.testing.assert_allclose(image, special.expit((1.0 - distance) / 0.5), atol=1e-6)


def test_a_stroke_of_no_length_is_a_dot_with_a_finite_gradient():
    part = actmax.Strokes(1, 2, radius=1.0, softness=0.5)
    params = line(0.5, 0.5)  # on the middle of a pixel
    with tf.GradientTape() as tape:
        tape.watch(params)
        image = part.decode(params, (8, 12, 1))
        score = tf.reduce_sum(image * np.random.default_rng(0).normal(size=(8, 12, 1)))
    y, x = np.meshgrid(np.arange(8) - 3.5, np.arange(12) - 5.5, indexing="ij")
    expected = special.expit((1.0 - np.hypot(y - 0.5, x - 0.5)) / 0.5)
    np.testing.assert_allclose(image[0, :, :, 0], expected, atol=1e-3)
    for gradient in tf.nest.flatten(tape.gradient(score, params)):
        assert np.all(np.isfinite(gradient)) and np.any(gradient)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3), st.integers(2, 7), st.integers(3, 12), st.integers(3, 12), st.integers(0, 99)
)
def test_images_are_in_range_and_ink_is_the_other_way_round(strokes, points, height, width, seed):
    bright = actmax.Strokes(strokes, points)
    shape = (height, width, 1)
    params = bright.init(shape, seeds(2, seed), tf.float64)
    image = bright.decode(params, shape).numpy()
    assert image.min() >= 0 and image.max() <= 1
    dark = actmax.Strokes(strokes, points, ink="dark").decode(params, shape)
    np.testing.assert_allclose(dark, 1 - image, atol=1e-12)


def test_a_hundred_single_strokes():
    """A product of matrices [100, 1, 15, 2] and [784, 2] ended the process, with oneDNN on."""
    part = actmax.Strokes(1, 4)
    params = part.init((28, 28, 1), seeds(100))
    images = tf.function(part.decode)(params, (28, 28, 1))
    few = part.decode(tf.nest.map_structure(lambda leaf: leaf[:3], params), (28, 28, 1))
    np.testing.assert_allclose(images[:3], few, atol=1e-5)


def test_no_curve_leaves_the_picture():
    part = actmax.Strokes(2, 4, radius=0.5, softness=0.05, margin=0.25)
    params = part.init((20, 30, 1), seeds(4), tf.float64)
    params["points"] *= 1e3
    image = part.decode(params, (20, 30, 1)).numpy()
    y, x = 20 * 0.25 - 1.5, 20 * 0.25 - 1.5  # of radii up to 3 times their median
    assert np.all(image[:, : int(y)] < 1e-3) and np.all(image[:, :, : int(x)] < 1e-3)
    assert np.any(image[:, 5:15] > 0.5)


def test_params_have_no_resolution():
    """Three times as large, with three times the pen: the middle of nine pixels is the one before."""
    small = actmax.Strokes(2, 5, radius=1.0, softness=0.5)
    large = actmax.Strokes(2, 5, radius=3.0, softness=1.5)
    params = small.init((6, 8, 1), seeds(3), tf.float64)
    images = small.decode(params, (6, 8, 1))
    enlarged = large.decode(params, (18, 24, 1))
    np.testing.assert_allclose(enlarged[:, 1::3, 1::3], images, atol=1e-3)


def test_a_curve_ends_in_its_first_and_last_point_and_reaches_no_other():
    """Of five points the three in the middle pull at the curve."""
    part = actmax.Strokes(1, 5, radius=0.3, softness=0.05)
    points = np.array([[-8, -8], [8, -8], [-8, 0], [8, 8], [-8, 8]])
    params = {
        "points": at(points, (21, 21)),
        "log_radius": tf.zeros([1, 1], tf.float64),
    }
    image = part.decode(params, (21, 21, 1))[0, :, :, 0].numpy()
    inked = [image[y, x] > 0.3 for y, x in points + 10]
    assert inked == [True, False, False, False, True]


def test_a_drawing_finds_another_one():
    """The least square difference from a drawing is 0, at the drawing; a start beside it gets there."""
    part = actmax.Strokes(1, 4)
    shape = (16, 16, 1)
    wanted = part.decode(part.init(shape, seeds(1, 3)), shape)

    def likeness(outputs):
        return -tf.reduce_mean(tf.square(outputs - wanted), axis=[1, 2, 3])

    result = actmax.maximize(
        lambda images: images, likeness, input_range=(0, 1), input_shape=shape, images=16,
        parameterization=part, regularizers=[], optimizer=actmax.Adam(0.02), steps=200,
    )  # fmt: skip
    assert np.max(result.scores) > -1e-3 > 100 * np.median(result.history["score"][0])


def test_the_ground_is_the_end_of_the_input_range():
    model = zoo.load("mnist")
    part = actmax.Strokes(1, 3)
    result = actmax.maximize(
        lambda images: model(images / 255.0), targets=[1], input_range=(0, 255), steps=4,
        input_shape=(28, 28, 1), parameterization=part, regularizers=[],
    )  # fmt: skip
    assert result.images.min() < 1e-3
    assert 200 < result.images.max() <= 255


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: actmax.Strokes(0), "strokes to be at least 1"),
        (lambda: actmax.Strokes(1, 1), "points to be at least 2"),
        (lambda: actmax.Strokes(radius=0), r"radius to be a finite number in \[0.01"),
        (lambda: actmax.Strokes(softness=0), r"softness to be a finite number in \[0.01"),
        (lambda: actmax.Strokes(spread=-1), "spread to be a finite number in"),
        (lambda: actmax.Strokes(margin=0.5), r"margin to be a finite number in \[0, 0.45\]"),
        (lambda: actmax.Strokes(ink="red"), "ink.*bright.*red"),
        (lambda: actmax.Strokes().init((8, 3), seeds(1)), r"images \(H, W, C\) for Strokes"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
