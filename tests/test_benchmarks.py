"""The benchmarks find what is slower, leave alone what is not, and run."""

from __future__ import annotations

import copy
import dataclasses
import json
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import (
    against,
    agree,
    alone,
    cases,
    compare,
    first_calls,
    flops,
    gate,
    idle,
    measure,
    models,
    pipes,
    precisions,
    suite,
    table,
)
from benchmarks.__main__ import main
from benchmarks.cases import FLOOR, OURS, OVERHEAD, STRICT
from benchmarks.measure import interleaved, paired_ratio, start_up, summarize, timed

NAME = "mnist 28x28 batch 10"
ROUNDS = 21
NOISE = 0.05  # standard deviation of the logarithm of a sample within its round


class FakeClock:
    """Time that passes only when something says that it works."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        self.now += seconds


def record(slowdown=1.0, seed=0, speed=1.0):
    """A synthetic record: ours takes `slowdown` times the floor, on a machine of any speed."""
    draws = np.random.default_rng(seed)
    # What the machine does to a whole round, and what it does to one sample.
    rounds = speed * np.exp(0.3 * draws.standard_normal(ROUNDS))

    def samples(cost):
        return (cost * rounds * np.exp(NOISE * draws.standard_normal(ROUNDS))).tolist()

    return {
        "format": compare.FORMAT,
        "environment": {"commit": str(seed), "cpu": "one", "onednn": True},
        "studies": [
            {
                "name": NAME,
                "group": "headline",
                "study": {"cases": [{"label": "", "batch": 10, "model": "mnist"}]},
                "missing": {},
                "flops": {FLOOR: 1e6},
                "bases": {FLOOR: FLOOR, STRICT: FLOOR, OURS: FLOOR, OVERHEAD: FLOOR},
                "steps": {OURS: 16},
                "start_up": {},
                "seconds_per_step": {
                    FLOOR: samples(0.01),
                    STRICT: samples(0.01),
                    OURS: samples(0.01 * slowdown),
                    OVERHEAD: samples(0.01 * slowdown),
                },
            }
        ],
    }


def verdict(before, after, variant=OURS):
    return {change.variant: change.verdict for change in compare.changes(before, after)}[variant]


@pytest.mark.parametrize("seed", range(10))
def test_a_planted_slowdown_of_30_percent_is_found(seed):
    before, after = record(seed=2 * seed), record(1.3, seed=2 * seed + 1)
    assert verdict(before, after) == "slower"
    assert verdict(after, before) == "faster"


@pytest.mark.parametrize("seed", range(10))
def test_equal_code_is_not_flagged(seed):
    before, after = record(seed=2 * seed), record(seed=2 * seed + 1)
    assert {change.verdict for change in compare.changes(before, after)} == {"noise"}


def test_a_machine_of_half_the_speed_is_no_change_of_the_code():
    assert verdict(record(seed=0), record(seed=1, speed=2.0)) == "noise"


def test_the_relative_change_is_that_of_the_ratio():
    before = record(seed=0)
    after = copy.deepcopy(before)
    samples = after["studies"][0]["seconds_per_step"]
    samples[OURS] = [1.3 * value for value in samples[OURS]]
    change = next(change for change in compare.changes(before, after) if change.variant == OURS)
    assert change.relative == pytest.approx(0.3)


@pytest.mark.parametrize(("slowdown", "code"), [(1.0, 0), (1.3, 1)])
def test_the_command_prints_every_variant_and_its_exit_code_tells(tmp_path, capsys, slowdown, code):
    before, after = record(seed=0), record(slowdown, seed=1)
    after["environment"]["onednn"] = False
    for name, content in (("a.json", before), ("b.json", after)):
        (tmp_path / name).write_text(json.dumps(content))
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == code
    printed = capsys.readouterr().out
    assert "not the same environment: onednn: True before, False after" in printed
    assert "commit" not in printed
    assert f"{NAME}, {OURS}: " in printed
    assert ("slower" in printed) == bool(code)


def test_a_busy_machine_is_named():
    before, after = record(seed=0), record(seed=1)
    before["environment"] |= {"cores": 4, "load": 0.5}
    after["environment"] |= {"cores": 4, "load": 3.0}
    lines = compare.differences(before, after)
    assert lines[-1] == "busy machine after: load 3.0 on 4 cores; measure again"
    assert not any("busy machine before" in line for line in lines)


def test_records_of_another_format_are_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(ValueError, match=r"Expected a record of format 2\. Received: format 0"):
        compare.read(tmp_path / "a.json")


# Measuring


def test_rounds_are_interleaved_and_each_begins_with_another_variant():
    order = []
    samplers = {name: timed(lambda name=name: order.append(name)) for name in "abc"}
    interleaved(samplers, 3, warm_up=1)
    assert "".join(order) == "cab" + "abc" + "bca" + "cab"


def test_time_is_divided_by_steps_and_the_warm_up_does_not_count():
    clock = FakeClock()
    costs = iter([100.0, 6.0, 6.0])
    samplers = {"slow": timed(lambda: clock.work(next(costs)), 3, clock)}
    assert interleaved(samplers, 2, warm_up=1)["slow"].tolist() == [2.0, 2.0]


def test_a_drifting_machine_does_not_move_a_paired_ratio():
    clock = FakeClock()
    samplers = {
        # Every call finds the machine a little slower than the one before.
        "floor": timed(lambda: clock.work(1.0 + clock.now / 1000), 1, clock),
        "ours": timed(lambda: clock.work(1.3 * (1.0 + clock.now / 1000)), 1, clock),
    }
    samples = interleaved(samplers, 100)
    assert np.ptp(samples["floor"]) > 0.2
    assert paired_ratio(samples["ours"], samples["floor"]).median == pytest.approx(1.3, rel=0.01)


def test_tracing_is_the_first_call_less_the_second():
    clock = FakeClock()
    costs = iter([5.0, 2.0])
    assert start_up(lambda: clock.work(next(costs)), clock).trace == 3.0


def test_a_summary_is_in_order_and_repeatable():
    values = np.random.default_rng(0).lognormal(size=31)
    found = summarize(values)
    assert found == summarize(values)
    assert found.p10 < found.low < found.median == np.median(values) < found.high < found.p90


def test_the_interval_holds_the_median_about_as_often_as_it_says():
    draws = np.random.default_rng(0)
    found = [summarize(draws.standard_normal(ROUNDS)) for _ in range(200)]
    covered = np.mean([summary.low <= 0.0 <= summary.high for summary in found])
    # Short of 0.95 by what a bootstrap of 21 samples is known to fall short, and by chance.
    assert 0.88 < covered <= 1.0


def test_equal_samples_have_an_interval_of_one_point():
    assert summarize([2.0] * 5) == measure.Summary(2.0, 2.0, 2.0, 2.0, 2.0)


# The gate


@pytest.mark.parametrize(("slowdown", "failed"), [(1.0, 0), (1.4, 0), (1.8, 1)])
def test_the_gate_fails_above_its_bound_only(slowdown, failed):
    assert len(list(gate.failures(record(slowdown)["studies"]))) == failed


def test_noise_around_the_bound_does_not_fail_the_gate():
    found = record()["studies"]
    samples = found[0]["seconds_per_step"]
    samples[FLOOR] = [1.0] * 7
    samples[OURS] = [1.0, 1.2, 1.4, 1.6, 1.8, 3.0, 4.0]
    assert paired_ratio(samples[OURS], samples[FLOOR]).median > gate.BOUND
    assert not list(gate.failures(found))


# Workers

WORKER = """
import sys
sys.path.insert(0, {peers!r})
import os, time, protocol
def die(steps):
    print("a library prints")
    count.append(1)
    if len(count) > 2: os._exit(3)
