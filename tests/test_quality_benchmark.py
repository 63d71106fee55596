"""The quality benchmark: nobody sees what they should not, the controls have teeth, peers may win."""

from __future__ import annotations

import copy
import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import zoo
from actmax.evaluation import Natural
from benchmarks.quality import __main__ as benchmark
from benchmarks.quality import budget, ladder, methods, picture, scores, train, tune
from benchmarks.quality import data as sets
from benchmarks.quality.__main__ import main
from benchmarks.quality.methods import DRAWS, PEERS, Made, Task, drawn, photographs


def value(number):
    return {"value": number, "low": number - 0.1, "high": number + 0.1}


def record(kind="ours", **metrics):
    return {
        "kind": kind,
        "passes": 8,
        "seconds": 2.0,
        "judges": {},
        "metrics": {name: value(number) for name, number in metrics.items()},
    }


def controls():
    """Controls as they should come out."""
    names = ("transfer", "activation_z", "diversity", "plausibility", "kernel_distance")
    rows = {
        "noise": (0.1, -1.0, 0.3, 5.0, 9.0),
        "pixels, no regularizers": (0.3, 9.0, 0.5, 4.0, 5.0),
        "class mean": (0.9, 1.0, 0.0, 2.0, 2.0),
        "natural images": (0.98, 2.0, 1.0, 1.0, 0.0),
    }
    return {
        name: record("control", **dict(zip(names, row, strict=True))) for name, row in rows.items()
    }


# Who sees what


@pytest.mark.parametrize("track", sorted(sets.TRACKS))
def test_no_judge_sees_an_image_that_the_subject_saw(track):
    known = sets.TRACKS[track]
    assert known.subject.stop <= known.judges.start or known.judges.stop <= known.subject.start
    for name, recipe in train.recipes(track).items():
        assert recipe.on == ("subject" if name == "subject" else "judges")


@pytest.mark.parametrize("track", sorted(sets.TRACKS))
def test_there_are_six_development_judges_of_three_architectures_and_two_seeds(track):
    recipes = train.recipes(track)
    judges = [recipes[name] for name in train.DEVELOPMENT]
    plain = [judge for judge in judges if not judge.epsilon]
    assert len(judges) == 6
    assert len({judge.build for judge in plain}) == 3
    assert sum(judge.epsilon > 0 for judge in judges) == 1
    seeds = {}
    for judge in plain:
        seeds.setdefault(judge.build, set()).add(judge.seed)
    assert max(map(len, seeds.values())) == 2
    assert not any(name.startswith("report") for name in train.DEVELOPMENT)


def write(folder, count=30_000):
    arrays = {
        "x_train": np.zeros((count, 4, 4, 3), np.uint8),
        "y_train": np.arange(count)[:, None] % 10,
        "x_test": np.zeros((5, 4, 4, 3), np.uint8),
        "y_test": np.zeros((5, 1), np.int64),
    }
    np.savez(folder / "cifar10.npz", **arrays)


def test_the_data_is_split_where_the_track_says(tmp_path):
    write(tmp_path)
    found = sets.read(sets.TRACKS["cifar10"], tmp_path)
    assert (len(found.subject), len(found.judges), len(found.test)) == (20_000, 10_000, 5)
    assert found.judges.classes.shape == (10_000,)
    assert found.test.floats().dtype == np.float32


def test_missing_or_short_data_is_said_and_nothing_is_downloaded(tmp_path):
    with pytest.raises(ValueError, match="nothing is downloaded"):
        sets.read(sets.TRACKS["cifar10"], tmp_path)
    write(tmp_path, count=100)
    with pytest.raises(ValueError, match="at least 30000 training images"):
        sets.read(sets.TRACKS["cifar10"], tmp_path)


def test_a_judge_that_was_not_trained_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match=r"python -m benchmarks\.quality train cifar10"):
        train.load("cnn_1", "cifar10", tmp_path)


def test_the_cache_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv(sets.CACHE_VARIABLE, str(tmp_path))
    assert sets.cache() == tmp_path
    assert sets.cache(tmp_path / "other") == tmp_path / "other"


