"""Images that are not finite: their numbers are kept, and the others are shown as ever."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import actmax
from actmax import images
from actmax.catalogs import store
from regularizers import L2
from tests.fuzz.kinds import waves

SEEDS = [0, 1, 2, 3]


@dataclasses.dataclass(frozen=True)
class Torn(actmax.Pixels):
    """Pixels of which some starts make NaN of the whole image."""

    def decode(self, params, shape):
        found = super().decode(params, shape)
        first = found[:, :1, :1, :1]
        return tf.where(first < tf.reduce_mean(found[:, 1:], [1, 2, 3], True), found, np.nan)


BUILD = {
    "input_range": (0, 1), "input_shape": (5, 5, 1), "regularizers": [L2(0.1)],
    "parameterization": Torn(), "optimizer": actmax.SGD(1e-6),
}  # fmt: skip


@pytest.fixture(scope="module")
def maximizer():
    return actmax.Maximizer(waves, **BUILD)


@pytest.fixture(scope="module")
def result(maximizer):
    found = maximizer([0] * len(SEEDS), seed=SEEDS, steps=2)
    assert 0 < failed(found).sum() < len(SEEDS)
    return found


def failed(result):
    bad = np.isnan(result.images).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(bad, result.status == actmax.Status.NON_FINITE)
    return bad


def kept(folder):
    return sorted(file.name for file in folder.iterdir())


def test_what_is_finite_is_saved_and_the_numbers_of_all(result, tmp_path):
    """The record was written, and then a ValueError left it without its pictures."""
    result.save(tmp_path)
    bad = failed(result)
    pictures = [
        name for name, row in zip(images.file_names(result.names()), bad, strict=True) if not row
    ]
    assert kept(tmp_path) == sorted([*pictures, "grid.png", "result.json", "result.npz"])
    assert json.loads((tmp_path / "result.json").read_text())["pictures"] == [*pictures, "grid.png"]
    again = actmax.Result.load(tmp_path)
    assert again.images.tobytes() == result.images.tobytes()
    assert again.messages == result.messages
    shown = result.take(np.flatnonzero(~bad)).to_uint8()
    for name, picture in zip(pictures, shown, strict=True):
        with Image.open(tmp_path / name) as found:
            np.testing.assert_array_equal(np.asarray(found)[..., None], picture)


def test_pictures_of_an_older_result_do_not_stand_for_what_failed(maximizer, result, tmp_path):
    whole = dataclasses.replace(result, images=np.zeros_like(result.images))
    whole.save(tmp_path)
    result.save(tmp_path)
    assert len(list(tmp_path.glob("0*.png"))) == (~failed(result)).sum()


def test_with_nothing_to_show_there_are_the_numbers(result, tmp_path):
    rows = np.flatnonzero(failed(result))
    result.take(rows).save(tmp_path)
    assert kept(tmp_path) == ["result.json", "result.npz"]
    assert np.isnan(actmax.Result.load(tmp_path).images).all()


def test_what_cannot_be_shown_is_found_out_before_anything_is_written(result, tmp_path):
    result.save(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="finite low < high"):
        dataclasses.replace(result, low={"images": 1}, high={"images": 0}).save(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_page_a_sheet_and_a_plot_show_it_crossed_out(result, tmp_path):
    bad = failed(result)
    pictures = result.pictures()
    np.testing.assert_array_equal(pictures[~bad], result.take(np.flatnonzero(~bad)).to_uint8())
    cross = np.fliplr(np.eye(5, dtype=bool)) | np.eye(5, dtype=bool)
    for picture in pictures[bad]:
        np.testing.assert_array_equal(picture[..., 0], np.where(cross, 0, 255))
    assert result.grid().dtype == np.uint8
    assert result._repr_png_() is not None
    assert "NON_FINITE" in result.report(tmp_path / "report.html").read_text("utf-8")
    with pytest.raises(ValueError, match=r"NaN or infinity in images? \d"):
        result.to_uint8()


def test_a_sweep_is_saved_likewise(maximizer, tmp_path):
    sweep = maximizer.sweep([0], seeds=SEEDS, steps=1)
    bad = failed(sweep.result)
    assert 0 < bad.sum() < len(bad)
    sweep.save(tmp_path)
    assert len(list(tmp_path.glob("0*.png"))) == (~bad).sum()
    assert {"grid.png", "sweep.png", "sweep.json"} <= set(kept(tmp_path))
    assert actmax.Sweep.load(tmp_path).images.tobytes() == sweep.images.tobytes()


def test_a_run_that_is_looked_at_goes_on(maximizer, result, tmp_path):
    """The sheet of a snapshot raised in the callback, and the images of the other rows were lost."""
    frames = actmax.Frames()
    watched = maximizer(
        [0] * len(SEEDS), seed=SEEDS, steps=2,
        callbacks=[frames, actmax.Snapshots(tmp_path)], callback_every=1,
    )  # fmt: skip
    assert watched.images.tobytes() == result.images.tobytes()
    assert (tmp_path / "step-000002.png").exists()
    with np.load(tmp_path / "step-000002.npz") as found:
        np.testing.assert_array_equal(found["images"], result.images)
    frames.save_gif(tmp_path / "run.gif", 0, 1)
    assert frames.film(0, 1).frames.shape == (3, len(SEEDS), 5, 5, 1)


def test_a_catalog_keeps_the_numbers(maximizer, tmp_path):
    """The job ended with a ValueError at the first such image, and at every further call."""
    pytest.importorskip("pyarrow", reason="the catalogs' extra is not installed")
    found = actmax.catalog(
        waves, targets=[0], seeds=SEEDS, out=tmp_path / "catalog", steps=1, batch_size=4, **BUILD
    )
    rows = found.select()
    bad = found.select(status="NON_FINITE")
    fine = [row for row in rows if row["status"] != "NON_FINITE"]
    assert len(rows) == len(SEEDS) and bad and fine
    assert np.isnan(found.images(bad)).all()
    assert found.images(fine).dtype == np.uint8
    with pytest.raises(
        actmax.CatalogError, match=f"^Expected finite pictures. Received: tasks .{bad[0]['task']}"
    ):
        found.images(rows)
    assert found.grid(rows).dtype == np.uint8
    near = found.nearest(fine[0], count=9)
    assert {row["task"] for row in near} == {row["task"] for row in fine[1:]}
    with pytest.raises(actmax.CatalogError, match="a finite picture"):
        found.nearest(bad[0])
    assert found.report(tmp_path / "pages").exists()
    assert store.picture(np.full([5, 5, 1], np.inf), 0, 1) is None


@pytest.mark.parametrize("steps", [0, 1])
def test_a_score_that_only_the_last_update_makes_nan_is_no_success(steps):
    edge = 0.52 if steps else 0.4  # beyond it the square root has no value

    def model(images):
        return -tf.sqrt(edge - tf.reduce_mean(images, axis=[1, 2, 3]))[:, None]

    result = actmax.maximize(
        model, targets=[0], input_shape=(4, 4, 1), input_range=(0, 1), regularizers=[], steps=steps
    )
    assert not np.isfinite(result.scores[0])
    assert result.status[0] == actmax.Status.NON_FINITE
    assert f"after {steps} steps, is nan" in result.messages[0]
