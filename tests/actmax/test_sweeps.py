"""A sweep is the same images as the runs it stands for, in one call and one trace."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import zoo
from actmax.maximizer import sweeping
from actmax.maximizer.sweeping import restart_seed
from regularizers import L2, Jitter, TotalVariation


def units(images):
    flat = tf.reshape(images, [tf.shape(images)[0], 32])
    wave = tf.reshape(tf.sin(tf.range(32 * 3, dtype=images.dtype)), [32, 3])
    return tf.sin(4.0 * flat) @ wave


@pytest.fixture(scope="module")
def maximizer():
    return actmax.Maximizer(
        units,
        input_range=(0, 1),
        input_shape=(4, 4, 2),
        regularizers=[L2(0.1), Jitter(1)],
        optimizer=actmax.Adam(0.05),
        labels=["a", "b", "c"],
    )


AXES = {"targets": [0, 2], "weights": {"l2": [0.0, 1.0, 5.0]}, "learning_rate": [0.02, 0.1]}


def row_bytes(result, row):
    history = [values[:, row] for values in result.history.values()]
    parts = [result.images[row], result.scores[row], result.status[row], *history]
    return [np.ascontiguousarray(part).tobytes() for part in parts]


def test_every_row_is_the_run_with_its_settings(maximizer):
    sweep = maximizer.sweep(**AXES, seeds=[7, 8], steps=5, batch_size=4)
    assert sweep.shape == (2, 3, 2, 2)
    assert list(sweep.axes) == ["target", "l2", "learning_rate", "seed"]
    for row, point in enumerate(sweep.points()):
        alone = maximizer(
            [point["target"]] * 4,
            weights={"l2": point["l2"]},
            learning_rate=point["learning_rate"],
            seed=[point["seed"]] * 4,
            steps=5,
        )
        assert row_bytes(sweep.result, row) == row_bytes(alone, 0)
    assert maximizer.traces == 1


@pytest.mark.parametrize("batch_size", [5, 12])
def test_rows_are_the_same_bytes_in_another_sweep_of_the_batch_size(maximizer, batch_size):
    whole = maximizer.sweep(**AXES, steps=5, batch_size=batch_size)
    part = maximizer.sweep(
        [2], weights={"l2": [5.0, 0.0]}, learning_rate=[0.1], steps=5, batch_size=batch_size
    )
    points = whole.points()
    for row, point in enumerate(part.points()):
        assert row_bytes(part.result, row) == row_bytes(whole.result, points.index(point))
    assert whole.result.config["call"]["batch_size"] == batch_size
    assert maximizer.traces == 1


def test_schedules_are_values_of_an_axis(maximizer):
    schedule = actmax.Linear(0.2, 0.0)
    sweep = maximizer.sweep([1], learning_rate=[schedule, 0.05], steps=4)
    for row, rate in enumerate([schedule, 0.05]):
        alone = maximizer([1, 1], learning_rate=rate, seed=[0, 0], steps=4)
        assert row_bytes(sweep.result, row) == row_bytes(alone, row)


def test_names_labels_and_one_value_for_all(maximizer):
    sweep = maximizer.sweep(["c", "a"], weights={"l2": 2.0}, seeds=[1, 2], steps=2)
    assert dict(sweep.axes) == {"target": (2, 0), "seed": (1, 2)}
    assert sweep.result.labels == ("c", "c", "a", "a")
    assert sweep.result.config["call"]["weights"] == {"l2": 2.0}


def test_records_are_plain_and_complete(maximizer):
    sweep = maximizer.sweep(**AXES, steps=3)
    records = sweep.to_records()
    assert len(records) == 12
    assert json.loads(json.dumps(records)) == records
    expected = itertools.product([0, 2], [0.0, 1.0, 5.0], [0.02, 0.1])
    named = [(r["target"], r["l2"], r["learning_rate"]) for r in records]
    assert named == list(expected)
    for row, record in enumerate(records):
        assert record["score"] == sweep.scores[row]
        assert record["final_l2"] == sweep.result.history["l2"][-1, row]
        assert (record["status"], record["steps"], record["seed"]) == ("OK", 3, 0)


def test_best_takes_the_highest_of_every_value(maximizer):
    sweep = maximizer.sweep(**AXES, steps=5)
    table = sweep.scores.reshape(sweep.shape)
    assert sweep.best("target").scores.tolist() == table.max(axis=(1, 2)).tolist()
    assert sweep.best("l2").scores.tolist() == table.max(axis=(0, 2)).tolist()
    assert sweep.best(None).scores.tolist() == [table.max()]
    with pytest.raises(ValueError, match="one of the axes"):
        sweep.best("colour")


def test_restarts_keep_the_most_robust(maximizer):
    every = [restart_seed(3, number) for number in range(4)]
    assert every[0] == 3
    assert len(set(every)) == 4
    kept = maximizer.sweep([0, 1], seeds=3, restarts=4, steps=6, batch_size=3)
    each = maximizer.sweep([0, 1], seeds=every, steps=6, batch_size=3)
    targets = np.repeat([0, 1], 4)
    robust = maximizer.robust_scores(each.images, targets).reshape(2, 4)
    assert kept.shape == (2,)
    assert kept.seeds == tuple(every[number] for number in robust.argmax(axis=1))
    np.testing.assert_allclose(kept.robust_scores, robust.max(axis=1), rtol=1e-5)
    for row, seed in enumerate(kept.seeds):
        assert row_bytes(kept.result, row) == row_bytes(each.result, 4 * row + every.index(seed))


def test_robust_scores_are_those_of_the_images_without_transforms():
    plain = actmax.Maximizer(
        units, input_range=(0, 1), input_shape=(4, 4, 2), regularizers=[L2(0.1)]
    )
    result = plain([0, 1], steps=3)
    np.testing.assert_allclose(plain.robust_scores(result.images, [0, 1]), result.scores, rtol=1e-6)


def test_a_sweep_is_read_as_it_was_saved(maximizer, tmp_path):
    sweep = maximizer.sweep([0, 1], seeds=[2, 3], restarts=2, steps=2)
    again = actmax.Sweep.load(sweep.save(tmp_path))
    assert again.axes == sweep.axes
    assert (again.seeds, again.robust_scores.tolist()) == (
        sweep.seeds,
        sweep.robust_scores.tolist(),
    )
    assert again.to_records() == sweep.to_records()
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(actmax.RecordError, match=r"written by Sweep\.save"):
        actmax.Sweep.load(tmp_path)


def test_ctrl_c_leaves_a_whole_table(maximizer, tmp_path):
    told = []

    def interrupt(snapshot):
        told.append(snapshot.step)
        if len(told) == 4:
            raise KeyboardInterrupt

    call = {"targets": [0, 1, 2], "batch_size": 1, "steps": 4, "callback_every": 2}
    sweep = maximizer.sweep(**call, callbacks=[interrupt], checkpoint=tmp_path)
    assert [actmax.Status(s).name for s in sweep.status] == ["OK", "INTERRUPTED", "INTERRUPTED"]
    assert "before its batch began" in sweep.result.messages[2]
    whole = maximizer.sweep(**call)
    resumed = maximizer.sweep(**call, checkpoint=tmp_path)
    for row in range(3):
        assert row_bytes(resumed.result, row) == row_bytes(whole.result, row)


@pytest.mark.parametrize("restarts", [1, 2])
def test_ctrl_c_between_two_batches_leaves_every_row_once(maximizer, monkeypatch, restarts):
    """A row whose batch had just been kept was begun again, so that the table had it twice."""
    kept = sweeping._Kept.add
    added = []

    def add(self, own, result, robust):
        kept(self, own, result, robust)
        added.append(own)
        if len(added) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(sweeping._Kept, "add", add)
    sweep = maximizer.sweep([0, 1, 2], batch_size=restarts, restarts=restarts, steps=2)
    assert sweep.result.targets.tolist() == [0, 1, 2]
    names = [actmax.Status(s).name for s in sweep.status]
    assert names == ["OK", "INTERRUPTED", "INTERRUPTED"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"targets": [1, 1]}, "targets of a sweep to differ"),
        ({"targets": [1], "seeds": [2, 2]}, "seeds of a sweep to differ"),
        ({"targets": [1], "seeds": []}, "seeds as a list of values to try"),
        ({"targets": [1], "weights": {"l2": [[1.0]]}}, "as a list of values to try"),
        ({"targets": [1], "weights": {"l3": [1.0]}}, "names of penalties"),
        ({"targets": [1], "learning_rate": ["fast"]}, "learning_rate to be a number"),
        ({"targets": [1], "restarts": 0}, "restarts to be at least 1"),
        ({"targets": [1], "batch_size": 0}, "batch_size to be at least 1"),
        ({"targets": [1, 2], "initial_images": np.zeros([2, 4, 4, 2])}, "one start image"),
        ({"targets": [1], "colour": 1}, "arguments of sweep"),
    ],
)
def test_what_cannot_be_swept_is_refused(maximizer, call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        maximizer.sweep(**call, steps=1)


def test_the_sheet_names_every_axis_and_shows_every_image():
    maximizer = actmax.Maximizer(
        lambda images: tf.reduce_sum(images, [1, 2]),
        input_range=(0, 1),
        input_shape=(4, 4, 1),
        regularizers=[L2(0.1)],
        optimizer=actmax.SGD(0.0),
    )
    sweep = maximizer.sweep([0], weights={"l2": [0.1, 0.2]}, seeds=[1, 2, 3], steps=1)
    for rows in (None, ["seed"], ["target", "l2"], []):
        sheet = sweep.grid(rows)
        seen = np.unique(sheet.reshape(-1, 3), axis=0)
        for image in sweep.result.to_uint8():
            for level in np.unique(image):
                assert (seen == level).all(axis=1).any()
    with pytest.raises(ValueError, match="list of axes"):
        sweep.grid(["colour"])


def test_five_by_four_by_two_on_mnist():
    maximizer = actmax.Maximizer(
        zoo.load("mnist"),
        input_range=(0, 1),
        regularizers=[TotalVariation(0.1)],
        optimizer=actmax.Adam(0.05),
    )
    axes = {"weights": {"total_variation": [0.0, 0.1, 0.3, 1.0, 3.0]}, "steps": 24}
    sweep = maximizer.sweep([3, 8], learning_rate=[0.01, 0.02, 0.05, 0.1], **axes)
    other = maximizer.sweep([8], learning_rate=[0.05], **axes, batch_size=40)
    assert maximizer.traces == 1
    points = sweep.points()
    for row, point in enumerate(other.points()):
        assert row_bytes(other.result, row) == row_bytes(sweep.result, points.index(point))
    for row, point in enumerate(points):
        alone = maximizer(
            [point["target"]],
            weights={"total_variation": point["total_variation"]},
            learning_rate=point["learning_rate"],
            seed=[0],
            steps=24,
        )
        np.testing.assert_allclose(sweep.scores[row], alone.scores[0], rtol=0.01)
