"""Problems whose best image is known in closed form: the engine must find it.

Penalties are means over the D values of an image, so a weight of `lam * D` is `lam` times the sum.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import fft, optimize

import actmax
import regularizers
from regularizers import L1, L2, AlphaNorm, TotalVariation

PRECISIONS = [("float32", 1e-5), ("float64", 1e-12)]
precisions = pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
D = 12


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def climb(model, shape, dtype="float64", **arguments):
    """A run of a model `[N, *shape] -> [N]` whose output is the score."""
    arguments = {"input_range": actmax.Unbounded(), "regularizers": [], **arguments}
    return actmax.maximize(
        model, lambda output: output, input_shape=shape, precision=dtype, **arguments
    )


def linear(w, bias=0.0, dtype="float64"):
    """`x -> <w, x> + bias` over all values of an image."""
    weights = tf.constant(w, dtype)
    axes = list(range(1, w.ndim + 1))
    return lambda images: tf.reduce_sum(weights * images, axes) + bias


def quadratic(q, c):
    """`x -> -x'Qx / 2 + c'x`."""
    q, c = tf.constant(q), tf.constant(c)
    return lambda x: tf.reduce_sum(x * c, -1) - tf.reduce_sum((x @ q) * x, -1) / 2


def correlated(seed, low=0.5, high=10.0):
    """A symmetric matrix with eigenvalues from low to high and random eigenvectors."""
    basis, _ = np.linalg.qr(draw(D, D, seed=seed))
    return basis * np.linspace(low, high, D) @ basis.T


# Norms and boxes.


@precisions
def test_t1_linear_model_with_l2_has_its_optimum_at_w_over_two_lambda(dtype, tolerance):
    w, lam = draw(D), np.array([0.5, 1.0, 2.0])
    result = climb(
        linear(w, 1.5, dtype), (D,), dtype,
        regularizers=[L2(lam * D)], optimizer=actmax.SGD(0.3 / lam), images=3, steps=80,
    )  # fmt: skip
    best = w / (2 * lam[:, None])
    np.testing.assert_allclose(result.images, best, atol=tolerance)
    value = 1.5 + w @ w / (4 * lam)
    np.testing.assert_allclose(result.history["objective"][-1], value, rtol=tolerance)


def test_t2_linear_model_on_a_box_has_its_optimum_at_a_corner():
    w = np.array([1.0, -2.0, 0.0, 1e-3])
    first = np.full((1, 4), 0.25)
    result = climb(
        linear(w), (4,), input_range=(-1, 2), initial_images=first,
        optimizer=actmax.Adam(0.1), steps=40,
    )  # fmt: skip
    np.testing.assert_array_equal(result.images, [[2.0, -1.0, 0.25, 2.0]])


@precisions
def test_t2b_l2_optimum_on_a_box_is_the_clipped_one(dtype, tolerance):
    w = draw(D)
    result = climb(
        linear(w, 0.0, dtype), (D,), dtype, input_range=(-0.3, 0.6),
        regularizers=[L2(1.0 * D)], optimizer=actmax.SGD(0.3), steps=60,
    )  # fmt: skip
    np.testing.assert_allclose(result.images[0], np.clip(w / 2, -0.3, 0.6), atol=tolerance)


@precisions
def test_t3_linear_model_on_an_l2_ball_points_along_w(dtype, tolerance):
    w, radius = draw(D), 0.7
    result = climb(
        linear(w, 0.0, dtype), (D,), dtype, input_range=actmax.L2Ball(radius),
        optimizer=actmax.SGD(1.0), steps=60,
    )  # fmt: skip
    np.testing.assert_allclose(result.images[0], radius * w / np.linalg.norm(w), atol=tolerance)
    np.testing.assert_allclose(result.scores, radius * np.linalg.norm(w), rtol=tolerance)


@dataclasses.dataclass(frozen=True)
class LpSphere(actmax.Constraint):
    """A user's constraint that maps: `radius * raw / ||raw||_p`."""

    projects = False

    p: float = 2.0
    radius: float = 1.0

    def apply(self, images):
        size = tf.reduce_sum(tf.abs(images) ** self.p, -1, keepdims=True) ** (1 / self.p)
        return self.radius * images / size