def test_a_judge_learns_and_is_cached(tmp_path, monkeypatch):
    draws = np.random.default_rng(0)
    classes = np.arange(640) % 2
    pixels = draws.integers(0, 100, (640, 8, 8, 1)).astype(np.uint8)
    pixels[classes == 1, 2:6, 2:6] += 150
    images = sets.Images(pixels, classes)
    judge = train.Recipe(train.networks.mixer, 1, 3, 3e-3, (), epsilon=0.05)
    found = sets.Data(
        sets.Track("toy", ("a", "b"), slice(0, 1), slice(1, 2)), images, images, images
    )
    monkeypatch.setattr(train, "recipes", lambda track: {"one": judge})
    file = train.train("one", found, tmp_path)
    assert json.loads(file.with_suffix(".json").read_text())["test_accuracy"] > 0.95
    stamp = file.stat().st_mtime_ns
    assert train.train("one", found, tmp_path) == file and file.stat().st_mtime_ns == stamp


def test_a_judge_looks_at_natural_images_once():
    calls = []

    def model(images):
        calls.append(1)
        return tf.reduce_sum(images, axis=[1, 2])

    judge = scores.Remembering(model)
    images = np.random.default_rng(0).random((5, 8, 8, 3)).astype(np.float32)
    first = judge.look(images)[":logits"]
    np.testing.assert_allclose(first, images.sum(axis=(1, 2)), rtol=1e-5)
    traced = len(calls)
    assert judge.look(images.copy())[":logits"] is first and len(calls) == traced
    assert judge.look(images + 1)[":logits"] is not first


# Intervals


def test_resamples_draw_classes_and_their_seeds():
    classes = np.array([0, 1, 2] * 4)
    rows = scores.resamples(classes, 50)
    assert rows.shape == (50, 12)
    assert any(len(np.unique(classes[row])) < 3 for row in rows)
    np.testing.assert_array_equal(rows, scores.resamples(classes, 50))


def test_the_interval_of_equal_images_is_a_point_and_holds_the_mean_of_others():
    classes = np.arange(40) % 10
    assert scores._with_interval(1.0, [1.0] * 40, classes) == {"value": 1, "low": 1, "high": 1}
    images = np.random.default_rng(0).random(40)
    found = scores._with_interval(images.mean(), images, classes)
    assert found["low"] < images.mean() < found["high"]


def test_the_worst_judge_is_found_anew_in_every_resample():
    classes = np.arange(40) % 10
    judges = np.random.default_rng(0).integers(0, 2, (3, 40)).astype(float)
    found = scores._worst(judges, classes)
    assert found["value"] == judges.mean(axis=1).min()
    single = min(scores._with_interval(j.mean(), j, classes)["high"] for j in judges)
    assert found["low"] < found["value"] and found["high"] <= single


def test_our_pictures_score_what_was_said_and_the_largest_gap_is_kept():
    layers = keras.layers
    keras.utils.set_random_seed(0)
    inputs = layers.Input((8, 8, 1))
    features = layers.Dense(4, "relu", name="features")(layers.Flatten()(inputs))
    subject = keras.Model(inputs, layers.Dense(2)(features))
    run = actmax.maximize(subject, targets=[0, 1] * 3, input_range=(0, 1), steps=8)
    draws = np.random.default_rng(0)
    natural = Natural(draws.integers(0, 256, (40, 8, 8, 1)).astype(np.uint8), np.arange(40) % 2)
    pictures = Made(run.to_uint8(), np.array([0, 1] * 3), 1.0, 8, run.scores, "ours", run)
    judges = {"one": scores.Remembering(subject)}
    metrics = scores.measure(pictures, subject, judges, {}, natural)["metrics"]
    assert metrics["honesty_gap_float"]["largest"] <= 1e-6
    distance = metrics["kernel_distance"]
    assert distance["low"] <= distance["value"] <= distance["high"]
    assert distance["low"] < distance["high"]
    assert 0 < metrics["honesty_gap"]["value"] < metrics["honesty_gap"]["largest"] < 0.1
    wrong = Made(run.to_uint8(), pictures.classes, reported=run.scores + np.eye(6)[2])
    gap = scores.measure(wrong, subject, judges, {}, natural)["metrics"]["honesty_gap"]
    assert gap["largest"] > 3 * gap["value"] > 0.1


