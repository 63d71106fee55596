"""The simulation of catalogs on many workers, against what can be worked out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from benchmarks.capacity import Load, simulate, table

EVEN = Load(
    images=1000, batch=10, seconds=3.0, spread=0.0, write=0.0, start=7.0,
    hours_between_failures=1e12,
)  # fmt: skip


@pytest.mark.parametrize("workers", [1, 3, 7, 100, 300])
def test_without_noise_it_is_arithmetic(workers):
    found = simulate(EVEN, workers, seed=0)
    assert found.seconds == pytest.approx(7.0 + 3.0 * math.ceil(100 / workers))
    assert found.lost == 0


def test_the_driver_is_the_bound_when_it_is_slowest():
    slow = dataclasses.replace(EVEN, write=1.0)
    found = simulate(slow, 100, seed=0)
    # All hundred chunks end together and are then written one by one.
    assert found.seconds == pytest.approx(7.0 + 3.0 + 100.0)
    assert found.writing == pytest.approx(100 / 103)


def test_workers_do_not_wait_for_the_writing_of_their_own_chunk():
    """The driver gives the next chunk first, and hides 1 s of writing behind 3 s of work."""
    found = simulate(dataclasses.replace(EVEN, write=1.0), 1, seed=0)
    assert found.seconds == pytest.approx(7.0 + 100 * 3.0 + 1.0)


def test_chunks_take_what_was_asked_for_on_average():
    noisy = dataclasses.replace(EVEN, images=100_000, spread=0.5, start=0.0)
    found = simulate(noisy, 1, seed=3)
    # The standard error of the mean of 10,000 chunks is half a percent of it.
    assert found.seconds / (10_000 * 3.0) == pytest.approx(1.0, abs=0.02)


def test_failures_cost_their_chunks_and_the_restart():
    hours = 100 * 3.0 / 3600  # a failure in 100 chunks' time
    frail = dataclasses.replace(
        EVEN, images=20_000, start=0.0, hours_between_failures=hours, restart=30.0
    )
    found = simulate(frail, 1, seed=1)
    # Poisson: 2,000 chunks of work and a failure every 100: 20 of them, 4.5 standard deviations.
    assert abs(found.lost - 20) < 20
    lost_work = found.seconds - 2_000 * 3.0 - found.lost * 30.0
    assert 0 < lost_work < found.lost * 3.0


FRAIL = Load(
    images=2, batch=1, seconds=3600.0, spread=0.0, write=0.0, start=0.0,
    hours_between_failures=2.0, restart=1e9,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_a_lost_chunk_is_taken_up_after_it_was_lost_and_not_before(seed):
    """Two chunks of an hour, and a third worker that has waited since 0 when one is lost."""
    found = simulate(FRAIL, 3, seed)
    if found.lost == 0:
        assert found.seconds == 3600.0
    elif found.lost == 1:
        assert 3600.0 < found.seconds < 7200.0


def test_some_of_those_jobs_lost_nothing_some_one_chunk_and_some_more():
    assert {simulate(FRAIL, 3, seed).lost for seed in range(40)} >= {0, 1, 2}


def test_more_workers_are_never_slower_without_noise_and_never_beat_the_bound():
    times = [simulate(EVEN, workers, seed=0).seconds for workers in (1, 2, 4, 8, 16)]
    assert times == sorted(times, reverse=True)
    noisy = dataclasses.replace(EVEN, spread=0.2, start=0.0)
    assert simulate(noisy, 8, seed=5).seconds > 0.9 * 100 * 3.0 / 8


def test_the_same_seed_gives_the_same_job():
    noisy = dataclasses.replace(EVEN, spread=0.3, hours_between_failures=0.1)
    assert simulate(noisy, 4, seed=2) == simulate(noisy, 4, seed=2)
    assert simulate(noisy, 4, seed=2) != simulate(noisy, 4, seed=3)


def test_the_table_has_a_row_for_every_number_of_workers():
    lines = table(EVEN, [1, 2], runs=2).splitlines()
    assert len(lines) == 4
    assert lines[2].split("|")[1:4] == [" 1 ", " 5 min ", " 5 min "]
    assert np.unique([line.count("|") for line in lines]).size == 1
