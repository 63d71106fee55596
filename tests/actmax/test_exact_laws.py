"""Exact laws of the engine: equivariance, independence of rows, projections, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import actmax
import regularizers
from regularizers import L1, L2, AlphaNorm, Jitter, Rotate, Scale, TotalVariation

SHAPE = (6, 5, 2)
UNITS = 3


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def network(shift=0.0, gain=1.0, mirror=False):
    """A smooth network of two layers on images. `[N, *SHAPE] -> [N, UNITS]`."""
    size = np.prod(SHAPE)
    # Sixteen hidden units fill whole vectors: in the tail of an array tanh is rounded by other code,
    # and the last bit of a row would depend on its place.
    first = tf.constant(draw(size, 16) / np.sqrt(size))
    second = tf.constant(draw(16, UNITS, seed=1))

    def model(images):
        images = images[:, :, ::-1] if mirror else images
        hidden = tf.tanh(tf.reshape(images, [-1, size]) @ first)
        return gain * (hidden @ second) + shift

    return model


def maximizer(model=None, **arguments):
    defaults = {"input_range": (-1, 1), "regularizers": [], "precision": "float64"}
    return actmax.Maximizer(
        network() if model is None else model, input_shape=SHAPE, **{**defaults, **arguments}
    )


# T17: what is done to the problem is done to its solution.


def test_a_mirrored_model_and_start_give_the_mirrored_images():
    start = np.clip(0.3 * draw(1, *SHAPE), -1, 1)
    parts = {"regularizers": [TotalVariation(0.5), L2(0.3)]}
    plain = maximizer(**parts)(range(UNITS), initial_images=start, steps=30)
    turned = maximizer(network(mirror=True), **parts)(
        range(UNITS), initial_images=start[:, :, ::-1], steps=30
    )
    np.testing.assert_allclose(turned.images[:, :, ::-1], plain.images, atol=1e-10)
    assert np.abs(plain.images - start).max() > 0.1


def test_a_symmetric_problem_keeps_a_symmetric_start_symmetric():
    result = actmax.maximize(
        lambda x: tf.reduce_sum(tf.sin(3 * x), -1) - tf.reduce_sum(x, -1) ** 2,
        lambda output: output, input_shape=(5,), input_range=(-1, 1), regularizers=[L1(0.1)],
        initial_images=np.full((1, 5), 0.1), precision="float64", steps=40,
    )  # fmt: skip
    np.testing.assert_allclose(result.images, result.images[0, 0], atol=1e-12)
    assert abs(result.images[0, 0] - 0.1) > 0.01


@pytest.mark.parametrize(
    ("optimizer", "gradients"),
    [
        (actmax.Adam(0.03), []),
        (actmax.RMSprop(0.03), []),
        (actmax.SGD(0.05, normalize=True), []),
        (actmax.SGD(0.05), [actmax.Normalize("rms")]),
        (actmax.SGD(0.05), [actmax.Normalize("mean_abs")]),
    ],
    ids=["adam", "rmsprop", "normalized sgd", "rms", "mean abs"],
)
def test_a_constant_and_a_factor_of_the_score_leave_scale_free_paths_alone(optimizer, gradients):
    parts = {"optimizer": optimizer, "gradients": gradients}
    plain = maximizer(**parts)(range(UNITS), steps=30)
    changed = maximizer(network(shift=5.0, gain=40.0), **parts)(range(UNITS), steps=30)
    np.testing.assert_allclose(changed.images, plain.images, atol=1e-8)
    np.testing.assert_allclose(changed.scores, 40 * plain.scores + 5, rtol=1e-8)


def test_a_change_of_the_input_scale_maps_the_path_of_adam():
    model = network()
    unit = maximizer(input_range=(0, 1), optimizer=actmax.Adam(0.02))(range(UNITS), steps=30)
    byte = maximizer(
        lambda images: model(images / 255), input_range=(0, 255), optimizer=actmax.Adam(0.02 * 255)
    )(range(UNITS), steps=30)
    np.testing.assert_allclose(byte.images / 255, unit.images, atol=1e-8)


# T18: a row alone is the row in a batch.

EVERYTHING = [
    TotalVariation(0.2),
    L2((0.1, 0.4, 0.2, 0.3)),
    AlphaNorm(0.05),
    Jitter(2),
    Rotate(9.0),
]


@pytest.mark.parametrize(
    ("copies", "gradients"), [(1, [actmax.ClipNorm(0.05)]), (3, [actmax.Normalize("l2")])]
)
def test_a_row_alone_is_the_row_in_a_batch(gradients, copies):
    parts = {"gradients": gradients, "copies": copies, "optimizer": actmax.SGD(0.1)}
    together = maximizer(regularizers=EVERYTHING, **parts)([0, 1, 2, 1], steps=20, seed=7)
    single = maximizer(regularizers=EVERYTHING, **parts)
    for row, unit in enumerate([0, 1, 2]):
        alone = single([unit], steps=20, seed=7, weights={"l2": EVERYTHING[1].weight[row]})
        np.testing.assert_allclose(alone.images[0], together.images[row], atol=1e-10)
        for name, series in alone.history.items():
            np.testing.assert_allclose(series[:, 0], together.history[name][:, row], atol=1e-10)
    # Another image of the same target is another draw.
    assert np.abs(together.images[1] - together.images[3]).max() > 1e-3


def test_the_order_of_rows_changes_no_byte():
    run = maximizer(regularizers=[TotalVariation(0.2), Jitter(2), Scale(0.9, 1.1)])
    order = [2, 0, 1]
    first, second = run([0, 1, 2], steps=15), run(order, steps=15)
    np.testing.assert_array_equal(second.images, first.images[order])
    assert run.traces == 1


# T22: projections.

SETS = {
    "box": actmax.Box(-0.5, 0.8),
    "box of channels": actmax.Box((-0.5, -0.1), (0.2, 0.9)),
    "half open": actmax.Box(None, 0.3),
    "ball": actmax.L2Ball(1.5, center=0.2),
    "pixel ball": actmax.PixelBall(0.6),
    "box and box": actmax.Box(-0.5, 0.8) & actmax.Box(-0.2, None),
    "box and pixel ball": actmax.Box(0.0, 1.0) & actmax.PixelBall(0.6),
}


@pytest.mark.parametrize("name", SETS)
def test_projection_is_the_nearest_point_of_its_convex_set(name):
    set_ = SETS[name]

    def project(images):
        return set_.project(tf.constant(images)).numpy()

    x, y = draw(100, *SHAPE), draw(100, *SHAPE, seed=1)
    px, py = project(x), project(y)
    assert np.abs(px - x).max() > 0.1
    axes = (1, 2, 3)
    np.testing.assert_allclose(project(px), px, atol=1e-6)
    shrunk = np.sum((px - py) ** 2, axes) - np.sum((x - y) ** 2, axes)
    assert shrunk.max() <= 1e-6
    # py stands for any point y of the set.
    angle = np.sum((x - px)[:, None] * (py[None] - px[:, None]), (2, 3, 4))
    assert angle.max() <= 1e-6


@pytest.mark.parametrize("std", [0.2, 0.35])
def test_an_intersection_with_contrast_keeps_the_range_exactly_and_the_contrast_nearly(std):
    set_ = actmax.Box(0, 1) & actmax.Contrast(std=std)
    images = set_.project(tf.constant(0.5 + 0.4 * draw(50, *SHAPE))).numpy()
    assert images.min() >= 0 and images.max() <= 1
    np.testing.assert_allclose(images.std((1, 2, 3)), std, rtol=0.01)


# T23: gradients.


@regularizers.penalty
def roughness(images):
    return tf.reduce_mean(tf.square(tf.sin(3 * images)), (1, 2, 3))


def directional_derivative(run, images, direction, step=1e-5):
    ahead, _ = run.value_and_gradient(images + step * direction, targets=[1, 2])
    behind, _ = run.value_and_gradient(images - step * direction, targets=[1, 2])
    return (ahead - behind) / (2 * step)


SMOOTH = [L2(0.7), AlphaNorm(0.2), TotalVariation(0.3, beta=2.0), 1.5 * roughness]
PARTS = {
    "score alone": {},
    "penalties": {"regularizers": SMOOTH},
    "transforms": {"regularizers": [*SMOOTH, Jitter(2), Rotate(20.0), Scale(0.8, 1.2)]},
    "copies": {"regularizers": [*SMOOTH, Jitter(2), Rotate(20.0)], "copies": 3},
    "preprocess": {"preprocess": lambda images: (images[..., ::-1] - 0.3) / 0.2},
    "models": {"model": [network(), network(gain=-0.4, shift=1.0)]},
}


@pytest.mark.parametrize("name", PARTS)
def test_gradient_is_the_central_difference_of_the_value(name):
    run = maximizer(**PARTS[name])
    images, direction = 0.3 * draw(2, *SHAPE), draw(2, *SHAPE, seed=1)
    _, gradient = run.value_and_gradient(images, targets=[1, 2])
    slope = np.sum(gradient * direction, (1, 2, 3))
    np.testing.assert_allclose(slope, directional_derivative(run, images, direction), rtol=1e-6)


def test_gradient_through_a_sigmoid_is_the_central_difference_of_the_value():
    run = maximizer(input_range=actmax.Sigmoid(-1, 1), regularizers=SMOOTH)
    images, direction = 0.2 * np.tanh(draw(2, *SHAPE)), draw(2, *SHAPE, seed=1)
    _, gradient = run.value_and_gradient(images, targets=[1, 2])
    # images = 2 sigmoid(raw) - 1, so d images / d raw = (1 - images^2) / 2.
    slope = np.sum(gradient * 2 / (1 - images**2) * direction, (1, 2, 3))
    np.testing.assert_allclose(slope, directional_derivative(run, images, direction), rtol=1e-6)


@pytest.mark.parametrize(
    "part", [TotalVariation(2.0), TotalVariation(2.0, beta=1.0), L1(2.0), L2(2.0), AlphaNorm(2.0)]
)
@pytest.mark.parametrize("level", [0.0, 0.5], ids=["zero", "constant"])
def test_penalties_are_finite_and_balanced_at_constant_images(part, level):
    run = maximizer(lambda images: 0.0 * network()(images), regularizers=[part])
    value, gradient = run.value_and_gradient(np.full((1, *SHAPE), level), targets=[0])
    assert np.all(np.isfinite(value))
    np.testing.assert_allclose(gradient, gradient[0, 0, 0, 0], atol=1e-12)
    if level == 0.0:
        np.testing.assert_array_equal(gradient, 0.0)
        np.testing.assert_array_equal(value, 0.0)


# T24: transforms of strength zero change nothing.


@pytest.mark.parametrize("part", [Jitter(0), Rotate(0.0), Scale(1.0, 1.0)])
def test_transforms_of_no_strength_are_the_identity(part):
    images = 0.3 * draw(2, *SHAPE)
    plain = maximizer().value_and_gradient(images, targets=[1, 2])
    with_part = maximizer(regularizers=[part]).value_and_gradient(images, targets=[1, 2])
    np.testing.assert_allclose(with_part[0], plain[0], rtol=1e-12)
    np.testing.assert_allclose(with_part[1], plain[1], atol=1e-12)
