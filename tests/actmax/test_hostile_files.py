"""Model files that are refused: with one named error, quickly, and before Keras sees them."""

import hashlib
import io
import sys
import time
import tracemalloc
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import actmax
from actmax import zoo
from actmax.loading import config, hdf5
from tests.actmax import hostile

SECONDS = 10.0  # On a machine that others use; alone each takes less than one.
MIBS = 8


class Requests:
    """Notes which modules are asked for, and finds none."""

    def __init__(self):
        self.names = []

    def find_spec(self, name, path=None, target=None):
        self.names.append(name)


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
    case = hostile.BUILDERS[name]
    folder = tmp_path / "inside"
    folder.mkdir()
    path = case.build(good, folder)
    case.lower(monkeypatch)
    requests, reached = Requests(), []
    monkeypatch.setattr(sys, "meta_path", [requests, *sys.meta_path])
    load = keras.models.load_model
    monkeypatch.setattr(
        keras.models, "load_model", lambda *a, **k: reached.append(name) or load(*a, **k)
    )
    before = {file: file.lstat().st_mtime_ns for file in tmp_path.rglob("*")}
    start = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(actmax.ModelFileError) as caught:
            actmax.load_model(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert case.expected in str(caught.value)
    assert str(caught.value).startswith("Expected ")
    assert time.perf_counter() - start < SECONDS
    assert peak < MIBS << 20
    assert {file: file.lstat().st_mtime_ns for file in tmp_path.rglob("*")} == before
    assert not [each for each in requests.names if hostile.NOBODY in each]
    assert bool(reached) is case.by_keras


def test_the_template_passes_under_every_limit_of_an_archive(good, tmp_path, monkeypatch):
    """What is refused is refused for what was added to it."""
    path = hostile.pack(tmp_path / "m.keras", good.keras)
    hostile.BUILDERS["weights that unpack to more than the file"].lower(monkeypatch)
    hostile.BUILDERS["a configuration of thirty levels"].lower(monkeypatch)
    hostile.BUILDERS["a dataset that stores nothing"].lower(monkeypatch)
    assert actmax.load_model(path).name == good.config["config"]["name"]


def test_a_lambda_is_loaded_where_the_file_is_trusted(good, tmp_path):
    path = hostile.a_lambda_in_keras(good, tmp_path)
    images = np.ones((1, 4, 4, 1), "float32")
    loaded = actmax.load_model(path, trusted=True)
    plain = hostile.pack(tmp_path / "plain.keras", good.keras)
    *_, last = actmax.load_model(plain).layers
    before = loaded.layers[-3](loaded.layers[-4](images))
    np.testing.assert_allclose(loaded(images), last(2.0 * before), rtol=1e-5)


def test_a_configuration_too_deep_for_the_reader_is_refused(monkeypatch):
    def loads(text):
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(config.json, "loads", loads)
    with pytest.raises(actmax.ModelFileError, match="Expected JSON in here"):
        config.parse("[]", "here")


@given(lengths=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), max_size=4))
def test_every_heap_is_walked_to_its_end(lengths):
    """Whatever lengths a heap of texts declares, they fill it one behind the other, or it is refused."""
    data = hostile.heap(lengths)
    place, end = 80, len(data)
    while place + 16 <= end:
        number, length = hostile.struct.unpack_from("<H6xQ", data, place)
        rounded = length if number == 0 else 16 + (length + 7) // 8 * 8
        if rounded < 16 or rounded % 2**64 != rounded or place + rounded > end:
            break
        place += rounded
    expected = "an HDF5 file in here" if place + 16 > end else "texts inside of their heap in here"
    with pytest.raises(actmax.ModelFileError, match=expected):
        hdf5.opened(io.BytesIO(data), "here")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_good_file_gives_the_same_model(suffix, tmp_path):
    model = hostile.small()
    model.save(tmp_path / f"m.{suffix}")
    images = np.random.default_rng(0).uniform(size=(3, 4, 4, 1)).astype("float32")
    loaded = actmax.load_model(tmp_path / f"m.{suffix}")
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.parametrize("network", ["MobileNetV2", "ConvNeXtTiny", "EfficientNetB0"])
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
        actmax.load_model(hostile.layers_larger_than_their_weights_together(good, tmp_path))
    actmax.load_model(zoo.path("mnist"))
    assert keras.layers.Layer.add_weight is before


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_mutants_are_refused_or_load(kind, good, tmp_path):
    """`python -m tests.fuzz` runs ten thousand."""
    data = good.files()[kind]
    loaded, refused = hostile.outcomes(kind, data, hostile.COUNT, hostile.SEED, tmp_path)
    assert refused > 0
    assert loaded + refused == hostile.COUNT
