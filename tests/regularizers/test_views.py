"""Boxes, crops, changes of color, and mirrored draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from regularizers import (
    Blur,
    ColorShift,
    Flip,
    Jitter,
    Noise,
    RandomBox,
    RandomCrop,
    Rotate,
    Scale,
    Shift,
    compose,
    random,
)
from regularizers.transforms import roll
from tests.reference import regularizers as reference

STEP = tf.constant(3)


def images(shape=(6, 7, 2), n=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape))


def seeds(n, stream=0):
    return random.fold_in(tf.fill([n, 2], stream), tf.range(n))


def stacked(count, n=3):
    return tf.stack([seeds(n, stream) for stream in range(count)])


def pulled_back(function, x, upstream):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(function(x) * upstream)
    return tape.gradient(value, x).numpy()


# RandomBox.


@pytest.mark.parametrize("center_std", [0.15, 2.0, None])
def test_boxes_have_sides_in_the_range_asked_for_and_lie_inside(center_std):
    """Horama draws from [b, 2b - a] where [a, b] was asked for: 0.25 to 0.30 instead of 0.20 to 0.25."""
    side, centre = RandomBox(0.2, 0.25, center_std).box(seeds(4000), STEP, tf.float64)
    assert stats.kstest(side, "uniform", (0.2, 0.05)).pvalue > 1e-3
    assert 0.2 <= side.numpy().min() < 0.201 and 0.249 < side.numpy().max() <= 0.25
    low, high = centre - side[:, None] / 2, centre + side[:, None] / 2
    assert low.numpy().min() >= -1e-12 and high.numpy().max() <= 1 + 1e-12
    assert abs(np.mean(centre) - 0.5) < 0.02


def test_places_of_boxes_are_normal_or_uniform():
    _, normal = RandomBox(0.01, 0.01, 0.1).box(seeds(4000), STEP, tf.float64)
    assert stats.kstest((normal.numpy().ravel() - 0.5) / 0.1, "norm").pvalue > 1e-3
    _, uniform = RandomBox(0.5, 0.5, None).box(seeds(4000), STEP, tf.float64)
    assert stats.kstest(uniform.numpy().ravel(), "uniform", (0.25, 0.5)).pvalue > 1e-3
    assert abs(np.corrcoef(uniform.numpy().T)[0, 1]) < 4 / np.sqrt(4000)


@pytest.mark.parametrize("shape", [(6, 7, 2), (9, 4, 1), (1, 5, 3)])
def test_a_box_is_shown_as_naive_loops_show_it(shape):
    batch, part = images(shape), RandomBox(0.3, 0.9)
    side, centre = (value.numpy() for value in part.box(seeds(3), STEP, tf.float64))
    received = part(batch, seeds(3), STEP)
    for n, image in enumerate(batch):
        offset = (centre[n] - 0.5) * shape[:2]
        matrix = np.array([[side[n], 0, offset[0]], [0, side[n], offset[1]]])
        np.testing.assert_allclose(received[n], reference.warp(image, matrix), atol=1e-12)


def test_a_quarter_of_an_image_fills_it():
    image = np.zeros((1, 8, 8, 1))
    image[:, :4, 4:] = 1
    corner = RandomBox(0.5, 0.5, None)
    place = corner.box(seeds(400), STEP, tf.float64)[1].numpy()
    nearest = int(np.argmin(np.abs(place - [0.25, 0.75]).sum(axis=1)))
    shown = corner(np.repeat(image, 400, 0), seeds(400), STEP)[nearest].numpy()
    assert np.abs(place[nearest] - [0.25, 0.75]).max() < 0.05
    assert shown[1:-1, 1:-1].min() == 1


def test_boxes_are_fused_with_affine_neighbours():
    parts = [Rotate(20), RandomBox(0.4, 0.8), Shift(1.5), Scale(0.8, 1.2)]
    batch, own = images((12, 9, 2)), stacked(4)
    matrices = [
        part.matrix_at((12, 9), own[k], STEP, tf.float64).numpy() for k, part in enumerate(parts)
    ]
    received = compose(parts)(tf.constant(batch), own, STEP)
    for n, image in enumerate(batch):
        full = np.linalg.multi_dot([np.vstack([matrix[n], [0, 0, 1]]) for matrix in matrices])
        np.testing.assert_allclose(received[n], reference.warp(image, full[:2]), atol=1e-12)


def test_the_whole_image_is_a_box():
    for part in (RandomBox(1.0, 1.0), RandomBox(1.0, 1.0, None), RandomBox(lambda step: 1.0, 1.0)):
        np.testing.assert_array_equal(part(images(), seeds(3), STEP), images())


def test_sizes_of_boxes_may_follow_the_step():
    part = RandomBox(lambda step: 0.1 * tf.cast(step, tf.float64), 0.3)
    side, _ = part.box(seeds(50), STEP, tf.float64)
    np.testing.assert_allclose(side, 0.3, atol=1e-7)


# RandomCrop.


@pytest.mark.parametrize(
    ("shape", "size"), [((6, 7, 2), (4, 5)), ((6, 2), (4,)), ((3, 4, 5, 1), (2, 4, 1))]
)
def test_a_crop_is_a_slice_and_its_gradient_puts_it_back(shape, size):
    batch, part = images(shape), RandomCrop(size)
    room = [whole - own for whole, own in zip(shape, size, strict=False)]
    corners = random.integers(seeds(3), [len(size)], 0, tf.constant(room)).numpy()
    received = part(batch, seeds(3), STEP)
    upstream = np.random.default_rng(1).normal(size=received.shape)
    back = pulled_back(lambda x: part(x, seeds(3), STEP), batch, upstream)
    for n in range(3):
        place = tuple(slice(c, c + own) for c, own in zip(corners[n], size, strict=True))
        np.testing.assert_array_equal(received[n], batch[n][place])
        expected = np.zeros(shape)
        expected[place] = upstream[n]
        np.testing.assert_array_equal(back[n], expected)


def test_every_place_of_a_crop_is_as_likely():
    part = RandomCrop((3, 2))
    numbered = np.arange(20.0).reshape(1, 5, 4, 1)
    corners = part(np.repeat(numbered, 3600, 0), seeds(3600), STEP)[:, 0, 0, 0].numpy()
    values, counts = np.unique(corners, return_counts=True)
    assert values.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_the_whole_image_is_a_crop():
    np.testing.assert_array_equal(RandomCrop((6, 7))(images(), seeds(3), STEP), images())


# ColorShift.


@pytest.mark.parametrize("shape", [(6, 7, 3), (5, 2), (4,)])
def test_colors_are_scaled_and_shifted_channel_by_channel(shape):
    batch, part = images(shape), ColorShift(0.5, 0.2)
    received = part(batch, seeds(3), STEP).numpy()
    for n in range(3):
        for c in range(shape[-1]):
            x, y = batch[n, ..., c].ravel(), received[n, ..., c].ravel()
            slope = np.exp(float(random.uniform(random.fold_in(seeds(3), 0), [shape[-1]], -0.5, 0.5,
                                                tf.float64)[n, c]))  # fmt: skip
            np.testing.assert_allclose(y - y[0], slope * (x - x[0]), atol=1e-12)
            assert abs(y[0] - slope * x[0]) <= 0.2


def test_changes_of_color_are_uniform_and_independent():
    flat = np.stack([np.zeros((1, 3)), np.ones((1, 3))], axis=0).reshape(1, 2, 3)
    received = ColorShift(0.7, 0.3)(np.repeat(flat, 4000, 0), seeds(4000), STEP).numpy()
    shift, factor = received[:, 0], received[:, 1] - received[:, 0]
    assert stats.kstest(shift.ravel(), "uniform", (-0.3, 0.6)).pvalue > 1e-3
    assert stats.kstest(np.log(factor).ravel(), "uniform", (-0.7, 1.4)).pvalue > 1e-3
    together = np.corrcoef(np.concatenate([shift, factor], axis=1).T)
    assert abs(together - np.eye(6)).max() < 4.5 / np.sqrt(4000)


@pytest.mark.parametrize("dtype", [tf.float16, tf.float32, tf.float64])
def test_no_change_of_color_changes_no_bit(dtype):
    batch = tf.cast(images(), dtype)
    for part in (ColorShift(0, 0), ColorShift(lambda step: 0.0, lambda step: 0)):
        np.testing.assert_array_equal(part(batch, seeds(3), STEP), batch)


# Mirrored draws.


def pair(n, chosen):
    return random.mirror(seeds(n), tf.fill([n], chosen))


@settings(max_examples=20, deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(0, 5), st.integers(1, 4))
def test_mirrored_draws_are_opposite(middle, half, limit, size):
    first, second = pair(7, False), pair(7, True)
    for dtype in (tf.float32, tf.float64):
        draws = [
            random.uniform(s, [size], middle - half, middle + half, dtype) for s in (first, second)
        ]
        ulp = 4 * np.finfo(dtype.as_numpy_dtype).eps * (abs(middle) + half)
        np.testing.assert_allclose(draws[0] + draws[1], 2 * middle, atol=2 * ulp)
        draws = [random.normal(s, [size, 3], 0.0, half, dtype) for s in (first, second)]
        np.testing.assert_array_equal(draws[0], -draws[1])
    draws = [random.integers(s, [size], -limit, limit + 1) for s in (first, second)]
    np.testing.assert_array_equal(draws[0] + draws[1], np.ones((7, size)))


def test_symmetric_draws_cancel_exactly():
    for limit in (0.1, 1.0, 3.7, 1e-20, 1e20):
        draws = [random.uniform(pair(500, m), [4], -limit, limit) for m in (False, True)]
        assert not np.any(draws[0] + draws[1])


def test_seeds_that_mirror_nothing_draw_as_before():
    plain, marked = seeds(5), pair(5, False)
    for draw in (random.uniform, random.normal, lambda s, n: random.integers(s, n, -9, 9)):
        np.testing.assert_array_equal(draw(plain, [6]), draw(marked, [6]))
    np.testing.assert_array_equal(random.bits(plain, [3]), random.bits(pair(5, True), [3]))


def test_folding_keeps_the_mirror():
    folded = random.fold_in(pair(4, True), tf.range(4))
    np.testing.assert_array_equal(folded[:, :2], random.fold_in(seeds(4), tf.range(4)))
    assert folded[:, 2].numpy().tolist() == [1, 1, 1, 1]
    several = random.fold_in(pair(4, True)[None], tf.constant([3, 5, 7])[:, None])
    assert several.shape == (3, 4, 3)


@pytest.mark.parametrize("part", [Shift(2.5), Rotate(20), Scale(0.8, 1.25)], ids=lambda p: p.name)
def test_mirrored_maps_are_inverse_to_each_other(part):
    first, second = (part.matrix(pair(50, m), STEP, tf.float64).numpy() for m in (False, True))
    product = first[:, :, :2] @ second[:, :, :2]
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(2), (50, 2, 2)), atol=1e-12)
    np.testing.assert_array_equal(first[:, :, 2], -second[:, :, 2])


def test_mirrored_jitter_flip_and_noise():
    batch = images(n=50)
    first, second = (Noise(0.3)(batch, pair(50, m), STEP) for m in (False, True))
    np.testing.assert_allclose(first + second, 2 * batch, atol=1e-12)
    first, second = (Flip()(batch, pair(50, m), STEP).numpy() for m in (False, True))
    np.testing.assert_array_equal(first, second[:, :, ::-1])
    point = np.zeros((50, 7, 7, 1))
    point[:, 3, 3] = 1
    moved = [Jitter(3)(point, pair(50, m), STEP).numpy()[..., 0] for m in (False, True)]
    where = [np.argwhere(m)[:, 1:] - 3 for m in moved]
    np.testing.assert_array_equal(where[0], -where[1])
    assert where[0].any()


# T9: the expectation over transforms of a linear score is the score of a smoothed image.


def test_t9_the_mean_over_all_shifts_is_a_box_blur():
    w, x = images((8, 9, 2), 1)[0], images((8, 9, 2), 1, seed=1)[0]
    shifts = np.array(list(itertools.product(range(-2, 3), repeat=2)), np.int32)
    moved = roll(tf.constant(np.repeat(x[None], 25, 0)), tf.constant(shifts)).numpy()
    expected = np.sum(ndimage.uniform_filter(w, (5, 5, 1), mode="wrap") * x)
    assert np.mean(np.sum(moved * w, axis=(1, 2, 3))) == pytest.approx(expected, rel=1e-12)


def test_t9_jitter_is_that_blur_in_the_mean_of_its_draws():
    w, n = images((8, 9, 1), 1)[0], 4000
    gradient = pulled_back(
        lambda x: Jitter(2)(x, seeds(n), STEP), np.zeros((n, 8, 9, 1)), np.repeat(w[None], n, 0)
    )
    expected = ndimage.uniform_filter(w, (5, 5, 1), mode="wrap")
    error = gradient.std(axis=0) / np.sqrt(n)
    assert np.abs((gradient.mean(axis=0) - expected) / error).max() < 4.5


def test_t9_a_blurred_score_has_a_blurred_gradient():
    w = np.zeros((1, 21, 19, 1))
    w[:, 7:14, 7:12] = images((7, 5, 1), 1)
    gradient = pulled_back(lambda x: Blur(1.3)(x, seeds(1), STEP), np.zeros_like(w), w)
    expected = ndimage.gaussian_filter(w[0, :, :, 0], 1.3, mode="constant", truncate=6)
    # Far from the border the kernel is symmetric, so the adjoint is the blur itself.
    np.testing.assert_allclose(gradient[0, 4:-4, 4:-4, 0], expected[4:-4, 4:-4], atol=1e-7)


@pytest.mark.parametrize("part", [Shift(2.0), Rotate(12), Noise(0.4)], ids=lambda p: p.name)
def test_mirrored_pairs_have_a_mean_score_of_less_variance(part):
    y, x = np.mgrid[-1:1:9j, -1:1:9j]
    smooth = np.repeat((np.exp(-2 * (x**2 + y**2)) + 0.5 * x)[None, :, :, None], 400, 0)
    w = np.repeat((np.sin(2 * y) + x)[None, :, :, None], 400, 0)

    def means(first, second):
        both = [np.sum(part(smooth, s, STEP) * w, axis=(1, 2, 3)) for s in (first, second)]
        return np.mean(both, axis=0)

    mirrored = means(pair(400, False), pair(400, True)).var()
    assert mirrored < 0.5 * means(seeds(400), seeds(400, 1)).var()


# Settings.


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RandomBox(0.0, 0.5), ValueError, "low of random_box to be a finite number above 0"),
        (lambda: RandomBox(0.6, 0.5), ValueError, "low <= high <= 1 in random_box"),
        (lambda: RandomBox(0.6, 1.5), ValueError, "low <= high <= 1 in random_box"),
        (lambda: RandomBox(0.2, 0.5, -1), ValueError, "center_std of random_box"),
        (lambda: RandomBox(0.2, 0.5).matrix(seeds(1), STEP, tf.float32), TypeError, "Call matrix_at"),
        (lambda: RandomCrop(8), TypeError, r"a tuple.*Write \(8, 8\)"),
        (lambda: RandomCrop((8, 2.5)), ValueError, "whole numbers"),
        (lambda: RandomCrop((0, 2)), ValueError, "size of random_crop"),
        (lambda: RandomCrop((9, 2))(images(), seeds(3), STEP), ValueError, r"at most \(6, 7\)"),
        (lambda: RandomCrop((2,))(images(), seeds(3), STEP), ValueError, r"at most \(6, 7\)"),
        (lambda: ColorShift(-1, 0), ValueError, "scale of color_shift"),
        (lambda: ColorShift(1, float("inf")), ValueError, "shift of color_shift"),
    ],
)  # fmt: skip
def test_settings_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()
