"""Transforms against naive loops, their exact adjoints, and the statistics of their draws."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from regularizers import (
    Affine,
    Blur,
    Flip,
    Jitter,
    Noise,
    Pad,
    Rotate,
    Scale,
    Shift,
    compose,
    random,
    transform,
)
from regularizers.transforms import roll
from regularizers.warp import fuse, resample
from tests.reference import regularizers as reference

STEP = tf.constant(3)
LINEAR = [
    Jitter(3),
    Rotate(25),
    Scale(0.7, 1.4),
    Shift(2.5),
    Flip(),
    Flip("vertical"),
    Pad(2),
    Pad(2, "reflect"),
    Pad(1, value=0.0),
    Blur(1.2),
]
NOTHING = [
    Jitter(0),
    Rotate(0),
    Scale(1, 1),
    Shift(0),
    Noise(0),
    Pad(0),
    Pad(0, value=1.0),
    Blur(0),
]
NOTHING += [
    Jitter(lambda step: 0),
    Rotate(lambda step: step * 0),
    Shift(lambda step: 0.0),
    Noise(lambda step: 0.0),
    Blur(lambda step: 0.0),
]


def images(shape=(6, 7, 2), n=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape))


def seeds(n, stream=0):
    return random.fold_in(tf.fill([n, 2], stream), tf.range(n))


def label(value):
    return getattr(value, "name", None)


def pulled_back(function, x, upstream):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(function(x) * upstream)
    return tape.gradient(value, x).numpy()


# Values


@pytest.mark.parametrize("shape", [(6, 2), (6, 7, 2), (3, 4, 5, 2)])
@pytest.mark.parametrize("sizes", [1, 3, 9])
def test_roll_is_that_of_naive_loops_and_numpy(shape, sizes):
    batch = images(shape)
    axes = tuple(range(len(shape) - 1))
    shifts = np.random.default_rng(1).integers(-sizes, sizes, (3, len(axes)), endpoint=True)
    received = roll(tf.constant(batch), tf.constant(shifts, tf.int32)).numpy()
    for image, shift, result in zip(batch, shifts, received, strict=True):
        np.testing.assert_array_equal(result, np.roll(image, shift, axes))
        np.testing.assert_array_equal(result, reference.roll(image, shift))


def test_jitter_rolls_each_image_by_its_own_draw():
    batch = images(n=5)
    shifts = random.integers(seeds(5), [2], -3, 3).numpy()
    expected = [reference.roll(*pair) for pair in zip(batch, shifts, strict=True)]
    np.testing.assert_array_equal(Jitter(3)(batch, seeds(5), STEP), expected)


MATRICES = {
    "rotation": reference.rotation(17.0),
    "magnification": np.array([[0.6, 0, 0], [0, 0.6, 0]]),
    "reduction": np.array([[1.7, 0, 0], [0, 1.7, 0]]),
    "shift": np.array([[1, 0, 0.3], [0, 1, -1.8]]),
    "far": np.array([[1, 0, 100.0], [0, 1, -100.0]]),
    "shear": np.array([[1.1, 0.4, 0.2], [-0.1, 0.8, -0.6]]),
}


@pytest.mark.parametrize("shape", [(6, 7, 2), (1, 5, 1), (4, 1, 3), (1, 1, 2)])
@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_resample_is_that_of_naive_loops(matrix, shape):
    image = images(shape, 1)[0]
    received = resample(tf.constant(image[None]), tf.constant(matrix[None]))[0]
    np.testing.assert_allclose(received, reference.warp(image, matrix), atol=1e-12)


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_resample_is_that_of_scipy(matrix):
    image = images((9, 12, 1), 1)[0]
    centre = np.array([4.0, 5.5])
    offset = centre - matrix[:, :2] @ centre + matrix[:, 2]
    expected = ndimage.affine_transform(
        image[:, :, 0], matrix[:, :2], offset, order=1, mode="nearest"
    )
    received = resample(tf.constant(image[None]), tf.constant(matrix[None]))[0, :, :, 0]
    np.testing.assert_allclose(received, expected, atol=1e-12)


def test_quarter_turns_are_exact_permutations():
    image = images((5, 5, 2), 1)
    turn = np.array([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    received = resample(tf.constant(image), tf.constant(turn))
    assert np.array_equal(received, np.rot90(image, 1, (1, 2))) or np.array_equal(
        received, np.rot90(image, -1, (1, 2))
    )


def test_whole_shifts_move_pixels_unchanged():
    image = images((6, 7, 2), 1)
    matrix = np.array([[[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]])
    received = resample(tf.constant(image), tf.constant(matrix)).numpy()
    np.testing.assert_array_equal(received[:, :4, 1:], image[:, 2:, :-1])
    np.testing.assert_array_equal(received[:, 4:, 1:], image[:, [-1, -1], :-1])


@pytest.mark.parametrize("value", [None, 0.0, 0.5])
@pytest.mark.parametrize("shape", [(4, 2), (4, 1, 2), (2, 3, 2, 1)])
def test_pad_is_that_of_naive_loops(shape, value):
    part = Pad(2) if value is None else Pad(2, value=value)
    batch = images(shape)
    expected = [reference.pad(image, 2, value) for image in batch]
    np.testing.assert_array_equal(part(batch, seeds(3), STEP), expected)


@pytest.mark.parametrize("shape", [(6, 2), (5, 7, 2), (3, 4, 3, 1)])
def test_blur_is_that_of_naive_loops(shape):
    batch = images(shape, 1)
    expected = reference.blur(batch[0], 0.6, radius=5)
    np.testing.assert_allclose(Blur(0.6)(batch, seeds(1), STEP)[0], expected, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_blur_is_that_of_scipy(sigma):
    batch = images((20, 17, 1), 1)
    expected = ndimage.gaussian_filter(batch[0, :, :, 0], sigma, mode="nearest", truncate=6)
    received = Blur(sigma)(batch, seeds(1), STEP)[0, :, :, 0]
    np.testing.assert_allclose(received, expected, atol=1e-7)


def test_flips_are_mirror_images_of_about_half():
    batch = images(n=400)
    for part, mirrored in ((Flip(), batch[:, :, ::-1]), (Flip("vertical"), batch[:, ::-1])):
        received = part(batch, seeds(400), STEP).numpy()
        flipped = [np.array_equal(*pair) for pair in zip(received, mirrored, strict=True)]
        kept = [np.array_equal(*pair) for pair in zip(received, batch, strict=True)]
        assert np.not_equal(flipped, kept).all()
        assert stats.binomtest(sum(flipped), 400).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
@pytest.mark.parametrize("part", NOTHING, ids=label)
def test_strength_zero_changes_no_bit(part, dtype):
    batch = tf.cast(images(), dtype)
    received = part(batch, seeds(3), STEP)
    assert received.dtype == dtype
    np.testing.assert_array_equal(received, batch)


@pytest.mark.parametrize(
    "part", [Jitter(3), Rotate(25), Scale(0.7, 1.4), Shift(2.5), Flip(), Pad(2)], ids=label
)
@pytest.mark.parametrize("dtype", [tf.float16, tf.float32, tf.float64])
def test_constant_images_stay_that_constant(part, dtype):
    batch = tf.fill([4, 6, 7, 2], tf.cast(0.3, dtype))
    assert np.unique(part(batch, seeds(4), STEP).numpy()).tolist() == [batch.numpy().flat[0]]


def test_blur_keeps_constants_and_sums_of_the_interior():
    np.testing.assert_allclose(Blur(2.0)(np.full((1, 9, 9, 1), 0.3), seeds(1), STEP), 0.3)
    point = np.zeros((1, 31, 31, 1))
    point[0, 15, 15] = 1
    received = Blur(1.5)(point, seeds(1), STEP).numpy()[0, :, :, 0]
    assert received.sum() == pytest.approx(1)
    offsets = np.arange(31) - 15
    assert (received.sum(axis=1) * offsets**2).sum() == pytest.approx(1.5**2)


# Gradients


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        pytest.param(shape, part, id=f"{'x'.join(map(str, shape))}-{label(part)}")
        for shape in [(6, 7, 2), (5, 5, 1), (1, 4, 3)]
        for part in LINEAR
        # A side of 1 has nothing to mirror.
        if not (1 in shape[:-1] and getattr(part, "value", None) == "reflect")
    ],
)
def test_gradient_is_the_exact_adjoint(shape, part):
    x = images(shape)
    output = part(x, seeds(3), STEP).numpy()
    y = np.random.default_rng(1).normal(size=output.shape)
    back = pulled_back(lambda image: part(image, seeds(3), STEP), x, y)
    # Padding with 0 and everything else here is linear: <t(x), y> = <x, t'(y)> for each image.
    np.testing.assert_allclose(
        np.sum(output * y, axis=(1, 2, 3)), np.sum(back * x, axis=(1, 2, 3)), rtol=1e-10
    )


def test_gradient_of_jitter_rolls_back():
    y = images()
    back = pulled_back(lambda image: Jitter(3)(image, seeds(3), STEP), images(seed=2), y)
    shifts = random.integers(seeds(3), [2], -3, 3).numpy()
    expected = [reference.roll(*pair) for pair in zip(y, -shifts, strict=True)]
    np.testing.assert_array_equal(back, expected)


def test_gradient_of_noise_passes_unchanged():
    y = images()
    back = pulled_back(lambda image: Noise(0.3)(image, seeds(3), STEP), images(seed=2), y)
    np.testing.assert_array_equal(back, y)


# Draws


def test_jitter_has_mean_zero_and_reaches_both_ends():
    """tf-keras-vis draws from `randint(-j, j)`, which never reaches j: half a pixel every step."""
    n, pixels = 7000, 3
    points = np.zeros((n, 7, 7, 1), np.float32)
    points[:, 3, 3] = 1
    moved = Jitter(pixels)(points, seeds(n), STEP).numpy()[:, :, :, 0]
    where = np.argwhere(moved)[:, 1:] - 3
    for axis in (0, 1):
        values, counts = np.unique(where[:, axis], return_counts=True)
        assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
        assert stats.chisquare(counts).pvalue > 1e-3
    assert abs(where.mean(axis=0)).max() < 4 * 2 / np.sqrt(n)
    assert abs(np.corrcoef(where.T)[0, 1]) < 4 / np.sqrt(n)


@pytest.mark.parametrize(
    ("part", "value", "low", "high"),
    [
        (Rotate(30), lambda m: np.degrees(np.arctan2(m[:, 1, 0], m[:, 0, 0])), -30, 30),
        (Scale(0.5, 2.0), lambda m: -np.log2(m[:, 0, 0]), -1, 1),
        (Shift(4), lambda m: m[:, 0, 2], -4, 4),
        (Shift(4), lambda m: m[:, 1, 2], -4, 4),
    ],
    ids=["rotate", "scale", "shift-y", "shift-x"],
)
def test_affine_draws_are_uniform(part, value, low, high):
    drawn = value(part.matrix(seeds(4000), STEP, tf.float64).numpy())
    assert stats.kstest(drawn, "uniform", (low, high - low)).pvalue > 1e-3
    assert drawn.min() < low + 0.01 * (high - low)
    assert drawn.max() > high - 0.01 * (high - low)


def test_affine_parts_move_nothing_else():
    rotation = Rotate(30).matrix(seeds(50), STEP, tf.float64).numpy()
    np.testing.assert_allclose(np.linalg.det(rotation[:, :, :2]), 1)
    assert not rotation[:, :, 2].any()
    scale = Scale(0.5, 2).matrix(seeds(50), STEP, tf.float64).numpy()
    np.testing.assert_array_equal(scale[:, 0, 0], scale[:, 1, 1])
    assert not scale[:, [0, 1, 0, 1], [1, 0, 2, 2]].any()
    shift = Shift(2).matrix(seeds(50), STEP, tf.float64).numpy()
    np.testing.assert_array_equal(shift[:, :, :2], np.broadcast_to(np.eye(2), (50, 2, 2)))


def test_scale_above_one_magnifies():
    disc = np.zeros((1, 21, 21, 1))
    disc[0, 8:13, 8:13] = 1
    assert Scale(2, 2)(disc, seeds(1), STEP).numpy().sum() > 2 * disc.sum()
    assert Scale(0.5, 0.5)(disc, seeds(1), STEP).numpy().sum() < 0.5 * disc.sum()


def test_noise_is_normal_of_its_std():
    noise = Noise(0.25)(np.zeros((4, 50, 50, 3)), seeds(4), STEP).numpy()
    assert stats.kstest(noise.ravel() / 0.25, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise.reshape(4, -1)) - np.eye(4)).max() < 0.05


@pytest.mark.parametrize(
    ("scheduled", "fixed"),
    [
        (Jitter(lambda step: step - 1), Jitter(2)),
        (Jitter(lambda step: 2.4), Jitter(2)),
        (Rotate(lambda step: 10 * step), Rotate(30)),
        (Scale(lambda step: 1 / tf.cast(step, tf.float32), lambda step: step), Scale(1 / 3, 3)),
        (Shift(lambda step: step), Shift(3)),
        (Noise(lambda step: 0.5), Noise(0.5)),
        (Blur(lambda step: step), Blur(3)),
        (Pad(1, value=lambda step: step), Pad(1, value=3.0)),
    ],
    ids=lambda part: part.name,
)
def test_schedules_are_read_at_the_step(scheduled, fixed):
    batch = tf.constant(images(), tf.float32)
    graph = tf.function(scheduled.__call__)
    expected = fixed(batch, seeds(3), STEP)
    np.testing.assert_allclose(graph(batch, seeds(3), STEP), expected, atol=1e-5)


# Composition


def stacked(count, n=3):
    return tf.stack([seeds(n, stream) for stream in range(count)])


def test_compose_applies_in_order_with_each_ones_seeds():
    parts = [Pad(1), Jitter(2), Noise(0.1), Flip()]
    batch, own = tf.constant(images()), stacked(4)
    expected = batch
    for part, row in zip(parts, own, strict=True):
        expected = part(expected, row, STEP)
    np.testing.assert_array_equal(compose(parts)(batch, own, STEP), expected)


def test_compose_of_nothing_is_nothing():
    batch = tf.constant(images())
    assert compose([])(batch, tf.zeros([0, 3, 2], tf.int32), STEP) is batch


def test_affine_neighbours_are_resampled_once():
    parts = [Rotate(20), Scale(0.8, 1.2), Shift(1.5)]
    batch, own = tf.constant(images((12, 13, 2))), stacked(3)
    matrices = [part.matrix(own[k], STEP, tf.float64).numpy() for k, part in enumerate(parts)]
    received = compose(parts)(batch, own, STEP)
    for n, image in enumerate(batch.numpy()):
        # Homogeneous: the last transform's output goes back through the last map first.
        full = [np.vstack([matrix[n], [0, 0, 1]]) for matrix in matrices]
        expected = reference.warp(image, (full[0] @ full[1] @ full[2])[:2])
        np.testing.assert_allclose(received[n], expected, atol=1e-12)


def test_fusing_agrees_with_one_after_the_other_on_smooth_images():
    y, x = np.mgrid[-1:1:41j, -1:1:41j]
    smooth = np.exp(-4 * (x**2 + y**2 + x * y))[None, :, :, None]
    parts, own = [Rotate(20), Shift(1.5), Scale(0.9, 1.1)], stacked(3, 1)
    expected = tf.constant(smooth)
    for part, row in zip(parts, own, strict=True):
        expected = part(expected, row, STEP)
    received = compose(parts)(tf.constant(smooth), own, STEP)
    assert np.abs(received - expected).max() < 0.02
    # Each resampling flattens the peak a little; one flattens it less than three.
    assert received.numpy().max() >= expected.numpy().max()


def test_only_neighbours_are_fused():
    parts = [Rotate(20), Jitter(2), Scale(0.8, 1.2)]
    batch, own = tf.constant(images()), stacked(3)
    expected = batch
    for part, row in zip(parts, own, strict=True):
        expected = part(expected, row, STEP)
    np.testing.assert_array_equal(compose(parts)(batch, own, STEP), expected)


def test_anyones_affine_transform_is_fused():
    @dataclasses.dataclass(frozen=True)
    class Shear(Affine):
        def matrix(self, seeds, step, dtype):
            sheared = tf.constant([[1, 0.5, 0], [0, 1, 0]], dtype)
            return tf.repeat(sheared[None], tf.shape(seeds)[0], axis=0)

    batch, own = tf.constant(images()), stacked(2)
    shear = np.array([[1, 0.5], [0, 1]])
    received = compose([Shear(), Rotate(0)])(batch, own, STEP)
    expected = reference.warp(batch[0].numpy(), np.hstack([shear, np.zeros((2, 1))]))
    np.testing.assert_allclose(received[0], expected, atol=1e-12)


def test_fuse_multiplies_maps():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, 4, 2, 3))
    full = [np.concatenate([m, np.tile([[[0, 0, 1.0]]], (4, 1, 1))], axis=1) for m in maps]
    expected = (full[0] @ full[1] @ full[2])[:, :2]
    np.testing.assert_allclose(fuse([tf.constant(m) for m in maps]), expected, atol=1e-12)


def test_compose_traces_once_for_any_number_of_images():
    apply = compose([Pad(1), Jitter(2), Rotate(5), Scale(0.9, 1.1), Noise(0.1), Blur(1.0)])
    graph = tf.function(
        apply,
        input_signature=[
            tf.TensorSpec([None, 8, 9, 3]),
            tf.TensorSpec([6, None, 2], tf.int32),
            tf.TensorSpec([], tf.int32),
        ],
    )
    for n in (1, 4):
        batch = tf.constant(images((8, 9, 3), n), tf.float32)
        received = graph(batch, stacked(6, n), STEP)
        np.testing.assert_allclose(received, apply(batch, stacked(6, n), STEP), atol=1e-5)
    assert graph.experimental_get_tracing_count() == 1
    assert graph.get_concrete_function().structured_outputs.shape.as_list() == [None, 10, 11, 3]


def test_transforms_compile_under_xla():
    apply = compose([Jitter(2), Rotate(5), Scale(0.9, 1.1), Blur(1.0), Flip()])
    batch = tf.constant(images((8, 9, 3)), tf.float32)

    def differentiated(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = apply(x, stacked(5), STEP)
            value = tf.reduce_sum(output**2)
        return output, tape.gradient(value, x)

    compiled = tf.function(differentiated, jit_compile=True)(batch)
    for received, expected in zip(compiled, differentiated(batch), strict=True):
        np.testing.assert_allclose(received, expected, atol=1e-4)


# Properties


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(-(2**31), 2**31 - 1),
    st.sampled_from([part for part in LINEAR if part.keeps_range]),
)
def test_values_stay_in_their_images_range(n, height, width, channels, seed, part):
    batch = images((height, width, channels), n, abs(seed))
    own = random.fold_in(tf.fill([n, 2], tf.constant(seed, tf.int32)), tf.range(n))
    received = part(batch, own, STEP).numpy()
    axes = (1, 2, 3)
    assert (received.max(axes) <= batch.max(axes) + 1e-12).all()
    assert (received.min(axes) >= batch.min(axes) - 1e-12).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(LINEAR), max_size=4), st.integers(0, 2**31 - 1))
def test_rows_do_not_see_each_other(parts, seed):
    batch = tf.constant(images(seed=seed))
    own = tf.stack([seeds(3, seed - k) for k in range(len(parts))] or [seeds(3)])
    together = compose(parts)(batch, own, STEP)
    spoilt = tf.concat([batch[:1] * np.nan, batch[1:]], axis=0)
    np.testing.assert_array_equal(compose(parts)(spoilt, own, STEP)[1:], together[1:])
    alone = compose(parts)(batch[2:], own[:, 2:], STEP)
    np.testing.assert_allclose(together[2:], alone, atol=1e-12)


# Errors


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Jitter(-1), ValueError, "pixels of jitter to be a finite number of at least 0"),
        (lambda: Jitter(1.5), ValueError, "whole number. Received: 1.5. Use Shift"),
        (lambda: Jitter("8"), TypeError, "pixels of jitter"),
        (lambda: Rotate(-1), ValueError, "degrees of rotate"),
        (lambda: Rotate(float("nan")), ValueError, "degrees of rotate"),
        (lambda: Scale(0, 1), ValueError, "low of scale to be a finite number above 0"),
        (lambda: Scale(1.1, 0.9), ValueError, "Expected low <= high in scale"),
        (lambda: Shift(-0.5), ValueError, "pixels of shift"),
        (lambda: Flip("diagonal"), ValueError, "'horizontal' or 'vertical'. Received: 'diagonal'"),
        (lambda: Noise(-1), ValueError, "std of noise"),
        (lambda: Blur(-1), ValueError, "sigma of blur"),
        (lambda: Pad(1.5), ValueError, "pixels of pad to be a whole number"),
        (lambda: Pad(-1), ValueError, "pixels of pad"),
        (lambda: Pad(lambda step: step), TypeError, "pixels of pad"),
        (lambda: Pad(1, value="mirror"), ValueError, "Received: 'mirror'. Use 'edge'"),
        (lambda: compose([Jitter]), TypeError, "Expected transforms. Received"),
        (lambda: compose([lambda images: images]), TypeError, "@regularizers.transform"),
    ],
)
def test_settings_are_checked_when_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("part", [Rotate(5), Scale(0.9, 1.1), Shift(1)], ids=label)
@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3), (2, 4, 4, 4, 1)])
def test_affine_transforms_are_for_two_spatial_axes(part, shape):
    message = rf"Expected images of shape \[N, H, W, C\] in {part.name}. Received shape"
    with pytest.raises(ValueError, match=message):
        part(tf.zeros(shape), seeds(2), STEP)
    with pytest.raises(ValueError, match=message):
        compose([part, part])(tf.zeros(shape), stacked(2, 2), STEP)


@pytest.mark.parametrize("part", [Jitter(1), Flip(), Blur(1), Pad(1)], ids=label)
def test_vectors_have_no_spatial_axes(part):
    with pytest.raises(ValueError, match="Expected images with at least 1 spatial axes"):
        part(tf.zeros([2, 5]), seeds(2), STEP)


def test_vertical_flips_need_two_spatial_axes():
    with pytest.raises(ValueError, match=r"at least 2 spatial axes.*flip \(vertical\)"):
        Flip("vertical")(tf.zeros([2, 5, 3]), seeds(2), STEP)


def test_function_transforms_compose():
    @transform
    def double(images, seeds, step):
        return 2 * images

    received = compose([double, double])(tf.ones([2, 3]), stacked(2, 2), STEP)
    np.testing.assert_array_equal(received, 4 * np.ones((2, 3)))
