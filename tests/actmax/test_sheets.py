"""A catalog's report: many pages, each whole by itself, written and read without loading all of it."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import subprocess
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

import actmax
from actmax import images
from actmax.cli import main
from actmax.reporting import Entry, write_sheets
from tests.actmax.test_report import CHROMIUM, EVIL, Tree

pytest.importorskip("pyarrow", reason="the catalogs' extra is not installed")


def parsed(file):
    tree = Tree()
    text = file.read_text("utf-8")
    tree.feed(text)
    tree.close()
    assert not tree.open, f"{file}: not closed: {tree.open}"
    assert len(set(tree.ids)) == len(tree.ids)
    assert set(tree.refs) <= set(tree.ids)
    return text


def entries(count: int, sections: int = 4) -> Iterator[Entry]:
    generator = np.random.default_rng(0)
    for n in range(count):
        picture = generator.integers(0, 256, [8, 8, 1], np.uint8)
        yield Entry(
            f"Channel of layer_{n * sections // count}", f"unit {n}", images.png(picture),
            float(n), "OK", "", {"seed": "0"},
        )  # fmt: skip


def write(folder, given, per_page=200):
    return write_sheets(folder, "job", given, lead="", facts={}, per_page=per_page)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    import keras

    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(6, 3, activation="tanh", name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(5),
        ]
    )
    folder = tmp_path_factory.mktemp("a 'job' & <more>") / "catalog"
    made = actmax.catalog(
        model, [actmax.Logit(), actmax.Channel("conv")], out=folder, input_range=(0, 1),
        seeds=range(2), steps=2, batch_size=5, labels=EVIL,
    )  # fmt: skip
    return made


def test_every_finished_picture_is_on_one_page(job, tmp_path):
    index = job.report(tmp_path / "pages", per_page=4)
    text = parsed(index)
    linked = re.findall(r'href="(pages/\d{6}\.html)"', text)
    files = sorted((tmp_path / "pages" / "pages").iterdir())
    assert linked == [f"pages/{file.name}" for file in files]
    # 10 of the output are 3 pages of at most 4, 12 of the layer are 3.
    assert len(files) == 6
    tasks = [
        int(task)
        for file in files
        for task in re.findall(r"<dt>task</dt><dd dir='auto'>(\d+)<", parsed(file))
    ]
    assert tasks == list(range(len(job))) == [row["task"] for row in job.select()]
    # The bytes of the pictures are those of the store.
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))[..., None]
        for file in files
        for source in re.findall(r'src="data:image/png;base64,([^"]+)"', file.read_text("utf-8"))
    ]
    np.testing.assert_array_equal(np.stack(shown), job.images(job.select()))


def test_what_a_label_says_is_text(job, tmp_path):
    job.report(tmp_path / "pages", title=EVIL[0])
    for file in (tmp_path / "pages").rglob("*.html"):
        text = parsed(file)
        assert text.count("<script>") == 1
        assert "alert(1)</script>" not in text
        assert "default-src 'none'" in text.replace("&#x27;", "'")
        # Nothing but our own pages is pointed at.
        for address in re.findall(r'(?:href|src)="([^"]*)"', text):
            assert re.fullmatch(
                r"data:image/png;base64,[\w+/=]+|(\.\./index|(pages/)?\d{6})\.html", address
            )


def test_a_page_is_linked_to_its_neighbors(tmp_path):
    write(tmp_path, entries(7, sections=1), per_page=3)
    first, second, third = (
        (tmp_path / "pages" / f"{n:06d}.html").read_text("utf-8") for n in (1, 2, 3)
    )
    assert 'rel="prev"' not in first and 'href="000002.html" rel="next"' in first
    assert 'href="000001.html" rel="prev"' in second and 'href="000003.html" rel="next"' in second
    assert 'rel="next"' not in third and "unit 6" in third


def test_two_thousand_pictures_take_no_more_memory_than_two_hundred(tmp_path):
    peaks = []
    for count in (400, 2000):
        tracemalloc.start()
        index = write(tmp_path / str(count), entries(count, sections=1), per_page=100)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    assert index.stat().st_size < 40_000
    files = sorted((tmp_path / "2000" / "pages").iterdir())
    assert len(files) == 20
    assert max(file.stat().st_size for file in files) < 150_000


def test_an_earlier_report_is_replaced_and_nothing_else(tmp_path):
    write(tmp_path / "own", entries(30), per_page=2)
    write(tmp_path / "own", entries(5, sections=1), per_page=2)
    assert [file.name for file in sorted((tmp_path / "own" / "pages").iterdir())] == [
        "000001.html", "000002.html", "000003.html",
    ]  # fmt: skip
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(FileExistsError, match=r"thesis\.tex"):
        write(other, entries(5))
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("mine")
    with pytest.raises(FileExistsError, match=r"index\.html"):
        write(page, entries(5))
    assert [file.name for file in other.iterdir()] == ["thesis.tex"]
    assert (page / "index.html").read_text() == "mine"


@pytest.mark.parametrize("name", ["000001.html", "notes.html", "000007.html", "photo.png"])
def test_pages_of_somebody_else_are_neither_overwritten_nor_deleted(tmp_path, name):
    """A folder `pages` without an index may be anybody's: names alone do not make it ours."""
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / name).write_text("<!doctype html><p>mine")
    with pytest.raises(FileExistsError, match=re.escape(f"pages/{name}")):
        write(tmp_path, entries(5))
    assert (folder / name).read_text() == "<!doctype html><p>mine"
    assert not (tmp_path / "index.html").exists()


