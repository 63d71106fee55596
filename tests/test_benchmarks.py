"""The benchmarks find what is slower, leave alone what is not, and run."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from benchmarks import compare, measure
from benchmarks.__main__ import main
from benchmarks.measure import Variant, interleaved, paired_ratio, start_up, summarize
from benchmarks.suite import FLOOR, OURS, OVERHEAD, STRICT

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
        "cases": [
            {
                "case": {"name": NAME, "steps": 1},
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
    samples = after["cases"][0]["seconds_per_step"]
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
    with pytest.raises(ValueError, match=r"Expected a record of format 1\. Received: format 0"):
        compare.read(tmp_path / "a.json")


# Measuring


def test_rounds_are_interleaved_and_each_begins_with_another_variant():
    order = []
    variants = {name: Variant(lambda name=name: order.append(name), 1) for name in "abc"}
    interleaved(variants, 3, warm_up=1)
    assert "".join(order) == "cab" + "abc" + "bca" + "cab"


def test_time_is_divided_by_steps_and_the_warm_up_does_not_count():
    clock = FakeClock()
    costs = iter([100.0, 6.0, 6.0])
    variants = {"slow": Variant(lambda: clock.work(next(costs)), 3)}
    assert interleaved(variants, 2, warm_up=1, clock=clock)["slow"].tolist() == [2.0, 2.0]


def test_a_drifting_machine_does_not_move_a_paired_ratio():
    clock = FakeClock()
    variants = {
        # Every call finds the machine a little slower than the one before.
        "floor": Variant(lambda: clock.work(1.0 + clock.now / 1000), 1),
        "ours": Variant(lambda: clock.work(1.3 * (1.0 + clock.now / 1000)), 1),
    }
    samples = interleaved(variants, 100, clock=clock)
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


# The whole


def test_the_smoke_suite_runs_and_its_record_compares_with_itself(tmp_path, capsys):
    file = tmp_path / "record.json"
    arguments = ["--suite", "smoke", "--rounds", "2", "--steps", "4", "--out", str(file)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    found = json.loads(file.read_text())
    (case,) = found["cases"]
    assert case["traces"] == 1
    assert case["case"]["name"] == NAME
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
