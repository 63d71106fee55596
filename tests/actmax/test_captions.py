"""What stands under a picture: names, layers, settings and scores that cannot be read as one number."""

import keras
import numpy as np
import pytest

import actmax
from actmax.reporting import captions, scored
from regularizers import L2


def test_scores_have_a_unit_and_a_separator():
    fine = np.array([True, False])
    scores = np.array([7.59, np.nan])
    assert scored({"objective": {"class": "Logit"}}, scores, fine) == ["logit 7.59", "not finite"]
    assert scored({"objective": "mine"}, scores, fine) == ["score 7.59", "not finite"]
    assert scored({}, scores[:1], fine) == ["score 7.59"]


def test_channels_say_their_layer_and_labels_stand_alone():
    config = {"objective": {"class": "Channel", "layer": "block3/conv"}}
    assert captions(["4"], config) == ("block3/conv 4",)
    assert captions(["eye"], config, labeled=True) == ("eye",)


@pytest.mark.parametrize("axes", [None, "axes", [["l2"]], [["l2", [1, 2, 3]]]])
def test_rows_of_no_whole_sweep_have_no_settings(axes):
    assert captions(["1", "2"], {"call": {"axes": axes}}) == ("1", "2")


def test_rows_of_a_sweep_name_their_settings_also_in_the_report(tmp_path):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    maximizer = actmax.Maximizer(
        keras.Sequential(layers), input_range=(0, 1), regularizers=[L2(1.0)]
    )
    sweep = maximizer.sweep([0, 2], weights={"l2": [0.1, 10.0]}, seeds=[3, 4], steps=1)
    saved = actmax.Result.load(sweep.save(tmp_path / "sweep"))
    page = saved.report(tmp_path / "sweep.html").read_text()
    for caption in ("0, l2 0.1, seed 3", "2, l2 10, seed 4"):
        assert f"<bdi>{caption}</bdi>" in page
    assert sweep.grid().shape[0] > sweep.grid(rows=["target"]).shape[0] / 8