def test_a_link_in_the_place_of_a_page_is_not_followed(tmp_path):
    other = tmp_path / "other.html"
    write(tmp_path / "report", entries(3))
    page = tmp_path / "report" / "pages" / "000001.html"
    page.rename(other)
    page.symlink_to(other)
    with pytest.raises(FileExistsError, match=r"pages/000001\.html"):
        write(tmp_path / "report", entries(3))


def test_what_a_killed_report_left_is_cleared_away(tmp_path):
    write(tmp_path, entries(9), per_page=2)
    (tmp_path / "index.html").rename(tmp_path / ".0123456789abcdef.tmp")
    (tmp_path / "pages" / ".00ff00ff00ff00ff.tmp").write_bytes(b"<!doc")
    write(tmp_path, entries(3), per_page=2)
    assert not list(tmp_path.rglob("*.tmp"))
    assert (tmp_path / "index.html").is_file()


def test_an_interrupted_report_has_no_index(tmp_path):
    def breaks():
        yield from entries(5, sections=1)
        raise OSError("gone")

    write(tmp_path, entries(9), per_page=2)
    with pytest.raises(OSError, match="gone"):
        write(tmp_path, breaks(), per_page=2)
    assert not (tmp_path / "index.html").exists()
    assert write(tmp_path, entries(3), per_page=2).exists()


@pytest.mark.parametrize("per_page", [0, 1001, 2.5, "200"])
def test_a_page_holds_one_to_a_thousand(tmp_path, per_page):
    with pytest.raises((TypeError, ValueError), match=r"^Expected per_page"):
        write(tmp_path / "new", entries(3), per_page=per_page)
    assert not (tmp_path / "new").exists()


def test_the_command_tells_catalogs_and_results_apart(job, tmp_path, capsys):
    assert main(["report", str(job.folder), "--out", str(tmp_path / "r"), "--per-page", "5"]) == 0
    assert capsys.readouterr().out == f"report: {tmp_path / 'r' / 'index.html'}\n"
    assert (
        main(["report", str(job.folder), "--natural", "x.npz", "--out", str(tmp_path / "s")]) != 0
    )
    assert "Expected a saved result, for --natural" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; the tests above parse the pages")
def test_the_pages_work_in_a_browser(job, tmp_path):
    """Sorts, filters and opens a picture by script, from a file, and tells what it saw in the page."""
    index = job.report(tmp_path / "pages", per_page=10)
    seen = {}
    for name, file in (("index", index), ("page", tmp_path / "pages" / "pages" / "000001.html")):
        # The policy allows no further script: the probe takes its place in a copy.
        text = file.read_text("utf-8")
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        probe = """<script>
          window.addEventListener("error", (e) => document.body.dataset.error = e.message);
          const out = {}, grid = document.getElementById("grid"), find = document.getElementById("find");
          const places = () => [...grid.children].filter((i) => !i.hidden).map((i) => i.dataset.place).join();
          if (grid) {
            document.querySelector("[data-sort=score]").click(); out.score = places();
            document.querySelector("[data-sort=order]").click(); out.order = places();
            grid.querySelector(".card").focus();
            const right = new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true});
            document.activeElement.dispatchEvent(right);
            out.focus = document.activeElement.closest("li").dataset.place;
            document.activeElement.click(); out.open = document.getElementById("view").open;
            out.facts = document.querySelectorAll("#view-body dt").length;
            document.getElementById("view-close").click(); out.closed = !document.getElementById("view").open;
            find.value = "seed 1";
          } else { find.value = "conv"; out.rows = document.querySelectorAll("tbody tr").length; }
          find.dispatchEvent(new Event("input")); out.live = document.getElementById("live").textContent;
          document.body.dataset.out = JSON.stringify(out);
        </script></body>"""
        copy = file.with_name(f"probe-{name}.html")
        copy.write_text(text.replace("</body>", probe), "utf-8")
        dom = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", copy.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
            env={**os.environ, "HOME": str(tmp_path)},
        ).stdout  # fmt: skip
        assert "data-error" not in dom
        seen[name] = json.loads(html.unescape(re.search(r'data-out="([^"]*)"', dom)[1]))
    rows = job.select(layer=job.select()[0]["layer"])
    best = sorted(range(10), key=lambda n: (-rows[n]["score"], n))
    assert seen["page"]["score"] == ",".join(map(str, best))
    assert seen["page"]["order"] == ",".join(map(str, range(10)))
    assert seen["page"]["focus"] == "1"
    assert seen["page"]["open"] and seen["page"]["closed"] and seen["page"]["facts"] == 8
    assert seen["page"]["live"] == "5 shown"
    assert seen["index"] == {"rows": 2, "live": "1 shown"}
