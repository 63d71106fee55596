"""Problems whose best image is known, at units of networks: convolutions, maxima, softmax, statistics."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize

import actmax
from regularizers import L2

D = 12


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def climb(model, objective, shape, call=None, **arguments):
    """A run in float64, whose model is a plain callable."""
    arguments = {"input_range": actmax.Unbounded(), "regularizers": [], **arguments}
    return actmax.maximize(
        model, objective, input_shape=shape, precision="float64", **arguments, **(call or {})
    )


def score(output):
    return output


# Convolutions.


def circular_convolution(kernels):
    """`[N, H, W, C] -> [N, H, W, K]` with a border that wraps around; odd kernel sizes."""
    kernels = tf.constant(kernels)
    reach = kernels.shape[0] // 2

    def model(images):
        for axis in (1, 2):
            size = images.shape[axis]
            wrapped = [*range(size - reach, size), *range(size), *range(reach)]
            images = tf.gather(images, wrapped, axis=axis)
        return tf.nn.conv2d(images, kernels, 1, "VALID")

    return model


def test_t11_channel_mean_of_a_circular_convolution_is_best_at_a_constant_bound():
    kernels = draw(3, 3, 2, 4)
    result = climb(
        circular_convolution(kernels), actmax.Logit(), (6, 5, 2), input_range=(-0.5, 2),
        optimizer=actmax.Adam(0.2), call={"targets": range(4), "steps": 40},
    )  # fmt: skip
    sums = kernels.sum((0, 1))  # by input channel and unit
    best = np.where(sums.T > 0, 2.0, -0.5)
    assert len(np.unique(best, axis=0)) > 1
    np.testing.assert_array_equal(
        result.images, np.broadcast_to(best[:, None, None], result.images.shape)
    )
    np.testing.assert_allclose(result.scores, np.sum(sums.T * best, axis=1), rtol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_t12_best_image_of_a_convolutional_neuron_is_its_kernel_at_its_receptive_field(
    dtype, tolerance
):
    layer = keras.layers.Conv2D(3, 3, strides=2, dtype=dtype, name="conv")
    model = keras.Sequential([keras.Input((9, 8, 2), dtype=dtype), layer])
    kernel, radius = draw(3, 3, 2, 3), 1.3
    layer.set_weights([kernel, np.array([0.1, 0.2, 0.3])])
    result = actmax.maximize(
        model, actmax.Neuron("conv", position=(1, 2)), targets=[0, 2], regularizers=[],
        input_range=actmax.L2Ball(radius), optimizer=actmax.SGD(5.0), steps=80,
    )  # fmt: skip
    norms = np.linalg.norm(kernel.reshape(-1, 3), axis=0)
    for row, unit in enumerate([0, 2]):
        best = np.zeros((9, 8, 2))
        best[2:5, 4:7] = radius * kernel[..., unit] / norms[unit]
        np.testing.assert_allclose(result.images[row], best, atol=tolerance)
    assert result.images.dtype == dtype
    values = radius * norms + [0.1, 0.2, 0.3]
    np.testing.assert_allclose(result.scores, values[[0, 2]], rtol=tolerance)


# Problems with several optima, and far ones.


def test_t13_every_start_of_a_maximum_of_units_ends_at_one_unit_and_the_best_at_the_largest():
    w, radius = draw(4, D) * [[1.0], [1.1], [1.2], [1.3]], 0.8
    result = climb(
        lambda x: tf.reduce_max(x @ tf.constant(w.T), -1), score, (D,),
        input_range=actmax.L2Ball(radius), parameterization=actmax.Pixels(std=1.0),
        optimizer=actmax.SGD(1.0), call={"images": 16, "steps": 60},
    )  # fmt: skip
    values = radius * np.linalg.norm(w, axis=1)
    distance = np.abs(result.scores[:, None] - values).min(1)
    np.testing.assert_allclose(distance, 0.0, atol=1e-10)
    assert len(np.unique(np.round(result.scores, 6))) > 1
    np.testing.assert_allclose(result.scores.max(), values.max(), rtol=1e-12)


@pytest.mark.parametrize(
    ("gradients", "optimizer"),
    [
        ([], actmax.Adam(actmax.Exponential(0.1, 1e-6, 600))),
        ([], actmax.SGD(actmax.Exponential(0.3, 1e-6, 600), normalize=True)),
        ([actmax.Normalize("l2")], actmax.SGD(actmax.Exponential(0.3, 1e-6, 600))),
    ],
    ids=["adam", "normalized sgd", "normalized gradient"],
)
def test_t14_a_bump_is_found_from_where_its_gradient_almost_vanishes(gradients, optimizer):
    center = np.zeros(4)
    result = climb(
        lambda x: tf.exp(-tf.reduce_sum((x - center) ** 2, -1) / 2), score, (4,),
        gradients=gradients, optimizer=optimizer,
        call={"initial_images": np.full((1, 4), 3.5), "steps": 600},  # exp(-24.5) = 2e-11
    )  # fmt: skip
    assert result.history["score"][0, 0] < 1e-10
    np.testing.assert_allclose(result.images[0], center, atol=1e-4)
    np.testing.assert_allclose(result.scores, 1.0, rtol=1e-8)


def test_t15_fixed_mean_and_deviation_are_an_affine_rescale():
    image = draw(1, 5, 4, 1)
    set_ = actmax.Contrast(std=0.3, mean=0.6)
    best = (image - image.mean()) / image.std() * 0.3 + 0.6
    np.testing.assert_allclose(set_.project(tf.constant(image)), best, atol=1e-15)


def test_t15_linear_model_at_fixed_contrast_is_best_at_the_centered_weights():
    w = draw(5, 4, 1)
    result = climb(
        lambda x: tf.reduce_sum(w * x, (1, 2, 3)), score, w.shape,
        input_range=actmax.Contrast(std=0.3, mean=0.6), optimizer=actmax.SGD(1.0),
        call={"steps": 80},
    )  # fmt: skip
    best = 0.6 + 0.3 * (w - w.mean()) / w.std()
    np.testing.assert_allclose(result.images[0], best, atol=1e-12)


# Softmax.


def test_t16_log_probability_of_a_linear_classifier_agrees_with_l_bfgs_b():
    w, bias, lam = draw(D, 4), draw(4, seed=1), 0.1

    def loss(x, unit):
        logits = x @ w + bias
        return np.logaddexp.reduce(logits) - logits[unit] + lam * x @ x

    def slope(x, unit):
        logits = x @ w + bias
        return w @ np.exp(logits - np.logaddexp.reduce(logits)) - w[:, unit] + 2 * lam * x

    result = climb(
        lambda x: tf.nn.softmax(x @ tf.constant(w) + bias), actmax.LogProbability(), (D,),
        regularizers=[L2(lam * D)], optimizer=actmax.SGD(0.15),
        call={"targets": range(4), "steps": 600},
    )  # fmt: skip
    for unit in range(4):
        found = optimize.minimize(
            loss, np.zeros(D), (unit,), jac=slope, method="L-BFGS-B",
            options={"ftol": 1e-16, "gtol": 1e-10},
        )  # fmt: skip
        np.testing.assert_allclose(result.images[unit], found.x, atol=1e-6)
        np.testing.assert_allclose(result.history["objective"][-1, unit], -found.fun, rtol=1e-10)
