"""Images of a limited contrast: against a naive loop, differences, and an optimum that is known."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import actmax
from actmax import testing
from regularizers import random
from tests.reference import parameterizations as reference


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def seeds(n):
    return random.fold_in(tf.fill([n, 2], 0), tf.range(n))


def params_of(raw, limit):
    return {"base": tf.constant(raw), "limit": tf.fill([len(raw)], tf.constant(limit, raw.dtype))}


def contrast(images):
    """Root of the mean square around the mean of each channel. `[N, ..., C] -> [N]`."""
    axes = tuple(range(1, images.ndim - 1))
    square = np.square(images - images.mean(axes, keepdims=True))
    return np.sqrt(square.mean(tuple(range(1, images.ndim))))


SHAPES = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 3)),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)),
)


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.sampled_from([0.001, 0.1, 0.2, 0.5]), st.sampled_from([0.1, 1.0, 30.0]))
def test_it_is_the_formula_and_has_no_more_contrast(shape, limit, strength):
    raw = strength * draw(3, *shape)
    part = actmax.LimitedContrast(actmax.Pixels(), limit)
    images = part.decode(params_of(raw, limit), shape).numpy()
    for image, one in zip(images, raw, strict=True):
        np.testing.assert_allclose(image, reference.limited(one, limit), atol=1e-12)
    assert np.all(contrast(images) <= limit * (1 + 1e-9))
    assert images.min() >= 0 and images.max() <= 1


def test_an_image_below_the_limit_is_a_sigmoid_to_the_byte():
    raw = 0.1 * draw(4, 8, 8, 3).astype(np.float32)
    images = actmax.LimitedContrast(actmax.Pixels(), 0.2).decode(params_of(raw, 0.2), (8, 8, 3))
    mean = tf.reduce_mean(tf.sigmoid(raw), [1, 2], keepdims=True)
    np.testing.assert_array_equal(images, mean + (tf.sigmoid(raw) - mean))


@pytest.mark.parametrize("strength", [0.0, 0.3, 3.0], ids=["constant", "below", "above"])
def test_the_gradient_is_that_of_differences_and_none_of_the_limit(strength):
    raw, weights = strength * draw(1, 4, 3, 2), draw(1, 4, 3, 2, seed=1)
    part = actmax.LimitedContrast(actmax.Pixels(), 0.2)

    def score(raw):
        return float(np.sum(weights * part.decode(params_of(raw, 0.2), (4, 3, 2)).numpy()))

    params = params_of(raw, 0.2)
    with tf.GradientTape() as tape:
        tape.watch(params)
        total = tf.reduce_sum(weights * part.decode(params, (4, 3, 2)))
    gradient = tape.gradient(total, params)
    for place in np.ndindex(raw.shape):
        step = np.zeros_like(raw)
        step[place] = 1e-5
        expected = (score(raw + step) - score(raw - step)) / 2e-5
        assert gradient["base"].numpy()[place] == pytest.approx(expected, abs=1e-8)
    assert gradient["limit"].numpy().tolist() == [0.0]


@pytest.mark.parametrize("base", [actmax.Pixels(), actmax.Fourier(1.5), actmax.Decorrelated()])
@pytest.mark.parametrize("input_range", [(0, 1), (-1, 3)])
def test_a_run_starts_from_a_given_image_and_has_its_contrast_for_a_limit(base, input_range):
    low, high = input_range
    faint = np.random.default_rng(0).uniform(0.4, 0.6, (1, 7, 6, 3))
    stark = np.random.default_rng(1).uniform(0.01, 0.99, (1, 7, 6, 3))
    images = low + (high - low) * np.concatenate([faint, stark])
    weights = tf.constant(draw(7, 6, 3))
    maximizer = actmax.Maximizer(
        lambda images: tf.reduce_sum(weights * images, axis=[1, 2, 3]), lambda output: output,
        input_range=input_range, parameterization=actmax.LimitedContrast(base, 0.2),
        regularizers=[], optimizer=actmax.Adam(0.3), precision="float64", input_shape=(7, 6, 3),
    )  # fmt: skip
    start = maximizer(initial_images=images, steps=0)
    np.testing.assert_allclose(start.images, images, atol=1e-8)
    end = maximizer(initial_images=images, steps=64)
    assert np.all(end.scores > start.scores)
    limits = np.maximum(contrast(images), 0.2 * (high - low))
    np.testing.assert_allclose(contrast(end.images), limits, rtol=1e-6)


def test_a_linear_score_ends_at_its_optimum():
    """Of `<w, x>` with `w` of mean 0 in each channel: `limit sqrt(D) ||w||`, where no value is at an end."""
    w = np.random.default_rng(0).uniform(-1, 1, (8, 8, 3))
    w -= w.mean((0, 1))
    weights = tf.constant(w)
    result = actmax.maximize(
        lambda images: tf.reduce_sum(weights * images, axis=[1, 2, 3]), lambda output: output,
        input_range=(0, 1), input_shape=(8, 8, 3), steps=400, precision="float64",
        parameterization=actmax.LimitedContrast(actmax.Pixels(), 0.1), regularizers=[],
        optimizer=actmax.Adam(actmax.Linear(0.1, 0.0)),
    )  # fmt: skip
    best = 0.1 * np.sqrt(w.size) * np.linalg.norm(w)
    assert result.scores[0] <= best * (1 + 1e-9)
    assert result.scores[0] == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("base", [actmax.Fourier(), actmax.Maco(), actmax.CPPN(1, 4)])
def test_it_is_what_its_base_is(base):
    part = actmax.LimitedContrast(base)
    kept = ("invertible", "couples_images", "rate")
    assert [getattr(part, name) for name in kept] == [getattr(base, name) for name in kept]
    params = part.init((8, 8, 3), seeds(2), tf.float64)
    own = base.init((8, 8, 3), seeds(2), tf.float64)
    for found, expected in zip(tf.nest.flatten(params["base"]), tf.nest.flatten(own), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert params["limit"].numpy().tolist() == [0.2, 0.2]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: actmax.LimitedContrast(std=0.0),
            r"std to be a finite number in \[0.001, 0.5\]. Received: 0.0",
        ),
        (lambda: actmax.LimitedContrast(std=0.6), r"in \[0.001, 0.5\]. Received: 0.6"),
        (lambda: actmax.LimitedContrast(actmax.Pixels()).init((8,), seeds(1)), "one spatial axis"),
        (
            lambda: actmax.LimitedContrast(actmax.Maco()).encode(tf.zeros([1, 4, 4, 1]) + 0.5),
            "Received: Maco, which reaches",
        ),
    ],
)
def test_what_it_cannot_limit_it_says(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()


WRAPPERS = [actmax.LimitedContrast, actmax.Decorrelated, actmax.LowResolutionSum]


@pytest.mark.parametrize("make", WRAPPERS)
@pytest.mark.parametrize("base", [None, "fourier", actmax.Fourier], ids=["none", "name", "class"])
def test_a_base_that_is_no_parameterization_is_named(make, base):
    with pytest.raises(TypeError, match=f"a parameterization as the base of {make.__name__}"):
        make(base)


@pytest.mark.parametrize("make", WRAPPERS)
@pytest.mark.parametrize("base", [actmax.Strokes(), actmax.LimitedContrast()])
def test_a_base_whose_images_have_a_range_is_named(make, base):
    name = type(base).__name__
    with pytest.raises(ValueError, match=rf"for {make.__name__}. Received: {name}, whose images"):
        make(base)


@dataclasses.dataclass(frozen=True)
class Moved(actmax.LimitedContrast):
    """Whose limit has a gradient."""

    def decode(self, params, shape):
        scale = tf.reshape(params["limit"], [-1] + [1] * len(shape))
        return scale * super().decode(params, shape)


@dataclasses.dataclass(frozen=True)
class Unknown(actmax.LimitedContrast):
    constants: ClassVar[tuple[str, ...]] = ("bound",)


@dataclasses.dataclass(frozen=True)
class Unnamed(actmax.LimitedContrast):
    constants: ClassVar[tuple[str, ...]] = ()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Moved, "Moved breaks the law of constants.*a gradient of 0 for 'limit'"),
        (Unknown, r"law of constants.*params with \('bound',\) and others"),
        (Unnamed, "Unnamed breaks the law of gradient"),
    ],
)
def test_the_checker_holds_constants_to_it(make, expected):
    # A base without an inverse, so that the law of the round trip is not asked first.
    part = make(actmax.Maco(), 0.1)
    with pytest.raises(testing.ContractError, match=expected):
        testing.check_parameterization(part, shapes=[(8, 8, 3)])
