"""Two hundred labels that would be other files, other folders or no file names: all stay in the folder."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json

import numpy as np
import pytest

import actmax
from actmax import zoo
from tests.actmax.test_report import Tree

PARTS = (
    "../x", "..", ".", "/etc/passwd", "~/x", "a/b", "a\\b", "C:\\x", "con", "NUL.png", "-rf", "--help",
    "$(id)", "`id`", "a;b", "a|b", "a&b", "%2e%2e%2f", "\0x", "a\nb", "a\r\nb", "\t", " ", "",
    "\u202eabc", "\u200b", "\ud7ff", "\U0001f600", "e\u0301", "\uff0e\uff0e\uff0f", "x" * 300,
    "\u00e9" * 200, "<script>alert(1)</script>", "'\"", "*", "?", ":", "000_0.png", "result.json",
    "grid.png",
)  # fmt: skip
NAMES = [a + b for a, b in itertools.product(PARTS, ("", ".png", "/..", "\0", "/../../y"))]


@pytest.fixture(scope="module")
def result():
    found = actmax.maximize(
        zoo.load("mnist"), targets=[0] * len(NAMES), input_range=(0, 1), regularizers=[], steps=0
    )
    return dataclasses.replace(found, labels=tuple(NAMES))


def test_there_are_two_hundred_and_they_differ():
    assert len(set(NAMES)) == len(NAMES) >= 200


def test_every_file_of_a_saved_result_lies_in_its_folder(result, tmp_path):
    outer = tmp_path / "outer"
    folder = result.save(outer / "inner")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert all(file.parent == folder for file in files)
    pictures = sorted(folder.glob("[0-9][0-9][0-9]_*.png"))
    assert len(pictures) == len(NAMES), "one picture each, none over another"
    for file in files:
        assert len(file.name.encode()) <= 255
        assert file.name.isprintable()
        assert not set(file.name) & set('\\/:*?"<>|')
    again = actmax.Result.load(folder)
    assert again.labels == result.labels
    np.testing.assert_array_equal(again.images, result.images)


def test_the_report_prints_them_as_text(result, tmp_path):
    page = result.report(tmp_path / "page.html")
    text = page.read_text("utf-8")
    tree = Tree()
    tree.feed(text)
    tree.close()
    assert not tree.open
    assert "<script>alert(1)</script>" not in text
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_logs_hold_them_in_one_field(tmp_path):
    """As CSV and as JSON lines, which have their own ideas of line ends."""
    names = NAMES[:10] + [name for name in NAMES if "\n" in name]
    names = [name for name in names if "\0" not in name]
    labels = tuple(names) + tuple(f"unit {n}" for n in range(max(0, 10 - len(names))))
    maximizer = actmax.Maximizer(
        zoo.load("mnist"), labels=labels[:10], input_range=(0, 1), regularizers=[]
    )
    table, lines = tmp_path / "log.csv", tmp_path / "log.jsonl"
    maximizer(range(10), steps=1, callbacks=[actmax.CSVLog(table), actmax.JSONLines(lines)])
    with table.open(encoding="utf-8", newline="") as stream:
        assert [row["name"] for row in csv.DictReader(stream)] == list(labels[:10])
    told = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    assert [record["name"] for record in told] == list(labels[:10])


def test_half_of_a_surrogate_pair_is_refused_before_anything_runs(tmp_path):
    """It came back from `os.listdir` and ended a run of hours with a UnicodeEncodeError."""
    labels = ["a\udcff"] + [str(n) for n in range(1, 10)]
    with pytest.raises(ValueError, match="every label in Unicode"):
        actmax.Maximizer(zoo.load("mnist"), labels=labels, input_range=(0, 1))
    with pytest.raises(ValueError, match="every label in Unicode"):
        actmax.catalog(
            zoo.load("mnist"), out=tmp_path / "store", labels=labels, input_range=(0, 1), steps=0
        )
    assert not (tmp_path / "store").exists()
