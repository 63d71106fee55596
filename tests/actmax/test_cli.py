"""The command line: what it writes, what it says, and its exit codes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import actmax
from actmax import records, zoo
from actmax.cli import main

ROOT = Path(__file__).resolve().parents[2]
MNIST = str(zoo.path("mnist"))


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Small models as files, by what is special about each."""
    folder = tmp_path_factory.mktemp("models")
    layers = keras.layers

    def save(name, model):
        model.save(folder / name)
        return folder / name

    def small(*first, activation="linear"):
        return keras.Sequential(
            [
                keras.Input((8, 8, 3), name="pixels"),
                *first,
                layers.Conv2D(4, 3, activation=activation, name="conv"),
                layers.GlobalAveragePooling2D(name="mean"),
                layers.Dense(3, activation="softmax", name="classes"),
            ]
        )

    dead = small(activation="relu")
    dead.get_layer("conv").set_weights([np.zeros([3, 3, 3, 4]), np.full([4], -1.0)])
    pixels = keras.Input((8, 8, 3), name="pixels")
    flat = layers.Flatten()(pixels)
    two = keras.Model(
        pixels,
        {
            "kind": layers.Dense(2, activation="softmax")(flat),
            "size": layers.Dense(1)(flat),
        },
    )
    return {
        "small": save("small.keras", small()),
        "rescaling": save("rescaling.keras", small(layers.Rescaling(1 / 255, name="scale"))),
        "dead": save("dead.keras", dead),
        "two": save("two.keras", two),
        "h5": save("small.h5", small()),
        "lambda": save("lambda.keras", small(layers.Lambda(lambda x: x * 2.0, name="twice"))),
        "lambda_h5": save("lambda.h5", small(layers.Lambda(lambda x: x * 2.0, name="twice"))),
    }


pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


# demo


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_demo_writes_ten_labeled_pictures_and_reads_them_back(tmp_path, capsys, name):
    assert run("demo", name, "--out", tmp_path, "--steps", 6, "--seed", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    labels = zoo.labels(name)
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == sorted(
        [f"{n:03d}_{label}.png" for n, label in enumerate(labels)]
        + ["grid.png", "result.json", "result.npz"]
    )
    assert lines[0].split("  ")[0].strip() == "label"
    assert "probability of the PNG" in lines[0]
    assert lines[-2] == f"grid: {tmp_path / 'grid.png'}"
    assert lines[-1] == f"report: actmax report {tmp_path}"

    rows = [line.split() for line in lines[1:11]]
    assert [row[0] for row in rows] == list(labels)
    assert {row[3] for row in rows} == {"OK"}
    # The table is about the files, by the model that anyone can load.
    model = zoo.load(name)
    for number, row in enumerate(rows):
        with Image.open(tmp_path / f"{number:03d}_{row[0]}.png") as picture:
            image = np.asarray(picture).reshape(model.input_shape[1:])
        own = model(image[None].astype("float32") / 255.0, training=False).numpy()[0, number]
        assert float(row[1]) == pytest.approx(own, abs=1e-4)
    saved = actmax.Result.load(tmp_path)
    assert [float(row[2]) for row in rows] == pytest.approx(saved.scores, rel=1e-3)
    assert saved.config["call"]["seed"] == 1


def test_demo_knows_two_models(capsys):
    with pytest.raises(SystemExit, match="2"):
        run("demo", "imagenet")
    assert "invalid choice: 'imagenet'" in capsys.readouterr().err


# run


def test_run_with_a_film(tmp_path, files):
    arguments = ["--targets", 0, "--input-range", -1, 1, "--steps", 4, "--gif"]
    assert run("run", files["small"], "--out", tmp_path, *arguments) == 0
    with Image.open(tmp_path / "run.gif") as film:
        assert film.n_frames > 1


def test_run_with_names_as_targets(tmp_path, files, capsys):
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(["ant", "bee", "wasp"]))
    out = tmp_path / "out"
    arguments = ["--targets", "wasp", 0, "--labels", labels, "--input-range", -1, 1, "--steps", 4]
    assert run("run", files["small"], "--out", out, *arguments) == 0
    result = actmax.Result.load(out)
    assert result.names() == ("wasp", "ant")
    assert result.images.min() >= -1.0
    assert result.images.max() <= 1.0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[:3]] == ["target", "wasp", "ant"]
    assert (out / "000_wasp.png").is_file()


