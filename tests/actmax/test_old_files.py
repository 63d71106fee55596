"""Model files of Keras 2, of other formats and of other packages: right, or a sentence that is true."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import loading
from actmax.loading import keras2, kinds, old_layers, saved_model

# Written by `python -m tests.soak.keras2 --write`: files, their inputs, and what Keras 2 answers.
STORED = Path(__file__).parent / "keras2_files.zip"
with zipfile.ZipFile(STORED) as archive:
    NAMES = [name for name in archive.namelist() if not name.endswith(".npz")]


@pytest.fixture
def stored(tmp_path):
    """`(path, inputs, outputs)` of one stored file."""

    def unpack(name, ending=None):
        with zipfile.ZipFile(STORED) as archive:
            path = tmp_path / (name if ending is None else Path(name).stem + ending)
            path.write_bytes(archive.read(name))
            arrays = np.load(io.BytesIO(archive.read(f"{name}.npz")))
        given = [arrays[key] for key in arrays.files if key.startswith("in_")]
        return path, given, [arrays[key] for key in arrays.files if key.startswith("out_")]

    return unpack


def answers(model, given):
    found = model(given if len(given) > 1 else given[0], training=False)
    return [np.asarray(each) for each in (found if isinstance(found, (list, tuple)) else [found])]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_keras_2_answers_as_keras_2_did(stored, name):
    path, given, expected = stored(name)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    model = actmax.load_model(path)
    for mine, theirs in zip(answers(model, given), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_more_than_twenty_layers_in_both_formats_are_stored():
    assert len(NAMES) > 20
    assert {Path(name).suffix for name in NAMES} == {".h5", ".keras"}


@pytest.mark.parametrize(
    ("name", "ending"),
    [("Dense_hard_sigmoid.h5", ".H5"), ("GRU.h5", ".HDF5"), ("LSTM.keras", ".KERAS")],
)
def test_capital_letters(stored, name, ending):
    path, given, expected = stored(name, ending)
    np.testing.assert_allclose(answers(actmax.load_model(path), given)[0], expected[0], atol=1e-5)


def test_what_was_mended_is_in_the_record_and_is_listed(stored, capsys):
    path, _, _ = stored("Dense_hard_sigmoid.h5")
    result = actmax.maximize(
        actmax.load_model(path), targets=[0], input_range=(-2, 2), regularizers=[], steps=1
    )
    (told,) = result.config["files"]
    assert "hard_sigmoid as Keras 2 had it: clip(0.2 x + 0.5, 0, 1)" in told["mended"]
    from actmax.cli import main

    assert main(["inspect", str(path)]) == 0
    assert "mended: hard_sigmoid as Keras 2 had it" in capsys.readouterr().out


def test_hard_sigmoid_is_that_of_keras_2():
    x = np.linspace(-4, 4, 33, dtype="float32")
    np.testing.assert_allclose(
        old_layers.hard_sigmoid_of_keras_2(x), np.clip(0.2 * x + 0.5, 0, 1), atol=1e-6
    )


def test_a_mended_model_is_saved_and_loaded_as_any_other(stored, tmp_path):
    path, given, expected = stored(
        "operations.keras" if "operations.keras" in NAMES else "operations.h5"
    )
    again = tmp_path / "again.keras"
    actmax.load_model(path).save(again)
    np.testing.assert_allclose(answers(actmax.load_model(again), given)[0], expected[0], atol=1e-5)


def edited(path, change):
    """A stored HDF5 file with another configuration."""
    with h5py.File(path, "r+") as file:
        tree = json.loads(file.attrs["model_config"])
        change(tree["config"]["layers"])
        file.attrs["model_config"] = json.dumps(tree)
    return path


def test_what_cannot_be_mended_names_its_reason_and_keras_2(stored):
    path, _, _ = stored("GRU.h5")

    def turn(layers):
        layers[1]["config"]["time_major"] = True

    with pytest.raises(actmax.ModelFileError, match=r"time_major.*tf_keras.models.load_model"):
        actmax.load_model(edited(path, turn))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LocallyConnected1D", "tf_keras.models.load_model"),
        ("TCN", "import tcn .*keras-tcn.*--import tcn"),
        ("MyOwn", "custom_objects=.'MyOwn'"),
    ],
)
def test_a_class_that_keras_3_does_not_have_is_named_with_its_remedy(stored, name, said):
    path, _, _ = stored("Dense_hard_sigmoid.h5")
    renamed = edited(path, lambda layers: layers[1].update(class_name=name))
    with pytest.raises(actmax.ModelFileError, match=f"{name}(?s:.*){said}"):
        actmax.load_model(renamed)


def test_a_class_of_the_users_own_is_found_by_its_name(stored):
    path, _, _ = stored("Dense_hard_sigmoid.h5")

    class MyOwn(keras.layers.Dense):
        pass

    renamed = edited(path, lambda layers: layers[1].update(class_name="MyOwn"))
    model = actmax.load_model(renamed, custom_objects={"MyOwn": MyOwn})
    assert any(isinstance(layer, MyOwn) for layer in model.layers)


def test_layers_in_another_order_keep_their_own_weights(stored):
    path, given, expected = stored("two_inputs.h5")
    with h5py.File(path, "r+") as file:
        names = list(file["model_weights"].attrs["layer_names"])
        file["model_weights"].attrs["layer_names"] = names[::-1]
    np.testing.assert_allclose(answers(actmax.load_model(path), given)[0], expected[0], atol=1e-5)


@pytest.mark.parametrize(
    "function", ["io.read_file", "py_function", "raw_ops.ReadFile", "numpy_function", "print"]
)
def test_only_pure_operations_are_made_of_a_file(function):
    old_layers.register()
    made = keras.saving.get_registered_object("actmax>TensorOperation")
    with pytest.raises(actmax.ModelFileError, match="operations of TensorFlow on tensors alone"):
        made(function)


def test_every_allowed_operation_exists():
    for name in old_layers._FUNCTIONS - {"__operators__.getitem"}:
        assert callable(old_layers._function(name)), name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("m.tflite", "TensorFlow Lite"), ("m.onnx", "ONNX"), ("m.pkl", "pickle runs code"),
        ("m.pt", "PyTorch"), ("m.json", "model_from_json"), ("frozen.pb", "frozen graph"),
        ("m.npz", "without a network"), ("m.zip", "Unpack"), ("m.bin", "model.save"),
    ],
)  # fmt: skip
def test_other_files_get_a_sentence_of_their_own(tmp_path, name, said):
    path = tmp_path / name
    path.write_bytes(b"something else")
    with pytest.raises(actmax.ModelFileError, match=said):
        actmax.load_model(path)
    assert "trusted=True" not in str(kinds.other(path, b""))


class Network(tf.Module):
    """One input or two, an output or two by name, as a SavedModel."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(np.linspace(-1, 1, 12).reshape(4, 3).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], name="x")])
    def one(self, x):
        return {"scores": tf.nn.softmax(x @ self.kernel)}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 4], name="a"), tf.TensorSpec([None, 4], name="b")]
    )
    def two(self, a, b):
        return {"sum": (a + b) @ self.kernel, "product": (a * b) @ self.kernel}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def words(self, text):
        return {"length": tf.cast(tf.strings.length(text), tf.float32)[:, None]}


