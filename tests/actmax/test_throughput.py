"""`actmax.benchmark` and `actmax bench`: what they measure is what they say."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
import regularizers
from actmax.loop.bare_pass import bare_floor, strict_floor
from actmax.throughput import Measurement, Throughput
from regularizers import L2


def tiny():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input([8, 8, 1]), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
    )


@regularizers.penalty
def dear(images):
    """A penalty whose price cannot be missed: a long product for every image."""
    flat = tf.reshape(images, [tf.shape(images)[0], -1])
    wide = tf.tile(flat[:, None, :], [1, 400, 8])
    return tf.reduce_mean(tf.linalg.matmul(wide, wide, transpose_b=True), axis=[1, 2])


def test_prices_name_every_regularizer_and_the_dear_one_is_dear():
    found = actmax.benchmark(
        tiny(),
        input_range=(0, 1),
        regularizers=[L2(0.1), 0.1 * dear, L2(0.2)],
        batch_sizes=[1, 8],
        rounds=5,
        steps=4,
    )
    assert [record.batch for record in found.records] == [1, 8]
    for record in found.records:
        assert list(record.without) == ["l2", "dear", "l2_2"]
        for samples in (record.loop, record.bare_floor, record.strict_floor):
            assert samples.shape == (5,)
            assert (samples > 0).all()
    last = found.records[-1]
    assert last.price("dear").low > 0
    assert last.price("dear").median > last.price("l2").median
    assert 0.5 < last.share("dear").median < 1
    table = str(found)
    assert "images x steps/s" in table
    assert "dear" in table
    assert json.loads(json.dumps(found.to_json()))["records"][1]["batch"] == 8


def test_a_recipe_is_priced_part_by_part():
    found = actmax.benchmark(tiny(), input_range=(0, 1), batch_sizes=[1], rounds=1, steps=1)
    assert found.environment["copies"] == 1
    (record,) = found.records
    assert {"rotate", "scale", "shift", "noise", "total_variation"} <= set(record.without)


# The last layer ends with its softmax: named as a layer, it is warned of, rightly.
@pytest.mark.filterwarnings("ignore:Expected activations that do not saturate")
def test_objectives_without_targets_and_with_vectors():
    model = tiny()
    whole = actmax.benchmark(
        model, lambda outputs: outputs[:, 0], input_range=(0, 1), regularizers=[],
        batch_sizes=[2], rounds=1, steps=1,
    )  # fmt: skip
    assert whole.records[0].without == {}
    assert "regularizer" not in str(whole)
    vector = actmax.benchmark(
        model, actmax.Direction(model.layers[-1].name), target=[1.0, 0.0, 0.0], input_range=(0, 1),
        regularizers=[], batch_sizes=[2], rounds=1, steps=1,
    )  # fmt: skip
    assert vector.records[0].batch == 2


def test_the_floors_compute_the_score_and_its_gradient():
    maximizer = actmax.Maximizer(tiny(), input_range=(0, 1), regularizers=[])
    images = {"images": tf.constant(np.random.default_rng(0).random([2, 8, 8, 1]), tf.float32)}
    entry = maximizer.problem.inputs[0].name
    images = {entry: images["images"]}
    counted = []

    class Counting:
        def __init__(self, problem):
            self.dtype = problem.dtype
            self._problem = problem

        def score(self, images, fixed, targets):
            scores = self._problem.score(images, fixed, targets)

            def count(_):
                counted.append(1)
                return np.float32(0)

            return scores + tf.reshape(tf.numpy_function(count, [scores], tf.float32), [])

    targets = tf.constant([0, 1])
    bare_floor(Counting(maximizer.problem), images, {}, targets)(3)
    assert len(counted) == 3
    strict_floor(Counting(maximizer.problem), images, {}, targets)(5)
    assert len(counted) == 8


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"batch_sizes": 4}, TypeError, "batch_sizes to be a list"),
        ({"batch_sizes": []}, TypeError, "batch_sizes to be a list"),
        ({"batch_sizes": [0]}, ValueError, "every batch size to be at least 1"),
        ({"rounds": 0}, ValueError, "rounds to be at least 1"),
        ({"steps": 0}, ValueError, "steps to be at least 1"),
        ({"device": "GPU:7"}, ValueError, "one of the devices"),
    ],
)
def test_what_cannot_be_right_is_refused(settings, error, text):
    with pytest.raises(error, match=text):
        actmax.benchmark(tiny(), **{"input_range": (0, 1), "regularizers": [], **settings})


def test_a_table_of_known_samples():
    record = Measurement(
        batch=4,
        steps=2,
        loop=np.array([0.02, 0.02, 0.02]),
        bare_floor=np.array([0.01, 0.01, 0.01]),
        strict_floor=np.array([0.04, 0.04, 0.04]),
        without={"l2": np.array([0.015, 0.015, 0.015])},
        first_call=1.5,
    )
    assert record.throughput == pytest.approx(200.0)
    assert record.price("l2").median == pytest.approx(0.005)
    table = str(Throughput((record,), {"rounds": 3})).splitlines()
    expected = "4 20 200 2.00 [2.00, 2.00] 0.50 [0.50, 0.50] 1.50 s"
    assert table[2].split() == expected.split()
    assert table[-1].split() == ["4", "l2", "5", "[5,", "5]", "25.0%"]


def test_the_command_switches_onednn_records_it_and_prints(tmp_path):
    # Off on every processor that has it: the default differs.
    wanted = "off"
    model = tiny()
    model.save(tmp_path / "model.keras")
    out = tmp_path / "record.json"
    arguments = ["--batch-sizes", "2", "--input-range", "0", "1", "--rounds", "2", "--steps", "2"]
    done = subprocess.run(
        [
            sys.executable, "-m", "actmax", "bench", str(tmp_path / "model.keras"), *arguments,
            "--device", "CPU:0", "--onednn", wanted, "--out", str(out),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "jitter" in done.stdout
    assert json.loads(out.read_text())["environment"]["oneDNN"] == wanted


def test_onednn_cannot_be_switched_in_a_process_that_runs_tensorflow(tmp_path, capsys):
    from actmax.cli import main

    assert main(["bench", str(tmp_path / "none.keras"), "--onednn", "on"]) == 2
    assert "TF_ENABLE_ONEDNN_OPTS=1" in capsys.readouterr().err
