"""Callbacks: what they write, when they stop what, and what happens when they fail."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import types

import imageio_ffmpeg
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import actmax
from actmax import videos, zoo
from regularizers import L2


@pytest.fixture(scope="module")
def maximizer():
    return actmax.Maximizer(
        lambda images: tf.reduce_sum(tf.sin(3.0 * images), [1, 2]),
        input_range=(0, 1),
        input_shape=(6, 6, 1),
        regularizers=[L2(0.1)],
        optimizer=actmax.SGD(0.05),
        labels=["unit"],
    )


def same(first, second):
    pairs = [(first.images, second.images), (first.scores, second.scores)]
    pairs += [(first.history[name], second.history[name]) for name in first.history]
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


class Ends(actmax.Callback):
    def __init__(self, fails=None):
        self.fails = fails
        self.called = []

    def told(self, hook):
        self.called.append(hook)
        if hook == self.fails:
            raise ZeroDivisionError("mine")

    def on_begin(self, snapshot):
        self.told("on_begin")

    def on_step(self, snapshot):
        self.told("on_step")

    def on_end(self, snapshot):
        self.told("on_end")


@pytest.mark.parametrize("hook", ["on_begin", "on_step", "on_end"])
def test_an_error_names_its_callback_and_the_others_are_told_the_end(maximizer, hook):
    first, failing, last = Ends(), Ends(hook), Ends()
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        maximizer([0], steps=2, callbacks=[first, failing, last])
    assert caught.value.__notes__ == [f"In {hook} of the callback Ends."]
    assert first.called[-1] == "on_end"
    # Who failed to begin has nothing to end.
    assert failing.called[-1] == ("on_begin" if hook == "on_begin" else "on_end")
    assert (last.called or ["on_end"])[-1] == "on_end"  # who has not begun is told nothing
    assert (last.called == []) == (hook == "on_begin")


def test_one_image_stops_and_the_others_go_on(maximizer):
    def second(snapshot):
        return np.array([False, snapshot.step == 2])

    result = maximizer([0, 0], steps=6, callbacks=[second], callback_every=1)
    plain = maximizer([0, 0], steps=6)
    early = maximizer([0, 0], steps=2)
    assert [actmax.Status(status).name for status in result.status] == ["OK", "STOPPED"]
    assert result.steps.tolist() == [6, 2]
    assert result.images[0].tobytes() == plain.images[0].tobytes()
    assert result.images[1].tobytes() == early.images[1].tobytes()
    assert np.isnan(result.history["score"][:, 1]).tolist() == [False] * 2 + [True] * 4
    assert result.messages[1] == "Stopped by the callback second after 2 of 6 steps."


@pytest.mark.parametrize(
    "answer", [np.array([True]), np.array([1, 0]), [True, False], True, "stop"]
)
def test_other_answers_are_refused(maximizer, answer):
    with pytest.raises(TypeError, match=r"bool array \[2\], True for the images to stop"):
        maximizer([0, 0], steps=2, callbacks=[lambda snapshot: answer])


def test_stop_on_plateau_stops_each_image_by_its_own_series(maximizer):
    rates = [0.0, 0.002]
    call = {"learning_rate": rates, "steps": 12, "callback_every": 1, "seed": [0, 0]}
    result = maximizer([0, 0], **call, callbacks=[actmax.StopOnPlateau(patience=3)])
    plain = maximizer([0, 0], **call)
    assert result.steps.tolist() == [4, 12]
    assert result.images[1].tobytes() == plain.images[1].tobytes()
    series = plain.history["objective"][:, 1]
    assert (np.diff(series) > 0).all()  # else the second should have stopped as well
    with pytest.raises(ValueError, match="a series of the run"):
        maximizer([0], steps=1, callbacks=[actmax.StopOnPlateau(series="loss")])


def test_history_is_as_long_with_a_callback_when_every_image_fails():
    maximizer = actmax.Maximizer(
        lambda images: tf.reduce_sum(tf.sin(3.0 * images), [1, 2]),
        input_range=actmax.Unbounded(),
        input_shape=(2, 2, 1),
        regularizers=[],
        optimizer=actmax.SGD(3e38),
    )
    plain = maximizer([0], steps=9)
    watched = maximizer([0], steps=9, callbacks=[lambda snapshot: None], callback_every=2)
    assert plain.status.tolist() == watched.status.tolist() == [actmax.Status.NON_FINITE]
    assert plain.history["score"].shape == (9, 1)
    assert same(plain, watched)


def test_logs_hold_every_series_of_every_image(maximizer, tmp_path):
    logs = [actmax.CSVLog(tmp_path / "log.csv"), actmax.JSONLines(tmp_path / "log.jsonl")]
    result = maximizer([0, 0], steps=4, callbacks=logs, callback_every=2)
    table = list(csv.DictReader(io.StringIO((tmp_path / "log.csv").read_text())))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["image"], line["name"]) for line in lines] == [
        (2, 0, "unit"), (2, 1, "unit"), (4, 0, "unit"), (4, 1, "unit")
    ]  # fmt: skip
    for row, line in zip(table, lines, strict=True):
        for name, values in result.history.items():
            value = float(values[line["step"] - 1, line["image"]])
            assert float(row[name]) == line[name] == value


@pytest.mark.parametrize("kind", [actmax.CSVLog, actmax.JSONLines])
def test_the_log_of_a_resumed_run_is_that_of_the_uninterrupted_one(maximizer, tmp_path, kind):
    class Dies(Exception):
        pass

    def dies(snapshot):
        if snapshot.step == 4:
            raise Dies

    call = {"targets": [0, 0], "steps": 6, "callback_every": 2}
    maximizer(**call, callbacks=[kind(tmp_path / "whole")])
    with pytest.raises(Dies):
        maximizer(**call, checkpoint=tmp_path / "run", callbacks=[kind(tmp_path / "cut"), dies])
    with (tmp_path / "cut").open("a") as stream:
        stream.write("half a li")
    maximizer(**call, checkpoint=tmp_path / "run", callbacks=[kind(tmp_path / "cut")])
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="files of POSIX")
@pytest.mark.parametrize("kind", [actmax.CSVLog, actmax.JSONLines])
def test_a_log_onto_a_fifo_is_refused_and_a_link_is_followed(maximizer, tmp_path, kind):
    """A FIFO waited for ever for a reader; a resumed log put a file in the place of the link."""
    late = kind(tmp_path / "late")
    os.mkfifo(tmp_path / "late")
    with pytest.raises(FileExistsError, match=r"Expected a path for a file.*which is a FIFO"):
        maximizer([0], steps=1, callbacks=[late])
    (tmp_path / "log").symlink_to(tmp_path / "real")
    call = {"targets": [0], "steps": 2, "callback_every": 1, "checkpoint": tmp_path / "run"}
    for _ in range(2):
        maximizer(**call, callbacks=[kind(tmp_path / "log")])
    assert (tmp_path / "log").is_symlink()
    assert len((tmp_path / "real").read_text().splitlines()) == 2 + (kind is actmax.CSVLog)


def test_snapshots_are_the_images_of_their_step(maximizer, tmp_path):
    frames = actmax.Frames()
    watching = [frames, actmax.Snapshots(tmp_path, every=2)]
    maximizer([0, 0], steps=5, callbacks=watching, callback_every=1)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"step-{step:06d}.{kind}" for step in (0, 2, 4) for kind in ("npz", "png")
    ]
    for step in (0, 2, 4):
        with np.load(tmp_path / f"step-{step:06d}.npz", allow_pickle=False) as found:
            assert found["images"].tobytes() == frames.frames[step].tobytes()
    with Image.open(tmp_path / "step-000004.png") as picture:
        assert picture.mode == "RGB"


def test_best_so_far_is_what_keep_best_returns(maximizer, tmp_path):
    best = actmax.BestSoFar(tmp_path)
    result = maximizer([0, 0], steps=6, callbacks=[best], callback_every=2, keep="best")
    with np.load(tmp_path / "best.npz", allow_pickle=False) as found:
        assert found["images"].tobytes() == result.images.tobytes()
    with pytest.raises(ValueError, match='keep="best"'):
        maximizer([0], steps=1, callbacks=[best])


# Tools that keep experiments: their modules are played here.


class Image_:
    def __init__(self, data):
        self.data = data


@pytest.fixture
def wandb(monkeypatch):
    module = types.ModuleType("wandb")
    module.Image = Image_
    monkeypatch.setitem(sys.modules, "wandb", module)


@pytest.fixture
def mlflow(monkeypatch):
    logged = []

    class MlflowClient:
        def log_metric(self, run_id, key, value, step):
            logged.append((run_id, key, value, step))

        def log_image(self, run_id, image, *, key, step):
            logged.append((run_id, key, image, step))

    module = types.ModuleType("mlflow")
    module.MlflowClient = MlflowClient
    info = types.SimpleNamespace(info=types.SimpleNamespace(run_id="active"))
    module.active_run = lambda: info
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return module, logged


def test_wandb_gets_scalars_and_a_picture(maximizer, wandb):
    logged = []
    run = types.SimpleNamespace(log=lambda values, step: logged.append((step, values)))
    result = maximizer([0, 0], steps=4, callbacks=[actmax.WandB(run)], callback_every=2)
    assert [step for step, _ in logged] == [2, 4]
    last = logged[-1][1]
    assert last["score/1_unit"] == float(result.history["score"][-1, 1])
    assert last["score/mean"] == pytest.approx(float(result.history["score"][-1].mean()))
    assert last["images"].data.dtype == np.uint8
    assert same(result, maximizer([0, 0], steps=4))


def test_mlflow_gets_scalars_and_a_picture(maximizer, mlflow):
    module, logged = mlflow
    result = maximizer([0, 0], steps=4, callbacks=[actmax.MLflow()], callback_every=2)
    found = {(key, step): value for run_id, key, value, step in logged if run_id == "active"}
    assert found["l2/0_unit", 4] == float(result.history["l2"][-1, 0])
    assert found["images", 2].dtype == np.uint8
    assert same(result, maximizer([0, 0], steps=4))
    module.active_run = lambda: None
    with pytest.raises(ValueError, match="a run of MLflow"):
        maximizer([0], steps=1, callbacks=[actmax.MLflow()])


def test_tensorboard_gets_scalars_and_a_picture(maximizer, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
    logged = {}

    def log(name, value):
        logged[name, int(tf.summary.experimental.get_step())] = np.asarray(value)

    monkeypatch.setattr(tf.summary, "scalar", log)
    monkeypatch.setattr(tf.summary, "image", log)
    before = tf.summary.experimental.get_step()
    result = maximizer([0], steps=4, callbacks=[actmax.TensorBoard(tmp_path)], callback_every=2)
    assert logged["score/0_unit", 4] == result.history["score"][-1, 0]
    assert logged["images", 2].shape[0] == 1
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert tf.summary.experimental.get_step() is before
    assert same(result, maximizer([0], steps=4))


@pytest.mark.parametrize(
    ("make", "package"),
    [
        (lambda: actmax.TensorBoard("unused"), "tensorboard"),
        (lambda: actmax.WandB(types.SimpleNamespace(log=print)), "wandb"),
        (actmax.MLflow, "mlflow"),
    ],
)
def test_a_tool_that_is_not_installed_is_named(maximizer, monkeypatch, make, package):
    monkeypatch.setitem(sys.modules, package, None)  # makes its import fail
    with pytest.raises(ImportError, match=f"Do pip install {package}"):
        maximizer([0], steps=1, callbacks=[make()])


# The reader of imageio-ffmpeg 0.8 leaves its pipes to the garbage collector; the writer does not.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("size", [(28, 28), (27, 31)])
def test_a_film_has_every_frame_and_its_gray(tmp_path, size):
    levels = np.linspace(20, 230, 9).astype(np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (9, *size, 3))
    reader = imageio_ffmpeg.read_frames(str(videos.save_mp4(tmp_path / "film.mp4", frames, fps=12)))
    meta = next(reader)
    assert meta["size"] == (size[1] + size[1] % 2, size[0] + size[0] % 2)
    decoded = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    np.testing.assert_allclose(decoded, levels, atol=3)  # limited-range YUV has 220 levels


def test_a_run_as_a_film(tmp_path):
    frames = actmax.Frames()
    actmax.maximize(
        zoo.load("mnist"), targets=[1, 7], input_range=(0, 1), regularizers=[], steps=8,
        callbacks=[frames], callback_every=2,
    )  # fmt: skip
    assert frames.save_mp4(tmp_path / "run.mp4", 0, 1).stat().st_size > 0
    with pytest.raises(ValueError, match=r"ends in \.mp4"):
        frames.save_mp4(tmp_path / "run.avi", 0, 1)
    with pytest.raises(ValueError, match="fps to be more than 0"):
        frames.save_mp4(tmp_path / "run.mp4", 0, 1, fps=0)


def test_an_absent_encoder_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r"actmax\[video\]"):
        videos.save_mp4(tmp_path / "run.mp4", np.zeros([1, 2, 2, 3], np.uint8), 12)