def fail(steps): raise RuntimeError("no such kernel")
count = []
runs = dict(fine=lambda steps: print("x" * 100000), die=die, fail=fail)
sys.exit(protocol.serve(lambda job: dict(runs={{k: runs[k] for k in job["runs"]}}, info=job)))
"""


def hired(tmp_path, runs, patience=60.0):
    file = tmp_path / "worker.py"
    file.write_text(WORKER.format(peers=str(suite.HERE)))
    return pipes.Worker([sys.executable, str(file)], {"runs": runs}, patience=patience)


def test_a_worker_answers_and_what_libraries_print_is_kept_apart(tmp_path):
    worker = hired(tmp_path, ["fine", "fail"]).wait()
    assert worker.ready["info"]["runs"] == ["fine", "fail"]
    assert worker.ready["missing"] == {"fail": "RuntimeError: no such kernel"}
    assert 0 <= worker.seconds("fine", 3) < 60
    worker.close()


def test_a_worker_that_dies_is_reported_and_the_others_go_on(tmp_path):
    worker = hired(tmp_path, ["die"]).wait()
    missing = {}
    remote = suite._Remote("peer: die", worker, "die", 2, missing)
    samples = interleaved({"peer: die": remote, "other": lambda: 1.0}, 3)
    assert np.isnan(samples["peer: die"]).all()
    assert samples["other"].tolist() == [1.0] * 3
    assert "exit code 3" in missing["peer: die"]
    worker.close()


def test_a_worker_that_hangs_is_ended(tmp_path):
    worker = pipes.Worker([sys.executable, "-c", "import time; time.sleep(600)"], {}, patience=0.5)
    with pytest.raises(pipes.WorkerError, match="no answer within"):
        worker.wait()
    worker.close()


def test_an_interpreter_that_is_not_there_is_an_error_of_the_worker():
    with pytest.raises(pipes.WorkerError, match="No such file"):
        pipes.Worker(["/nowhere/python"], {})


# Counting


def test_operations_are_those_of_the_closed_form():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input([16, 16, 3]),
            layers.Conv2D(8, 3, padding="same"),
            layers.DepthwiseConv2D(5, strides=2, padding="same"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )

    def forward_and_gradient(images):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            scores = model(images, training=False)
        return scores, tape.gradient(scores, images)

    convolution = 2 * 16 * 16 * 8 * 3 * 3 * 3
    depthwise = 2 * 8 * 8 * 8 * 5 * 5
    dense = 2 * 8 * 8 * 8 * 10
    found = flops.count(forward_and_gradient, tf.TensorSpec([4, 16, 16, 3], tf.float32))
    # Back to the input every product is done once more; weights have no gradient.
    assert found == 2 * 4 * (convolution + depthwise + dense)


def test_unknown_shapes_are_not_counted_silently():
    with pytest.raises(ValueError, match="Expected static shapes"):
        flops.count(lambda x: tf.matmul(x, x), tf.TensorSpec([None, None], tf.float32))


def test_the_gpu_is_busy_as_often_as_it_says_while_it_works():
    assert idle.used(["0", "0", "80", "100", "", "[N/A]"]) == pytest.approx(0.9)
    assert idle.used(["0"]) is None


# Cases


@pytest.mark.parametrize("name", sorted(cases.SUITES))
def test_studies_have_names_of_their_own_and_survive_json(name):
    studies = cases.SUITES[name]
    keys = [(study.name, study.group) for study in studies]
    assert len(set(keys)) == len(keys)
    for study in studies:
        assert cases.study_from(json.loads(json.dumps(dataclasses.asdict(study)))) == study
        labels = [case.label for case in study.cases]
        assert len(set(labels)) == len(labels)


def test_distinct_targets_are_counted():
    case = dataclasses.replace(cases.MNIST, batch=30)
    assert len(set(dataclasses.replace(case, targets=7).classes(1000))) == 7
    assert len(set(case.classes(1000))) == 30
    assert len(set(case.classes(10))) == 10


# The report


def test_a_report_has_every_row_and_says_what_is_missing(tmp_path, capsys):
    content = record(0.9) | {"rounds": ROUNDS}
    content["environment"] |= {"versions": {"tensorflow": "2"}, "gpus": [], "cores": 2}
    study = content["studies"][0]
    samples = study["seconds_per_step"]
    samples["tf-keras-vis: defaults"] = [0.08] * ROUNDS
    samples["torch 1 thread: eager"] = [0.02] * ROUNDS
    samples["torch 2 threads: eager"] = [0.03] * ROUNDS
    study["bases"] |= dict.fromkeys(samples, FLOOR)
    study["missing"] = {"jax": "ended with exit code 1", "actmax fold": "ValueError: no"}
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert main(["report", str(tmp_path / "a.json"), "--plot", str(tmp_path / "p.png")]) == 0
    printed = capsys.readouterr().out
    assert "| jax | not measured: ended with exit code 1 |" in printed
    assert "(1 thread: eager)" in printed
    assert "2 threads" not in printed
    assert "not measured" in printed.split("| xplique |")[1].splitlines()[0]
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert "jax: not measured: ended with exit code 1" in table.study_table(study, 1e9)


# The whole


def test_the_smoke_suite_runs_and_its_record_compares_with_itself(tmp_path, capsys):
    file = tmp_path / "record.json"
    arguments = ["--suite", "smoke", "--rounds", "2", "--steps", "4", "--out", str(file)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    found = json.loads(file.read_text())
    (case,) = found["studies"]
    assert case["traces"] == {OURS: 1}
    assert case["name"] == NAME
    assert found["matrix_rate"] > 0
    assert case["flops"][FLOOR] > 1e6
    assert set(case["seconds_per_step"]) == {
        FLOOR, STRICT, "step in a tf.function", "eager loop", OURS, OVERHEAD,
    }  # fmt: skip
    assert all(len(values) == 2 for values in case["seconds_per_step"].values())
    assert min(min(values) for values in case["seconds_per_step"].values()) > 0
    assert found["environment"]["versions"]["tensorflow"]
    assert all(name in printed for name in (NAME, FLOOR, STRICT, OURS))
    assert main(["compare", str(file), str(file)]) == 0


def test_no_rounds_are_a_usage_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--rounds", "0"])
    assert "Expected at least one round. Received: 0." in capsys.readouterr().err


# Agreement of the fast way


def test_gradients_that_differ_are_told_from_those_that_are_equal():
    ours = np.array([[3.0, 4.0], [1e-30, 0.0]])
    assert agree.nearness(ours, ours) == (pytest.approx(1.0), 0.0)
    cosine, relative = agree.nearness(ours, np.array([[4.0, 3.0], [1e-30, 0.0]]))
    assert cosine == pytest.approx(24 / 25) and relative == pytest.approx(0.25)


def test_float64_decides_where_float32_cannot_tell_and_scores_always_count():
    near = agree.Row("tie", "fold", 0.99, 0.1, exact_cosine=1.0, exact_relative=1e-9, scores=0.001)
    assert near.holds and agree.line(near).endswith("agrees")
    for change in ({"exact_relative": 1e-4}, {"exact_cosine": 0.9}, {"scores": 0.02}):
        assert not dataclasses.replace(near, **change).holds
    assert not dataclasses.replace(near, exact_cosine=None, exact_relative=None).holds


def test_the_fast_ways_of_a_network_are_compared():
    layers = [
        keras.layers.Conv2D(4, 3, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3, "softmax"),
    ]
    model = keras.Sequential([keras.Input([8, 8, 3]), *layers])
    agree.unsettle(model)
    subject = models.Subject(model, lambda images: images, model, -1.0, 1.0, 3)
    case = cases.Case("small", size=8, batch=2, steps=2, jitter=1)
    rows = agree.compare(case, subject, lambda: pytest.fail("float32 can tell"), 2)
    assert [(row.model, row.way) for row in rows] == [("small", "plain"), ("small", "fold")]
    assert all(row.holds for row in rows)
    assert not np.allclose(layers[1].get_weights()[0], 1.0), "no fold is the identity"


def test_the_model_that_decides_computes_in_float64():
    case = dataclasses.replace(agree.cases()["vit"], size=32)
    weights = models.MODELS["vit"](case.size).model.get_weights()
    exact = agree.in_float64(case, weights).model
    assert keras.config.dtype_policy().name == "float32"
    for ours, given in zip(exact.get_weights(), weights, strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_array_equal(ours, given)
    with pytest.raises(ValueError, match="not loaded"):
        agree.in_float64(agree.cases()["mnist"], [])


def test_parts_alone_are_a_share_of_the_step_and_none_is_left_out():
    case = cases.Case("mnist", size=28, batch=2, steps=2, jitter=1)
    seconds = alone.measure(case, rounds=2, steps=3)
    assert {"total_variation", "l2", "jitter", "a metric", "history"} < set(seconds)
    assert all(len(values) == 2 and min(values) > 0 for values in seconds.values())
    told = alone.lines({"empty loop": [1.0, 1.0], "the whole step": [9.0, 11.0], "l2": [2.0, 3.0]})
    assert told[0].split()[-2:] == ["10000.000", "ms"] and "11.11% to 18.18%" in told[1]


def test_a_part_alone_computes_its_gradient_in_every_step(monkeypatch):
    monkeypatch.setattr(alone, "LITTLE", 1.0)
    case = cases.Case("mnist", size=28, batch=2, steps=2, jitter=1)
    images = tf.random.stateless_uniform([2, 28, 28, 1], [0, 1])
    bodies = alone.bodies(models.MODELS["mnist"](28), case)
    step = tf.constant(0)
    added = {name: (body(images, step) - images).numpy() for name, body in bodies.items()}
    assert not added["empty loop"].any()
    pixels = images.numpy()
    mean_square = np.mean(np.square(pixels), axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(added["l2"], mean_square + 2.0 * pixels / 784, rtol=1e-4)
    # Back through the shift come the images, shifted, and one of their pixels is added to all.
    found, given = (np.sort(x.reshape(2, -1), axis=1) for x in (added["jitter"], pixels))
    np.testing.assert_allclose(found - found[:, :1], given - given[:, :1], atol=1e-6)
    assert np.all(np.isclose((found - given)[:, :1], given, atol=1e-6).any(axis=1))
    twice = alone.loop_of(bodies["a metric"])(images, tf.constant(2)) - images
    np.testing.assert_allclose(twice, 2.0 * added["a metric"], atol=1e-6)


def test_history_and_updates_alone_do_what_a_step_does():
    images = tf.random.stateless_uniform([2, 28, 28, 1], [0, 1])
    rows = alone.history(images, tf.constant(3)).numpy()
    np.testing.assert_array_equal(rows, np.tile(rows[:1], (3, 1, 1)))
    assert rows.shape == (3, alone.SERIES, 2) and np.ptp(rows) > 0
    moved = alone.update(images, tf.constant(3), 0.2, 0.8).numpy()
    assert moved.min() >= 0.2 and moved.max() <= 0.8 and np.abs(moved - images).max() > 0.1


def test_half_precision_is_scored_by_the_model_as_it_is(tmp_path, capsys):
    out = tmp_path / "precisions.json"
    given = ["mnist", "--steps", "2", "--rounds", "1", "--timed-steps", "1", "--out", str(out)]
    assert precisions.main(given) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["precision"] for row in rows] == list(precisions.PRECISIONS)
    assert all(row["finite"] == len(row["scores"]) == 10 for row in rows)
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split()[2:4] == ["1.000", "1.000"] and len(printed) == 5


def test_an_image_that_is_not_finite_is_counted_and_fails(monkeypatch):
    row = precisions.Row("model", "float16", [1.0, 2.0], 1, [1.0])
    monkeypatch.setattr(precisions, "measure", lambda *_, **__: [row])
    assert precisions.main(["mnist"]) == 1


# Two builds.


def test_each_build_is_first_second_and_last_equally_often():
    orders = [tuple(against.turns(number)) for number in range(6)]
    assert all(sorted(order) == sorted(against.BUILDS) for order in orders)
    for place in range(3):
        counts = [sum(order[place] == build for order in orders) for build in against.BUILDS]
        assert counts == [2, 2, 2]
    assert len(set(orders)) == 6


@pytest.mark.parametrize(("cost", "slower"), [(1.0, False), (1.02, False), (1.1, True)])
def test_a_slower_build_is_told_from_noise(cost, slower):
    draws = np.random.default_rng(0)
    rounds = np.exp(0.3 * draws.standard_normal(31))

    def samples(times):
        return (times * rounds * np.exp(0.02 * draws.standard_normal(31))).tolist()

    seconds = {against.NEW: samples(cost), against.OLD: samples(1.0), against.AGAIN: samples(1.0)}
    row = against._row("case", False, seconds)
    assert row.slower is slower
    assert row.control.low < 1.0 < row.control.high
    assert ("slower" in row.line()) is slower


@pytest.mark.skipif(not (against.ROOT / ".git").exists(), reason="needs the repository")
def test_a_build_stands_beside_another_commit(capsys, tmp_path):
    out = tmp_path / "against.json"
    run = ["HEAD", "--only", "mnist", "--rounds", "2", "--first-rounds", "0", "--onednn", "off"]
    against.main([*run, "--out", str(out)])
    assert "of the other build" in capsys.readouterr().out
    (row,) = json.loads(out.read_text())["rows"]
    assert {build: len(row["seconds"][build]) for build in against.BUILDS} == dict.fromkeys(
        against.BUILDS, 2
    )
    assert "actmax-against-" not in against._git("worktree", "list")
    with pytest.raises(SystemExit, match="Expected a commit"):
        against.main(["no-such-commit"])


def test_a_first_call_is_measured_beside_its_floor(monkeypatch, tmp_path, capsys):
    case = first_calls.Case("1,000 classes", first_calls.NONE, size=32)
    assert case in [dataclasses.replace(each, what=first_calls.NONE) for each in first_calls.CASES]
    seconds = {kind: first_calls.sample(case, kind) for kind in (first_calls.FLOOR, "ours")}
    assert 0 < seconds[first_calls.FLOOR] < seconds["ours"]

    def run(command, **_):
        kind = json.loads(command[-1])["kind"]
        return types.SimpleNamespace(stdout=f"a line of a log\n{seconds[kind]}\n")

    monkeypatch.setattr(first_calls, "subprocess", types.SimpleNamespace(run=run))
    first_calls.main(["--only", "1,000", "--rounds", "3", "--out", str(tmp_path / "record.json")])
    (row,) = json.loads((tmp_path / "record.json").read_text())["rows"]
    assert row["ratio"][0] == pytest.approx(seconds["ours"] / seconds[first_calls.FLOOR])
    assert "1,000 classes 32, a logit, default: " in capsys.readouterr().out
