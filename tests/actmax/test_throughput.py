"""`actmax.benchmark` and `actmax bench`: what they measure is what they say."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import actmax
import regularizers
from actmax.cli import bench
from actmax.cli.bench import joined
from actmax.loop.bare_pass import bare_floor, strict_floor
from actmax.throughput import Measurement, Throughput, measuring, samples
from benchmarks import compare
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
        for found_here in (record.loop, record.bare_floor, record.strict_floor):
            assert found_here.shape == (5,)
            assert (found_here > 0).all()
    last = found.records[-1]
    assert last.price("dear").low > 0
    assert last.price("dear").median > last.price("l2").median
    assert 0.5 < last.share("dear").median < 1
    table = str(found)
    assert "images x steps/s" in table
    assert "dear" in table
    assert json.loads(json.dumps(found.to_json()))["studies"][1]["batch"] == 8
    assert all(record.per_call > 0 for record in found.records)


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
        per_call=0.3,
    )
    assert record.throughput == pytest.approx(200.0)
    assert record.price("l2").median == pytest.approx(0.005)
    table = str(Throughput((record,), {"rounds": 3})).splitlines()
    expected = "4 1 20 200 2.00 [2.00, 2.00] 0.50 [0.50, 0.50] 300 1.50 s"
    assert table[2].split() == expected.split()
    assert table[-1].split() == ["4", "l2", "5", "[5,", "5]", "25.0%"]


def measurement(loop, batch=4, classes=None):
    """With a floor of 10 ms, an `l2` that nobody can see in the noise, and loops given in ms."""
    loop = np.array(loop) / 1e3
    floor = np.full(len(loop), 0.01)
    noisy = loop + np.resize([1e-4, -1e-4], len(loop))
    return Measurement(batch, 8, loop, floor, floor / 2, {"l2": noisy}, 1.5, 0.25, classes)


def test_a_price_whose_interval_has_zero_in_it_is_lost_in_noise():
    record = measurement([20.0] * 9)
    assert record.price("l2").low <= 0 <= record.price("l2").high
    assert "lost in noise" in str(Throughput((record,), {})).splitlines()[-1]


def test_records_are_saved_compared_and_plotted(tmp_path, capsys):
    from actmax.cli import main

    files = []
    for name, loops in (("before", [20.0] * 9), ("after", [30.0] * 9), ("again", [20.0] * 9)):
        records = (measurement(loops), measurement(loops, 16), measurement(loops, 16, 10))
        found = Throughput(records, {"model": "m", "load": "0.1"})
        files.append(found.save(tmp_path / "records" / f"{name}.json"))
        back = Throughput.load(files[-1])
        assert str(back) == str(found) and back.environment == found.environment
    before, after, again = files
    assert main(["bench", "compare", str(before), str(after)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert (
        "batch 16, 10 classes, step: 2.00 [2.00, 2.00] -> 3.00 [3.00, 3.00] x floor, +50%: slower"
        in lines
    )
    assert main(["bench", "compare", str(after), str(before)]) == 0
    assert "faster" in capsys.readouterr().out
    assert main(["bench", "compare", str(before), str(again)]) == 0
    assert {line.rpartition(" ")[2] for line in capsys.readouterr().out.splitlines()} == {"noise"}
    # One format: the benchmarks of the checkout read it, too.
    assert compare.main([str(before), str(after)]) == 1
    capsys.readouterr()
    assert (
        main(["bench", "plot", *map(str, files), "--out", str(tmp_path / "p" / "bench.png")]) == 0
    )
    with PIL.Image.open(tmp_path / "p" / "bench.png") as plot:
        assert plot.size == (1350, 540) and len(plot.convert("L").getcolors()) > 20
    (tmp_path / "other.json").write_text("[1, 2]")
    for command in ("compare", "plot"):
        assert main(["bench", command, str(before), str(tmp_path / "other.json")]) == 2
        assert "other.json" in capsys.readouterr().err


def test_a_model_called_compare_is_a_path():
    assert joined(["bench", "compare", "a", "b"]) == ["bench compare", "a", "b"]
    assert joined(["bench", "./compare", "--out", "a"]) == ["bench", "./compare", "--out", "a"]


def test_a_sample_is_that_many_steps_however_dear_a_call_is():
    """A model whose call sleeps 50 ms in Python and whose step takes 1 ms, by a clock of our own."""
    now = 0.0

    def run(steps):
        nonlocal now
        now += 0.05 + 0.001 * steps

    clock = lambda: now  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "timed", functools.partial(samples.timed, clock=clock))
        assert measuring._steps_of_a_sample(run) in (199, 200)


def test_vectors_series_and_numbers_of_classes_are_measured():
    series = keras.Sequential(
        [
            keras.Input([12, 2]),
            keras.layers.Conv1D(3, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    vectors = keras.Sequential([keras.Input([5]), keras.layers.Dense(3)])
    for model, kinds in ((series, {"l2", "total_variation", "jitter"}), (vectors, {"l2"})):
        usual = bench._usual(model, {})
        assert {part.name for part in usual} == kinds
        told: list[tuple[int, int]] = []
        found = actmax.benchmark(
            model, input_range=(0, 1), regularizers=usual, batch_sizes=[2, 4], classes=[1, 3],
            rounds=2, steps=2, progress=lambda *at, told=told: told.append(at),
        )  # fmt: skip
        assert [(r.batch, r.classes) for r in found.records] == [(2, 1), (2, 3), (4, 1), (4, 3)]
        assert told == [(n, 8) for n in range(1, 9)]
    with pytest.raises(ValueError, match="objective whose targets are numbers"):
        actmax.benchmark(vectors, lambda y: y[:, 0], input_range=(0, 1), classes=[2], rounds=1)


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
