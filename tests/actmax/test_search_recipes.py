"""Multi-start, Frank-Wolfe and L-BFGS on problems whose best image is known."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize

import actmax
from actmax.recipes.multi_start import successive_halving
from regularizers import Jitter
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
