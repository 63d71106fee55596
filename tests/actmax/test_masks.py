"""Masks, antithetic copies and canvases, in whole runs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

import actmax
from actmax import testing
from regularizers import (
    L2,
    Jitter,
    Noise,
    Pad,
    RandomBox,
    RandomCrop,
    Rotate,
    Scale,
    Shift,
    TotalVariation,
    penalty,
)
from tests.conformance.models import SHAPE, decoder, tiny

MASK = np.zeros(SHAPE[:2])
MASK[2:6, 3:7] = 1.0
START = np.random.default_rng(0).uniform(size=(3, *SHAPE)).astype(np.float32)
KEPT = MASK == 0

PARTS = {
    "Pixels": actmax.Pixels,
    "Fourier": actmax.Fourier,
    "Blurred": actmax.Blurred,
    "Decorrelated": actmax.Decorrelated,
    "LaplacianPyramid": lambda: actmax.LaplacianPyramid(3),
    "LimitedContrast": lambda: actmax.LimitedContrast(std=0.05),
    "LowResolutionSum": lambda: actmax.LowResolutionSum(factors=(2, 4)),
    "LowResolutionSum shared": lambda: actmax.LowResolutionSum(factors=(2,), shared=True),
    "Maco": actmax.Maco,
    "CPPN": lambda: actmax.CPPN(2, 8),
    "Strokes": lambda: actmax.Strokes(2, 4),
    "Generator": lambda: actmax.Generator(decoder(), output_range=(0, 1)),
}


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def linear(w):
    weights = tf.constant(w)
    return lambda images: tf.reduce_sum(weights * images, axis=[1, 2, 3])


@pytest.mark.parametrize("make", PARTS.values(), ids=PARTS)
def test_what_the_mask_keeps_is_kept_to_the_byte_and_the_rest_moves(make):
    frames = actmax.Frames()
    maximizer = actmax.Maximizer(
        tiny(), input_range=(0, 1), regularizers=[Jitter(1)], parameterization=make(),
        optimizer=actmax.Adam(0.1), mask=MASK,
    )  # fmt: skip
    result = maximizer([0, 1, 2], initial_images=START, steps=6, callbacks=[frames])
    for images in [*frames.frames, result.images]:
        assert images[:, KEPT].tobytes() == START[:, KEPT].tobytes()
    assert np.all(np.abs(result.images - START)[:, ~KEPT].max(axis=(1, 2)) > 1e-3)
    assert result.images.min() >= 0 and result.images.max() <= 1
    # The score is that of the whole picture, and one trace serves other images to keep.
    again = maximizer([0, 1, 2], initial_images=result.images, steps=0)
    if make in (actmax.Pixels, actmax.Fourier):
        np.testing.assert_allclose(again.scores, result.scores, rtol=1e-4)
    maximizer([1], initial_images=START[1:2] / 2, steps=2)
    testing.assert_traces(maximizer)


def test_a_mask_in_pixels_is_a_run_in_which_the_rest_has_no_gradient():
    w = draw(*SHAPE)
    mask = np.where(MASK, 0.25, MASK)
    result = actmax.maximize(
        linear(w), lambda output: output, input_range=actmax.Unbounded(), input_shape=SHAPE,
        regularizers=[], parameterization=actmax.Pixels(), optimizer=actmax.SGD(1.0), mask=mask,
        initial_images=START.astype(float), steps=3, precision="float64",
    )  # fmt: skip
    # Params move by mask * w, and show with weight mask.
    np.testing.assert_allclose(result.images, START + 3 * mask[..., None] ** 2 * w, atol=1e-12)


def test_penalties_and_metrics_see_the_whole_picture():
    seen = penalty(lambda images: tf.reduce_mean(tf.square(images[:, :2]), axis=[1, 2, 3]))
    maximizer = actmax.Maximizer(
        tiny(), input_range=(0, 1), regularizers=[seen], mask=MASK,
        parameterization=actmax.CPPN(1, 4),
        metrics={"outside": lambda images: images[:, 0, 0, 0]},
    )  # fmt: skip
    result = maximizer([0, 1, 2], initial_images=START, steps=2)
    np.testing.assert_allclose(
        result.history["lambda"][0], np.mean(START[:, :2] ** 2, axis=(1, 2, 3)), rtol=1e-6
    )
    np.testing.assert_array_equal(result.history["outside"][1], START[:, 0, 0, 0])


def test_value_and_gradient_know_the_mask():
    w = draw(*SHAPE)
    maximizer = actmax.Maximizer(
        linear(w), lambda output: output, input_range=actmax.Unbounded(), input_shape=SHAPE,
        regularizers=[L2(1.0)], parameterization=actmax.Pixels(), mask=MASK, precision="float64",
    )  # fmt: skip
    value, gradient = maximizer.value_and_gradient(START.astype(float))
    expected = np.sum(w * START, axis=(1, 2, 3)) - np.mean(START.astype(float) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    slope = MASK[..., None] * (w - 2 * START.astype(float) / w.size)
    np.testing.assert_allclose(gradient, slope, atol=1e-12)


def test_a_mask_for_one_of_two_inputs():
    def model(inputs):
        return tf.reduce_sum(inputs["a"] * inputs["b"], axis=[1, 2, 3])

    shape = (4, 5, 1)
    start = np.random.default_rng(1).uniform(0.2, 0.8, (2, *shape)).astype(np.float32)
    mask = np.zeros((4, 5))
    mask[1, 2:] = 1
    maximizer = actmax.Maximizer(
        model, lambda output: output, input_range={"a": (0, 1), "b": (0, 1)},
        input_shape={"a": shape, "b": shape}, regularizers=[], mask={"b": mask},
        parameterization={"a": actmax.Pixels(), "b": actmax.Pixels()},
    )  # fmt: skip
    result = maximizer(images=2, initial_images={"b": start}, steps=4)
    assert result.images["b"][:, mask == 0].tobytes() == start[:, mask == 0].tobytes()
    assert np.abs(result.images["b"] - start)[:, mask == 1].min() > 0.01
    with pytest.raises(ValueError, match=r"initial_images of \['b'\], of which the mask keeps"):
        maximizer(images=2, initial_images={"a": start}, steps=1)


def test_a_mask_has_the_size_of_the_canvas_and_is_recorded():
    mask = np.zeros((12, 10))
    mask[3:8, 2:9] = 1
    maximizer = actmax.Maximizer(
        tiny(), input_range=(0, 1), regularizers=[RandomBox(0.5, 0.9)], canvas=(12, 10), mask=mask,
        parameterization=actmax.LaplacianPyramid(2),
    )  # fmt: skip
    start = np.random.default_rng(0).uniform(size=(1, 12, 10, 3)).astype(np.float32)
    result = maximizer([0, 1], initial_images=start, steps=3)
    assert result.images[:, mask == 0].tobytes() == np.repeat(start, 2, 0)[:, mask == 0].tobytes()
    recorded = result.config["inputs"]["images"]["mask"]
    assert recorded["array"] == [12, 10] and len(recorded["sha256"]) == 64


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.ones((4, 4)), ValueError, r"a mask of shape \(8, 8\)"),
        (np.ones((8, 8, 1)), ValueError, r"a mask of shape \(8, 8\)"),
        (np.zeros((8, 8)), ValueError, "not all 0"),
        (2 * np.ones((8, 8)), ValueError, "values in 0 .. 1"),
        (-np.eye(8), ValueError, "values in 0 .. 1"),
        (np.full((8, 8), np.nan), ValueError, "mask to be finite"),
        ("middle", TypeError, "mask to be an array of numbers"),
        ({"other": np.ones((8, 8))}, ValueError, "names of inputs"),
    ],
)
def test_a_mask_is_checked(mask, error, message):
    with pytest.raises(error, match=message):
        actmax.Maximizer(tiny(), input_range=(0, 1), regularizers=[], mask=mask)


def test_a_mask_goes_with_ranges_and_with_what_is_solved_for_a_part():
    class Own(actmax.Constraint):
        pass

    with pytest.raises(
        ValueError, match="with a mask, a constraint on each value by itself, or one"
    ):
        actmax.Maximizer(tiny(), input_range=Own(), regularizers=[], mask=MASK)
    for constraint in (actmax.L2Ball(1.0), actmax.Contrast(0.2)):
        actmax.Maximizer(tiny(), input_range=constraint, regularizers=[], mask=MASK)
        with pytest.raises(ValueError, match="a mask of 0 and 1 beside"):
            actmax.Maximizer(tiny(), input_range=constraint, regularizers=[], mask=0.5 * MASK)


def test_a_mask_needs_an_image():
    maximizer = actmax.Maximizer(tiny(), input_range=(0, 1), regularizers=[], mask=MASK)
    with pytest.raises(ValueError, match=r"initial_images of \['images'\]"):
        maximizer([0])


# Antithetic copies.


def gradient_of(w, transforms, copies, antithetic, n=1):
    shape = w.shape
    maximizer = actmax.Maximizer(
        linear(w), lambda output: output, input_range=actmax.Unbounded(), input_shape=shape,
        regularizers=transforms, parameterization=actmax.Pixels(), copies=copies,
        antithetic=antithetic, precision="float64",
    )  # fmt: skip
    return maximizer.value_and_gradient(np.zeros((n, *shape)))[1]


def test_t9_many_copies_are_a_box_blur_of_the_weights():
    w = draw(8, 9, 1)
    blurred = ndimage.uniform_filter(w, (3, 3, 1), mode="wrap")
    for antithetic in (False, True):
        error = np.abs(gradient_of(w, [Jitter(1)], 2048, antithetic)[0] - blurred)
        assert error.max() < 5 * w.std() / np.sqrt(2048)
        assert error.max() > 0


def test_a_pair_of_copies_is_shifted_by_opposite_offsets():
    ramp = np.zeros((1, 1, 9, 1))
    ramp[0, 0, :, 0] = np.arange(9)
    point = np.zeros((1, 9, 1))
    point[0, 4] = 1.0
    # <point, shifted ramp> is the offset: linear, so a pair has the mean offset 0, exactly.
    maximizer = actmax.Maximizer(
        linear(point), lambda output: output, input_range=actmax.Unbounded(),
        input_shape=(1, 9, 1), regularizers=[Shift(3.0)], parameterization=actmax.Pixels(),
        copies=2, antithetic=True, precision="float64",
    )  # fmt: skip
    for step in range(5):
        assert maximizer.value_and_gradient(ramp, step=step)[0][0] == pytest.approx(4.0, abs=1e-12)
    single = actmax.Maximizer(
        linear(point), lambda output: output, input_range=actmax.Unbounded(),
        input_shape=(1, 9, 1), regularizers=[Shift(3.0)], parameterization=actmax.Pixels(),
        copies=2, precision="float64",
    )  # fmt: skip
    assert abs(single.value_and_gradient(ramp)[0][0] - 4.0) > 1e-3


def test_the_first_of_a_pair_is_the_copy_that_a_run_of_one_has():
    w = draw(8, 8, 1)
    one = gradient_of(w, [Jitter(3)], 1, False)
    pair = gradient_of(w, [Jitter(3)], 2, True)
    rolls = [np.roll(w, (dy, dx), (0, 1)) for dy in range(-3, 4) for dx in range(-3, 4)]
    first = [k for k, r in enumerate(rolls) if np.allclose(r, one[0])]
    assert len(first) == 1
    np.testing.assert_allclose(pair[0], (rolls[first[0]] + rolls[-1 - first[0]]) / 2, atol=1e-12)


def test_antithetic_copies_keep_the_laws():
    parts = [Pad(1), Rotate(10), Scale(0.9, 1.2), Shift(1.0), Noise(0.1), TotalVariation(0.1)]
    maximizer = actmax.Maximizer(
        tiny(), input_range=(0, 1), regularizers=parts, copies=4, antithetic=True,
        optimizer=actmax.SGD(1.0),
    )  # fmt: skip
    first = maximizer([0, 1, 2], seed=[5, 6, 7], steps=6)
    again = maximizer([0, 1, 2], seed=[5, 6, 7], steps=6)
    swapped = maximizer([2, 1, 0], seed=[7, 6, 5], steps=6)
    alone = maximizer([1], seed=6, steps=6)
    assert first.images.tobytes() == again.images.tobytes()
    assert first.images.tobytes() == swapped.images[::-1].tobytes()
    np.testing.assert_allclose(alone.images[0], first.images[1], atol=1e-5)
    best = maximizer([0, 1, 2], seed=[5, 6, 7], steps=6, keep="best", callback_every=3)
    assert np.all(np.isfinite(best.scores))
    testing.assert_traces(maximizer)
    assert first.config["antithetic"] is True


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"copies": 3},
            ValueError,
            "even number of copies for antithetic pairs. Received: copies=3",
        ),
        ({"copies": 1}, ValueError, "even number of copies"),
        ({"copies": 2, "antithetic": 1}, TypeError, "antithetic to be True or False"),
    ],
)
def test_antithetic_copies_come_in_pairs(arguments, error, message):
    with pytest.raises(error, match=message):
        actmax.Maximizer(
            tiny(), input_range=(0, 1), regularizers=[], **{"antithetic": True, **arguments}
        )


# A canvas of another size than the model's input.


@pytest.mark.parametrize(
    ("canvas", "parts"),
    [
        ((13, 11), [RandomBox(0.3, 0.6), Rotate(10)]),
        ((5, 9), [RandomCrop((4, 5))]),
        ((8, 8), [Pad(2), Jitter(2), RandomCrop((6, 6)), Noise(0.1)]),
    ],
    ids=["affine", "crop", "mixed"],
)
def test_a_canvas_of_any_size_goes_with_transforms(canvas, parts):
    maximizer = actmax.Maximizer(
        tiny(), input_range=(0, 1), regularizers=parts, canvas=canvas, copies=2,
        optimizer=actmax.Adam(0.05), parameterization=actmax.Decorrelated(),
    )  # fmt: skip
    start, end = maximizer([0, 1], steps=0), maximizer([0, 1], steps=25)
    assert end.images.shape == (2, *canvas, 3)
    assert np.all(end.scores > start.scores)


def test_a_canvas_in_float64_has_a_gradient():
    maximizer = actmax.Maximizer(
        tiny(), input_range=(0, 1), regularizers=[], canvas=(12, 10), precision="float64",
        parameterization=actmax.Pixels(),
    )  # fmt: skip
    images = np.random.default_rng(0).uniform(0.3, 0.7, (1, 12, 10, 3))
    value, gradient = maximizer.value_and_gradient(images, [1])
    assert value.dtype == gradient.dtype == np.float64
    # TensorFlow's kernel of the resize, and the model, compute in float32: a wide difference.
    step = 1e-2 * gradient / np.abs(gradient).max()
    ahead, behind = (maximizer.value_and_gradient(images + s * step, [1])[0] for s in (1, -1))
    np.testing.assert_allclose((ahead - behind) / 2, np.sum(gradient * step), rtol=1e-2)