def saved(tmp_path, **signatures):
    network = Network()
    folder = tmp_path / "saved"
    chosen = {name: getattr(network, function) for name, function in signatures.items()}
    tf.saved_model.save(network, folder, signatures=chosen)
    return folder, network


def test_a_saved_model_needs_trust_and_is_listed_without(tmp_path, capsys):
    from actmax.cli import main

    folder, _ = saved(tmp_path, serving_default="one", other="two")
    with pytest.raises(actmax.ModelFileError, match=r"a SavedModel(?s:.*)trusted=True"):
        actmax.load_model(folder)
    assert main(["inspect", str(folder)]) == 0
    listed = capsys.readouterr().out
    assert "serving_default" in listed and "scores" in listed and "[N, 3]" in listed


def test_a_saved_model_is_maximized(tmp_path):
    folder, network = saved(tmp_path, serving_default="one")
    model = actmax.load_model(folder, trusted=True)
    result = actmax.maximize(
        model, lambda output: output[:, 2], images=1, input_range=(-1, 1), regularizers=[], steps=20
    )
    by_hand = network.one(tf.constant(result.images))["scores"][:, 2]
    np.testing.assert_allclose(result.scores, by_hand, atol=1e-6)
    assert result.config["files"][0]["file"] == "saved"


def test_a_saved_model_of_several_inputs_and_outputs_goes_by_name(tmp_path):
    folder, network = saved(tmp_path, serving_default="two")
    model = actmax.load_model(folder, trusted=True)
    a, b = np.ones([2, 4], "float32"), np.full([2, 4], 2.0, "float32")
    found = model({"a": a, "b": b})
    np.testing.assert_allclose(found["product"], (a * b) @ network.kernel.numpy(), atol=1e-6)


def test_a_saved_model_of_texts_says_that_they_have_no_gradient(tmp_path):
    folder, _ = saved(tmp_path, serving_default="words")
    model = actmax.load_model(folder, trusted=True)
    with pytest.raises(ValueError, match="string"):
        actmax.maximize(model, targets=[0], input_range=(0, 1))


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            AttributeError("'_UserObject' object has no attribute 'add_slot'"),
            "pip install tf_keras",
        ),
        (ValueError("it depends on a placeholder which is not an input"), r"tf\.compat\.v1"),
    ],
    ids=["slots of optimizers without tf_keras", "TensorFlow 1, an input left out"],
)
def test_a_saved_model_that_tensorflow_does_not_load_names_a_remedy(
    tmp_path, monkeypatch, error, remedy
):
    """Errors as of TensorFlow 2.21."""
    folder, _ = saved(tmp_path, serving_default="one")

    def load(*_, **__):
        raise error

    monkeypatch.setattr(tf.saved_model, "load", load)
    with pytest.raises(actmax.ModelFileError, match=f"{str(error)[-20:]}(?s:.*){remedy}"):
        actmax.load_model(folder, trusted=True)


def test_endpoints_that_nobody_chose_are_listed(tmp_path):
    folder, _ = saved(tmp_path, first="one", second="two")
    assert set(saved_model.signatures(folder)) == {"first", "second"}
    with pytest.raises(actmax.ModelFileError, match=r"first(?s:.*)TFSMLayer"):
        actmax.load_model(folder, trusted=True)


def test_the_scan_of_a_mended_file_allows_only_names_of_ours():
    assert {
        f"actmax>{name}"
        for name in ("ThresholdedReLU", "TensorOperation", "hard_sigmoid_of_keras_2")
    } == keras2.OURS
    assert loading.load_model is actmax.load_model