def test_run_of_a_layer_reads_the_range_off_the_model(tmp_path, files):
    arguments = ["--targets", 1, 3, "--layer", "conv", "--steps", 3, "--seed", 5]
    assert run("run", files["rescaling"], "--out", tmp_path, *arguments) == 0
    result = actmax.Result.load(tmp_path)
    assert result.high == {"images": 255.0}
    assert result.config["objective"]["layer"] == "conv"
    assert result.config["call"]["seed"] == 5


def test_run_takes_hdf5_and_a_rate(tmp_path, files):
    arguments = ["--targets", 1, "--input-range", 0, 1, "--steps", 2]
    assert run("run", files["h5"], "--out", tmp_path, "--optimizer-rate", 0.25, *arguments) == 0
    assert actmax.Result.load(tmp_path).config["call"]["learning_rate"] == 0.25


def test_an_image_that_failed_is_exit_code_1_with_its_message(tmp_path, files, capsys):
    arguments = ["--targets", 2, "--input-range", 0, 1, "--steps", 3]
    assert run("run", files["dead"], "--out", tmp_path, *arguments) == 1
    printed = capsys.readouterr()
    assert "NO_GRADIENT" in printed.out
    assert "2: The gradient of the score was zero at all 3 steps" in printed.err
    assert (tmp_path / "result.json").is_file()


RANGE = ("--input-range", "0", "1", "--steps", "1")


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (MNIST, ["--targets", "10", *RANGE], "Expected targets of Logit in 0..9"),
        (MNIST, ["--targets", "seven", *RANGE], "For names give --labels FILE.json as well."),
        (MNIST, ["--targets", "-1", *RANGE], "Expected targets counted from 0"),
        (MNIST, ["--targets", "1", "--steps", "1"], "Expected the input range of 'images'"),
        (MNIST, ["--targets", "1", "--input-range", "1", "0"], "Received: "),
        (MNIST, ["--targets", "1", *RANGE, "--layer", "cnov"], "Did you mean 'conv'"),
        (MNIST, ["--targets", "1", *RANGE, "--seed", "-1"], "Expected seed to be in"),
        ("none.keras", ["--targets", "1", *RANGE], "none.keras, which does not exist"),
    ],
)
def test_what_a_user_got_wrong_is_one_message_and_exit_code_2(
    tmp_path, capsys, model, arguments, message
):
    assert run("run", model, "--out", tmp_path / "out", *arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("actmax run: Expected ")
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Expected a JSON list of names"),
        ('{"0": "cat"}', "which holds a dict"),
        ("[1, 2]", "which holds a list"),
    ],
)
def test_labels_are_a_list_of_names(tmp_path, capsys, content, message):
    file = tmp_path / "labels.json"
    file.write_text(content)
    arguments = ["--targets", "1", *RANGE, "--labels", file, "--out", tmp_path / "out"]
    assert run("run", MNIST, *arguments) == 2
    assert message in capsys.readouterr().err


def test_missing_labels_are_exit_code_2(tmp_path, capsys):
    arguments = ["--targets", "1", *RANGE, "--labels", tmp_path / "no.json", "--out", tmp_path]
    assert run("run", MNIST, *arguments) == 2
    assert "no.json" in capsys.readouterr().err


def test_a_number_that_names_another_unit_is_refused(tmp_path, files, capsys):
    """`--targets 1` was unit 1 although the labels called unit 0 so."""
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(["1", "2", "2"]))
    arguments = ["--labels", labels, "--input-range", 0, 1, "--steps", 1, "--out", tmp_path / "out"]
    assert run("run", files["small"], "--targets", 1, *arguments) == 2
    said = capsys.readouterr().err
    assert "Received: '1', the number of one and the name of unit 0." in said
    assert run("run", files["small"], "--targets", 0, *arguments) == 0


