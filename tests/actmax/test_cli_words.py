"""What the command line says of an input, in the same words in every command."""

from __future__ import annotations

import argparse

import keras
import numpy as np
import pytest

import actmax
from actmax.cli import input_options, main, words


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
    assert input_options.joined(argv) == joined


def test_spans_of_targets():
    assert input_options.spread(["0-3", "7"]) == ["0", "1", "2", "3", "7"]
    assert input_options.spread(["0-3", "cat"], ["0-3", "cat"]) == ["0-3", "cat"]
    with pytest.raises(ValueError, match="FIRST-LAST"):
        input_options.spread(["3-0"])


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


def settings(*words):
    parser = argparse.ArgumentParser()
    input_options.add_input(parser)
    input_options.add_display(parser)
    found = parser.parse_args(input_options.joined(words))
    return {**input_options.settings(found), **input_options.display(found)}


@pytest.mark.parametrize(
    ("text", "alphabet"),
    [
        ("ACGT", "ACGT"),
        ("20", 20),
        ("0123456789", "0123456789"),
        ("the,cat", ("the", "cat")),
        ("+-=", "+-="),
    ],
)
def test_an_alphabet_is_a_string_names_or_a_number(text, alphabet):
    assert settings("--letters", text)["input_range"] == actmax.OneHot(alphabet)


def test_letters_of_several_inputs_and_names_from_files(tmp_path):
    (tmp_path / "words.json").write_text('["the", "cat"]')
    (tmp_path / "table.csv").write_text("age,height\n1,2\n")
    (tmp_path / "lines.txt").write_text("age\nheight\n")
    named = f"w=@{tmp_path / 'words.json'}"
    both = settings("--letters", named, "--letters-axis", "1", "--input-range", "x", "0", "2")
    assert both["input_range"] == {"w": actmax.OneHot(("the", "cat"), 1), "x": (0.0, 2.0)}
    for file in ("table.csv", "lines.txt"):
        assert settings("--columns", str(tmp_path / file))["columns"] == ["age", "height"]
    assert settings("--columns", f"x={tmp_path / 'table.csv'}", "--rate", "y=8000") == {
        "columns": {"x": ["age", "height"]},
        "rate": {"y": 8000.0},
    }


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--letters", "ACGT", "--input-range", "0", "1"], "NAME=ALPHABET"),
        (["--letters", "AAC"], "'A' twice"),
        (["--letters", "a=AC", "--letters", "GT"], "once per input"),
        (["--letters-axis", "1"], "beside --letters-axis"),
        (["--rate", "fast"], "samples a second"),
        (["--letters", "@{}"], "which has none"),
        (["--columns", "{}"], "which has none"),
    ],
)
def test_letters_columns_and_rates_that_cannot_be(tmp_path, words, text):
    (tmp_path / "empty.json").write_text("[]")
    with pytest.raises(ValueError, match=text):
        settings(*[word.replace("{}", str(tmp_path / "empty.json")) for word in words])


def test_letters_names_and_waves_from_the_command_line(tmp_path, capsys):
    dna, wave = keras.Input((12,), dtype="int32", name="dna"), keras.Input((64, 1), name="wave")
    table = keras.layers.Embedding(4, 3)(dna)
    pooled = [keras.layers.GlobalMaxPooling1D()(each) for each in (table, wave)]
    model = str(tmp_path / "m.keras")
    keras.Model([dna, wave], keras.layers.Dense(2)(keras.layers.Concatenate()(pooled))).save(model)
    described = ["--letters", "dna=ACGT", "--input-range", "wave", "-1", "1"]
    out = tmp_path / "out"
    made = ["--targets", "0", "--steps", "2", "--out", str(out), "--rate", "wave=8000", "--report"]
    assert main(["run", model, *described, *made]) == 0
    assert {"grid.png", "report.html"} <= {file.name for file in out.iterdir()}
    assert next(out.glob("*.wav")).read_bytes()[:4] == b"RIFF"
    assert len(actmax.Result.load(out).sequences()[0]) == 12
    assert main(["report", str(out), "--rate", "wave=8000"]) == 0
    assert "audio/wav" in (out / "report.html").read_text("utf-8")
    assert main(["run", model, "--targets", "0", "--out", str(out)]) == 2
    assert "--letters ALPHABET" in capsys.readouterr().err
    assert main(["evaluate", str(out), *described]) == 2
    assert "--letters" in capsys.readouterr().err
