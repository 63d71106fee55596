"""What the command line says of an input, in the same words in every command."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import actmax
from actmax.cli import given, main, words


@pytest.mark.parametrize(
    ("argv", "joined"),
    [
        (["--input-range", "0", "1", "m.keras"], ["--input-range=0\x1f1", "m.keras"]),
        (["--input-range", "-1", "1"], ["--input-range=-1\x1f1"]),
        (["--input-range", "a", "-1e-3", "1", "m.h5"], ["--input-range=a\x1f-1e-3\x1f1", "m.h5"]),
        (["--input-shape", "8", "8", "3", "m.h5"], ["--input-shape=8\x1f8\x1f3", "m.h5"]),
        (["--input-shape", "b", "5", "--seed", "1"], ["--input-shape=b\x1f5", "--seed", "1"]),
        (["m.h5", "--targets", "0-9"], ["m.h5", "--targets", "0-9"]),
    ],
)
def test_options_of_open_length_end_where_their_numbers_end(argv, joined):
    assert given.joined(argv) == joined


def test_spans_of_targets():
    assert given.spread(["0-3", "7"]) == ["0", "1", "2", "3", "7"]
    assert given.spread(["0-3", "cat"], ["0-3", "cat"]) == ["0-3", "cat"]
    with pytest.raises(ValueError, match="FIRST-LAST"):
        given.spread(["3-0"])


def test_messages_name_options():
    said = words.of_the_command_line(
        "Give input_range=(0, 1) and input_shape=(height, width, channels)."
    )
    assert said == "Give --input-range 0 1 and --input-shape HEIGHT WIDTH CHANNELS."


@pytest.mark.parametrize("command", ["inspect", "check", "run", "catalog", "bench"])
def test_a_path_that_is_no_model_is_told_at_once(tmp_path, capsys, monkeypatch, command):
    monkeypatch.setattr(keras.models, "load_model", lambda *_, **__: 1 / 0)
    rest = {"run": ["--targets", "0"], "catalog": []}.get(command, [])
    out = ["--out", str(tmp_path / "out")] if command in ("run", "catalog") else []
    assert main([command, str(tmp_path / "m.onnx"), *rest, *out]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "m.onnx").touch()
    assert main([command, str(tmp_path / "m.onnx"), *rest, *out]) == 2
    assert "ONNX" in capsys.readouterr().err


def test_two_inputs_one_held_and_a_start(tmp_path, capsys):
    wave, word = keras.Input((None, 2), name="wave"), keras.Input((3,), name="word")
    pooled = keras.layers.GlobalAveragePooling1D()(wave)
    joined = keras.layers.Concatenate()([pooled, word])
    keras.Model([wave, word], keras.layers.Dense(2)(joined)).save(tmp_path / "m.keras")
    np.save(tmp_path / "word.npy", np.ones([1, 3], "float32"))
    np.savez(tmp_path / "start.npz", wave=np.full([1, 6, 2], 0.5, "float32"))
    described = ["--input-range", "wave", "0", "1", "--fixed", "word", str(tmp_path / "word.npy")]
    model = str(tmp_path / "m.keras")
    assert main(["inspect", model, "--input-shape", "wave", "6", "2"]) == 0
    start = ["--initial-images", str(tmp_path / "start.npz"), "--input-shape", "wave", "6", "2"]
    out = tmp_path / "out"
    assert (
        main(
            [
                "run",
                model,
                *described,
                *start,
                "--targets",
                "0-1",
                "--steps",
                "2",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    assert list(actmax.Result.load(out).targets) == [0, 1]
    assert (
        main(["run", model, *described[:1], "wave", "1", "0", "--targets", "0", "--out", str(out)])
        == 2
    )
    assert "LO < HI" in capsys.readouterr().err


def test_an_import_that_is_not_installed(tmp_path, capsys):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "m.keras")
    assert main(["inspect", str(tmp_path / "m.keras"), "--import", "no_such_package"]) == 2
    assert "no_such_package" in capsys.readouterr().err
