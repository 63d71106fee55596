"""The report: one file that reads itself, checked by parsing and, where Chromium is, by clicking."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from html.parser import HTMLParser

import numpy as np
import pytest

import actmax
from actmax.cli import main
from actmax.reporting import RecordedFrames, load_frames, save_frames
from regularizers import Jitter, TotalVariation

EVIL = (
    "<script>alert(1)</script>",
    "\"'><img src=x>",
    "</script><!--",
    "\u202e\u05e9\u05dc\u05d5\u05dd",
    "&amp; 5",
)
VOID = {"meta", "img", "input", "br", "hr"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def model():
    import keras

    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="tanh", name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def run(model):
    frames = actmax.Frames()
    result = actmax.maximize(
        model,
        targets=range(5),
        labels=EVIL,
        input_range=(0, 1),
        regularizers=[TotalVariation(0.1), Jitter(1)],
        steps=20,
        callbacks=[frames],
    )
    return result, frames


@pytest.fixture(scope="module")
def page(run, model, tmp_path_factory):
    result, frames = run
    data = np.random.default_rng(0).random([30, 8, 8, 1], np.float32)
    natural = result.strongest(
        model, data, objective=actmax.Logit(), names=[f"</script>{n}" for n in range(30)]
    )
    records = [{"target": EVIL[0], "judge": 0.5}, {"target": "b", "<b>": float("nan")}]
    path = tmp_path_factory.mktemp("a 'folder' & more") / "report.html"
    return result.report(
        path, title=EVIL[0], film=frames.film(0, 1), natural=natural, metrics=records
    )


class Tree(HTMLParser):
    """Fails on what is not closed; collects ids, what points at them, addresses and the data."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.refs, self.links, self.tags, self.data = [], [], [], [], [], ""
        self.alts = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        assert not [name for name in given if name.startswith("on") or name == "style"]
        if "id" in given:
            self.ids.append(given["id"])
        for name in ("for", "aria-labelledby"):
            self.refs += (given.get(name) or "").split()
        self.links += [given[name] for name in ("src", "href") if name in given]
        if tag == "img":
            self.alts.append(given["alt"])
        if tag not in VOID:
            self.open.append((tag, given))

    def handle_startendtag(self, tag, attrs):
        assert tag in ("line", "path")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][1].get("id") == "data":
            self.data += data


def parse(text):
    tree = Tree()
    tree.feed(text)
    tree.close()
    assert not tree.open
    return tree


def test_the_page_is_well_formed_and_stands_by_itself(page):
    text = page.read_text("utf-8")
    tree = parse(text)
    assert len(tree.ids) == len(set(tree.ids))
    assert set(tree.refs) <= set(tree.ids)
    assert all(link.startswith("data:") for link in tree.links)
    assert not re.search(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in text.replace("&#x27;", "'")
    assert tree.tags.count("script") == 2
    assert "b" not in tree.tags
    data = json.loads(tree.data)
    assert [row["name"] for row in data["rows"]] == list(EVIL)
    assert data["steps"] == list(range(21))
    assert all(row["source"].startswith("data:image/png;base64,") for row in data["rows"])
    assert [alt for alt in tree.alts if alt.startswith("Natural")]


def test_pictures_of_the_page_are_the_pictures_of_the_result(page, run):
    import base64
    import io

    from PIL import Image

    data = json.loads(parse(page.read_text("utf-8")).data)
    for row, expected in zip(data["rows"], run[0].to_uint8(), strict=True):
        raw = base64.b64decode(row["source"].split(",")[1])
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(raw))), expected[..., 0])


def test_the_strongest_natural_images_are_those_of_the_model(run, model):
    result = run[0]
    data = np.random.default_rng(1).random([300, 8, 8, 1], np.float32)
    found = result.strongest(model, data, objective=actmax.Logit(), count=3)
    hidden = np.log(model(data, training=False).numpy())
    for row in range(5):
        # log softmax is the logit less one number per image, so only the logits themselves rank.
        weights, bias = model.layers[-1].get_weights()
        inner = model.layers[0](data).numpy().reshape(300, -1) @ weights + bias
        order = np.argsort(-inner[:, row], kind="stable")[:3]
        assert list(found.numbers[row]) == list(order)
        np.testing.assert_allclose(found.scores[row], inner[order, row], rtol=1e-4)
    assert hidden.shape == (300, 5)
    with pytest.raises(ValueError, match="images \\[M"):
        result.strongest(model, data[:, :4], objective=actmax.Logit())


def test_the_call_of_the_page_repeats_the_run_byte_by_byte(run, model):
    from actmax.reporting import python_call

    result = run[0]
    names = {"model": model}
    exec(python_call(result.config, result.targets, result.labels), names)  # noqa: S102 (it is code)
    assert np.array_equal(names["result"].images, result.images)
    assert np.array_equal(names["result"].scores, result.scores)