def test_drawings_are_chosen_by_the_subject_and_every_pass_counts():
    layers = keras.layers
    keras.utils.set_random_seed(0)
    subject = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)])
    made = drawn(Task(subject, zoo.path("mnist"), (0, 1, 2), seeds=2), starts=3)
    np.testing.assert_array_equal(made.classes, [0, 1, 2, 0, 1, 2])
    # 192 steps of one copy, for three starts and once more; scores of the three over draws.
    assert made.passes == 4 * 192 + 3 * DRAWS
    assert np.any(made.images[:3] != made.images[3:])
    found = np.argmax(subject(made.images / np.float32(255)), axis=1)
    assert np.mean(found == made.classes) > 0.5


@pytest.mark.parametrize("budget", [1, 2, 9, 10, 64, 256, 1000])
def test_a_look_of_the_prior_is_a_pass_of_the_budget(budget):
    layers = keras.layers
    steps = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.GlobalAveragePooling2D()]
    subject = keras.Sequential([keras.Input((8, 8, 3)), *steps, layers.Dense(3)])
    every = 8
    made = methods.ours(Task(subject, zoo.path("mnist"), (0, 1), seeds=1), budget)
    count = int(made.result.steps[0])
    assert made.passes == count + len(range(0, count, every))
    # Another step would not fit; one step, with its look, always runs.
    assert made.passes <= max(budget, 2) < made.passes + 3
    plain = actmax.Maximizer(subject, input_range=(0, 1), regularizers=[], copies=3).problem
    assert methods.passes_of(plain, budget) == 3 * budget


def test_another_seed_is_another_sample_for_everyone():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    subject = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2)])
    task = functools.partial(Task, subject, zoo.path("mnist"), (0, 1), seeds=2)
    assert task().rows == [0, 0, 1, 1]
    assert not set(task().rows) & set(task(seed=1).rows)
    for seed in (0, 5):
        own = actmax.maximize(subject, targets=[0, 1, 0, 1], input_range=(0, 1), steps=4, seed=seed)
        made = methods.ours(task(seed=seed), 4)
        np.testing.assert_array_equal(made.images, own.to_uint8())
    assert np.all(np.any(made.images != methods.ours(task(), 4).images, axis=(1, 2, 3)))


@pytest.mark.parametrize("seed", ["-1", "1.5", "65536", "x"])
def test_a_seed_that_not_everyone_can_have_is_named(seed, capsys):
    command = ["run", "mnist", "--data", ".", "--out", "out", f"--seed={seed}"]
    with pytest.raises(SystemExit):
        main(command)
    assert f"Expected an integer in 0 .. 65535. Received: {seed}" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["--drawn", "--natural", "--train-on"])
def test_a_seed_is_refused_where_it_would_be_ignored(other, tmp_path):
    command = ["run", "mnist", "--data", ".", "--out", str(tmp_path), "--seed", "8", other, "2"]
    arguments = benchmark._parser().parse_args(command)
    nothing = sets.Data(sets.TRACKS["mnist"], None, None, None)
    with pytest.raises(SystemExit, match="without --drawn, --natural and --train-on"):
        arguments.command(arguments, nothing, tmp_path)


def test_natural_pictures_are_made_some_at_a_time_each_from_its_own_seed(monkeypatch):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    steps = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.GlobalAveragePooling2D()]
    subject = keras.Sequential([keras.Input((8, 8, 3)), *steps, layers.Dense(3)])
    task = Task(subject, zoo.path("mnist"), (0, 1, 2), seeds=2)
    monkeypatch.setattr(methods, "TOGETHER", 4)
    made = methods.natural(task, 1.0, 5)
    assert made.images.shape == (6, 8, 8, 3) and made.passes == 5 and made.kind == "ours"
    np.testing.assert_array_equal(made.classes, [0, 1, 2, 0, 1, 2])
    preset = actmax.presets.natural(subject, (0, 1), prior=1.0, evidence=0.0, steps=5)
    preset.pop("steps")
    last = actmax.Maximizer(subject, **preset)([1, 2], steps=5, seed=[4, 5]).to_uint8()
    # Another number of rows rounds in another order.
    np.testing.assert_allclose(made.images[4:].astype(int), last.astype(int), atol=1)