@pytest.mark.parametrize("p", [1.5, 3.0, 4.0])
def test_t3b_linear_model_on_an_lp_sphere_reaches_the_dual_norm(p):
    w, radius, dual = np.linspace(0.5, 2.0, D) * np.sign(draw(D)), 0.7, p / (p - 1)
    result = climb(
        linear(w), (D,), input_range=LpSphere(p, radius), parameterization=actmax.Pixels(std=1.0),
        optimizer=actmax.SGD(1.0), steps=800,
    )  # fmt: skip
    best = np.sign(w) * np.abs(w) ** (dual - 1) / np.linalg.norm(w, dual) ** (dual - 1)
    np.testing.assert_allclose(np.linalg.norm(result.images[0], p), radius, rtol=1e-12)
    np.testing.assert_allclose(result.scores, radius * np.linalg.norm(w, dual), rtol=1e-9)
    np.testing.assert_allclose(result.images[0], radius * best, atol=1e-4)


@precisions
def test_t3c_alpha_norm_optimum_is_a_power_of_w(dtype, tolerance):
    w, lam = np.linspace(0.5, 2.0, D) * np.sign(draw(D)), 0.5
    result = climb(
        linear(w, 0.0, dtype), (D,), dtype,
        regularizers=[AlphaNorm(lam * D, alpha=6.0)], optimizer=actmax.SGD(0.08), steps=250,
    )  # fmt: skip
    best = np.sign(w) * (np.abs(w) / (lam * 6)) ** (1 / 5)
    np.testing.assert_allclose(result.images[0], best, atol=tolerance)


def test_t3d_l1_on_a_box_keeps_only_weights_above_lambda():
    w, lam, bound = np.linspace(-1.5, 1.5, D), 0.6, 0.8
    result = climb(
        linear(w), (D,), input_range=(-bound, bound), regularizers=[L1(lam * D)],
        optimizer=actmax.SGD(actmax.Exponential(0.5, 1e-10, 600)), steps=600,
    )  # fmt: skip
    best = bound * np.sign(w) * (np.abs(w) > lam)
    assert 0 < np.count_nonzero(best) < D
    np.testing.assert_allclose(result.images[0], best, atol=1e-8)
    parts = optimize.linprog(np.concatenate([lam - w, lam + w]), bounds=(0, bound))
    np.testing.assert_allclose(result.history["objective"][-1], -parts.fun, rtol=1e-7)


def test_t3e_pixel_ball_bounds_every_pixel_by_itself():
    w, radius = draw(3, 4, 3), 0.9
    result = climb(
        linear(w), (3, 4, 3), input_range=actmax.PixelBall(radius),
        optimizer=actmax.SGD(5.0), steps=80,
    )  # fmt: skip
    best = radius * w / np.linalg.norm(w, axis=-1, keepdims=True)
    np.testing.assert_allclose(result.images[0], best, atol=1e-12)


@dataclasses.dataclass(frozen=True)
class Simplex(actmax.Constraint):
    """A user's constraint that projects: values of at least 0 that sum to 1."""

    def project(self, images):
        # Held, Wolfe and Crowder, 1974: the threshold is found on the sorted values.
        values = tf.sort(images, direction="DESCENDING")
        ranks = tf.range(1, images.shape[-1] + 1, dtype=images.dtype)
        excess = (tf.cumsum(values, -1) - 1.0) / ranks
        count = tf.reduce_sum(tf.cast(values > excess, tf.int32), -1)
        return tf.nn.relu(images - tf.gather(excess, count - 1, batch_dims=1)[:, None])


def test_t3f_linear_model_on_the_simplex_ends_at_the_vertex_of_the_largest_weight():
    w = draw(D)
    result = climb(
        linear(w), (D,), input_range=Simplex(), optimizer=actmax.SGD(1.0), steps=60, images=2
    )
    np.testing.assert_allclose(result.images, [np.eye(D)[w.argmax()]] * 2, atol=1e-14)


# Quadratics.