def test_frames_travel_through_their_file(tmp_path, run):
    film = run[1].film(0, 1)
    save_frames(tmp_path, film)
    loaded = load_frames(tmp_path)
    assert np.array_equal(loaded.frames, film.frames)
    assert np.array_equal(loaded.steps, film.steps)
    assert np.array_equal(film.frames[-1], run[0].to_uint8())
    assert list(film.thinned(3).steps) == [0, 10, 20]
    (tmp_path / "frames.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"Frames\.save"):
        load_frames(tmp_path)
    with pytest.raises(ValueError, match="ascending steps"):
        RecordedFrames(np.array([2, 1]), film.frames[:2])


def test_the_command_makes_a_report_of_a_folder(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["demo", "--out", str(out), "--steps", "4", "--report"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {out / 'report.html'}"
    (out / "metrics.json").write_text('[{"judge": 0.25}]')
    np.savez(tmp_path / "x.npz", images=np.zeros([9, 28, 28, 1], np.float32), labels=np.arange(9))
    again = tmp_path / "again.html"
    arguments = ["--natural", str(tmp_path / "x.npz"), "--model", str(actmax.zoo.path("mnist"))]
    assert main(["report", str(out), "--out", str(again), *arguments]) == 0
    text = again.read_text("utf-8")
    assert "actmax demo --out" in text
    assert ">0.25<" in text
    assert "Natural image 0" in text
    assert json.loads(parse(text).data)["last"] == 4
    assert len(text) < 5e6
    assert main(["report", str(tmp_path / "none")]) == 2
    assert main(["report", str(out), "--natural", str(tmp_path / "x.npz")]) == 2
    assert "Add --model MODEL." in capsys.readouterr().err


def test_natural_images_out_of_the_range_are_refused(run):
    """0 to 255 for a network of 0 to 1 ranked them by what it never saw, and showed them white."""
    result = run[0]
    data = np.zeros([4, *result.images.shape[1:]], np.float32)
    for value, said in ((255.0, "255, above it"), (-0.5, "-0.5, below it"), (np.nan, "finite")):
        data[2] = value
        with pytest.raises(ValueError, match=f"Expected natural images.*{said}"):
            result.strongest(None, data, objective=None)


def test_natural_images_are_scored_by_the_model_of_the_run(tmp_path, capsys):
    """Any model of the same shapes was taken, and its scores stood beside the pictures of the other."""
    file = tmp_path / "model.keras"
    file.write_bytes(actmax.zoo.path("mnist").read_bytes())
    with zipfile.ZipFile(file, "a") as archive:  # the same network, another file
        archive.comment = b"another"
    out = tmp_path / "out"
    call = ["--targets", "3", "--input-range", "0", "1", "--steps", "1", "--out", str(out)]
    assert main(["run", str(actmax.zoo.path("mnist")), *call]) == 0
    np.savez(tmp_path / "x.npz", images=np.zeros([2, 28, 28, 1], np.float32))
    arguments = ["report", str(out), "--natural", str(tmp_path / "x.npz"), "--model"]
    assert main([*arguments, str(file)]) == 2
    assert "Expected the model of the run, whose file has SHA-256" in capsys.readouterr().err
    assert main([*arguments, str(actmax.zoo.path("mnist"))]) == 0


@pytest.mark.parametrize("depth", [300, 450, 700])
def test_a_record_nested_too_deeply_ends_in_no_traceback(tmp_path, capsys, run, depth):
    run[0].save(tmp_path)
    record = json.loads((tmp_path / "result.json").read_text())
    text = json.dumps({**record, "config": {**record["config"], "deep": "HERE"}})
    deep = "[" * depth + "]" * depth
    (tmp_path / "result.json").write_text(text.replace('"HERE"', deep))
    code = main(["report", str(tmp_path)])
    assert code == 0 or capsys.readouterr().err.startswith("actmax report: Expected ")


@pytest.mark.parametrize("content", ["[" * 100_000, '[{"judge": 1' + "0" * 400 + "}]"])
def test_metrics_that_nobody_can_read_end_in_no_traceback(tmp_path, capsys, run, content):
    """RecursionError of the first, OverflowError of the second."""
    run[0].save(tmp_path)
    (tmp_path / "metrics.json").write_text(content)
    code = main(["report", str(tmp_path)])
    said = capsys.readouterr()
    assert code == 2 or "1" + "0" * 400 in (tmp_path / "report.html").read_text("utf-8")
    assert not said.err or said.err.startswith("actmax report: Expected a JSON list of records")


def test_one_image_input_of_several_has_pictures(run):
    import dataclasses

    result = run[0]
    noise = np.zeros([5, 3], np.float32)
    two = dataclasses.replace(
        result,
        images={"noise": noise, "pixels": result.images},
        low={"noise": -1.0, "pixels": 0.0},
        high={"noise": 1.0, "pixels": 1.0},
    )
    assert np.array_equal(two.to_uint8(), result.to_uint8())
    assert np.array_equal(two.grid(input="pixels"), result.grid())
    assert two.grid().shape[1] > result.grid().shape[1]  # side by side
    assert two.to_uint8(input="noise").shape == (5, 3)
    with pytest.raises(ValueError, match="one of the optimized inputs"):
        two.to_uint8(input="sound")
    both = dataclasses.replace(two, images={"noise": result.images, "pixels": result.images})
    assert both.pictures() is None
    with pytest.raises(ValueError, match="input='name'"):
        both.to_uint8()


def test_the_plot_is_a_figure_and_pyplot_is_not_touched(run):
    pytest.importorskip("matplotlib", reason="the extra of plots is not installed")
    code = (
        "import numpy as np, sys\nfrom actmax import plotting\n"
        "f = plotting.figure(np.zeros([2, 4, 4, 3], np.uint8), ['$x', '_y'], np.ones(2), "
        "np.ones([5, 2]))\nassert len(f.axes) == 3\nf.canvas.draw()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=os.getcwd())
    assert len(run[0].plot().axes) == 6


def test_a_missing_matplotlib_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"actmax\[plot\]"):
        run[0].plot()


def test_labels_of_a_grid_may_come_from_a_generator():
    tiles = np.zeros([2, 4, 4, 1], np.uint8)
    made = actmax.grid(tiles, (str(n) for n in range(2)))
    assert np.array_equal(made, actmax.grid(tiles, ["0", "1"]))


class Browser:
    """A DevTools client over a pipe: nothing is listening, nothing else is installed."""

    def __init__(self, folder, width, height):
        to_read, self._to = os.pipe()
        self._from, from_write = os.pipe()

        # Chromium reads commands from descriptor 3 and writes to 4.
        flags = "--headless --no-sandbox --disable-gpu --remote-debugging-pipe --no-first-run"
        command = [CHROMIUM, *flags.split(), f"--window-size={width},{height}"]
        pipes = f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", pipes, *command, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(to_read, from_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(from_write)
        self._rest, self._number, self.events = b"", 0, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = None
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                piece = os.read(self._from, 1 << 16)
                assert piece, "Chromium ended"
                self._rest += piece
            raw, self._rest = self._rest.split(b"\0", 1)
            answer = json.loads(raw)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def ask(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key, code):
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode=code, **(text if kind == "keyDown" else {}),
            )  # fmt: skip

    def click(self, selector):
        point = self.ask(
            f"(() => {{const e = document.querySelector({selector!r}); e.scrollIntoView();"
            "const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=point[0], y=point[1],
                button="left", clickCount=1,
            )  # fmt: skip

    def close(self):
        self._process.terminate()
        self._process.wait(20)
        os.close(self._to)
        os.close(self._from)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [320, 1280])
def test_a_browser_can_click_and_type_through_the_page(page, run, tmp_path, width):
    browser = Browser(tmp_path / "profile", width, 900)
    try:
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        browser.call("Page.navigate", url=page.as_uri())
        until = time.monotonic() + 30
        while browser.ask("document.readyState + location.protocol") != "completefile:":
            assert time.monotonic() < until
        assert browser.ask("document.title") == EVIL[0]
        assert browser.ask("document.documentElement.scrollWidth") <= width
        names = "[...document.querySelectorAll('.card')].map(c => Number(c.dataset.row))"
        assert browser.ask(names) == [0, 1, 2, 3, 4]
        browser.click("[data-sort=score]")
        assert browser.ask(names) == list(np.argsort(-run[0].scores, kind="stable"))
        browser.click("[data-sort=order]")
        assert browser.ask(names) == [0, 1, 2, 3, 4]

        shot = "document.querySelector('#card-0 .shot').src"
        last = browser.ask(shot)
        browser.ask("document.getElementById('slider').focus()")
        browser.press("Home", 36)
        assert browser.ask("document.querySelector('.slide output').textContent").startswith(
            "step 0 of"
        )
        assert browser.ask(shot) != last
        browser.press("End", 35)
        assert browser.ask(shot) == last

        browser.ask("document.getElementById('card-0').focus()")
        browser.press("ArrowRight", 39)
        assert browser.ask("document.activeElement.id") == "card-1"
        browser.press("Enter", 13)
        assert browser.ask("document.getElementById('view').open")
        assert browser.ask("document.getElementById('view-name').textContent") == EVIL[1]
        assert browser.ask("document.querySelectorAll('#view-curve svg .curve').length") == 1
        assert browser.ask("document.querySelectorAll('#view-near img').length") == 8
        browser.press("ArrowRight", 39)
        assert browser.ask("document.getElementById('view-name').textContent") == EVIL[2]
        browser.press("Escape", 27)
        assert not browser.ask("document.getElementById('view').open")
        until = time.monotonic() + 10  # the event of a closed dialog comes a moment later
        while browser.ask("document.activeElement.id") != "card-2":
            assert time.monotonic() < until

        methods = [event["method"] for event in browser.events]
        assert "Runtime.exceptionThrown" not in methods
        assert "Runtime.consoleAPICalled" not in methods
        assert "Log.entryAdded" not in methods
        asked = [
            event["params"]["request"]["url"]
            for event in browser.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    finally:
        browser.close()