def test_photographs_are_those_of_the_subject_in_the_order_of_the_rest():
    classes = np.array([1, 0, 0, 1, 1, 0])
    images = sets.Images(np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1), classes)
    none = sets.Images(images.images[:0], classes[:0])
    made = photographs(
        Task(None, zoo.path("mnist"), (0, 1), seeds=2),
        sets.Data(sets.TRACKS["mnist"], images, none, none),
    )
    np.testing.assert_array_equal(made.images.ravel(), [1, 0, 2, 3])
    np.testing.assert_array_equal(made.classes, [0, 1, 0, 1])


# Controls


@pytest.mark.parametrize("seed", [0, 3])
def test_the_strongest_natural_images_are_those_of_their_class_that_excite_the_subject_most(seed):
    layers = keras.layers
    # Class 1 is as bright as the image is, class 0 as dark.
    subject = keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten(), layers.Dense(2)])
    subject.layers[-1].set_weights([np.tile([-1.0, 1.0], (4, 1)), np.zeros(2)])
    levels, classes = np.array([90, 200, 10, 255, 0, 30], np.uint8), np.array([1, 0, 1, 0, 1, 0])
    test = sets.Images(np.broadcast_to(levels[:, None, None, None], (6, 2, 2, 1)), classes)
    task = Task(subject, zoo.path("mnist"), (0, 1), seeds=2, seed=seed)
    made = methods.controls(task, sets.Data(sets.TRACKS["mnist"], test, test, test), passes=1)
    found = made["strongest natural images"]
    np.testing.assert_array_equal(found.images[:, 0, 0, 0], [30, 90, 200, 10])
    np.testing.assert_array_equal(found.classes, [0, 1, 0, 1])
    np.testing.assert_array_equal(made["natural images"].images[:, 0, 0, 0], [200, 90, 255, 10])


def test_the_interval_of_natural_images_has_no_distance_between_classes_in_it():
    layers = keras.layers
    # The features tell the classes apart, and nothing else does.
    inputs = layers.Input((1, 1, 3))
    features = layers.Flatten(name="features")(inputs)
    judge = scores.Remembering(keras.Model(inputs, layers.Dense(3)(features)))
    classes = np.arange(600) % 3
    images = np.where(np.arange(3) == classes[:, None], 255, 0).astype(np.uint8)
    natural = Natural(images.reshape(600, 1, 1, 3), classes)
    pictures = Made(natural.images[:60], classes[:60], kind="data")
    found = scores._kernel_interval(pictures, {"one": judge}, natural)
    # Of all classes, each kernel is (1 + 1)^3 within and 1 among them.
    assert -0.5 < found["low"] < found["high"] < 0.1


def test_controls_in_the_right_order_pass():
    assert scores.check_controls(controls()) == []


@pytest.mark.parametrize(
    ("control", "metric", "wrong"),
    [
        ("pixels, no regularizers", "transfer", 0.99),
        ("noise", "transfer", 0.99),
        ("noise", "activation_z", 20.0),
        ("class mean", "diversity", 2.0),
        ("noise", "plausibility", 0.5),
        ("natural images", "kernel_distance", 7.0),
    ],
)
def test_each_control_out_of_order_is_named(control, metric, wrong):
    records = controls()
    records[control]["metrics"][metric] = value(wrong)
    faults = scores.check_controls(records)
    assert faults and all(metric in fault for fault in faults)
    assert any(repr(control) in fault for fault in faults)


# The table


def test_the_table_says_where_a_peer_is_best_and_leaves_data_methods_out():
    records = {
        "natural images": record("data", transfer_min=1.0, transfer=1.0),
        "actmax": record("ours", transfer_min=0.9, transfer=0.8, kernel_distance=2.0),
        "peer": record("peer", transfer_min=0.5, transfer=0.95, kernel_distance=1.0),
    }
    text = scores.table(records)
    assert text.splitlines()[-1] == "best by a peer: transfer: peer; KID: peer"
    ours, theirs = (
        line for line in text.splitlines() if line.startswith(("actmax", "peer"))
    )  # fmt: skip
    assert "0.900 [0.80, 1.00]*" in ours and "0.950 [0.85, 1.05]*" in theirs
    assert "*" not in next(line for line in text.splitlines() if line.startswith("natural"))
    worse = copy.deepcopy(records)
    worse["peer"]["metrics"] = {
        name: value(9 if "kernel" in name else 0) for name in records["peer"]["metrics"]
    }
    assert scores.table(worse).splitlines()[-1] == "best by a peer: no column"


