"""Parameterizations against naive loops, closed forms, and the images that they start from."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

import actmax
from actmax import testing
from actmax.parameterizations.maco import Maco
from regularizers import random
from tests.reference import parameterizations as reference

SIZES = [(8, 8), (7, 9), (9, 8), (6, 11), (1, 5), (5, 1), (2, 2)]


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def seeds(n, stream=0):
    return random.fold_in(tf.fill([n, 2], stream), tf.range(n))


def linear(w):
    """`x -> <w, x>`, a model of one output per image."""
    weights = tf.constant(w)
    return lambda images: tf.reduce_sum(weights * images, axis=[1, 2, 3])


def unit_variances(part, shape):
    """Variance of every pixel for params of unit variance: the sum over a basis of params."""
    start = part.init(shape, seeds(1), tf.float64)
    leaves = tf.nest.flatten(start)
    total = np.zeros(shape)
    for chosen, leaf in enumerate(leaves):
        size = int(np.prod(leaf.shape[1:]))
        basis = tf.reshape(tf.eye(size, dtype=tf.float64), [size, *leaf.shape[1:]])
        params = [
            basis if k == chosen else tf.zeros([size, *other.shape[1:]], tf.float64)
            for k, other in enumerate(leaves)
        ]
        images = part.decode(tf.nest.pack_sequence_as(start, params), shape)
        total += np.sum(np.square(images), axis=0)
    return total


# The start has one contrast, whatever the size.

DECAYS = [0.0, 0.85, 1.0, 1.5, 2.0]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 2),
    st.sampled_from(DECAYS),
    st.sampled_from([0.0, 0.7, 2.0]),
)
def test_unit_fourier_coefficients_give_unit_pixels(height, width, channels, decay, blur):
    part = actmax.Fourier(decay, blur=blur)
    variances = unit_variances(part, (height, width, channels))
    np.testing.assert_allclose(variances, 1.0, rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 2), st.integers(1, 2))
def test_unit_params_of_a_pyramid_give_unit_pixels_in_the_mean(height, width, channels, levels):
    part = actmax.LaplacianPyramid(levels)
    variances = unit_variances(part, (height, width, channels))
    assert variances.mean() == pytest.approx(1.0)


@pytest.mark.parametrize(
    "part",
    [actmax.Fourier(), actmax.LaplacianPyramid(5), actmax.LowResolutionSum(actmax.Fourier())],
    ids=lambda part: type(part).__name__,
)
@pytest.mark.parametrize("size", [(28, 28), (64, 31), (96, 96)])
def test_the_start_has_the_deviation_asked_for(part, size):
    shape = (*size, 3)
    images = part.decode(part.init(shape, seeds(24)), shape)
    assert np.sqrt(np.mean(np.square(images))) == pytest.approx(0.05, rel=0.1)


# What can be encoded comes back.

INVERTIBLE = {
    "Pixels": lambda channels: actmax.Pixels(),
    "Fourier": lambda channels: actmax.Fourier(1.5),
    "Fourier, blurred": lambda channels: actmax.Fourier(1.0, blur=0.7),
    "Blurred": lambda channels: actmax.Blurred(0.5),
    "LaplacianPyramid": lambda channels: actmax.LaplacianPyramid(2),
    "LowResolutionSum": lambda channels: actmax.LowResolutionSum(factors=(2, 3)),
    "LowResolutionSum shared": lambda channels: actmax.LowResolutionSum(
        actmax.LaplacianPyramid(2), factors=(2,), shared=True
    ),
    "Decorrelated": lambda channels: actmax.Decorrelated.from_images(
        draw(40, 3, 3, channels) @ draw(channels, channels, seed=1)
    ),
}


@pytest.mark.parametrize("make", INVERTIBLE.values(), ids=INVERTIBLE)
@settings(max_examples=12, deadline=None)
@given(st.integers(3, 12), st.integers(3, 12), st.integers(1, 8), st.integers(1, 3))
def test_every_image_has_params(make, height, width, channels, n):
    images = draw(n, height, width, channels)
    part = make(channels)
    back = part.decode(part.encode(tf.constant(images)), (height, width, channels))
    np.testing.assert_allclose(back, images, atol=1e-9 * np.linalg.norm(images))


@pytest.mark.parametrize("shape", [(9, 2), (5, 6, 7, 1)], ids=["series", "volume"])
@pytest.mark.parametrize("make", [actmax.LaplacianPyramid, actmax.Blurred])
def test_other_ranks_have_params_too(make, shape):
    part = make(2) if make is actmax.LaplacianPyramid else make(0.5)
    images = tf.constant(draw(3, *shape))
    np.testing.assert_allclose(part.decode(part.encode(images), shape), images, atol=1e-9)


@pytest.mark.parametrize("make", INVERTIBLE.values(), ids=INVERTIBLE)
@pytest.mark.parametrize("input_range", [(0, 1), (-1, 3)])
def test_a_run_starts_from_a_given_image(make, input_range):
    low, high = input_range
    images = np.random.default_rng(0).uniform(low + 0.01, high - 0.01, (2, 7, 6, 3))
    result = actmax.maximize(
        linear(draw(7, 6, 3)), lambda output: output, input_range=input_range,
        parameterization=make(3), regularizers=[], initial_images=images, steps=0,
        precision="float64",
    )  # fmt: skip
    np.testing.assert_allclose(result.images, images, atol=1e-8)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 6)])
def test_the_blur_of_fourier_coefficients_is_a_gaussian_that_wraps_around(size):
    sharp, blurred = actmax.Fourier(1.2), actmax.Fourier(1.2, blur=0.9)
    params = sharp.init((*size, 2), seeds(1), tf.float64)
    image = sharp.decode(params, (*size, 2))[0].numpy()
    spectrum = np.fft.fft2(image, axes=(0, 1))
    expected = np.fft.ifft2(ndimage.fourier_gaussian(spectrum, (0.9, 0.9, 0)), axes=(0, 1)).real
    found = blurred.decode(params, (*size, 2))[0].numpy()
    # Up to the factor that keeps the variance.
    np.testing.assert_allclose(found / np.std(found), expected / np.std(expected), atol=1e-12)


def test_a_blur_of_fourier_coefficients_that_cannot_be_undone_says_so():
    images = tf.zeros([1, 8, 8, 3])
    with pytest.raises(ValueError, match=r"blur that can be undone.*blur=0\.9"):
        actmax.Fourier(blur=0.9).encode(images)


NOT_INVERTIBLE = {
    "Maco": actmax.Maco,
    "CPPN": lambda: actmax.CPPN(1, 4),
    "Strokes": actmax.Strokes,
    "Decorrelated": lambda: actmax.Decorrelated(actmax.Maco()),
    "LowResolutionSum": lambda: actmax.LowResolutionSum(actmax.CPPN(1, 4)),
}


@pytest.mark.parametrize("make", NOT_INVERTIBLE.values(), ids=NOT_INVERTIBLE)
def test_what_has_no_inverse_says_so(make):
    part = make()
    assert not part.invertible
    with pytest.raises(ValueError, match=r"start from given images. Received: \w+, which reaches"):
        actmax.maximize(
            linear(draw(8, 8, 3)), lambda output: output, input_range=(0, 1), regularizers=[],
            parameterization=part, initial_images=np.full((1, 8, 8, 3), 0.5), steps=0,
        )  # fmt: skip


# Maco.


@pytest.mark.parametrize("size", [(4, 4), (5, 5), (4, 5), (5, 4), (2, 3), (1, 6)])
@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_maco_is_the_sum_over_frequencies(size, decay):
    shape = (*size, 2)
    part = actmax.Maco(decay=decay, std=0.7)
    phases = part.init(shape, seeds(2), tf.float64)
    images, amplitudes = part.decode(phases, shape), part.amplitudes(shape)
    for n in range(2):
        for c in range(2):
            expected = reference.from_phases(amplitudes[..., c], phases[n, ..., c].numpy(), size[1])
            np.testing.assert_allclose(images[n, ..., c], expected, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 13), st.integers(2, 13), st.integers(1, 8))
def test_maco_keeps_its_amplitudes_at_any_phases(height, width, channels):
    shape = (height, width, channels)
    part = actmax.Maco.from_images(draw(3, *shape))
    images = part.decode(tf.constant(9 * draw(2, height, width // 2 + 1, channels)), shape)
    found = np.abs(np.fft.rfft2(images, axes=(1, 2)))
    amplitudes = np.broadcast_to(part.amplitudes(shape), found.shape)
    own = np.zeros((height, width // 2 + 1), bool)  # frequencies that are their own mirror
    for y in {0, height // 2} if height % 2 == 0 else {0}:
        for x in {0, width // 2} if width % 2 == 0 else {0}:
            own[y, x] = True
    np.testing.assert_allclose(found[:, ~own], amplitudes[:, ~own], atol=1e-9)
    assert np.all(found[:, own] <= amplitudes[:, own] + 1e-9)


def test_maco_starts_at_uniform_phases_and_without_a_spike():
    """Phases of N(0, 1), as in two peers, leave 61 % of the image that has all phases 0: a spike."""
    shape = (64, 64, 1)
    part = actmax.Maco()
    phases = part.init(shape, seeds(8))
    interior = phases.numpy()[:, :, 1:-1].ravel()
    assert stats.kstest(interior, "uniform", (-math.pi, 2 * math.pi)).pvalue > 1e-3
    images = part.decode(phases, shape).numpy()
    assert np.abs(images).max() < 6
    corner = np.square(images[:, :16, :16]).sum() / np.square(images).sum()
    assert corner < 3 * (16 / 64) ** 2


@pytest.mark.parametrize("size", SIZES[:4])
@pytest.mark.parametrize("std", [0.3, 1.0])
def test_maco_has_one_contrast_and_mean_0_at_every_size(size, std):
    shape = (*size, 3)
    part = actmax.Maco.from_images(5 + draw(4, *shape), std=std)
    images = part.decode(part.init(shape, seeds(32), tf.float64), shape).numpy()
    np.testing.assert_allclose(images.mean(axis=(1, 2)), 0, atol=1e-12)
    assert images.std() == pytest.approx(std, rel=0.1)


def test_maco_takes_the_mean_spectrum_of_images():
    images = draw(5, 6, 7, 2)
    expected = np.abs(np.fft.rfft2(images, axes=(1, 2))).mean(axis=0)
    part = actmax.Maco.from_images(images)
    np.testing.assert_array_equal(part.spectrum.values, expected)
    # Twice the contrast is the same part: the spectrum's size does not matter.
    other = actmax.Maco.from_images(2 * images + 7)
    np.testing.assert_allclose(other.amplitudes((6, 7, 2)), part.amplitudes((6, 7, 2)), atol=1e-9)


def test_the_phases_of_an_image_in_its_own_spectrum_give_the_image():
    image = draw(1, 6, 7, 1)
    phases = np.angle(np.fft.rfft2(image, axes=(1, 2)))
    found = actmax.Maco.from_images(image).decode(tf.constant(phases), (6, 7, 1)).numpy()
    centered = image - image.mean()
    np.testing.assert_allclose(found, centered / centered.std(), atol=1e-12)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (6, 5)])
def test_t8_maco_reaches_the_optimum_of_a_linear_model(size):
    shape = (*size, 2)
    w = draw(*shape)
    part = actmax.Maco.from_images(draw(4, *shape, seed=1))
    result = actmax.maximize(
        linear(w), lambda output: output, input_range=actmax.Unbounded(), input_shape=shape,
        regularizers=[], parameterization=part, optimizer=actmax.Adam(actmax.Cosine(0.3, 0.0, 700)),
        images=3, steps=700, precision="float64",
    )  # fmt: skip
    spectrum = np.abs(np.fft.rfft2(w, axes=(0, 1)))
    count = np.full((1, spectrum.shape[1], 1), 2.0)
    count[:, [0, -1] if size[1] % 2 == 0 else [0]] = 1.0
    best = np.sum(count * part.amplitudes(shape) * spectrum) / np.prod(size)
    np.testing.assert_allclose(result.scores, best, rtol=1e-6)


def test_parts_of_a_spectrum_compare_and_hash_by_value():
    images = draw(3, 6, 6, 1)
    first, second = Maco.from_images(images), Maco.from_images(images.copy())
    assert first == second and hash(first) == hash(second)
    assert first != Maco.from_images(2 + images**2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: actmax.Maco(np.ones((4, 3))), r"spectrum of shape \[H, W // 2 \+ 1, C\]"),
        (lambda: actmax.Maco(-np.ones((4, 3, 1))), "amplitudes of at least 0"),
        (lambda: actmax.Maco(np.zeros((4, 3, 1))), "some of them above 0"),
        (lambda: actmax.Maco(np.full((4, 3, 1), np.nan)), "spectrum to be finite"),
        (lambda: actmax.Maco.from_images(np.ones((4, 5, 5))), r"images \[N, H, W, C\]"),
        (lambda: actmax.Maco(np.ones((4, 3, 1))).amplitudes((8, 8, 1)), r"spectrum \(8, 5, 1\)"),
        (lambda: actmax.Maco().init((8, 3), seeds(1)), r"images \(H, W, C\) for Maco"),
    ],
)
def test_a_spectrum_is_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Decorrelated.


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_channels_of_images_are_decorrelated(channels):
    images = draw(50, 4, 4, channels) @ draw(channels, channels, seed=3) + 7
    part = actmax.Decorrelated.from_images(images)
    matrix = np.array(part.matrix)
    covariance = np.atleast_2d(np.cov(images.reshape(-1, channels), rowvar=False))
    np.testing.assert_allclose(
        matrix @ matrix.T / np.linalg.norm(matrix @ matrix.T),
        covariance / np.linalg.norm(covariance),
        atol=1e-12,
    )
    assert np.linalg.norm(matrix, axis=0)[0] == pytest.approx(1.0)
    base = part.decorrelate(tf.constant(images)).numpy().reshape(-1, channels)
    np.testing.assert_allclose(np.atleast_2d(np.cov(base, rowvar=False)),
                               base.var(axis=0, ddof=1).mean() * np.eye(channels), atol=1e-9)  # fmt: skip


def test_gray_images_in_three_channels_have_no_colors():
    gray = np.repeat(draw(4, 5, 5, 1), 3, axis=-1)
    with pytest.raises(ValueError, match="channels vary, and not only together"):
        actmax.Decorrelated.from_images(gray)


@pytest.mark.parametrize("matrix", [[[1, 2]], [[1, 2], [2, 4]], "rgb", [[1, float("nan")], [0, 1]]])
def test_a_matrix_must_be_invertible(matrix):
    with pytest.raises(ValueError, match="invertible matrix C x C"):
        actmax.Decorrelated(matrix=matrix)


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match="images of 3 channels for Decorrelated"):
        actmax.Decorrelated().init((8, 8, 1), seeds(1))


# Sums over scales.


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (6, 11), (2, 5)])
def test_a_pyramid_is_that_of_naive_loops(size):
    shape = (*size, 2)
    part = actmax.LaplacianPyramid(2, std=1.0)
    params = part.init(shape, seeds(2), tf.float64)
    zero = [tf.zeros_like(params[0]), params[1]]
    # The factor of a layer is the same everywhere: here it is that of one value.
    one = part.decode([params[0], tf.zeros_like(params[1])], shape) / params[0]
    np.testing.assert_allclose(one, 2**-0.5, rtol=1e-12)
    large = part.decode(zero, shape).numpy()
    for n in range(2):
        expected = reference.enlarge(params[1][n].numpy(), size)
        scale = np.sum(large[n] * expected) / np.sum(expected**2)
        np.testing.assert_allclose(large[n], scale * expected, atol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
def test_layers_of_low_resolution_are_those_of_naive_loops(shared):
    shape = (7, 9, 2)
    part = actmax.LowResolutionSum(actmax.Pixels(), (2, 4), shared=shared)
    params = part.init(shape, seeds(3), tf.float64)
    start = part.decode(params, shape)
    np.testing.assert_array_equal(start, params["base"])  # the start is the base's
    layers = [draw(*leaf.shape, seed=k) for k, leaf in enumerate(params["layers"])]
    images = part.decode({"base": params["base"], "layers": [*map(tf.constant, layers)]}, shape)
    for n in range(3):
        expected = params["base"][n].numpy()
        for layer in layers:
            expected = expected + reference.enlarge(layer.mean(0) if shared else layer[n], (7, 9))
        np.testing.assert_allclose(images[n], expected, atol=1e-12)


def test_shared_layers_say_that_they_couple_images_and_move_together():
    assert actmax.LowResolutionSum(shared=True).couples_images
    assert not actmax.LowResolutionSum().couples_images
    assert actmax.Decorrelated(actmax.LowResolutionSum(shared=True)).couples_images
    w = tf.constant(draw(3, 8, 8, 1))
    result = actmax.maximize(
        lambda images: tf.einsum("nhwc,khwc->nk", images, w), actmax.Logit(), [0, 1, 2],
        input_range=actmax.Unbounded(), input_shape=(8, 8, 1), regularizers=[],
        parameterization=actmax.LowResolutionSum(actmax.Pixels(0.0), (2,), shared=True),
        optimizer=actmax.SGD(1.0), steps=1, precision="float64",
    )  # fmt: skip
    # One step: its own target in each image, and the mean of all three targets' layers in common.
    own = result.images - w.numpy()
    np.testing.assert_allclose(own[1:], own[[0, 0]], atol=1e-12)
    assert np.abs(own).max() > 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: actmax.LaplacianPyramid(0), "levels to be at least 1"),
        (lambda: actmax.LaplacianPyramid(6).init((8, 8, 3), seeds(1)), "at most 4 levels"),
        (lambda: actmax.LaplacianPyramid(1).init((8,), seeds(1)), "at least one spatial axis"),
        (lambda: actmax.LowResolutionSum(factors=()), "at least one factor"),
        (lambda: actmax.LowResolutionSum(factors=(1,)), "every one of factors to be at least 2"),
        (lambda: actmax.LowResolutionSum().init((4, 4, 1), seeds(1)), "factors of at most 4"),
        (lambda: actmax.CPPN(0), "layers to be at least 1"),
        (lambda: actmax.CPPN().init((8, 3), seeds(1)), r"images \(H, W, C\) for CPPN"),
    ],
)
def test_scales_and_layers_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# CPPN.


def pattern_params(part, shape, n=2):
    params = part.init(shape, seeds(n), tf.float64)
    output = tf.constant(draw(*params["output"].shape, seed=5))
    biases = [tf.constant(draw(*b.shape, seed=k)) for k, b in enumerate(params["biases"])]
    return {**params, "output": output, "biases": biases}


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (6, 1)])
def test_a_pattern_is_that_of_its_network_pixel_by_pixel(size):
    part, shape = actmax.CPPN(3, 5), (*size, 2)
    params = pattern_params(part, shape)
    images = part.decode(params, shape)
    for n in range(2):
        kernels, biases = ([leaf[n].numpy() for leaf in params[k]] for k in ("kernels", "biases"))
        output = params["output"][n].numpy()
        expected = reference.pattern(kernels, [b[0] for b in biases], output, *size)
        np.testing.assert_allclose(images[n], expected, atol=1e-12)


def test_a_pattern_has_no_resolution():
    part = actmax.CPPN(3, 5)
    params = pattern_params(part, (6, 8, 3))
    small, large = (part.decode(params, (6 * k, 8 * k, 3)) for k in (1, 3))
    # The middle of a pixel is the middle of the middle one of nine.
    np.testing.assert_allclose(large[:, 1::3, 1::3], small, atol=1e-12)


def test_a_pattern_starts_gray_with_features_of_size_1():
    part = actmax.CPPN()
    params = part.init((32, 32, 3), seeds(8))
    assert not np.any(part.decode(params, (32, 32, 3)))
    probe = {**params, "output": tf.ones_like(params["output"]) / 48**0.5}
    assert 0.2 < np.std(part.decode(probe, (32, 32, 3))) < 5


# Generator.


def decoder(activation="sigmoid", shape=(8, 8, 3), dtype="float64"):
    model = keras.Sequential(
        [
            keras.Input([4], dtype=dtype),
            keras.layers.Dense(int(np.prod(shape)), activation, dtype=dtype),
            keras.layers.Reshape(shape, dtype=dtype),
        ],
        name="decoder",
    )
    model.set_weights([draw(*w.shape, seed=k) for k, w in enumerate(model.get_weights())])
    return model


@pytest.mark.parametrize(("activation", "ends"), [("sigmoid", (0, 1)), ("tanh", (-1, 1))])
def test_images_of_a_generator_reach_the_input_range_by_a_line(activation, ends):
    model = decoder(activation)
    part = actmax.Generator(model, output_range=ends, latent_range=(-2, 2))
    maximizer = actmax.Maximizer(
        linear(draw(8, 8, 3)), lambda output: output, input_range=(0, 255), input_shape=(8, 8, 3),
        regularizers=[], parameterization=part, optimizer=actmax.Adam(0.3), precision="float64",
    )  # fmt: skip
    start = maximizer(images=2, steps=0)
    params = part.init((8, 8, 3), random.fold_in(row_seeds(2), 0), tf.float64)
    raw = model(part.latents(params)).numpy()
    expected = 255 * (raw - ends[0]) / (ends[1] - ends[0])
    np.testing.assert_allclose(start.images, expected, atol=1e-9)
    end = maximizer(images=2, steps=40)
    assert np.all(end.scores > start.scores + 1)
    assert end.images.min() >= 0 and end.images.max() <= 255
    recorded = end.config["inputs"]["images"]
    assert recorded["parameterization"]["model"] == {"class": "Sequential", "name": "decoder"}
    assert recorded["constraint"]["class"] == "Rescale"


def row_seeds(n):
    from actmax.maximizer.rows import row_seeds

    return row_seeds(0, None, n)


def test_latents_stay_in_their_range_and_start_like_the_prior():
    part = actmax.Generator(decoder(), output_range=(0, 1), latent_range=((0, -1, 0, 0), 3))
    huge = part.latents(tf.constant(1e3 * draw(50, 4))).numpy()
    assert huge[:, [0, 2, 3]].min() == 0 and huge[:, 1].min() == -1 and huge.max() == 3
    small = part.latents(tf.constant(1e-4 * draw(50, 4))).numpy()
    np.testing.assert_allclose(small - [1.5, 1.0, 1.5, 1.5], 1e-4 * draw(50, 4), rtol=1e-6)


def test_a_generator_without_a_range_is_mapped_as_raw_images_are():
    part = actmax.Generator(decoder("linear"), output_range=None)
    maximizer = actmax.Maximizer(
        linear(draw(8, 8, 3)), lambda output: output, input_range=(0, 1), input_shape=(8, 8, 3),
        regularizers=[], parameterization=part, precision="float64",
    )  # fmt: skip
    assert maximizer(images=1, steps=0).config["inputs"]["images"]["constraint"] == {
        "class": "Sigmoid", "lower": 0.0, "upper": 1.0
    }  # fmt: skip


def test_a_generator_is_left_as_it_was():
    model = keras.Sequential(
        [keras.Input([3]), keras.layers.Dense(12), keras.layers.BatchNormalization(),
         keras.layers.Reshape([2, 2, 3])]
    )  # fmt: skip
    before = [w.copy() for w in model.get_weights()]
    part = actmax.Generator(model, output_range=None)
    actmax.maximize(
        linear(draw(2, 2, 3).astype("float32")), lambda output: output, input_range=(0, 1),
        input_shape=(2, 2, 3), regularizers=[], parameterization=part, steps=5,
    )  # fmt: skip
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: actmax.Generator("gan", output_range=None), TypeError, "built Keras model of one"),
        (lambda: actmax.Generator(decoder(), output_range=1), TypeError, "output_range to be a pair"),
        (
            lambda: actmax.Generator(decoder(), output_range=None, latent_range=(0, (1, 2))),
            (TypeError, ValueError), "latent_range|low < high",
        ),
        (
            lambda: actmax.Generator(decoder(), output_range=(-1, 1), latent_range=(3, 2)),
            ValueError, "low < high",
        ),
        (
            lambda: actmax.Generator(decoder(), output_range=(0, 1)).init((9, 9, 3), seeds(2)),
            ValueError, r"generator of images \(9, 9, 3\)",
        ),
    ],
)  # fmt: skip
def test_a_generator_is_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_generator_in_a_range_wants_a_pair():
    part = actmax.Generator(decoder(), output_range=(0, 1))
    with pytest.raises(ValueError, match="pair as the input range of Generator"):
        actmax.Maximizer(
            linear(draw(8, 8, 3)), lambda output: output, input_range=actmax.Sigmoid(0, 1),
            input_shape=(8, 8, 3), regularizers=[], parameterization=part,
        )  # fmt: skip


def test_rescale_keeps_the_laws_of_constraints():
    from actmax.constraints import Rescale

    testing.check_constraint(Rescale(0.0, 255.0, (-1.0, 1.0)))
