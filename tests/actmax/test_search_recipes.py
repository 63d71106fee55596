"""Multi-start, Frank-Wolfe and L-BFGS on problems whose best image is known."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from scipy import optimize

import actmax
from actmax.loop.engine import Loop
from actmax.recipes import (
    class_octaves,
    deep_dream,
    drawings,
    multi_start,
    plug_in_inversion,
    softmax_kept,
)
from actmax.recipes.frank_wolfe import frank_wolfe
from actmax.recipes.lbfgs import lbfgs
from actmax.recipes.multi_start import successive_halving
from actmax.recipes.whole_numbers import whole_numbers
from regularizers import L2, Jitter
from tests.conformance.models import tiny

# Several starts, the better half of which goes on.

HILLS, PROBLEMS = 5, 12


def hills():
    """Heights `[T, K]` and centers `[T, K, 2]` of hills on a box, as many problems as outputs."""
    draws = np.random.default_rng(3)
    return draws.uniform(0.3, 1.0, [PROBLEMS, HILLS]), draws.uniform(
        -1.7, 1.7, [PROBLEMS, HILLS, 2]
    )


def heights_at(points):
    """`[N, 2] -> [N, T]`."""
    heights, centers = hills()
    away = tf.reduce_sum((points[:, None, None] - tf.constant(centers)) ** 2, axis=-1)
    return tf.reduce_sum(tf.constant(heights) * tf.exp(-6.0 * away), axis=-1)


def summits():
    """The largest value of every problem: from every center, uphill."""

    def climbed(problem, center):
        def down(point):
            return -heights_at(tf.constant(point[None])).numpy()[0, problem]

        return -optimize.minimize(down, center, bounds=[(-2, 2)] * 2).fun

    _, centers = hills()
    return np.array([max(climbed(t, c) for c in centers[t]) for t in range(PROBLEMS)])


def on_hills():
    return actmax.Maximizer(
        heights_at, input_shape=(2,), input_range=(-2, 2), regularizers=[], precision="float64",
        parameterization=actmax.Pixels(std=0.3), optimizer=actmax.Adam(actmax.Cosine(0.15, 1e-3)),
    )  # fmt: skip


def test_several_starts_find_higher_hills_than_one_for_as_many_passes():
    maximizer, starts, steps = on_hills(), 8, 512
    rounds = successive_halving(
        maximizer, list(range(PROBLEMS)), starts=starts, steps=steps, draws=1
    )
    assert [len(result) for result in rounds] == [
        8 * PROBLEMS,
        4 * PROBLEMS,
        2 * PROBLEMS,
        PROBLEMS,
    ]
    spent = sum(len(result) * result.steps[0] for result in rounds) / PROBLEMS
    assert spent == steps
    # The one start has the passes of judging, too.
    one = maximizer(range(PROBLEMS), steps=steps + starts + starts // 2 + 2)
    best = summits()
    several = rounds[-1].scores
    assert np.all(several <= best + 1e-9) and np.all(one.scores <= best + 1e-9)
    assert np.all(several >= one.scores - 1e-4)
    assert np.sum(several > one.scores + 0.05) >= PROBLEMS // 3
    assert np.sum(several > best - 1e-3) >= 0.75 * PROBLEMS
    assert maximizer.traces == 1


def test_rounds_are_the_same_bytes_again_and_others_with_another_seed():
    maximizer = actmax.Maximizer(
        tiny(), input_range=(0, 1), regularizers=[Jitter(1)], optimizer=actmax.Adam(0.05)
    )

    def run(targets=(1, 4), seed=5):
        return successive_halving(maximizer, list(targets), starts=5, steps=60, seed=seed)

    first, second = run(), run()
    assert [len(result) for result in first] == [10, 6, 4, 2]
    for one, other in zip(first, second, strict=True):
        assert one.images.tobytes() == other.images.tobytes()
        assert one.scores.tobytes() == other.scores.tobytes()
    assert first[-1].targets.tolist() == [1, 4]
    assert first[-1].images.tobytes() != run(seed=6)[-1].images.tobytes()
    # What a target becomes does not depend on its neighbors, but for their place among the rows.
    backwards = run(targets=(4, 1))[-1].images[::-1]
    np.testing.assert_allclose(backwards, first[-1].images, atol=1e-5)


def test_the_better_half_goes_on_from_where_it_was():
    maximizer = actmax.Maximizer(tiny(), input_range=(0, 1), regularizers=[])
    rounds = successive_halving(maximizer, [2], starts=4, steps=30, draws=1)
    best = np.sort(np.argsort(-rounds[0].scores)[:2])
    again = maximizer([2] * 2, initial_images=rounds[0].images[best], steps=0)
    begun = rounds[1].history["score"][0]
    np.testing.assert_allclose(begun, again.scores, rtol=1e-5)
    only = successive_halving(maximizer, [2], starts=1, steps=3)
    assert [len(result) for result in only] == [1]


def test_rounds_of_an_objective_without_targets():
    maximizer = actmax.Maximizer(tiny(), actmax.Logit(3), input_range=(0, 1), regularizers=[])
    rounds = successive_halving(maximizer, None, starts=2, steps=8)
    assert [len(result) for result in rounds] == [2, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameterization": actmax.Maco()}, "can start from a given image. Received: Maco"),
        ({"objective": actmax.Diversity("conv")}, "do not depend on one another"),
    ],
    ids=["maco", "coupled"],
)
def test_what_cannot_be_halved_is_refused(arguments, message):
    maximizer = actmax.Maximizer(tiny(), input_range=(0, 1), regularizers=[], **arguments)
    with pytest.raises(ValueError, match=message):
        successive_halving(maximizer, [1])


def test_too_few_passes_for_the_rounds_are_refused():
    maximizer = actmax.Maximizer(tiny(), input_range=(0, 1), regularizers=[])
    with pytest.raises(ValueError, match="steps to be at least 32"):
        successive_halving(maximizer, [1], starts=8, steps=31)


# Frank-Wolfe and L-BFGS.

D = 8


def deterministic(model, **arguments):
    """A maximizer of a model `[N, D] -> [N, T]` in float64, of which nothing is drawn."""
    arguments = {"regularizers": [], "input_range": (-1, 2), **arguments}
    return actmax.Maximizer(
        model, input_shape=(D,), precision="float64", parameterization=actmax.Pixels(), **arguments
    )


def linear(seed=0, targets=3):
    w = np.random.default_rng(seed).normal(size=[D, targets])
    w[2, 0] = 0.0
    return w, lambda x: x @ tf.constant(w)


def concave(seed=0, low=0.3, high=6.0, targets=2):
    """Q, c `[D, T]`, and `x -> -x'Qx / 2 + x'c` for every column of c."""
    draws = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(draws.normal(size=[D, D]))
    q, c = basis * np.linspace(low, high, D) @ basis.T, 4.0 * draws.normal(size=[D, targets])

    def model(x):
        return x @ tf.constant(c) - tf.reduce_sum((x @ tf.constant(q)) * x, -1, keepdims=True) / 2

    return q, c, model


def best_on_box(q, c, low, high):
    """The image with the largest value, by bounded least squares."""
    root = np.linalg.cholesky(q).T
    fit = optimize.lsq_linear(
        root, np.linalg.solve(root.T, c), (low, high), method="bvls", tol=1e-14
    )
    return fit.x


def value(q, c, x):
    return x @ c - x @ q @ x / 2


def test_frank_wolfe_is_done_with_a_linear_model_after_one_step():
    w, model = linear()
    start = np.full((3, D), 0.25)
    found = frank_wolfe(deterministic(model), [0, 1, 2], initial_images=start)
    expected = np.where(w > 0, 2.0, -1.0).T
    expected[0, 2] = 0.25  # nothing depends on it
    np.testing.assert_array_equal(found.result.images, expected)
    assert found.objective.shape == found.gap.shape == (2, 3)
    # The first gap was no bound only, but what there was to gain; the last is 0.
    np.testing.assert_allclose(found.gap[0], found.objective[1] - found.objective[0], rtol=1e-12)
    np.testing.assert_array_equal(found.gap[1], 0.0)
    np.testing.assert_allclose(found.result.scores, found.objective[-1], rtol=1e-12)


def test_frank_wolfe_on_a_ball_ends_where_the_weights_point():
    w, model = linear()
    radius, center = 0.7, 0.2
    ball = actmax.L2Ball(radius, center)
    found = frank_wolfe(deterministic(model, input_range=ball), [0, 1, 2])
    best = center + radius * (w / np.linalg.norm(w, axis=0)).T
    np.testing.assert_allclose(found.result.images, best, rtol=1e-12, atol=1e-15)
    assert np.all(np.abs(found.gap[-1]) < 1e-12)


@hypothesis.settings(max_examples=6, deadline=None)
@hypothesis.given(st.integers(0, 2**16))
def test_no_image_of_the_box_has_more_than_the_value_and_the_gap(seed):
    q, c, model = concave(seed)
    found = frank_wolfe(deterministic(model), [0, 1], steps=30, seed=seed)
    best = np.array([value(q, k, best_on_box(q, k, -1, 2)) for k in c.T])
    assert np.all(found.objective <= best + 1e-9)
    assert np.all(found.objective + found.gap >= best - 1e-9)
    assert np.all(np.diff(found.objective, axis=0) >= 0)
    scores = [value(q, k, x) for k, x in zip(c.T, found.result.images, strict=True)]
    np.testing.assert_allclose(found.objective[-1], scores, atol=1e-9)


def test_frank_wolfe_finds_the_best_of_a_quadratic_on_a_ball():
    q, c, model = concave(targets=1)
    radius = 0.6
    found = frank_wolfe(
        deterministic(model, input_range=actmax.L2Ball(radius)), [0], steps=300, tolerance=1e-10
    )

    def outside(multiplier):
        return np.linalg.norm(np.linalg.solve(q + multiplier * np.eye(D), c[:, 0])) - radius

    assert outside(0.0) > 0  # so that the best image lies on the surface
    multiplier = optimize.brentq(outside, 0.0, 1e3, xtol=1e-14)
    best = np.linalg.solve(q + multiplier * np.eye(D), c[:, 0])
    np.testing.assert_allclose(found.result.images[0], best, atol=1e-5)
    assert found.gap[-1, 0] <= 1e-10
    np.testing.assert_allclose(found.objective[-1, 0], value(q, c[:, 0], best), rtol=1e-10)


def test_frank_wolfe_counts_penalties():
    w, lam = np.array([1.0, -0.5, 0.0, 2.0, -3.0, 0.7, -1.0, 0.5]), 0.05
    maximizer = deterministic(
        lambda x: x @ tf.constant(w)[:, None], regularizers=[L2(lam * D)], input_range=(-1, 2)
    )
    found = frank_wolfe(maximizer, [0], initial_images=np.zeros((1, D)))
    # The penalty pulls with 0.2 at most, so all that pulls harder ends in its corner.
    best = np.where(w > 0, 2.0, np.where(w < 0, -1.0, 0.0))
    np.testing.assert_array_equal(found.result.images[0], best)
    np.testing.assert_allclose(found.objective[-1], w @ best - lam * best @ best, rtol=1e-12)
    np.testing.assert_allclose(found.result.scores, w @ best, rtol=1e-12)


def test_lbfgs_solves_a_quadratic():
    q, c, model = concave()
    found = lbfgs(deterministic(model, input_range=actmax.Unbounded()), [0, 1])
    # SciPy ends where J has no digit left, which leaves images about the root of that.
    np.testing.assert_allclose(found.result.images, np.linalg.solve(q, c).T, atol=1e-6)
    expected = [value(q, k, np.linalg.solve(q, k)) for k in c.T]
    np.testing.assert_allclose(found.objective, expected, rtol=1e-13)
    np.testing.assert_allclose(found.result.scores, found.objective, rtol=1e-13)
    assert np.all(found.passes < 100) and len(found.messages) == 2


@pytest.mark.parametrize("seed", range(3))
def test_lbfgs_solves_a_quadratic_between_bounds(seed):
    q, c, model = concave(seed)
    found = lbfgs(deterministic(model), [1, 0], seed=seed)
    best = np.stack([best_on_box(q, c[:, t], -1, 2) for t in (1, 0)])
    np.testing.assert_allclose(found.result.images, best, atol=1e-6)
    np.testing.assert_array_equal(found.result.images == -1, best == -1)
    assert np.any(best == -1) and np.any((best > -1) & (best < 2))


def test_lbfgs_makes_the_gradient_of_a_softmax_vanish():
    w, model = linear(targets=4)
    lam = 0.1
    maximizer = deterministic(
        model, objective=actmax.LogProbability(), input_range=actmax.Unbounded(),
        regularizers=[L2(lam * D)],
    )  # fmt: skip
    found = lbfgs(maximizer, [2])
    x = found.result.images[0]
    odds = np.exp(w.T @ x - np.max(w.T @ x))
    slope = w[:, 2] - w @ (odds / odds.sum()) - 2 * lam * x
    assert np.abs(slope).max() < 1e-6


def test_both_say_the_same_again():
    _, _, model = concave()
    for search in (frank_wolfe, lbfgs):
        first, second = (search(deterministic(model), [0, 1], steps=5, seed=3) for _ in range(2))
        assert first.result.images.tobytes() == second.result.images.tobytes()
        assert first.objective.tobytes() == second.objective.tobytes()


REFUSED = {
    "draws": ({"regularizers": [Jitter(1)]}, r"no transforms that draw. Received: \['jitter'\]"),
    "params": ({"parameterization": actmax.Fourier()}, r"actmax.Pixels\(\).*Received: Fourier"),
    "set": ({"input_range": actmax.Contrast(0.2)}, "input range of the kind Box"),
    "sphere": ({"input_range": actmax.L2Ball(1.0, surface=True)}, "input range of the kind Box"),
    "schedule": ({"regularizers": [L2(actmax.Linear(0.0, 1.0))]}, r"schedules for \['l2'\]"),
    "balance": ({"regularizers": [L2(0.1)], "balance": True}, "balance=False"),
    "coupled": ({"objective": actmax.Diversity("conv")}, "do not depend on one another"),
    "mask": ({"mask": np.eye(8)}, "Expected no mask"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("search", [frank_wolfe, lbfgs])
def test_what_is_no_function_of_pixels_is_refused(search, arguments, message):
    given = {
        "input_range": (0, 1), "regularizers": [], "parameterization": actmax.Pixels(),
        "precision": "float64", **arguments,
    }  # fmt: skip
    targets = None if "objective" in arguments else [1]
    start = np.full((1, 8, 8, 3), 0.1)
    with pytest.raises(ValueError, match=message):
        search(actmax.Maximizer(tiny(), **given), targets, initial_images=start)


def test_what_only_one_of_them_takes_is_refused_by_the_other():
    _, model = linear()
    for open_range in (actmax.Unbounded(), actmax.Box(0, None)):
        with pytest.raises(ValueError, match=r"Box or L2Ball|two bounds"):
            frank_wolfe(deterministic(model, input_range=open_range), [0])
    with pytest.raises(ValueError, match="of the kind Box or Unbounded"):
        lbfgs(deterministic(model, input_range=actmax.L2Ball(1.0)), [0])
    with pytest.raises(ValueError, match=r"float64.*float32"):
        lbfgs(actmax.Maximizer(tiny(), input_range=(0, 1), regularizers=[]), [0])


def test_a_network_that_is_not_finite_is_an_error():
    with pytest.raises(actmax.NonFiniteError, match="finite objective"):
        frank_wolfe(deterministic(lambda x: tf.math.log(x - 5.0)), [0])


# Ctrl-C


def interrupts(monkeypatch, number):
    """Ctrl-C in the n-th compiled chunk from now on, as a run meets it; the calls are counted."""
    whole, calls = Loop.run, []

    def own(*arguments, **settings):
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return whole(*arguments, **settings)

    monkeypatch.setattr(Loop, "run", own)
    return calls


def test_ctrl_c_ends_the_rounds(monkeypatch):
    """The next round began with the unfinished images of the one that Ctrl-C had ended."""
    maximizer = actmax.Maximizer(tiny(), input_range=(0, 1), regularizers=[])
    calls = interrupts(monkeypatch, 2)
    rounds = successive_halving(maximizer, [2, 4], starts=4, steps=30, draws=1)
    assert len(calls) == 2
    assert [len(result) for result in rounds] == [8, 4]
    assert set(rounds[0].status) == {actmax.Status.OK}
    assert set(rounds[1].status) == {actmax.Status.INTERRUPTED}


@pytest.mark.parametrize("recipe", ["class_octaves", "plug_in_inversion", "deep_dream"])
def test_ctrl_c_ends_the_stages(recipe, monkeypatch):
    model = tiny()
    images = np.full((1, *model.input_shape[1:]), 0.5, np.float32)
    octaves = [each._replace(steps=2) for each in class_octaves.OCTAVES]
    make = {
        "class_octaves": lambda: class_octaves.draw(model, [1], (0, 1), octaves=octaves),
        "plug_in_inversion": lambda: plug_in_inversion.invert(
            model, [1], (0, 1), steps=2, copies=2
        ),
        "deep_dream": lambda: [
            deep_dream.dream(
                model, actmax.layer_paths(model)[0], images, (0, 1), octaves=3, steps=2
            )
        ],
    }[recipe]
    calls = interrupts(monkeypatch, 2)
    results = make()
    assert len(calls) == 2
    assert set(results[-1].status) == {actmax.Status.INTERRUPTED}


def test_ctrl_c_in_a_recipe_saves_what_there_is_and_says_so(tmp_path, monkeypatch, capsys):
    calls = interrupts(monkeypatch, 2)
    assert multi_start.main(["--out", str(tmp_path), "--starts", "2", "--steps", "8"]) == 130
    assert len(calls) == 2
    assert actmax.Status.INTERRUPTED in actmax.Result.load(tmp_path).status
    assert capsys.readouterr().out == f"grid: {tmp_path / 'grid.png'}\n"


def test_ctrl_c_in_a_comparison_compares_nothing(tmp_path, monkeypatch):
    interrupts(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        softmax_kept.main(["--out", str(tmp_path), "--steps", "4"])
    assert not list(tmp_path.iterdir())


# Drawings: many runs to their end, of which the best stay.


def test_the_best_seeds_are_those_of_the_highest_scores():
    maximizer = actmax.Maximizer(
        tiny(), input_range=(0, 1), regularizers=[], parameterization=actmax.Strokes(1, 3)
    )
    chosen = drawings.best_seeds(
        maximizer, [2, 0], starts=7, keep=3, steps=5, draws=1, batch_size=4
    )
    assert chosen.shape == (2, 3)
    seeds = np.random.SeedSequence(0).generate_state(7, np.uint64)
    for target, row in zip([2, 0], chosen, strict=True):
        result = maximizer([target] * 7, steps=5, seed=[int(one) for one in seeds])
        # The order by another batch's scores, which differ in the last bits.
        np.testing.assert_array_equal(row, seeds[np.argsort(-result.scores)[:3]])


def test_another_target_beside_it_changes_no_choice():
    maximizer = actmax.Maximizer(
        tiny(), input_range=(0, 1), regularizers=[Jitter(1)], parameterization=actmax.Strokes(1, 3)
    )
    settings = {"starts": 4, "keep": 2, "steps": 4, "draws": 2}
    alone = drawings.best_seeds(maximizer, [1], **settings)
    beside = drawings.best_seeds(maximizer, [2, 1], **settings)
    np.testing.assert_array_equal(alone[0], beside[1])


def test_what_can_not_be_chosen_is_refused():
    maximizer = actmax.Maximizer(tiny(), input_range=(0, 1), regularizers=[])
    with pytest.raises(ValueError, match=r"keep.*\[1, 3\].*4|keep.*3"):
        drawings.best_seeds(maximizer, [0], starts=3, keep=4)
    coupled = actmax.Maximizer(
        tiny(), actmax.Diversity("conv"), input_range=(0, 1), regularizers=[]
    )
    with pytest.raises(ValueError, match="do not depend on one another"):
        drawings.best_seeds(coupled, [0])


def test_drawings_of_the_demo_network(tmp_path, capsys):
    code = drawings.main(["--out", str(tmp_path), "--starts", "3", "--keep", "2", "--steps", "4"])
    said = capsys.readouterr().out
    assert code == 0
    assert said.count("probability") == 10
    assert (tmp_path / "sheet.png").is_file()
    assert len(actmax.Result.load(tmp_path).images) == 20


# Whole numbers, beside trying all of them.


def table(matrix, goal):
    def model(rows):
        off = rows - tf.constant(goal, rows.dtype)
        return -tf.reduce_sum((off @ tf.constant(matrix, rows.dtype)) ** 2, 1, keepdims=True)

    return model


@pytest.mark.parametrize("seed", range(3))
def test_whole_numbers_beside_a_free_column_are_the_best_of_all(seed):
    draws = np.random.default_rng(seed)
    matrix = np.eye(3) + 0.5 * draws.normal(size=(3, 3))
    goal = draws.uniform([0.5, 0.5, 0.0], [4.5, 4.5, 1.0])
    found = whole_numbers(
        table(matrix, goal), actmax.Logit(0), columns=[0, 1],
        input_range=actmax.Box((0, 0, 0), (5, 5, 1)), input_shape=(3,), precision="float64",
    )  # fmt: skip
    best, curve = -np.inf, matrix @ matrix.T
    for pair in np.ndindex(6, 6):
        off = np.array(pair) - goal[:2]
        free = np.clip(goal[2] - curve[2, :2] @ off / curve[2, 2], 0, 1) - goal[2]
        best = max(best, -float(np.sum((np.array([*off, free]) @ matrix) ** 2)))
    assert found.objective == pytest.approx(best, abs=1e-5)
    assert found.result.scores[0] == pytest.approx(best, abs=1e-5)
    assert np.all(found.result.images[0, :2] % 1 == 0)
    assert found.bound >= best - 1e-9
    assert found.tried < 36


def test_whole_numbers_that_add_up_and_none_that_do():
    weights, goal = np.array([3.0, 1.0, 2.0, 0.5]), np.array([4.3, 1.2, 3.1, 9.0])
    model = table(np.diag(np.sqrt(weights)), goal)
    call = {"columns": range(4), "input_shape": (4,)}
    shares = actmax.Mixture(10.0, lower=0.0, upper=10.0)
    found = whole_numbers(model, actmax.Logit(0), input_range=shares, **call)
    rows = [np.array(row) for row in np.ndindex(11, 11, 11, 11) if sum(row) == 10]
    best = max(rows, key=lambda row: -float(np.sum(weights * (row - goal) ** 2)))
    np.testing.assert_array_equal(found.result.images[0], best)
    with pytest.raises(ValueError, match=r"whole numbers in columns .* all outside of Mixture"):
        whole_numbers(
            model, actmax.Logit(0), input_range=actmax.Mixture(9.5, 0.0, 10.0), steps=8, **call
        )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"columns": [7]}, "columns from 0 to 3"),
        ({"input_range": actmax.Box((0.2, 0, 0, 0), (0.8, 1, 1, 1))}, "whole number between them"),
        ({"input_range": actmax.Box((0, 0, 0, 0), (None, 1, 1, 1))}, "two bounds for every column"),
    ],
)
def test_columns_that_are_no_whole_numbers(call, words):
    call = {"columns": [0], "input_range": actmax.Box(0, 10), "input_shape": (4,), **call}
    with pytest.raises(ValueError, match=words):
        whole_numbers(table(np.eye(4), np.ones(4)), actmax.Logit(0), **call)
