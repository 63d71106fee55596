"""The held-out benchmark: which images who sees, intervals, which judge counts, and what is printed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmarks.quality import held_out
from benchmarks.quality.data import TRACKS, Data, Images


@pytest.mark.parametrize(("right", "count"), [(0, 10), (228, 240), (240, 240), (1, 3)])
def test_intervals_are_those_of_wilson(right, count):
    expected = binomtest(right, count).proportion_ci(0.95, "wilson")
    np.testing.assert_allclose(
        held_out.interval(right, count), (expected.low, expected.high), atol=1e-12
    )


def test_fresh_judges_see_no_image_that_development_judges_saw():
    seen = [Images(np.full([2, 4, 4, 3], value, np.uint8), np.zeros(2, int)) for value in (1, 2, 3)]
    swapped = held_out.swapped(Data(TRACKS["cifar10"], *seen))
    assert swapped.judges is seen[0] and swapped.subject is seen[1] and swapped.test is seen[2]
    gray = held_out.gray(Images(np.full([1, 2, 2, 3], [255, 0, 0], np.uint8), np.zeros(1, int)))
    assert gray.images.shape == (1, 2, 2, 1) and gray.images.max() == round(0.299 * 255)


def test_the_worst_able_judge_counts_and_later_runs_stand_beside_the_first():
    said = [
        {"judge": "plain", "accuracy": 0.8, "right": 9},
        {"judge": "mixer", "accuracy": 0.5, "right": 1},
    ]
    assert held_out.worst(said)["judge"] == "plain"
    assert held_out.worst(said[1:])["judge"] == "mixer" and held_out.worst([]) is None
    row = {"pictures": 10, "own": 10, "held_out": said, "development": [], "seen_by_judges": False}
    record = {"runs": [{"number": 0, "rows": {"a": row}}, {"number": 1, "rows": {}}]}
    head, line = held_out.table(record).splitlines()
    assert "run 1" in head and "0.900 (0.596 to 0.982), plain 0.800" in line and "not yet" in line
