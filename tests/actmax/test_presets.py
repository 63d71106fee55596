"""Operators after updates, optimizers and filters of the papers against NumPy; presets that run."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import presets
from tests.conformance.models import normalized, photos

RANGES = [(-1.0, 1.0), (0.0, 255.0)]
NAMES = presets.__all__


def some(shape=(2, 5, 6, 3), seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_decay_moves_towards_the_center():
    x = some()
    found = actmax.DecayImage(0.3, center=0.5)(tf.constant(x), tf.constant(x), tf.constant(1))
    np.testing.assert_allclose(found, 0.5 + 0.7 * (x - 0.5), rtol=1e-12)


def test_blur_comes_every_few_updates():
    x = tf.constant(some())
    blur = actmax.BlurImage(1.0, every=4)
    for step in range(1, 9):
        changed = bool(np.any(blur(x, x, tf.constant(step)).numpy() != x.numpy()))
        assert changed is (step % 4 == 0)
    np.testing.assert_allclose(blur(x, x, tf.constant(4)), actmax.BlurGradient(1.0)(x))


def test_a_blur_on_a_schedule_is_that_of_its_value():
    """The schedule counts steps from 0, as those of transforms do; updates are counted from 1."""
    x = tf.constant(some())
    blur = actmax.BlurImage(actmax.Linear(2.0, 0.5, 4))
    for update, sigma in [(1, 2.0), (2, 1.5), (4, 0.5), (9, 0.5)]:
        found = blur(x, x, tf.constant(update))
        np.testing.assert_allclose(found, actmax.BlurGradient(sigma)(x), rtol=1e-6)


@pytest.mark.parametrize("percentile", [0.0, 20.0, 37.5, 90.0, 100.0])
def test_small_pixels_are_cleared_as_numpys_percentile_says(percentile):
    x, g, center = some(), some(seed=1), 0.25
    for part, sizes in (
        (actmax.ClipSmallNorms, np.linalg.norm(x - center, axis=-1)),
        (actmax.ClipSmallContributions, np.abs(np.sum(g * (x - center), -1))),
    ):
        found = part(percentile, center)(tf.constant(x), tf.constant(g), tf.constant(1)).numpy()
        for row in range(2):
            limit = np.percentile(sizes[row], percentile)
            # A tie with the limit is a matter of rounding: skipped.
            clear = np.abs(sizes[row] - limit) > 1e-9
            expected = np.where((sizes[row] < limit)[..., None], center, x[row])
            np.testing.assert_array_equal(found[row][clear], expected[clear])


def test_after_update_is_the_optimizer_then_the_operators():
    x, g = some(), some(seed=1)
    optimizer = actmax.AfterUpdate(
        actmax.SGD(0.5),
        [actmax.DecayImage(0.1), lambda images, gradients, step: images + gradients],
    )
    state = optimizer.init(tf.constant(x))
    rate = tf.constant([0.5, 0.0], tf.float64)
    moved, state = optimizer.update(tf.constant(g), state, tf.constant(x), rate)
    np.testing.assert_allclose(moved[0], 0.9 * (x[0] - 0.5 * g[0]) + g[0], rtol=1e-12)
    np.testing.assert_array_equal(moved[1], x[1])
    assert int(state["step"]) == 1


def test_after_update_refuses_what_is_no_operator():
    with pytest.raises(TypeError, match="operators"):
        actmax.AfterUpdate(actmax.SGD(0.5), [actmax.DecayImage])
    with pytest.raises(TypeError, match="an optimizer of actmax"):
        actmax.AfterUpdate([actmax.DecayImage(0.1)], actmax.SGD(0.5))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_progress_promises_the_same_gain_at_every_scale(scale):
    g = scale * some()
    optimizer = actmax.ProgressSGD(1e30, desired=2.0)
    moved, _ = optimizer.update(
        tf.constant(g), (), tf.zeros_like(g), tf.constant([1e30], tf.float64)
    )
    gain = -np.sum(moved.numpy() * g, axis=(1, 2, 3))
    np.testing.assert_allclose(gain, 2.0, rtol=1e-9)
    still, _ = optimizer.update(
        tf.zeros_like(g), (), tf.constant(g), tf.constant([1.0], tf.float64)
    )
    np.testing.assert_array_equal(still, g)


def test_progress_of_a_linear_unit_rises_by_the_desired_gain():
    w = some((12,))
    result = actmax.maximize(
        lambda x: x @ tf.constant(w)[:, None],
        targets=[0],
        input_range=actmax.Unbounded(),
        input_shape=(12,),
        precision="float64",
        regularizers=[],
        optimizer=actmax.ProgressSGD(1e9, 2.0),
        steps=5,
    )
    rise = np.diff(np.append(result.history["score"][:, 0], result.scores[0]))
    np.testing.assert_allclose(rise, 2.0, rtol=1e-6)


def test_forgetful_adagrad_is_its_formula():
    x, rate, floor = some((1, 7)), 0.3, 0.01
    optimizer = actmax.ForgetfulAdagrad(rate, floor=floor)
    p, state = tf.constant(x), optimizer.init(tf.constant(x))
    q, total, move = x.copy(), 0.0, 0.0
    for step in range(6):
        g = np.cos(q + step)
        p, state = optimizer.update(tf.cos(p + step), state, p, tf.constant([rate], tf.float64))
        total = 0.9 * total + g**2
        move = 0.9 * move - rate * g / (floor + np.sqrt(total))
        q = q + move
    np.testing.assert_allclose(p, q, rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (1, 7, 10, 1), (1, 9, 5, 2)])
def test_inverse_frequency_is_its_formula(shape):
    g, power = some(shape), 0.4
    rows = np.fft.fftfreq(shape[1]) * shape[1]
    columns = np.fft.fftfreq(shape[2]) * shape[2]
    keep = 1 / np.maximum(1, (rows[:, None] ** 2 + columns[None] ** 2) ** power)
    spectrum = np.fft.fft2(g, axes=(1, 2)) * (keep / keep.mean())[None, :, :, None]
    expected = np.fft.ifft2(spectrum, axes=(1, 2)).real
    np.testing.assert_allclose(actmax.InverseFrequency(power)(tf.constant(g)), expected, atol=1e-12)
    np.testing.assert_allclose(actmax.InverseFrequency(0.0)(tf.constant(g)), g, atol=1e-12)


def arguments_of(name, input_range, **more):
    return {**getattr(presets, name)(normalized(), input_range, **more), "steps": 3}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("input_range", RANGES)
def test_every_preset_runs_and_stays_in_the_range(name, input_range):
    low, high = input_range
    arguments = arguments_of(name, input_range)
    result = actmax.maximize(
        normalized(),
        targets=[0, 2],
        preprocess=lambda images: (images - low) / (high - low),
        **arguments,
    )
    assert result.images.shape == (2, *arguments.get("canvas", (8, 8)), 3)
    assert result.images.min() >= input_range[0] and result.images.max() <= input_range[1]
    assert np.all(np.isfinite(result.scores))
    assert all(status.name == "OK" for status in map(actmax.Status, result.status))


@pytest.mark.parametrize("letter", "ABCD")
def test_every_setting_of_yosinski_runs(letter):
    result = actmax.maximize(
        normalized(), targets=[1], **arguments_of("yosinski", (0.0, 1.0), preset=letter)
    )
    assert np.all(np.isfinite(result.images))


@pytest.mark.parametrize(
    "name",
    [
        "yosinski",
        "mei",
        "mahendran_vedaldi",
        "deep_inversion",
        "maco",
        "drawn",
    ],
)
def test_a_preset_means_the_same_in_every_range(name):
    """A model of images in (0, 255), which divides by 255, ends at 255 times the image."""
    model = normalized()
    # At the model's own size: a canvas is resized in float32, of which phases make more.
    more = {"images": photos()} if name == "maco" else {}
    unit = actmax.maximize(
        model, targets=[0], precision="float64", **arguments_of(name, (0.0, 1.0), **more)
    )
    bytes_ = actmax.maximize(
        model,
        targets=[0],
        precision="float64",
        preprocess=lambda images: images / 255.0,
        **arguments_of(name, (0.0, 255.0), **more),
    )
    np.testing.assert_allclose(bytes_.images / 255.0, unit.images, atol=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_names_its_source(name):
    text = inspect.getdoc(getattr(presets, name))
    assert "Source: " in text and "https://" in text


def test_the_constants_of_natural_pre_images():
    arguments = presets.mahendran_vedaldi(normalized(), (0.0, 255.0))
    norm, variation, jitter = arguments["regularizers"]
    assert norm.weight == pytest.approx(80.0**-6)
    assert variation.weight == pytest.approx(3 * (6.5 / 80.0) ** 2)
    assert jitter.pixels == 1
    assert arguments["optimizer"].floor == pytest.approx(1 / (64 * 0.05 * 80**2 / 6))
    assert arguments["steps"] == 300


def test_the_constants_of_maco():
    arguments = presets.maco(normalized(), (-1.0, 1.0))
    boxes, noise = arguments["regularizers"]
    # 512 pixels to 224, a mean side of half the image and at last 0.07: a normal of 0.05 about 0.05,
    # clipped there.
    assert arguments["canvas"] == (18, 18)
    assert (arguments["copies"], arguments["steps"]) == (32, 256)
    sides = [(boxes.low(step) + boxes.high(step)) / 2 for step in (0, 255)]
    assert sides == pytest.approx([0.5, 0.05 + 0.05 / np.sqrt(2 * np.pi)], abs=1e-4)
    assert (boxes.high(0) - boxes.low(0)) / np.sqrt(12) == pytest.approx(0.05, abs=1e-3)
    # What the model sees of the noise is what the code adds there.
    white = tf.random.stateless_normal([400, 18, 18, 3], [1, 2], stddev=noise.std)
    seen = tf.image.resize(white, (8, 8), antialias=True).numpy()
    assert np.std(seen) == pytest.approx(np.sqrt(0.08**2 + 0.08**2 / 12), rel=0.02)


@pytest.mark.parametrize("channels", [1, 3])
def test_maco_takes_amplitudes_colors_and_size_from_natural_images(channels):
    natural = photos()[..., :channels]
    model = keras.Sequential(
        [
            keras.Input((6, 6, channels)),
            keras.layers.Conv2D(4, 3, activation="tanh"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    arguments = presets.maco(model, (0, 1), images=natural, crops=2, steps=2)
    part = arguments["parameterization"]
    base, raw = part, natural
    if channels == 3:
        base, raw = part.base, part.decorrelate(natural).numpy()
    expected = np.abs(np.fft.rfft2(raw, axes=(1, 2))).mean(0)
    np.testing.assert_allclose(base.spectrum.values, expected, rtol=1e-9)
    result = actmax.maximize(model, targets=[0, 1], **arguments)
    assert result.images.shape == (2, 8, 8, channels)


def test_presets_say_what_they_need():
    with pytest.raises(TypeError, match="a pair"):
        presets.mei(normalized(), actmax.Unbounded())
    with pytest.raises(ValueError, match="preset"):
        presets.yosinski(normalized(), (0, 1), "E")
    with pytest.raises(ValueError, match=r"natural images \[M, H, W, 3\].*\(4, 8, 8, 1\)"):
        presets.maco(normalized(), (0, 1), images=np.ones((4, 8, 8, 1)))
    with pytest.raises(ValueError, match="known size"):
        presets.lucid(lambda x: x, (0, 1))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"stride": 0}, "stride to be at least 1"), ({"stride": 2.5}, "stride to be an integer"),
        ({"beta": "2"}, "beta to be a number"), ({"beta": float("nan")}, "beta to be a finite number"),
    ],
)  # fmt: skip
def test_a_setting_that_is_none_is_refused(setting, message):
    """Strides of 0 and less were taken for 1, and Python's own errors came through for the others."""
    with pytest.raises((TypeError, ValueError), match=f"Expected {message}"):
        presets.mahendran_vedaldi(normalized(), (0, 1), **setting)
