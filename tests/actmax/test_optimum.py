"""The default reaches optima that are known without it, in every set, and says when it does not."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize

import actmax
from actmax.constraints.ranges import from_range
from actmax.loop.straight_through import is_straight_through
from actmax.optimizers import InUnits
from actmax.scales import shown_between

RNG = np.random.default_rng(0)
W = np.array([3.0, 1.0, 0.2]) / np.linalg.norm([3.0, 1.0, 0.2])
SIGNS = np.sign(RNG.normal(size=(4, 4, 3)))
START = RNG.uniform(0.3, 0.7, (2, 4, 4, 3))


def linear(weights):
    weights = np.asarray(weights)

    def model(images):
        flat = tf.reshape(images, [tf.shape(images)[0], weights.size])
        return flat @ tf.constant(weights.reshape(-1, 1), images.dtype)

    return model


def concave(goal, width, curve=1.0):
    def model(images):
        off = (images - tf.constant(goal, images.dtype)) / tf.constant(width, images.dtype)
        return -tf.reduce_sum(tf.constant(curve, images.dtype) * off**2, 1, keepdims=True)

    return model


def run(model, shape, input_range, **call):
    call = {"steps": 256, "regularizers": [], **call}
    return actmax.maximize(
        model, actmax.Logit(0), input_shape=shape, input_range=input_range, **call
    )


def spread(weights):
    """Norm of a kernel without its mean: what a contrast of 1 over the root of D values reaches."""
    return np.linalg.norm(weights - np.mean(weights)) * np.sqrt(np.size(weights))


@pytest.mark.parametrize(
    ("model", "shape", "kind", "best"),
    [
        (linear(W), (3,), actmax.L2Ball(1e5), 1e5),
        (linear(W), (3,), actmax.L2Ball(0.01, surface=True), 0.01),
        (linear(W), (1, 1, 3), actmax.PixelBall(2.0), 2.0),
        (linear(SIGNS), (4, 4, 3), actmax.Contrast(0.1, mean=0.0), 0.1 * spread(SIGNS)),
        (
            linear(SIGNS),
            (4, 4, 3),
            actmax.Contrast((0.1, 0.2, 0.3), mean=0.0),
            sum(s * spread(SIGNS[..., c]) for c, s in enumerate((0.1, 0.2, 0.3))),
        ),
        (linear(W), (3,), actmax.Mixture(1.0, upper=(0.5, 0.4, 1.0)), W @ [0.5, 0.4, 0.1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_linear_unit_reaches_its_best_in_every_set(model, shape, kind, best):
    found = run(model, shape, kind)
    assert found.scores[0] == pytest.approx(best, rel=1e-5)
    assert found.distance[0] <= 1e-5 * best
    assert found.optimality[0] < 1e-3
    assert found.messages[0] == "All 256 steps done."


def quadratics():
    """Concave, with condition numbers up to 3,000, and the best score by SLSQP."""
    rng = np.random.default_rng(5)
    curve, goal = np.exp(rng.uniform(-4, 4, 6)), rng.normal(size=6)

    def cost(x):
        return (curve * (x - goal) ** 2).sum(), 2 * curve * (x - goal)

    for kind, rules in (
        (actmax.L2Ball(0.5), {"constraints": {"type": "ineq", "fun": lambda x: 0.25 - x @ x}}),
        (actmax.L2Ball(5.0), {}),
        (actmax.Box(-0.3, 0.6), {"bounds": [(-0.3, 0.6)] * 6}),
        (
            actmax.Mixture(),
            {"bounds": [(0, 1)] * 6, "constraints": {"type": "eq", "fun": lambda x: x.sum() - 1}},
        ),
        (
            actmax.Box(-0.3, 0.6) & actmax.L2Ball(0.7),
            {
                "bounds": [(-0.3, 0.6)] * 6,
                "constraints": {"type": "ineq", "fun": lambda x: 0.49 - x @ x},
            },
        ),
    ):
        options = {"ftol": 1e-14, "maxiter": 1000}
        found = optimize.minimize(
            cost, np.full(6, 0.1), jac=True, method="SLSQP", options=options, **rules
        )
        yield concave(goal, 1.0, curve), kind, -found.fun


def test_no_concave_run_is_further_from_the_optimum_than_its_duality_gap():
    met = 0
    for model, kind, best in quadratics():
        maximizer = actmax.Maximizer(
            model, actmax.Logit(0), input_shape=(6,), input_range=kind, regularizers=[], precision="float64"
        )  # fmt: skip
        for steps in (2, 15, 300):
            found = maximizer(steps=steps)
            gained = found.scores[0] - found.history["score"][0, 0]
            missing = (best - found.scores[0]) / gained
            if gained > 0:
                assert missing <= found.duality_gap[0] * (1 + 1e-6) + 1e-8
                assert found.optimality[0] <= max(missing, 0) * (1 + 1e-6) + 1e-8
                met += found.duality_gap[0] < 0.01
    assert met >= 4
    # A set without an end has none; what maps has that of what it maps onto, and so has a sphere.
    free = run(concave([0.2, 0.1], 1.0), (2,), actmax.Unbounded(), steps=3)
    assert np.isnan(free.duality_gap[0])
    assert np.isfinite(free.optimality[0])
    for kind in (actmax.Sigmoid(0, 1), actmax.L2Ball(1.0, surface=True)):
        found = run(linear(W), (3,), kind, steps=8)
        top = W.sum() if isinstance(kind, actmax.Sigmoid) else 1.0
        gained = found.scores[0] - found.history["score"][0, 0]
        assert found.duality_gap[0] == pytest.approx((top - found.scores[0]) / gained, rel=1e-2)


def test_adam_per_value_ends_elsewhere_is_warned_of_and_the_end_says_so():
    with pytest.warns(UserWarning, match='L2Ball binds values together.*per="image"'):
        found = run(linear(W), (3,), actmax.L2Ball(1.0), optimizer=actmax.Adam(0.05))
    assert found.scores[0] < 0.8
    assert found.optimality[0] > 0.1
    assert "This is no optimum: one more step gains" in found.messages[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        run(linear(W), (3,), actmax.L2Ball(1.0), optimizer=actmax.SGD(0.05), steps=1)
        run(linear(W), (3,), (0, 1), optimizer=actmax.Adam(0.05), steps=1)


def test_sums_of_a_set_of_ones_own_and_of_linear_equations():
    curve, goal = np.array([1.0, 4.0, 16.0, 64.0]), np.array([0.7, 0.1, 0.1, 0.5])
    # Lagrange: x = goal - m / (2 curve), with m of the sum.
    x = goal - (goal.sum() - 1) / (0.5 / curve).sum() / (2 * curve)

    @dataclasses.dataclass(frozen=True)
    class Sum(actmax.Constraint):
        def project(self, images):
            return images + (1.0 - tf.reduce_sum(images, 1, keepdims=True)) / images.shape[1]

    for kind in (Sum(), actmax.LinearEquations(np.ones(4), 1.0)):
        found = run(concave(goal, 1.0, curve), (4,), kind)
        np.testing.assert_allclose(found.images[0], x, atol=1e-4)
        assert abs(found.images.sum() - 1) < 1e-6


def test_columns_of_unequal_width_and_an_equation_between_them():
    width, goal = np.array([1.0, 1000.0, 0.01]), np.array([0.2, 800.0, 0.004])
    matrix = np.array([[1.0, 1e-3, 100.0]])
    best = optimize.minimize(
        lambda u: ((u - goal / width) ** 2).sum(), [0.5] * 3, bounds=[(0, 1)] * 3, method="SLSQP",
        constraints={"type": "eq", "fun": lambda u: matrix @ (u * width) - 2.1}, options={"ftol": 1e-14},
    )  # fmt: skip
    kind = actmax.Box((0, 0, 0), tuple(width)) & actmax.LinearEquations(matrix, [2.1])
    found = run(concave(goal, width), (3,), kind)
    assert found.scores[0] == pytest.approx(-best.fun, rel=1e-4)
    assert found.distance[0] < 1e-5
    free = run(concave(goal, width), (3,), actmax.Box((0, 0, 0), tuple(width)))
    assert free.scores[0] > -1e-4
    assert free.config["optimizer"]["class"] == "InUnits"
    assert free.config["optimizer"]["units"] == [["images", width.tolist()]]


def test_a_sigmoid_of_gray_levels_steps_in_logits():
    found = run(concave([100.0, 150.0, 60.0], 255.0), (3,), actmax.Sigmoid(0, 255))
    np.testing.assert_allclose(found.images[0], [100, 150, 60], atol=0.1)


def test_sets_around_each_rows_own_start_and_values_of_every_image():
    near = run(linear(SIGNS), (4, 4, 3), actmax.L2Ball(0.5, center="start"), initial_images=START)
    base = (START * SIGNS).sum((1, 2, 3))
    np.testing.assert_allclose(near.scores, base + 0.5 * np.linalg.norm(SIGNS), rtol=1e-5)
    box = actmax.Box(0, 1) & actmax.LInfBall(0.4, center="start")
    near = run(linear(SIGNS), (4, 4, 3), box, initial_images=START, steps=60)
    best = (np.clip(START + 0.4 * SIGNS, 0, 1) * SIGNS).sum((1, 2, 3))
    np.testing.assert_allclose(near.scores, best, rtol=1e-5)
    many = run(linear(W), (3,), actmax.L2Ball([1.0, 2.0, 4.0]), images=3)
    np.testing.assert_allclose(many.scores, [1, 2, 4], rtol=1e-5)
    with pytest.raises(ValueError, match="as many images of 'images' as the constraint has"):
        run(linear(W), (3,), actmax.L2Ball([1.0, 2.0, 4.0]), images=2)
    with pytest.raises(ValueError, match="initial_images of"):
        run(linear(W), (3,), actmax.L2Ball(1.0, center="start"))


def test_masks_beside_norms_over_columns_and_one_for_each_image():
    mask = np.zeros((4, 4))
    mask[1:3, 1:3] = 1
    hole = mask[..., None] > 0
    both = actmax.Box(0, 1) & actmax.Contrast(0.1, mean=0.5)
    found = run(linear(SIGNS), (4, 4, 3), both, mask=mask, initial_images=START[:1])
    inner = SIGNS[np.broadcast_to(hole, SIGNS.shape)]
    best = (START[0] * SIGNS * ~hole).sum() + 0.5 * inner.sum() + 0.1 * spread(inner)
    assert found.scores[0] == pytest.approx(best, rel=1e-5)
    kept = np.broadcast_to(~hole, SIGNS.shape)
    np.testing.assert_array_equal(found.images[0][kept], START[0].astype(np.float32)[kept])
    each = run(
        linear(SIGNS),
        (4, 4, 3),
        (0, 1),
        mask=np.stack([mask, 1 - mask]),
        initial_images=START,
        steps=3,
    )
    moved = np.any(each.images != START.astype(np.float32), axis=-1)
    np.testing.assert_array_equal(moved, np.stack([mask, 1 - mask]) > 0)
    rows = run(
        linear(W), (3,), (0, 1), mask=[1, 0, 1], initial_images=np.full((1, 3), 0.5), steps=60
    )
    assert rows.images[0].tolist() == [1.0, 0.5, 1.0]
    held = run(linear(W), (3,), actmax.Box((0, 0.5, 0), (1, 0.5, 1)), steps=60)
    assert held.images[0].tolist() == [1.0, 0.5, 1.0]


def test_a_box_beside_a_mixture_beside_a_ball():
    kind = actmax.Columns({(0, 3): (0, 2), (1, 2): actmax.Mixture(), 4: actmax.L2Ball(3.0)})
    found = run(linear([1.0, 0.5, 2.0, -1.0, 0.1]), (5,), kind)
    np.testing.assert_allclose(found.images[0], [2, 0, 1, 0, 3], atol=1e-4)


def test_a_mask_beside_sets_side_by_side_and_beside_an_equation_of_unequal_columns():
    goal, curve = np.array([3.2, 0.01, 0.5, 0.2, 0.3]), np.array([1.0, 1e3, 3.0, 8.0, 2.0])
    kind = actmax.Columns({0: (0, 5), 1: (0.005, 0.05), (2, 3, 4): actmax.Mixture()})
    start = np.array([[1.0, 0.02, 0.3, 0.3, 0.4]])
    found = run(concave(goal, 1.0, curve), (5,), kind, mask=[0, 1, 0, 1, 1], initial_images=start)
    # Columns 3 and 4 add up to 0.7: x = goal + m / curve.
    rest = goal[3:] + 0.2 / (1 / 8.0 + 1 / 2.0) / curve[3:]
    np.testing.assert_allclose(found.images[0], [1.0, 0.01, 0.3, *rest], atol=1e-4)
    width = np.array([1.0, 1000.0, 0.01])
    equal = actmax.Box((0, 0, 0), tuple(width)) & actmax.LinearEquations([1 / width], [1.0])
    found = run(
        concave([0.2, 900.0, 0.001], width), (3,), equal, mask=[1, 1, 0],
        initial_images=[[0.5, 100.0, 0.004]],
    )  # fmt: skip
    np.testing.assert_allclose(found.images[0] / width, [0.0, 0.6, 0.4], atol=1e-5)


def test_a_set_around_each_start_beside_a_column_of_another_width():
    weights, starts = np.array([1.0, 2.0, 3.0, 4.0]), np.array([[50.0, 1, 1, 1], [5.0, 2, 2, 2]])
    kind = actmax.Columns({0: (0, 100), (1, 2, 3): actmax.L2Ball(0.5, center="start")})
    found = run(linear(weights), (4,), kind, initial_images=starts)
    best = 100.0 + starts[:, 1:] @ weights[1:] + 0.5 * np.linalg.norm(weights[1:])
    np.testing.assert_allclose(found.scores, best, rtol=1e-5)


@dataclasses.dataclass(frozen=True)
class StraightThrough(actmax.Constraint):
    """Letters as a user writes them: hard ones, with the gradient of soft ones."""

    projects = False

    def apply(self, images):
        soft = tf.nn.softmax(images)
        return soft + tf.stop_gradient(
            tf.one_hot(tf.argmax(images, -1), 4, dtype=soft.dtype) - soft
        )

    def start(self, noise):
        return noise


def test_a_map_of_ones_own_that_is_flat_where_it_is_sure_reaches_its_best():
    weights = np.random.default_rng(0).normal(size=(20, 4))
    found = run(
        linear(weights), (20, 4), StraightThrough(), parameterization=actmax.Pixels(std=1.0),
        images=4, steps=200,
    )  # fmt: skip
    np.testing.assert_allclose(found.scores, weights.max(1).sum(), rtol=1e-5)


@dataclasses.dataclass(frozen=True)
class HalfOfThem(actmax.Constraint):
    """Letters of which half are the second or third, by one shift of these two: as a user writes it."""

    projects = False
    hands_on: bool = False

    def apply(self, images):
        lean = tf.reduce_max(images[..., 1:3], -1) - tf.reduce_max(images[..., ::3], -1)
        order = tf.sort(lean, axis=1)
        middle = order.shape[1] // 2
        shift = (order[:, middle - 1] + order[:, middle]) / 2
        raw = images - shift[:, None, None] * tf.constant([0.0, 1.0, 1.0, 0.0], images.dtype)
        soft = tf.nn.softmax(raw)
        hard = tf.one_hot(tf.argmax(raw, -1), 4, dtype=soft.dtype)
        kept = images if self.hands_on else soft
        return kept + tf.stop_gradient(hard - kept)

    def start(self, noise):
        return noise


def test_optimality_sees_past_a_map_of_ones_own_whose_gradient_vanishes():
    weights = np.random.default_rng(0).normal((0, 0.6, 0.6, 0), size=(20, 4))
    lean = weights[:, 1:3].max(1) - weights[:, ::3].max(1)
    best = weights[:, ::3].max(1).sum() + np.sort(lean)[10:].sum()
    call = {"parameterization": actmax.Pixels(std=1.0), "images": 4}
    lost = run(linear(weights), (20, 4), HalfOfThem(), steps=100, **call)
    missing = (best - lost.scores) / (lost.scores - lost.history["score"][0])
    assert missing.max() > 0.02
    np.testing.assert_allclose(lost.optimality, missing, atol=1e-4)
    for message, far in zip(lost.messages, missing > 1e-3, strict=True):
        assert ("let apply hand it on" in message) == far
    handed = run(linear(weights), (20, 4), HalfOfThem(hands_on=True), steps=400, **call)
    assert handed.config["optimizer"]["per"] == "image"
    np.testing.assert_allclose(handed.scores, best, rtol=1e-3)
    assert not is_straight_through(HalfOfThem(), (20, 4))
    assert not is_straight_through(actmax.Sigmoid(0, 1), (20, 4))
    assert is_straight_through(actmax.OneHot(), (20, 4))


def test_a_recipe_that_moves_pictures_says_that_its_end_is_no_optimum_of_the_score():
    kind = actmax.Box(-1, 1) & actmax.Contrast(0.1, mean=0.0)
    found = run(linear(np.tile(SIGNS, (2, 2, 1))), (8, 8, 3), kind, regularizers=None, steps=8)
    assert "Of the score without transforms this is no optimum" in found.messages[0]
    assert "For the best score in Intersection give regularizers=[]." in found.messages[0]


def test_a_contrast_maps_for_fourier_coefficients():
    found = run(
        linear(SIGNS), (4, 4, 3), actmax.Contrast(0.1, mean=0.0), parameterization=actmax.Fourier()
    )
    assert found.scores[0] == pytest.approx(0.1 * spread(SIGNS), rel=1e-3)
    assert found.distance[0] < 1e-6
    with pytest.raises(ValueError, match=r"Contrast\(std\) or Mixture\(\) alone, which map"):
        run(linear(W), (4, 4, 3), actmax.PixelBall(1.0), parameterization=actmax.Fourier())


@pytest.mark.parametrize(
    "kind",
    [
        actmax.Box(0, 1) & actmax.L2Ball(0.5, center=3.0),
        actmax.Box(0, 1) & actmax.Contrast(0.6, mean=0.5),
        actmax.Box(0, 1) & actmax.LinearEquations(np.ones(4), 5.0),
    ],
)
def test_sets_without_a_common_point_are_refused(kind):
    with pytest.raises(ValueError, match="no common point"):
        run(linear(np.ones(4)), (4,), kind)


def test_bounds_as_scipy_writes_them():
    pairs = [(0, 5), (1, 10)]
    with pytest.raises(ValueError, match=r"as SciPy reads it.*Box\(\(0, 1\), \(5, 10\)\)"):
        from_range(pairs, 2)
    assert from_range(pairs, 3) == actmax.Box((0, 5), (1, 10))
    assert from_range([*pairs, (None, 3)], 3) == actmax.Box((0, 1, None), (5, 10, 3))
    assert from_range(optimize.Bounds([0, 1], [5, 10]), 2) == actmax.Box((0, 1), (5, 10))
    assert from_range([(0, 9), (1, 2)], 2) == actmax.Box((0, 1), (9, 2))
    assert from_range(((0, 0), (1, 1)), 2) == actmax.Box((0, 0), (1, 1))
    with pytest.raises(
        ValueError, match="bounds of 'images' as numbers, or one for each of its 4 channels"
    ):
        run(linear(np.ones(4)), (4,), actmax.Box((0, 0, 0), (1, 1, 1)))


def nearest(z, bounds, constraints, starts):
    found = [
        optimize.minimize(
            lambda x: ((x - z) ** 2).sum(), x0, jac=lambda x: 2 * (x - z), bounds=bounds,
            constraints=constraints, method="SLSQP", options={"maxiter": 500, "ftol": 1e-13},
        )
        for x0 in starts
    ]  # fmt: skip
    return min(one.fun for one in found if one.success)


@pytest.mark.parametrize("mean", [None, 0.5])
@pytest.mark.parametrize("std", [0.05, 0.3, 0.45])
def test_the_nearest_image_of_a_contrast_in_a_box(std, mean):
    z = RNG.normal(0.5, 0.6, (3, 12))
    found = (actmax.Box(0, 1) & actmax.Contrast(std, mean)).project(tf.constant(z)).numpy()
    np.testing.assert_allclose(found.std(1), std, rtol=1e-9)
    held = [{"type": "eq", "fun": lambda x: 100 * (x.std() ** 2 - std**2)}]
    if mean is not None:
        np.testing.assert_allclose(found.mean(1), mean, rtol=1e-9)
        held.append({"type": "eq", "fun": lambda x: 10 * (x.mean() - mean)})
    for row in range(3):
        best = nearest(
            z[row], [(0, 1)] * 12, held, [0.9 * found[row] + 0.05, np.clip(z[row], 0, 1)]
        )
        assert ((found[row] - z[row]) ** 2).sum() <= best + 1e-6


def test_the_nearest_point_of_linear_equations_in_a_box():
    matrix = RNG.normal(size=(3, 8))
    values = matrix @ RNG.uniform(0.2, 0.8, 8)
    kind = actmax.Box(0, 1) & actmax.LinearEquations(matrix, values)
    z = RNG.normal(0.5, 1.0, (6, 8))
    found = kind.project(tf.constant(z)).numpy()
    np.testing.assert_allclose(found @ matrix.T, np.tile(values, (6, 1)), atol=1e-8)
    held = {"type": "eq", "fun": lambda x: matrix @ x - values, "jac": lambda x: matrix}
    for row in range(6):
        best = nearest(z[row], [(0, 1)] * 8, held, [np.full(8, 0.5)])
        assert ((found[row] - z[row]) ** 2).sum() <= best + 1e-6


@pytest.mark.parametrize("spread_of_widths", [1, 2, 3])
def test_the_nearest_point_of_equations_between_columns_of_very_unequal_widths(spread_of_widths):
    draws = np.random.default_rng(spread_of_widths)
    size, count = 12, 3
    width = 10.0 ** draws.uniform(-spread_of_widths, spread_of_widths, size)
    matrix = draws.normal(size=(count, size)) / width
    inner = draws.uniform(0.2, 0.8, size) * width
    low, high = np.zeros(size), width.copy()
    low[0] = high[0] = inner[0]  # held
    high[1] = np.inf
    kind = actmax.Box(low, high) & actmax.LinearEquations(matrix, matrix @ inner)
    z = draws.normal(size=(8, size)) * width
    found = kind.project(tf.constant(z)).numpy()
    terms = np.abs(found) @ np.abs(matrix).T
    assert np.all(np.abs(found @ matrix.T - matrix @ inner) <= 1e-8 * terms)
    for x, given in zip(found, z, strict=True):
        # Karush, Kuhn and Tucker: what is free moved along the equations, what is at a bound against it.
        free = (x > low + 1e-7 * width) & (x < high - 1e-7 * width)
        moved = x - given
        multipliers = np.linalg.lstsq(matrix[:, free].T, moved[free], rcond=None)[0]
        rest = moved - matrix.T @ multipliers
        size_of = np.abs(moved) + np.abs(matrix.T) @ np.abs(multipliers)
        assert np.all(np.abs(rest[free]) <= 1e-5 * size_of[free])
        at_low, at_high = (x <= low + 1e-7 * width) & (high > low), x >= high - 1e-7 * width
        assert np.all(rest[at_low] >= -1e-5 * size_of[at_low])
        assert np.all(rest[at_high & (high > low)] <= 1e-5 * size_of[at_high & (high > low)])
    # A run that is refused for no common point would be refused for a false reason.
    assert actmax.Maximizer(
        linear(1 / width), actmax.Logit(0), input_shape=(size,), input_range=kind, regularizers=[]
    )


@pytest.mark.parametrize(
    "kind",
    [
        actmax.LInfBall(0.2, center=RNG.uniform(size=(4, 4, 3))),
        actmax.L2Ball(2.0, center=RNG.uniform(size=(4, 4, 3))),
        actmax.Contrast((0.1, 0.2, 0.3)),
        actmax.Box(0, 1) & actmax.Contrast(0.2),
        actmax.Box(0, 1) & actmax.L2Ball(1.5),
        actmax.Mixture(),
        actmax.Columns({(2, 1): actmax.Mixture(), 0: (0, 2)}),
        actmax.Contrast(0.2).mapped(),
        actmax.Mixture(1, 0, (0.5, 0.6, 0.9)).mapped(),
    ],
    ids=lambda kind: type(kind).__name__,
)
def test_every_set_passes_its_checker(kind):
    from actmax.testing import check_constraint

    check_constraint(kind, shape=(4, 4, 3), convex=kind.convex)


def test_units_are_the_sets_own_size():
    shape = (10,)
    assert actmax.L2Ball(3.0).units(shape) == pytest.approx(6 / np.sqrt(10))
    assert actmax.Contrast(0.2).units(shape) == 0.4
    assert actmax.Sigmoid(0, 255).units(shape) == 4.0
    assert actmax.Box(0, 255).units(shape) == 255.0
    assert actmax.Box((0, 0), (1, 5)).units((2,)).tolist() == [1.0, 5.0]

    @dataclasses.dataclass(frozen=True)
    class Ball(actmax.Constraint):
        def project(self, images):
            return actmax.L2Ball(3.0).project(images)

    assert Ball().units((1000,)) == pytest.approx(6 / np.sqrt(1000), rel=0.05)


def test_adam_of_one_moment_per_image_is_half_as_large_and_a_change_of_units_is_one():
    params = {"images": tf.constant(RNG.normal(size=(2, 5)))}
    gradients = {"images": tf.constant(RNG.normal(size=(2, 5)))}
    rate = tf.constant([0.1], tf.float64)
    image = actmax.Adam(0.1, per="image")
    moved, state = image.update(gradients, image.init(params), params, rate)
    g = gradients["images"].numpy()
    expected = params["images"] - 0.1 * g / np.sqrt((g**2).mean(1, keepdims=True))
    np.testing.assert_allclose(moved["images"], expected, rtol=1e-9)
    assert state["square"]["images"].shape == (2,)
    units = np.array([1.0, 10.0, 1e3, 1e-3, 1.0])
    scaled = InUnits(0.1, actmax.Adam(0.1), {"images": units})
    found, _ = scaled.update(gradients, scaled.init(params), params, rate)
    np.testing.assert_allclose(
        found["images"], params["images"] - 0.1 * units * np.sign(g), rtol=1e-9
    )


def test_adam_limits_gradients_and_remembers_more_where_they_zigzag():
    rng = np.random.default_rng(0)
    given = rng.normal(size=(12, 2, 5)) * np.exp(rng.normal(size=(12, 2, 1)))
    given[6:] *= (-1.0) ** np.arange(6)[:, None, None]
    adam = actmax.Adam(0.1, beta_1=0.4, per="image", limit=1.0, opposed=0.75)
    params = tf.zeros([2, 5], tf.float64)
    state = adam.init({"x": params})
    x, m, v, c, w = np.zeros((2, 5)), np.zeros((2, 5)), np.zeros(2), np.zeros(2), np.zeros(2)
    found = {"x": params}
    for t, g in enumerate(given, 1):
        found, state = adam.update({"x": tf.constant(g)}, state, found, tf.constant([0.1]))
        size = np.sqrt((g**2).mean(1))
        v += 0.001 * (size**2 - v)
        u = g / np.maximum(size, np.sqrt(v / (1 - 0.999**t)))[:, None]
        norms = np.linalg.norm(m, axis=1) * np.linalg.norm(u, axis=1)
        cosine = (m * u).sum(1) / np.where(norms > 0, norms, 1)
        c = cosine if t <= 2 else c + 0.1 * (cosine - c)
        beta = 0.4 + 0.35 * np.clip(1 - c, 0, 1)
        m, w = beta[:, None] * m + (1 - beta)[:, None] * u, beta * w + 1 - beta
        x = x - np.float32(0.1) * m / w[:, None]
        np.testing.assert_allclose(found["x"], x, rtol=1e-7, atol=1e-9)
    still = {"x": tf.zeros([1, 3])}
    moved, _ = adam.update(still, adam.init(still), still, tf.constant([0.1]))
    assert not np.any(moved["x"])
    for wrong in ({"limit": 1.0}, {"limit": 0.0, "per": "image"}, {"opposed": 0.9}):
        with pytest.raises(ValueError, match="Expected"):
            actmax.Adam(0.1, **wrong)


def test_pictures_of_an_open_range_are_symmetric_about_zero(tmp_path):
    found = run(linear(SIGNS), (4, 4, 3), actmax.Contrast(1.0), steps=5)
    low, high = found.scale()
    assert -low == high == np.abs(found.images).max()
    assert found.pictures().shape == (1, 4, 4, 3)
    saved = actmax.Result.load(found.save(tmp_path))
    np.testing.assert_array_equal(saved.optimality, found.optimality)
    np.testing.assert_array_equal(saved.distance, found.distance)
    assert (tmp_path / "grid.png").is_file()
    strongest = found.strongest(
        linear(SIGNS), START.astype(np.float32), objective=actmax.Logit(0), count=1
    )
    assert strongest.scores.shape == (1, 1)
    assert shown_between([[3.0]], (0.0, 2.0), (1.0, 2.0)) == ((0.0, 1.5), (1.0, 2.5))


def test_what_images_were_decoded_from_is_in_the_result_and_its_record(tmp_path):
    found = run(
        linear(SIGNS), (4, 4, 3), (0, 1), parameterization=actmax.Blurred(), images=2, steps=2
    )
    again = actmax.Blurred().decode(tf.constant(found.params), (4, 4, 3))
    np.testing.assert_allclose(tf.sigmoid(again), found.images, atol=1e-6)
    loaded = actmax.Result.load(found.save(tmp_path))
    np.testing.assert_array_equal(loaded.params, found.params)
    np.testing.assert_array_equal(found.take([1]).params, found.params[1:])
    assert run(linear(W), (3,), (0, 1), steps=1).params is None


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("near", [0.0, 1.0])
def test_a_nearly_constant_image_at_a_bound_gets_its_contrast(near, dtype):
    """Two of 48 values at the other bound are too few, three are enough: it ended 0.1 % short."""
    noise = tf.constant(np.random.default_rng(4).uniform(-5e-4, 5e-4, (3, 48)) + near, dtype)
    found = (actmax.Box(0, 1) & actmax.Contrast(0.2)).project(noise).numpy()
    np.testing.assert_allclose(found.std(1), 0.2, rtol=2e-6)
    np.testing.assert_allclose(found.mean(1), abs(near - 3 / 48), rtol=1e-5)


@dataclasses.dataclass(frozen=True)
class Alike(actmax.Parameterization):
    """One number for all values."""

    def init(self, shape, seed, dtype=tf.float32):
        return tf.ones([tf.shape(seed)[0], 1], dtype)

    def decode(self, params, shape):
        return tf.repeat(params, shape[0], axis=1)


def test_an_ensembles_members_and_what_images_were_decoded_from(tmp_path):
    seen = []
    models = [linear(W), linear(-0.5 * W[::-1])]
    found = run(
        models, (3,), actmax.Sigmoid(0, 1), images=2, steps=4,
        parameterization=Alike(), callbacks=[seen.append], callback_every=4,
    )  # fmt: skip
    own = np.stack([found.images @ W, found.images @ (-0.5 * W[::-1])], 1)
    np.testing.assert_allclose(found.member_scores, own, rtol=1e-5)
    np.testing.assert_allclose(found.scores, own.mean(1), rtol=1e-5)
    np.testing.assert_array_equal(seen[-1].params, found.params)
    again = actmax.Result.load(found.save(tmp_path))
    np.testing.assert_array_equal(again.take([1]).member_scores, found.member_scores[1:])
    np.testing.assert_array_equal(again.duality_gap, found.duality_gap)
    assert run(linear(W), (3,), (0, 1), steps=1).member_scores is None