def test_labels_nested_without_end_end_in_no_traceback(tmp_path, capsys):
    file = tmp_path / "labels.json"
    file.write_text("[" * 100_000)
    arguments = ["--targets", "1", *RANGE, "--labels", file, "--out", tmp_path / "out"]
    assert run("run", MNIST, *arguments) == 2
    assert "Expected a JSON list of names" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "demo", "catalog"])
@pytest.mark.parametrize("inside", [".", "deep/er"])
def test_an_out_that_can_be_no_folder_is_refused_before_the_work(
    tmp_path, capsys, monkeypatch, command, inside
):
    """The run was made, and lost when it was to be saved."""
    blocked = tmp_path / "file"
    blocked.write_text("mine")

    def worked(*arguments, **settings):
        raise AssertionError("the work was begun")

    for name in ("maximize", "catalog"):
        monkeypatch.setattr(actmax, name, worked)
    model = {"run": [MNIST, "--targets", "1", *RANGE], "demo": [], "catalog": [MNIST]}[command]
    assert run(command, *model, "--out", blocked / inside) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"actmax {command}: Expected a folder to write in.")
    assert blocked.read_text() == "mine"


FILM = ["frames.npz", "run.gif", "report.html"]


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A demo with all that it can leave."""
    folder = tmp_path_factory.mktemp("filmed")
    assert run("demo", "--out", folder, "--steps", 2, "--gif", "--report") == 0
    return folder


@pytest.fixture
def over_it(filmed, tmp_path, monkeypatch):
    """Its copy, and a command for another result there. The run itself gives what is known already."""
    shutil.copytree(filmed, tmp_path, dirs_exist_ok=True)
    older = actmax.Result.load(filmed)

    def maximize(*arguments, seed, **settings):
        call = {**older.config["call"], "seed": seed}
        return dataclasses.replace(older, config={**older.config, "call": call})

    monkeypatch.setattr(actmax, "maximize", maximize)
    return ["demo", "--out", tmp_path, "--steps", 2, "--seed", 1]


def test_what_an_earlier_run_left_does_not_stand_for_this_one(tmp_path, monkeypatch, over_it):
    """Its film and its report lay beside the new result, even where an error came in between."""
    assert all((tmp_path / name).exists() for name in FILM)

    def full(*arguments):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(actmax.images, "save_png", full)
        assert run(*over_it) == 2
    assert actmax.Result.load(tmp_path).config["call"]["seed"] == 1
    assert not [name for name in FILM if (tmp_path / name).exists()]


def test_an_error_before_the_new_result_stands_keeps_the_film_of_the_older(
    tmp_path, monkeypatch, over_it
):
    before = (tmp_path / "frames.npz").read_bytes()

    def full(*arguments):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records, "write_atomic", full)
        assert run(*over_it) == 2
    assert actmax.Result.load(tmp_path).config["call"]["seed"] == 0
    assert (tmp_path / "frames.npz").read_bytes() == before
    assert (tmp_path / "run.gif").exists()


def test_no_film_of_what_is_no_picture(tmp_path, capsys):
    """The result was saved, and then an error of its range ended the command."""
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "m.keras")
    out = tmp_path / "out"
    call = ["--targets", 1, "--input-range", 0, 1, "--steps", 2, "--gif", "--out", out]
    assert run("run", tmp_path / "m.keras", *call) == 0
    said = capsys.readouterr()
    assert "no run.gif: the inputs are no pictures" in said.err
    assert "target" in said.out
    assert not (out / "run.gif").exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ImportError("Expected pyarrow, for catalogs. Received: none."), "Expected pyarrow"),
        (MemoryError("Unable to allocate 9 TiB"), "Expected enough memory. Received: Unable to"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM\nmore"), "Received: OOM. Give fewer"),
    ],
)
def test_what_a_user_can_do_something_about_ends_in_no_traceback(
    tmp_path, capsys, monkeypatch, error, message
):
    def fails(*arguments, **settings):
        raise error

    monkeypatch.setattr(actmax, "maximize", fails)
    assert run("demo", "--out", tmp_path) == 2
    said = capsys.readouterr().err
    assert said.startswith("actmax demo: ")
    assert message in said
    monkeypatch.setattr(actmax, "maximize", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # a fault of actmax keeps its traceback
        run("demo", "--out", tmp_path)


def test_catalog_takes_local_workers_by_their_name(monkeypatch, tmp_path):
    """`--workers local` stood in the help and was refused as no number."""
    given = []

    def found(*arguments, **settings):
        given.append(settings["workers"])
        raise KeyboardInterrupt

    monkeypatch.setattr(actmax, "catalog", found)
    for workers in ("local", "ray", "2"):
        assert run("catalog", MNIST, "--out", tmp_path, "--workers", workers) == 130
    assert given == ["local", "ray", 2]


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_reader_who_leaves_is_no_error():
    """`actmax inspect MODEL | head -1` ended with "Broken pipe", twice."""
    reading, writing = os.pipe()
    os.close(reading)
    program = [sys.executable, "-m", "actmax", "inspect", MNIST]
    done = subprocess.run(
        program, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert done.returncode == 141
    assert "pipe" not in done.stderr


# Loading


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_saved_model_folder_gets_the_way_out(tmp_path, capsys, command):
    (tmp_path / "saved_model.pb").touch()
    rest = [] if command == "check" else ["--targets", "1", "--out", tmp_path / "out"]
    assert run(command, tmp_path, *rest) == 2
    printed = capsys.readouterr().err
    assert f"Received: the folder {tmp_path}, a SavedModel." in printed
    assert "--trust-model" in printed


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_damaged_file_is_one_message(tmp_path, capsys, suffix):
    file = tmp_path / f"damaged{suffix}"
    file.write_bytes(b"no model")
    assert run("inspect", file) == 2
    printed = capsys.readouterr().err
    assert "Expected a model saved as .keras or .h5, with content of that kind." in printed
    assert str(file) in printed
    assert len(printed.splitlines()) == 1


def test_a_file_of_another_kind_is_refused_unread(tmp_path, capsys):
    file = tmp_path / "weights.bin"
    file.touch()
    assert run("inspect", file) == 2
    assert "Save it again with model.save('name.keras')." in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["lambda", "lambda_h5"])
def test_code_in_a_file_is_never_run(files, capsys, kind):
    assert run("inspect", files[kind]) == 2
    printed = capsys.readouterr().err
    assert "a Lambda layer, which is Python code" in printed
    assert "--trust-model" in printed


def test_code_of_somebody_trusted_is_run_when_asked_for(files, capsys):
    assert run("inspect", files["lambda"], "--trust-model") == 0
    assert "twice" in capsys.readouterr().out


def test_a_file_with_another_hash_is_not_loaded(capsys):
    assert run("inspect", MNIST, "--sha256", "0" * 64) == 2
    assert "Fetch the file again." in capsys.readouterr().err


# inspect


def test_inspect_lists_layers_inputs_range_and_head(capsys):
    assert run("inspect", MNIST) == 0
    printed = capsys.readouterr().out
    rows = [line.split("  ") for line in printed.splitlines()]
    table = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows if row[0]}
    assert table["conv"] == ["Conv2D", "[N, 26, 26, 32]", "320"]
    assert table["predictions"] == ["Dense", "[N, 10]", "2,570"]
    assert "1,387,594 parameters" in printed
    assert "input images: [N, 28, 28, 1] float32" in printed
    assert "input range: not found, so --input-range LO HI is needed" in printed
    assert "head: softmax, and scores are taken before it" in printed


def test_inspect_finds_the_range(files, capsys):
    assert run("inspect", files["rescaling"]) == 0
    assert "input range: (0, 255), read off the layer 'scale'" in capsys.readouterr().out


def test_inspect_names_the_head_of_every_output(files, capsys):
    assert run("inspect", files["two"]) == 0
    printed = capsys.readouterr().out
    assert "head of output kind: softmax, and scores are taken before it" in printed
    assert "head of output size: linear, and scores are the output itself" in printed


def test_inspect_needs_no_size_for_the_head_of_an_open_model(tmp_path, capsys):
    """The head was looked for at 224 values, of which nothing is left here."""
    letters = keras.Input((None, 4))
    inner = keras.layers.Cropping1D(200)(keras.layers.Conv1D(3, 3, padding="same")(letters))
    keras.Model(letters, keras.layers.Softmax()(inner)).save(tmp_path / "open.keras")
    assert run("inspect", str(tmp_path / "open.keras")) == 0
    assert "head: softmax, and scores are taken before it" in capsys.readouterr().out


def test_inspect_leaves_the_model_as_it_was():
    before = Path(MNIST).read_bytes()
    assert run("inspect", MNIST) == 0
    assert Path(MNIST).read_bytes() == before


# The program


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        run("--version")
    assert capsys.readouterr().out == f"actmax {actmax.__version__}\n"


def test_no_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        run()
    assert "the following arguments are required" in capsys.readouterr().err


def test_a_log_level_that_was_chosen_is_left_alone(monkeypatch, capsys):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    assert run("inspect", MNIST) == 0
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    assert run("inspect", MNIST) == 0
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "2"


def test_python_m_actmax_is_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "actmax", "inspect", "none.keras"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "actmax inspect: Expected a model saved as .keras or .h5. Received: none.keras" in (
        done.stderr
    )
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


# catalog


def test_catalog_of_a_layer_goes_on_where_it_was(tmp_path, files, capsys):
    arguments = ("--layers", "conv", "--steps", "1", "--batch-size", "2", "--out", tmp_path / "out")
    assert run("catalog", files["rescaling"], *arguments) == 0
    first = capsys.readouterr().out
    assert "conv" in first
    assert run("catalog", files["rescaling"], *arguments) == 0
    assert capsys.readouterr().out == first
    assert run("catalog", files["rescaling"], *arguments, "--seeds", "3") == 2
    assert "plan/seeds" in capsys.readouterr().err


def demo_of(folder, steps=200):
    program = [sys.executable, "-m", "actmax", "demo", "--steps", steps, "--out", folder / "out"]
    return [str(part) for part in [*program, "--checkpoint", folder / "run"]]


def _listens():
    """In the new process: what a shell starts in the background ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def signalled(folder, number):
    """A demo that got a signal in its run: its folder, steps, exit code and what it said.

    A fast machine may be done with the run before the signal comes: then a longer one is begun.
    """
    for steps in (200, 1000, 5000):
        place = folder / str(steps)
        ended = subprocess.Popen(
            demo_of(place, steps),
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            preexec_fn=_listens,  # noqa: PLW1509, it takes no lock
        )
        record = place / "run" / "checkpoint.json"
        while not record.exists() and ended.poll() is None:
            time.sleep(0.02)
        ended.send_signal(number)
        said = ended.communicate()[1]
        if ended.returncode != 0:
            break
    return place, steps, ended.returncode, said


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_with_its_pictures_and_the_same_command_goes_on(tmp_path, number, code):
    folder, steps, ended, said = signalled(tmp_path, number)
    assert ended == code
    assert f"the run is kept in {str(folder / 'run')!r}: the same call goes on" in said
    assert actmax.Status.INTERRUPTED in actmax.Result.load(folder / "out").status
    assert run(*demo_of(folder, steps)[3:]) == 0
    resumed = actmax.Result.load(folder / "out")
    assert (resumed.status == actmax.Status.OK).all()
    assert (resumed.steps == steps).all()


def test_bench_prices_regularizers_of_the_users_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "own_priors.py").write_text(
        "import tensorflow as tf\nimport regularizers\n\n"
        "@regularizers.penalty\ndef flat(images):\n    return tf.reduce_mean(images**2, [1, 2, 3])\n\n"
        "several = [flat, regularizers.L2(0.1)]\nnumber = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    model = str(Path(actmax.__file__).parent / "zoo" / "mnist_cnn.keras")
    shared = ["bench", model, "--input-range", "0", "1", "--batch-sizes", "1", "--rounds", "1"]
    shared += ["--steps", "1"]
    assert main([*shared, "--regularizers", "own_priors:several"]) == 0
    printed = capsys.readouterr().out
    assert "flat" in printed and "l2" in printed and "of a step" in printed
    for name, text in (
        ("own_priors:number", "to be a regularizer, its class, or a list"),
        ("own_priors:none", "a module own_priors that has none"),
        ("nothing", "as MODULE:NAME"),
    ):
        assert main([*shared, "--regularizers", name]) == 2
        assert text in capsys.readouterr().err
