"""Two hundred labels that would be other files, other folders or no file names: all stay in the folder."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import itertools
import json
import os
import re
import sys

import keras
import numpy as np
import pytest

import actmax
from actmax import reporting, zoo
from actmax.cli import main
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


@pytest.fixture(scope="module")
def wide():
    """A network with one unit for each of the names."""
    pixels = keras.Input((4, 4, 1), name="pixels")
    flat = keras.layers.Flatten()(pixels)
    return keras.Model(pixels, keras.layers.Dense(len(NAMES), name="units")(flat))


def test_a_catalog_of_such_units_stays_in_its_folder_and_gives_the_names_back(wide, tmp_path):
    pytest.importorskip("pyarrow", reason="the catalogs' extra is not installed")
    made = actmax.catalog(
        wide, out=tmp_path / "outer" / "store", labels=NAMES, input_range=(0, 1), steps=0,
        batch_size=256, regularizers=[],
    )  # fmt: skip
    index = made.report(tmp_path / "outer" / "pages", per_page=1000)
    names = sorted(f.relative_to(tmp_path).as_posix() for f in tmp_path.rglob("*") if f.is_file())
    assert names == [
        "outer/pages/index.html",
        "outer/pages/pages/000001.html",
        "outer/store/.lock",
        "outer/store/manifest.json",
        "outer/store/shards/000000000-000000200.parquet",
    ]
    assert [row["label"] for row in made.select()] == NAMES
    for name in ("../x", "\0x", "$(id)", "'\"", "\u202eabc"):
        assert [row["label"] for row in made.select(label=name)] == [name]
    made.grid(made.select()[::20])
    for page in (index, index.parent / "pages" / "000001.html"):
        text = page.read_text("utf-8")
        tree = Tree()
        tree.feed(text)
        tree.close()
        assert not tree.open
        assert "<script>alert(1)</script>" not in text


def test_snapshots_of_such_units_are_files_of_their_steps(wide, tmp_path):
    maximizer = actmax.Maximizer(wide, labels=NAMES, input_range=(0, 1), regularizers=[])
    folder = tmp_path / "outer" / "steps"
    best = actmax.BestSoFar(tmp_path / "outer" / "best")
    maximizer(range(len(NAMES)), steps=1, keep="best", callbacks=[actmax.Snapshots(folder), best])
    names = sorted(f.relative_to(tmp_path).as_posix() for f in tmp_path.rglob("*") if f.is_file())
    steps = [f"outer/steps/step-{step:06d}.{kind}" for step in (0, 1) for kind in ("npz", "png")]
    assert names == ["outer/best/best.npz", "outer/best/best.png", *steps]


# Half of a surrogate pair, as in the name of a file that is no Unicode.

HALF = "caf\udce9 <b>"


def test_a_page_about_names_that_are_no_unicode_shows_their_escapes(tmp_path):
    """The report of hours of work ended with a UnicodeEncodeError for the name of its folder."""
    found = actmax.maximize(zoo.load("mnist"), targets=[1], input_range=(0, 1), steps=1)
    config = {**found.config, "command": f"actmax run {HALF}", "model": [HALF]}
    odd = dataclasses.replace(found, labels=(HALF,), messages=(HALF,), config=config)
    natural = reporting.Natural(
        odd.pictures()[None], np.zeros((1, 1)), np.zeros((1, 1), int), ((HALF,),)
    )
    page = odd.report(tmp_path / "p.html", title=HALF, natural=natural, metrics=[{HALF: HALF}])
    text = page.read_text("utf-8")
    assert "caf\\udce9 &lt;b&gt;" in text
    island = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert json.loads(island[1])["rows"][0]["name"] == HALF
    again = actmax.Result.load(odd.save(tmp_path / "saved"))
    assert again.labels == (HALF,)
    assert again.config == odd.config
    assert odd.grid().shape[-1] == 3
    if importlib.util.find_spec("matplotlib"):
        odd.plot()


@pytest.mark.skipif(sys.platform != "linux", reason="file systems whose names are bytes")
def test_a_folder_whose_name_is_no_unicode_is_as_good_as_another(tmp_path, capsys):
    folder = tmp_path / os.fsdecode(b"caf\xe9 b")
    arguments = ["demo", "--steps", "1", "--out", folder / "out", "--checkpoint", folder / "kept"]
    assert main([*map(str, arguments), "--report"]) == 0
    assert f"report: {tmp_path}/caf\\udce9 b/out/report.html" in capsys.readouterr().out
    assert "caf\\udce9 b/out" in (folder / "out" / "report.html").read_text("utf-8")
    assert len(actmax.Result.load(folder / "out")) == 10
    # Parquet's reader takes no such path: said before anything is made.
    pytest.importorskip("pyarrow", reason="the catalogs' extra is not installed")
    with pytest.raises(ValueError, match="Expected the path of a catalog in Unicode"):
        actmax.catalog(zoo.load("mnist"), out=folder / "store", input_range=(0, 1), steps=0)
    assert not (folder / "store").exists()