@pytest.mark.parametrize(
    "optimizer", [actmax.SGD(2 / 10.5), actmax.SGD(0.1, momentum=0.6)], ids=["plain", "momentum"]
)
def test_t4_correlated_quadratic_is_solved(optimizer):
    q, c = correlated(1), draw(D, seed=2)
    result = climb(quadratic(q, c), (D,), optimizer=optimizer, steps=500)
    np.testing.assert_allclose(result.images[0], np.linalg.solve(q, c), atol=1e-10)


def test_t4b_energy_on_the_unit_sphere_finds_the_top_eigenvector():
    s = draw(D, D, seed=3)
    s = s @ s.T
    values, vectors = np.linalg.eigh(s)
    result = climb(
        quadratic(-2 * s, np.zeros(D)), (D,), input_range=actmax.L2Ball(1.0, surface=True),
        optimizer=actmax.SGD(1.0), steps=300, images=2,
    )  # fmt: skip
    np.testing.assert_allclose(result.scores, values[-1], rtol=1e-10)
    np.testing.assert_allclose(np.abs(result.images @ vectors[:, -1]), 1.0, rtol=1e-10)


@pytest.mark.parametrize(
    ("optimizer", "tolerance"),
    [(actmax.SGD(0.1), 1e-12), (actmax.Adam(actmax.Cosine(0.05, 0.0, 1500)), 1e-6)],
    ids=["sgd", "adam"],
)
def test_t4c_correlated_quadratic_on_a_box_agrees_with_l_bfgs_b(optimizer, tolerance):
    q, c = correlated(4), draw(D, seed=5) * 6
    reference = optimize.minimize(
        lambda x: x @ q @ x / 2 - c @ x, np.zeros(D), jac=lambda x: q @ x - c,
        method="L-BFGS-B", bounds=[(-1, 1)] * D, options={"ftol": 1e-16, "gtol": 1e-12},
    )  # fmt: skip
    result = climb(quadratic(q, c), (D,), input_range=(-1, 1), optimizer=optimizer, steps=1500)
    inside = np.abs(reference.x) < 1
    assert 0 < np.count_nonzero(inside) < D
    # Clipping the free optimum, as some tools do at the end, is far from the optimum on the box.
    assert quadratic(q, c)(np.clip(np.linalg.solve(q, c), -1, 1)[None])[0] < -reference.fun - 0.1
    np.testing.assert_allclose(result.scores, -reference.fun, rtol=1e-9)
    np.testing.assert_allclose(result.images[0], reference.x, atol=1e-5)
    gradient = c - q @ result.images[0]
    np.testing.assert_allclose(gradient[np.abs(result.images[0]) < 1], 0.0, atol=10 * tolerance)


# Total variation.


def test_t5_squared_total_variation_is_diagonal_in_the_cosine_basis():
    height, width, mu, smooth = 6, 5, 0.4, 0.7
    w = draw(height, width, 1)
    result = climb(
        linear(w), w.shape,
        regularizers=[L2(mu * w.size), TotalVariation(smooth * w.size, beta=2.0)],
        optimizer=actmax.SGD(2 / (4 * mu + 16 * smooth)), steps=500,
    )  # fmt: skip
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    laplacian = 4 - 2 * np.cos(np.pi * rows / height) - 2 * np.cos(np.pi * columns / width)
    spectrum = fft.dctn(w[..., 0], norm="ortho") / (2 * mu + 2 * smooth * laplacian)
    np.testing.assert_allclose(
        result.images[0, ..., 0], fft.idctn(spectrum, norm="ortho"), atol=1e-10
    )


def denoised_step(low, high, counts, strength):
    """Solution of `min ||u - f||^2 / 2 + strength TV(u)`, f a step from low to high. `[m1 + m2]`."""
    m1, m2 = counts
    if strength <= (high - low) * m1 * m2 / (m1 + m2):
        levels = low + strength / m1, high - strength / m2
    else:
        levels = ((m1 * low + m2 * high) / (m1 + m2),) * 2
    return np.repeat(levels, counts)


def test_t6_total_variation_moves_a_step_until_it_is_flat():
    strengths = np.array([0.1, 0.5, 1.0, 1.5, 2.5])  # flat from 1.875 on
    step = np.repeat([-0.2, 0.8], [3, 5])[:, None]
    result = climb(
        lambda u: -tf.reduce_sum((u - step) ** 2, (1, 2)) / 2, step.shape,
        regularizers=[TotalVariation(strengths * step.size)], images=len(strengths),
        optimizer=actmax.SGD(actmax.Exponential(0.1, 1e-7, 2000)), steps=2000,
    )  # fmt: skip
    best = [denoised_step(-0.2, 0.8, [3, 5], strength) for strength in strengths]
    np.testing.assert_allclose(result.images[..., 0], best, atol=2e-5)


