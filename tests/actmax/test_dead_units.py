"""Dead units: the status follows the score's own gradient, and a dead rectifier has a remedy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import actmax
from actmax import Status
from actmax.loop import redirected
from regularizers import L2, Jitter, TotalVariation
from tests.conformance.catalogue import PENALTIES

L = keras.layers
DEAD, GRAY, ALIVE = 0, 1, 2


def units(rectifier: str = "relu") -> keras.Model:
    """Three channels of one 3 x 3 filter: one that no image wakes, one dead at gray, one alive."""
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            L.Conv2D(3, 3, activation=rectifier, name="conv"),
            L.Flatten(),
            L.Dense(2, name="out"),
        ]
    )
    kernel = np.zeros((3, 3, 1, 3), np.float32)
    kernel[1, 1], kernel[0, 1] = 1.0, -0.5  # 0.25 at gray .5, 1 at most
    model.get_layer("conv").set_weights([kernel, np.array([-5.0, -0.6, 0.1], np.float32)])
    return model


def run(model: keras.Model, targets=(DEAD, GRAY, ALIVE), **settings):
    settings = {"regularizers": [], "steps": 12, "input_range": (0, 1)} | settings
    return actmax.maximize(model, actmax.Channel("conv"), list(targets), **settings)


def test_a_dead_unit_beside_every_penalty_has_no_gradient():
    parts = [entry.make() for name, entry in PENALTIES.items() if name != "BatchNormPenalty"]
    result = run(units(), [DEAD], regularizers=[*parts, Jitter(1)], steps=3)
    assert result.status.tolist() == [Status.NO_GRADIENT]
    assert "The gradient of the score was zero at all 3 steps" in result.messages[0]
    assert "only penalties moved the image" in result.messages[0]


@pytest.mark.parametrize("parts", [[], [TotalVariation(0.01)]])
@pytest.mark.parametrize("rectifier", ["relu", "relu6"])
def test_redirected_steps_wake_a_unit_that_is_dead_at_the_start_and_no_other(rectifier, parts):
    model = units(rectifier)
    result = run(model, regularizers=parts)
    assert result.status.tolist() == [Status.NO_GRADIENT, Status.OK, Status.OK]
    assert result.scores[GRAY] > 0.05
    assert result.scores[DEAD] == 0.0
    assert "16 redirected steps" in result.messages[GRAY]
    assert "did not help" in result.messages[DEAD]
    assert "redirected" not in result.messages[ALIVE]
    assert result.config["dead_starts"].startswith("2 of 3 starts were dead")
    assert np.all(np.isfinite(result.history["score"]))


def test_a_row_is_the_same_beside_dead_ones_and_alone():
    model = units()
    maximizer = actmax.Maximizer(
        model, actmax.Channel("conv"), input_range=(0, 1), regularizers=[L2(0.1)]
    )
    seeds = [5, 6, 7]
    whole = maximizer([GRAY, ALIVE, DEAD], seed=seeds, steps=6)
    other = maximizer([GRAY, GRAY, GRAY], seed=[5, 8, 9], steps=6)
    np.testing.assert_array_equal(whole.images[0], other.images[0])
    alive = maximizer([ALIVE, ALIVE, ALIVE], seed=[1, 6, 2], steps=6)
    np.testing.assert_array_equal(whole.images[1], alive.images[1])
    assert "dead_starts" not in alive.config


def test_a_start_that_was_given_is_where_the_run_begins_and_stays_where_nothing_helps():
    model = units()
    start = np.full((1, 6, 6, 1), 0.3)
    result = run(model, [DEAD, GRAY], initial_images=start)
    np.testing.assert_array_equal(result.images[0], start[0].astype(np.float32))
    assert result.status.tolist() == [Status.NO_GRADIENT, Status.OK]
    assert run(model, [GRAY], steps=0, initial_images=start).config.get("dead_starts") is None


def test_the_redirected_gradient_is_lucids_rule():
    """By hand: relu(w x + b) of one value, dead; the gradient passes with its sign if it leads up."""
    given = keras.Input((1,))
    model = keras.Model(given, L.Dense(1, activation="relu", name="unit")(given))
    model.get_layer("unit").set_weights([np.array([[2.0]]), np.array([-3.0])])
    settings = {"input_range": (0, 4), "regularizers": [], "optimizer": actmax.SGD(0.05)}
    up = actmax.maximize(
        model, actmax.Channel("unit", 0), initial_images=[[0.5]], steps=1, **settings
    )
    # 16 steps of .05 * 2 from .5, then one more.
    np.testing.assert_allclose(up.images, [[0.5 + 17 * 0.1]], rtol=1e-5)
    down = actmax.maximize(
        model, -actmax.Channel("unit", 0), initial_images=[[0.5]], steps=1, **settings
    )
    assert down.status.tolist() == [Status.NO_GRADIENT]


def test_a_model_into_which_no_gradient_is_redirected_says_why(monkeypatch):
    def none(*_, **__):
        raise LookupError("no rule")

    model = units()
    monkeypatch.setattr(redirected, "_slope", none)
    result = run(model, [GRAY])
    assert result.status.tolist() == [Status.NO_GRADIENT]
    assert "LookupError: no rule" in result.messages[0]
    assert "LookupError: no rule" in result.config["dead_starts"]


def test_a_row_that_one_huge_gradient_has_brought_to_a_stand_says_so():
    """x / |x| has a gradient of 1e12 at zero, and Adam remembers it for a thousand steps."""
    given = keras.Input((4,))
    model = keras.Model(given, L.UnitNormalization()(given))
    settings = {"input_range": (-1, 1), "regularizers": [], "steps": 60}
    start = np.array([[0.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.1, 0.0]])
    result = actmax.maximize(
        # The first step ends where both move alike, which is not where the sum is largest.
        model, actmax.Logit(3) - 0.5 * actmax.Logit(2),
        initial_images=start, optimizer=actmax.Adam(0.01), **settings,
    )  # fmt: skip
    assert result.status.tolist() == [Status.OK, Status.OK]
    assert "one gradient was" in result.messages[0]
    assert "as many times smaller" in result.messages[0]
    assert "one gradient was" not in result.messages[1]


def test_every_channel_of_the_first_layer_of_the_shipped_network_answers():
    from actmax import zoo

    parts = [TotalVariation(1.0), L2(0.1), Jitter(2)]
    result = actmax.maximize(
        zoo.load("cifar10"), actmax.Channel("conv"), range(32), input_range=(0, 1), regularizers=parts,
        steps=30,
    )  # fmt: skip
    dead = result.scores == 0
    assert dead.sum() <= 2
    assert np.all(result.status[dead] == Status.NO_GRADIENT)
