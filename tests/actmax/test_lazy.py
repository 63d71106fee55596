"""Penalties that are looked at in every k-th step: what they pull, what history says, what stays the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import actmax
import regularizers
from actmax.types import describe
from regularizers import L2, Jitter, TotalVariation

RATE, WEIGHT, STEPS = 0.1, 0.3, 11


def height(images):
    """A score whose gradient is 1 for every value."""
    return tf.reduce_sum(images, axis=[1, 2, 3])


def maximizer(*parts, **changes):
    arguments = {
        "input_range": actmax.Unbounded(),
        "input_shape": (2, 3, 1),
        "regularizers": list(parts),
        "optimizer": actmax.SGD(RATE),
        "compile": "plain",
    }
    return actmax.Maximizer(tf.identity, height, **{**arguments, **changes})


def content(result):
    arrays = [result.images, result.scores, *result.history.values(), result.status, result.steps]
    return [np.ascontiguousarray(array).tobytes() for array in arrays]


@pytest.mark.parametrize("every", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("compiled", ["plain", False, "xla"])
def test_a_run_is_what_numpy_makes_of_it(every, compiled):
    start = np.linspace(-1.0, 1.0, 12).reshape(2, 2, 3, 1)
    found = maximizer(L2(WEIGHT, every=every), precision="float64", compile=compiled)(
        images=2, steps=STEPS, initial_images=start
    )
    x, held, rows = start.copy(), None, []
    for step in range(STEPS):
        score, gradient = x.sum((1, 2, 3)), np.ones_like(x)
        if step % every == 0:
            held = (x**2).mean((1, 2, 3))
            gradient = gradient - every * WEIGHT * 2.0 * x / 6.0
        rows.append((score, score - WEIGHT * held, held))
        x = x + RATE * gradient
    np.testing.assert_allclose(found.images, x, rtol=1e-12)
    for place, name in enumerate(("score", "objective", "l2")):
        np.testing.assert_allclose(found.history[name], [row[place] for row in rows], rtol=1e-12)


def test_it_is_computed_at_its_steps_and_at_no_other():
    looks = []

    @dataclasses.dataclass(frozen=True)
    class Counted(regularizers.Penalty):
        def __call__(self, images):
            def count(values):
                looks.append(len(values))
                return values

            known = tf.ensure_shape(tf.numpy_function(count, [images], images.dtype), images.shape)
            return tf.reduce_mean(images**2 + tf.stop_gradient(0.0 * known), axis=[1, 2, 3])

    one = maximizer(Counted(every=4), L2())
    one(images=3, steps=0)
    looks.clear()
    one(images=3, steps=STEPS)
    inside = [rows for rows in looks if rows == 3]
    # Steps 0, 4 and 8, and at the end, for the optimality, a gradient and three steps.
    assert len(inside) == 3 + 4


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_history_keeps_the_order_of_the_list(order):
    parts = [L2(0.2, every=3), TotalVariation(0.1), regularizers.L1(0.3, every=2)]
    found = maximizer(*(parts[place] for place in order))(images=2, steps=STEPS)
    names = [parts[place].name for place in order]
    assert [name for name in found.history if name not in ("score", "objective")] == names
    burden = sum(part.weight * found.history[part.name] for part in parts)
    whole = found.history["score"] - burden
    np.testing.assert_allclose(found.history["objective"], whole, rtol=1e-5)
    for part in parts:
        series = found.history[part.name]
        for step in range(STEPS):
            assert (series[step] == series[step - step % part.every]).all()
        looks = series[:: part.every]
        assert (looks[1:] != looks[:-1]).all()


def test_one_step_apart_is_every_step():
    calls = [
        maximizer(L2(WEIGHT, **given), Jitter(1))(images=3, steps=STEPS)
        for given in ({}, {"every": 1})
    ]
    assert content(calls[0]) == content(calls[1])


def test_rows_do_not_know_of_one_another():
    one = maximizer(L2(WEIGHT, every=3), Jitter(1), optimizer=actmax.Adam(RATE))
    together = one(images=4, steps=STEPS, seed=[3, 1, 2, 0])
    for row, seed in enumerate((3, 1, 2, 0)):
        alone = one(images=1, steps=STEPS, seed=[seed])
        np.testing.assert_allclose(together.images[row], alone.images[0], rtol=1e-6)
        np.testing.assert_allclose(
            together.history["l2"][:, row], alone.history["l2"][:, 0], rtol=1e-6
        )


@pytest.mark.parametrize("chunk", [1, 2, 3, 4])
def test_a_run_in_pieces_is_the_run(chunk):
    one = maximizer(L2(WEIGHT, every=3))
    pieces = one(images=2, steps=STEPS, callbacks=[lambda snapshot: None], callback_every=chunk)
    assert content(pieces) == content(one(images=2, steps=STEPS))


def test_a_run_that_died_between_two_looks_ends_as_if_it_had_not(tmp_path):
    class Dies(Exception):
        pass

    def callback(snapshot):
        if snapshot.step == 4:
            raise Dies

    call = {"images": 2, "steps": STEPS, "callback_every": 2}
    whole = maximizer(L2(WEIGHT, every=5))(**call)
    with pytest.raises(Dies):
        maximizer(L2(WEIGHT, every=5))(**call, callbacks=[callback], checkpoint=tmp_path)
    assert content(maximizer(L2(WEIGHT, every=5))(**call, checkpoint=tmp_path)) == content(whole)


def test_another_interval_is_another_call(tmp_path):
    maximizer(L2(WEIGHT, every=5))(images=2, steps=4, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="every"):
        maximizer(L2(WEIGHT, every=2))(images=2, steps=4, checkpoint=tmp_path)


def test_j_and_its_gradient_look_at_all_penalties():
    images = np.linspace(-1.0, 1.0, 12).reshape(2, 2, 3, 1)
    for step in (0, 1):
        found = [
            maximizer(L2(WEIGHT, every=every), precision="float64").value_and_gradient(
                images, step=step
            )
            for every in (1, 3)
        ]
        for one, other in zip(found[0], found[1], strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(found[0][1], 1.0 - WEIGHT * 2.0 * images / 6.0, rtol=1e-12)


def test_weights_of_the_call_and_schedules_hold_at_the_steps_that_look():
    start = np.ones((2, 2, 3, 1))
    found = maximizer(L2(every=2), precision="float64")(
        images=2, steps=4, initial_images=start, weights={"l2": [0.5, 0.0]}
    )
    other = maximizer(L2(actmax.Linear(1.0, 0.0), every=2), precision="float64")(
        images=2, steps=4, initial_images=start
    )
    x = [start[0].copy(), start[0].copy(), start[0].copy()]
    for step in range(4):
        for at, weight in enumerate((0.5, 0.0, 1.0 - step / 3.0)):
            pull = 2 * weight * 2.0 * x[at] / 6.0 if step % 2 == 0 else 0.0
            x[at] = x[at] + RATE * (1.0 - pull)
    np.testing.assert_allclose(found.images, x[:2], rtol=1e-12)
    np.testing.assert_allclose(other.images[0], x[2], rtol=1e-12)


def test_a_look_that_finds_nan_stops_its_row_alone():
    @dataclasses.dataclass(frozen=True)
    class Breaks(regularizers.Penalty):
        def __call__(self, images):
            high = tf.reduce_mean(images, axis=[1, 2, 3])
            return tf.where(high > 0.45, np.nan, high)

    start = np.stack([np.zeros((2, 3, 1)), np.full((2, 3, 1), -5.0)]).astype(np.float32)
    found = maximizer(Breaks(every=3))(images=2, steps=STEPS, initial_images=start)
    # The first row's mean is above .45 from step 5 on, and the look at step 6 sees it.
    assert found.steps.tolist() == [6, STEPS]
    assert found.status[1] == actmax.Status.OK
    assert "breaks" in found.messages[0]


def test_a_model_with_two_inputs_has_them_on_either():
    import keras

    keras.utils.set_random_seed(0)
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    model = keras.Model([a, b], keras.layers.Dense(2)(keras.layers.Concatenate()([a, b])))
    parts = [L2(0.1, on="b", every=2), regularizers.L1(0.1, on="a")]
    found = actmax.maximize(
        model, targets=[0, 1], input_range={"a": (-1, 1), "b": (-1, 1)}, regularizers=parts, steps=5
    )
    series = found.history["l2"]
    assert (series[0] == series[1]).all()
    assert (series[1] != series[2]).all()


@pytest.mark.parametrize("every", [0, -3])
def test_an_interval_is_at_least_one_step(every):
    with pytest.raises(ValueError, match=r"every= of l2 to be at least 1. Received: .*Give"):
        L2(every=every)


@pytest.mark.parametrize("every", [2.0, "2", None, True, np.float32(3)])
def test_an_interval_is_a_whole_number(every):
    with pytest.raises(TypeError, match=r"every= of l2 to be a whole number.*Received: .*Give"):
        L2(every=every)


def test_it_is_kept_by_scaling_and_told_by_the_record():
    part = 2.0 * L2(0.5, every=np.int64(4))
    assert (part.weight, part.every, type(part.every)) == (1.0, 4, int)
    assert describe(part)["every"] == 4
    assert dataclasses.replace(part, every=2).every == 2


@dataclasses.dataclass(frozen=True)
class Traced(regularizers.Penalty):
    """The mean of squares, with a note of every time that Python runs it."""

    calls: list = dataclasses.field(default_factory=list, compare=False)

    def __call__(self, images):
        self.calls.append(images.shape)
        return tf.reduce_mean(tf.square(images), axis=[1, 2, 3])


def test_the_check_of_its_gradient_and_the_loop_share_one_trace():
    # A lazy penalty is one that costs as much as a model, and so does its trace.
    penalty = Traced(WEIGHT, every=4)
    run = maximizer(penalty)
    run(images=2, steps=9)
    run(images=5, steps=3)
    assert len(penalty.calls) == 1  # for the check, the loop, and the look at the end


def test_a_lazy_penalty_without_a_gradient_is_refused():
    @regularizers.penalty
    def steps(images):
        return tf.reduce_mean(tf.round(images), axis=[1, 2, 3])

    with pytest.raises(ValueError, match="no gradient"):
        maximizer(dataclasses.replace(steps, every=3))(images=2, steps=4)
