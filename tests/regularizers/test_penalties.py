"""Penalties against naive loops, closed forms, and the mistakes of others."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from regularizers import L1, L2, AlphaNorm, Bound, LInf, LogSum, TotalVariation
from tests.reference import regularizers as reference

SHAPES = [(5, 3), (4, 6, 3), (5, 1, 2), (3, 4, 5, 2)]
VECTOR = [(7,)]
CASES = [
    *[(TotalVariation(), reference.total_variation, shape) for shape in SHAPES],
    *[
        (TotalVariation(beta=beta), lambda x, b=beta: reference.total_variation(x, b), shape)
        for beta in (0.5, 1.0, 1.5, 2.0, 3.0)
        for shape in SHAPES[:2]
    ],
    (TotalVariation(beta=1.5), lambda x: reference.total_variation(x, 1.5), SHAPES[3]),
    *[(L1(), reference.l1, shape) for shape in SHAPES + VECTOR],
    *[(L2(), reference.l2, shape) for shape in SHAPES + VECTOR],
    *[(LInf(), reference.l_inf, shape) for shape in SHAPES + VECTOR],
    *[
        (AlphaNorm(alpha=alpha), lambda x, a=alpha: reference.alpha_norm(x, a), shape)
        for alpha in (1.0, 1.5, 2.0, 3.0, 6.0)
        for shape in SHAPES[1:2] + VECTOR
    ],
    *[
        (LogSum(epsilon=0.3), lambda x: reference.log_sum(x, 0.3), shape)
        for shape in SHAPES + VECTOR
    ],
    *[
        (LogSum(epsilon=0.3, center=-1.0), lambda x: reference.log_sum(x, 0.3, -1.0), shape)
        for shape in SHAPES + VECTOR
    ],
    *[
        (Bound(low=-0.5, high=0.75), lambda x: reference.bound(x, -0.5, 0.75), shape)
        for shape in SHAPES + VECTOR
    ],
]
PARTS = [
    TotalVariation(),
    TotalVariation(beta=0.5),
    TotalVariation(beta=1.0),
    TotalVariation(beta=2.0),
    L1(),
    L2(),
    AlphaNorm(),
    AlphaNorm(alpha=1.0),
    AlphaNorm(alpha=1.5),
    LInf(),
    LogSum(),
    Bound(),
]
DTYPES = [tf.float16, tf.bfloat16, tf.float32, tf.float64]


def images(shape, n=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape))


def gradient(part, x):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = part(x)
    return tape.gradient(value, x).numpy()


def label(value):
    return getattr(value, "name", None) or (
        "x".join(map(str, value)) if isinstance(value, tuple) else ""
    )


# Values


@pytest.mark.parametrize(("part", "loop", "shape"), CASES, ids=label)
def test_values_are_those_of_naive_loops(part, loop, shape):
    batch = images(shape)
    np.testing.assert_allclose(part(batch), [loop(image) for image in batch], rtol=1e-12)


@pytest.mark.parametrize(("part", "loop", "shape"), CASES, ids=label)
def test_gradients_are_the_slopes_of_naive_loops(part, loop, shape):
    image = images(shape, 1)[0]
    slopes = np.zeros_like(image)
    for index in np.ndindex(shape):
        ahead, behind = image.copy(), image.copy()
        ahead[index] += 1e-6
        behind[index] -= 1e-6
        slopes[index] = (loop(ahead) - loop(behind)) / 2e-6
    np.testing.assert_allclose(gradient(part, image[None])[0], slopes, atol=1e-7)


def test_total_variation_is_tensorflows_over_the_number_of_values():
    batch = images((9, 7, 3))
    expected = tf.image.total_variation(tf.constant(batch)) / (9 * 7 * 3)
    np.testing.assert_allclose(TotalVariation()(batch), expected, rtol=1e-13)


def test_gradient_of_total_variation_is_that_of_tensorflow():
    batch = tf.constant(images((9, 7, 3)))
    with tf.GradientTape() as tape:
        tape.watch(batch)
        value = tf.image.total_variation(batch) / (9 * 7 * 3)
    np.testing.assert_allclose(
        gradient(TotalVariation(), batch), tape.gradient(value, batch), atol=1e-16
    )


def test_value_of_the_first_row_does_not_stand_for_every_row():
    """sinzlab/mei compares every row with the last one: `x[1:] - x[-1:]`."""
    ramp = np.broadcast_to(np.arange(8.0)[:, None, None], (8, 8, 1))
    faulty = np.abs(ramp[1:] - ramp[-1:]).sum() / 64
    assert float(TotalVariation()(ramp[None])[0]) == 7 * 8 / 64
    assert faulty == 21 * 8 / 64


@pytest.mark.parametrize("size", [2, 5, 16])
def test_ramp_has_the_variation_of_its_rise(size):
    ramp = np.broadcast_to(np.linspace(0, 1, size)[:, None, None], (size, 3, 2))
    np.testing.assert_allclose(TotalVariation()(ramp[None]), [1 / size])


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 3.0])
def test_step_has_the_power_of_its_height(beta):
    step = np.zeros((1, 4, 4, 1))
    step[:, 2:] = 0.5
    expected = 4 * 0.5**beta / 16
    np.testing.assert_allclose(TotalVariation(beta=beta)(step), [expected], rtol=2e-3)


def test_gradient_of_beta_two_is_the_discrete_laplacian():
    # d/dx mean(dx^2 + dy^2) = 2 L x / n, with L of free ends, whose eigenvectors are cosines.
    rows, columns = 6, 5
    mode = np.cos(np.pi * 2 * (np.arange(rows) + 0.5) / rows)[:, None]
    mode = mode * np.cos(np.pi * 1 * (np.arange(columns) + 0.5) / columns)[None]
    eigenvalue = 4 - 2 * np.cos(np.pi * 2 / rows) - 2 * np.cos(np.pi * 1 / columns)
    received = gradient(TotalVariation(beta=2.0), mode[None, :, :, None])[0, :, :, 0]
    np.testing.assert_allclose(received, 2 * eigenvalue * mode / mode.size, atol=1e-15)


def test_gradient_of_l_inf_is_shared_by_ties():
    x = np.array([[1.0, -2.0, 2.0, 0.0]])
    np.testing.assert_allclose(gradient(LInf(), x), [[0, -0.5, 0.5, 0]])


def test_alpha_norm_spans_l1_and_l2():
    batch = images((4, 4, 3))
    np.testing.assert_allclose(AlphaNorm(alpha=1.0)(batch), L1()(batch), rtol=1e-14)
    np.testing.assert_allclose(AlphaNorm(alpha=2.0)(batch), L2()(batch), rtol=1e-14)


# Where gradients are known to break


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("part", PARTS, ids=label)
@pytest.mark.parametrize("fill", [0.0, 1.0, 0.3])
def test_constant_images_have_finite_values_and_gradients(part, fill, dtype):
    x = tf.fill([2, 4, 5, 3], tf.cast(fill, dtype))
    value = part(x)
    assert value.dtype == dtype
    assert np.isfinite(tf.cast(value, tf.float64)).all()
    assert np.isfinite(gradient(part, x).astype(np.float64)).all()


@pytest.mark.parametrize("part", PARTS, ids=label)
def test_gradient_at_the_zero_image_is_zero(part):
    assert not gradient(part, np.zeros((2, 4, 5, 3))).any()


@pytest.mark.parametrize("center", [-1.0, 0.3])
def test_logarithms_are_of_distances_from_the_center(center):
    part = LogSum(epsilon=0.3, center=center)
    ground = np.full((2, 4, 5, 3), center)
    assert not part(ground).numpy().any()
    assert not gradient(part, ground).any()
    x = images((4, 5, 3))
    np.testing.assert_allclose(part(x + center), LogSum(epsilon=0.3)(x), rtol=1e-12)


@pytest.mark.parametrize("beta", [None, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("fill", [0.0, 0.7, 255.0])
def test_constant_images_have_no_variation(beta, fill):
    x = np.full((2, 4, 5, 3), fill)
    assert not TotalVariation(beta=beta)(x).numpy().any()
    assert not gradient(TotalVariation(beta=beta), x).any()


@pytest.mark.parametrize("part", [TotalVariation(), L1(), L2()], ids=label)
def test_large_half_precision_images_do_not_overflow_the_sum(part):
    # 150,528 values of 1 are more than float16 can count to.
    x = np.tile(np.eye(2, dtype=np.float16)[None, :, :, None], (1, 112, 112, 3))
    expected = part(x.astype(np.float64))
    np.testing.assert_allclose(part(x), expected, rtol=1e-3)


@pytest.mark.parametrize("beta", [None, 1.0])
def test_single_pixels_have_no_variation(beta):
    x = images((1, 1, 3))
    assert TotalVariation(beta=beta)(x).numpy().tolist() == [0, 0, 0]
    assert not gradient(TotalVariation(beta=beta), x).any()


@pytest.mark.parametrize("part", PARTS, ids=label)
def test_infinite_image_leaves_its_neighbours(part):
    x = images((4, 4, 3))
    expected, slopes = part(x).numpy(), gradient(part, x)
    x[1] = np.inf
    np.testing.assert_array_equal(part(x).numpy()[::2], expected[::2])
    np.testing.assert_array_equal(gradient(part, x)[::2], slopes[::2])


@pytest.mark.parametrize("part", PARTS, ids=label)
def test_no_images_have_no_penalties(part):
    assert part(tf.zeros([0, 4, 4, 3])).shape == [0]


# Properties

BATCH = npst.arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3)),
    elements=st.floats(-2, 2, width=32),
)


@settings(max_examples=25, deadline=None)
@given(BATCH, st.sampled_from(PARTS))
def test_penalties_are_finite_and_not_negative(batch, part):
    value = part(batch).numpy()
    assert value.shape == batch.shape[:1]
    assert (value >= 0).all()
    assert np.isfinite(gradient(part, batch)).all()


@settings(max_examples=25, deadline=None)
@given(BATCH, st.sampled_from([None, 1.0, 2.0]), st.floats(-2, 2))
def test_variation_does_not_see_brightness_nor_side(batch, beta, shift):
    part = TotalVariation(beta=beta)
    expected = part(batch)
    np.testing.assert_allclose(part(batch + shift), expected, atol=1e-6)
    if beta is None:
        np.testing.assert_allclose(part(batch[:, ::-1]), expected, atol=1e-12)
        np.testing.assert_allclose(part(np.swapaxes(batch, 1, 2)), expected, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(BATCH, st.sampled_from([0.25, 0.5, 2.0]))
def test_penalties_are_homogeneous(batch, factor):
    for part, degree in [
        (TotalVariation(), 1),
        (TotalVariation(beta=2.0), 2),
        (L1(), 1),
        (LInf(), 1),
        (L2(), 2),
        (AlphaNorm(), 6),
    ]:
        np.testing.assert_allclose(
            part(factor * batch), factor**degree * part(batch), rtol=1e-9, atol=1e-12
        )


@settings(max_examples=25, deadline=None)
@given(BATCH)
def test_gradient_is_a_subgradient_of_convex_penalties(batch):
    other = np.roll(batch, 1, axis=1)[:, ::-1]
    for part in [TotalVariation(), L1(), L2(), LInf(), AlphaNorm(alpha=1.5), Bound()]:
        bound = part(batch) + np.sum(gradient(part, batch) * (other - batch), axis=(1, 2, 3))
        assert (part(other) >= bound - 1e-9).numpy().all(), part


# Errors


def test_vectors_have_no_variation():
    with pytest.raises(
        ValueError,
        match=r"Expected images with at least one spatial axis.*"
        r"total_variation. Received shape \(2, 5\).*use L2",
    ):
        TotalVariation()(tf.zeros([2, 5]))


def test_variation_needs_static_sizes():
    graph = tf.function(TotalVariation(), input_signature=[tf.TensorSpec([None, None, 4, 3])])
    with pytest.raises(ValueError, match=r"whose sizes are all known but the first.*Set the shape"):
        graph.get_concrete_function()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: TotalVariation(beta=0),
            ValueError,
            "beta of total_variation to be a finite number above 0",
        ),
        (lambda: TotalVariation(beta=np.nan), ValueError, "Received: nan"),
        (lambda: TotalVariation(beta="1"), TypeError, "of type str. Give a number"),
        (
            lambda: AlphaNorm(alpha=0.5),
            ValueError,
            "alpha of alpha_norm to be a finite number of at least 1",
        ),
        (
            lambda: LogSum(epsilon=0),
            ValueError,
            "epsilon of log_sum to be a finite number above 0",
        ),
        (
            lambda: Bound(low=1, high=1),
            ValueError,
            "Expected low < high in bound. Received: low=1, high=1",
        ),
        (lambda: Bound(low=-np.inf), ValueError, "low of bound to be a finite number"),
        (lambda: Bound(high=None), TypeError, "high of bound"),
    ],
)
def test_settings_are_checked_when_made(make, error, message):
    with pytest.raises(error, match=message):
        make()