@pytest.mark.parametrize("beta", [None, 1.0], ids=["anisotropic", "isotropic"])
def test_t6b_total_variation_of_equal_rows_is_the_one_of_a_line(beta):
    mu, strength, rows = 0.5, 0.6, 3
    line = np.repeat([-0.2, 0.8], [3, 5])
    step = np.tile(line, [rows, 1])[..., None]
    result = climb(
        linear(2 * mu * step), step.shape,
        regularizers=[L2(mu * step.size), TotalVariation(strength * step.size, beta=beta)],
        optimizer=actmax.SGD(actmax.Exponential(0.1, 1e-7, 2000)), steps=2000,
    )  # fmt: skip
    best = denoised_step(-0.2, 0.8, [3, 5], strength / (2 * mu))
    np.testing.assert_allclose(result.images[0, ..., 0], [best] * rows, atol=2e-5)


# Maps: Fourier and sigmoid.


def fourier_scale(height, width, decay=1.0):
    """Scale of `Fourier`, summed naively: unit coefficients give pixels of unit variance."""
    scale = np.zeros((height, width // 2 + 1))
    freedom = np.zeros_like(scale)
    for i in range(height):
        for j in range(width // 2 + 1):
            frequency = np.hypot(min(i, height - i) / height, j / width)
            scale[i, j] = 1 / max(frequency, 1 / max(height, width)) ** decay
            freedom[i, j] = 1.0 if j == 0 or 2 * j == width else 4.0
    return scale * height * width / np.sqrt(np.sum(freedom * scale**2))


def mirrored(width):
    """How often each column of an rfft2 stands in the full spectrum. `[W // 2 + 1]`."""
    return np.array([1.0 if j == 0 or 2 * j == width else 2.0 for j in range(width // 2 + 1)])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 7), (7, 8), (9, 7)])
def test_t7_fourier_gradient_of_a_linear_model_is_its_scaled_spectrum(height, width):
    w = draw(height, width, 2)
    maximizer = actmax.Maximizer(
        linear(w), lambda output: output, input_shape=w.shape, input_range=actmax.Unbounded(),
        parameterization=actmax.Fourier(), regularizers=[], precision="float64",
    )  # fmt: skip
    _, gradient = maximizer.value_and_gradient(draw(1, *w.shape, seed=1))
    weight = fourier_scale(height, width) * mirrored(width) / (height * width)
    spectrum = np.fft.rfft2(w, axes=(0, 1)) * weight[..., None]
    best = np.stack([spectrum.real, spectrum.imag], axis=-1)
    np.testing.assert_allclose(gradient[0], best, atol=1e-12)


@precisions
def test_t7b_the_optimum_in_pixels_does_not_depend_on_the_parameterization(dtype, tolerance):
    w, lam = draw(6, 7, 1), 0.8
    curvature = 2 * lam * np.max(fourier_scale(6, 7) ** 2 * mirrored(7)) / 42
    result = climb(
        linear(w, 0.0, dtype), w.shape, dtype, regularizers=[L2(lam * w.size)],
        parameterization=actmax.Fourier(), optimizer=actmax.SGD(1 / curvature), steps=1200,
    )  # fmt: skip
    np.testing.assert_allclose(result.images[0], w / (2 * lam), atol=tolerance)


@regularizers.penalty
def off_grey(images):
    return tf.reduce_sum(tf.square(images - 0.5), 1)


def test_t10_sigmoid_finds_an_optimum_inside_the_range():
    w = np.linspace(-0.4, 0.4, D)
    result = climb(
        linear(w), (D,), input_range=actmax.Sigmoid(0, 1), regularizers=[0.5 * off_grey],
        optimizer=actmax.SGD(10.0), steps=400,
    )  # fmt: skip
    np.testing.assert_allclose(result.images[0], 0.5 + w, atol=1e-10)
