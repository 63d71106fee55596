"""Model files that nobody should load: refused with one named error, quickly, and nothing in them is run."""

import hashlib
import time
import tracemalloc
import warnings
import zipfile

import keras
import numpy as np
import pytest

import actmax
from actmax import zoo
from tests.actmax import hostile

SECONDS = 10.0  # On a machine that others use; alone each takes less than one.
MIBS = 200


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    template = hostile.Template(folder)
    actmax.load_model(
        folder / "good.keras"
    )  # What the first load of a process imports is not timed.
    return template


@pytest.mark.parametrize("name", list(hostile.BUILDERS))
def test_a_hostile_file_is_refused(name, good, tmp_path, monkeypatch):
    build, expected = hostile.BUILDERS[name]
    folder = tmp_path / "inside"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    path = build(good, folder)
    before = {file: file.lstat().st_mtime_ns for file in tmp_path.rglob("*")}
    start = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(actmax.ModelFileError) as caught:
            actmax.load_model(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert expected in str(caught.value)
    assert str(caught.value).startswith("Expected ")
    assert time.perf_counter() - start < SECONDS
    assert peak < MIBS << 20
    assert {file: file.lstat().st_mtime_ns for file in tmp_path.rglob("*")} == before
    assert not list(tmp_path.rglob(hostile.CANARY))


def test_there_are_at_least_thirty_hostile_files():
    assert len(hostile.BUILDERS) >= 30


def test_the_canary_sings_where_the_file_is_trusted(good, tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    path = hostile.a_lambda_in_keras(good, folder)
    actmax.load_model(path, trusted=True)
    assert (tmp_path / hostile.CANARY).exists()


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_good_file_gives_the_same_model(suffix, tmp_path):
    model = hostile.small()
    model.save(tmp_path / f"m.{suffix}")
    images = np.random.default_rng(0).uniform(size=(3, 4, 4, 1)).astype("float32")
    loaded = actmax.load_model(tmp_path / f"m.{suffix}")
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.parametrize("network", ["MobileNetV2", "ConvNeXtTiny", "EfficientNetB0"])
@pytest.mark.slow
def test_networks_of_keras_pass(network, tmp_path):
    model = getattr(keras.applications, network)(weights=None, input_shape=(32, 32, 3))
    model.save(tmp_path / "m.keras")
    actmax.load_model(tmp_path / "m.keras")


def test_operations_and_settings_of_keras_pass(tmp_path):
    inputs = keras.Input((4,))
    shifted = keras.ops.relu(keras.ops.add(inputs, 1.0))[:, ::-1]
    outputs = keras.layers.Dense(
        2, activation=keras.activations.gelu, kernel_regularizer=keras.regularizers.L2(1e-3)
    )(shifted)
    model = keras.Model(inputs, outputs)
    model.compile("adam", "mse")
    model.save(tmp_path / "m.keras")
    assert actmax.load_model(tmp_path / "m.keras").output_shape == (None, 2)


def test_a_class_of_the_users_own_passes_when_it_is_given(tmp_path):
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return 2.0 * inputs

    model = keras.Sequential([keras.Input((3,)), Doubled()])
    model.save(tmp_path / "m.keras")
    with pytest.raises(actmax.ModelFileError, match="Doubled"):
        actmax.load_model(tmp_path / "m.keras")
    loaded = actmax.load_model(tmp_path / "m.keras", custom_objects={"Doubled": Doubled})
    np.testing.assert_array_equal(loaded(np.ones((1, 3), "float32")), 2.0)


def test_a_record_names_the_file_and_its_hash():
    model = actmax.load_model(zoo.path("mnist"))
    result = actmax.maximize(model, targets=[3], input_range=(0, 1), regularizers=[], steps=1)
    digest = hashlib.sha256(zoo.path("mnist").read_bytes()).hexdigest()
    assert result.config["files"] == [{"file": "mnist_cnn.keras", "sha256": digest}]


def test_a_model_from_elsewhere_has_no_file():
    result = actmax.maximize(
        zoo.load("mnist"), targets=[3], input_range=(0, 1), regularizers=[], steps=1
    )
    assert result.config["files"] == [None]


def test_a_silently_damaged_file_is_told_by_its_hash(tmp_path):
    """A flipped bit in the weights of an HDF5 file loads without a word: only the hash knows."""
    path = tmp_path / "m.h5"
    hostile.small().save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    actmax.load_model(path, sha256=digest.upper())
    data = bytearray(path.read_bytes())
    kernel = actmax.load_model(path).get_layer("dense").kernel.numpy().tobytes()
    data[data.find(kernel)] ^= 1
    path.write_bytes(data)
    actmax.load_model(path)
    with pytest.raises(actmax.ModelFileError, match="Fetch the file again"):
        actmax.load_model(path, sha256=digest)


def test_a_weight_that_keras_leaves_as_it_was_is_an_error(monkeypatch):
    def load(*args, **options):
        warnings.warn("A total of 1 objects could not be loaded.", stacklevel=1)

    monkeypatch.setattr(keras.models, "load_model", load)
    with pytest.raises(actmax.ModelFileError, match="Expected every weight of the model"):
        actmax.load_model(zoo.path("mnist"))


def test_other_warnings_of_keras_come_through(monkeypatch):
    model = zoo.load("mnist")

    def load(*args, **options):
        warnings.warn("old format", DeprecationWarning, stacklevel=1)
        return model

    monkeypatch.setattr(keras.models, "load_model", load)
    with pytest.warns(DeprecationWarning, match="old format"):
        assert actmax.load_model(zoo.path("mnist")) is model


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.keras"
    hostile.small().save(path)
    real = keras.models.load_model

    def load(*args, **options):
        model = real(*args, **options)
        path.write_bytes(path.read_bytes() + b" ")
        return model

    monkeypatch.setattr(keras.models, "load_model", load)
    with pytest.raises(actmax.ModelFileError, match="another file than before"):
        actmax.load_model(path)


def test_the_bound_on_weights_is_lifted_afterwards(good, tmp_path):
    before = keras.layers.Layer.add_weight
    with pytest.raises(actmax.ModelFileError):
        actmax.load_model(hostile.layers_larger_than_the_memory(good, tmp_path))
    actmax.load_model(zoo.path("mnist"))
    assert keras.layers.Layer.add_weight is before


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_mutants_are_refused_or_load(kind, good, tmp_path):
    """`python -m tests.fuzz` runs ten thousand."""
    data = good.hdf5
    if kind == "keras":
        hostile.pack(tmp_path / "m.keras", good.keras, zipfile.ZIP_STORED)
        data = (tmp_path / "m.keras").read_bytes()
    loaded, refused = hostile.outcomes(kind, data, 50, 0, tmp_path)
    assert refused > 0
    assert loaded + refused == 50