def test_a_tie_is_shared():
    records = {"actmax": record(transfer=0.9), "peer": record("peer", transfer=0.9)}
    assert scores.table(records).splitlines()[-1] == "best by a peer: transfer: actmax and peer"


# Tuning


def test_every_peer_has_a_space_and_as_many_trials_as_we_have():
    assert set(tune.SPACES) == {"actmax", *PEERS}
    for space in tune.SPACES.values():
        trials = tune.draw(space, 7)
        assert len(trials) == 7 and trials == tune.draw(space, 7)
        for trial in trials:
            assert all(low <= trial[name] <= high for name, (low, high, _) in space.items())


class Judge:
    """Sees in an image the class of its first pixel."""

    def __init__(self, offset=0):
        self.offset = offset

    def __call__(self, images, training):
        classes = np.rint(np.asarray(images)[:, 0, 0, 0] * 255).astype(int) + self.offset

        class Logits:
            def numpy(self):
                return 5.0 * np.eye(4)[classes % 4]

        return Logits()


def made(classes, shown):
    images = np.zeros((len(classes), 8, 8, 1), np.uint8)
    images[:, 0, 0, 0] = shown
    return Made(images, np.array(classes), seconds=1.0, passes=8)


def test_the_search_takes_what_the_worst_judge_likes_best():
    pictures = [made([0, 1], [3, 3]), made([0, 1], [0, 1]), made([0, 1], [0, 3])]
    found = tune.search("xplique", lambda settings: pictures, {"one": Judge(), "two": Judge()}, 3)
    assert found[0][0][0] == 1.0
    assert found[0][1] == tune.draw(tune.SPACES["xplique"], 3)[1]
    assert tune.verdict(pictures[1], {"one": Judge(), "two": Judge(1)})[0] == 0.0


def test_the_ladder_stops_at_the_first_budget_that_is_enough():
    asked = []

    def make(passes):
        asked.append(passes)
        return made([0, 1], [0, 1] if passes >= 20 else [0, 3])

    found = ladder.climb(make, {"one": Judge()}, [10, 20, 40], 0.9)
    assert asked == [10, 20]
    assert (found["passes"], [rung["worst"] for rung in found["rungs"]]) == (8, [0.5, 1.0])
    assert ladder.line("ours", found, 0.9) == "ours: 8 passes, 1.0 s"
    never = ladder.climb(make, {"two": Judge(1)}, [10], 0.9)
    assert never["passes"] is None
    assert ladder.line("peer", never, 0.9) == "peer: not 0.9 within 8 passes, best 0.000"


@pytest.mark.parametrize("noise", [(0, 0, 0, 0), (0.4, -0.3, 0, 0.2), (2.0, 0, -1.0, 0.5)])
def test_equal_seconds_end_although_tracing_drowns_the_first_steps(noise):
    calls = []

    def timed(steps):
        calls.append(steps)
        return 3.0 + 0.01 * steps + noise[len(calls) % 4]

    steps = budget.steps_within(33.0, timed)
    assert 2200 < steps < 4500 and len(calls) <= 6


def test_seconds_that_do_not_suffice_for_ten_steps_give_fewer():
    assert budget.steps_within(1.0, lambda steps: 0.5 * steps) == 2
    assert budget.steps_within(0.001, lambda steps: 0.5 * steps) == 1
    assert budget.steps_within(6.0, lambda steps: 0.5 * steps) == 12


# Pictures


def test_sheets_and_the_picture_are_written(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    del matplotlib
    picture.sheets({"tf x": made([0, 1], [0, 1])}, ("zero", "one"), tmp_path / "sheets")
    assert (tmp_path / "sheets" / "tf_x.png").exists()
    records = {
        "actmax": record(activation_ratio=1.0, transfer_min=0.9),
        "noise": record("control", transfer_min=0.1),
    }
    picture.pareto(records, tmp_path / "deep" / "pareto.png")
    assert (tmp_path / "deep" / "pareto.png").stat().st_size > 1000


def test_the_command_needs_data(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["run", "mnist", "--out", "nowhere"])
    assert "--data" in capsys.readouterr().err
