"""Model files that `actmax.load_model` refuses, each harmless to every other program.

A builder writes one into a folder and returns its path. What a file names is nobody's: no such module, class
or file is anywhere. Sizes are small, and where a rule is about large ones, `limits` lowers it.
`test_hostile_elsewhere.py` gives each file to zipfile, h5py and Keras too, which end by themselves.
"""

import copy
import dataclasses
import importlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np

import actmax
from actmax import archives
from actmax.loading import config as configs
from actmax.loading import hdf5

# Not `from actmax.loading import scan`, which is the function.
scans = importlib.import_module("actmax.loading.scan")

NOBODY = "nobody_has_this"  # a module, a file or a folder that is nowhere


def small(**options):
    """A model of 17 KB, with a kernel, a bias and a softmax."""
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(2, 3, activation="relu", name="conv"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(3, activation="softmax", name="dense"),
        ],
        **options,
    )


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path, content, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


class Template:
    """Bytes of a good .keras and a good .h5 file, to be spoilt."""

    def __init__(self, folder):
        model = small()
        model.save(folder / "good.keras")
        model.save(folder / "good.h5")
        self.keras = members(folder / "good.keras")
        self.config = json.loads(self.keras["config.json"])
        self.hdf5 = (folder / "good.h5").read_bytes()

    def files(self):
        """Bytes of both, by their suffix."""
        return {"keras": pack(io.BytesIO(), self.keras).getvalue(), "h5": self.hdf5}

    def with_config(self, path, change):
        config = copy.deepcopy(self.config)
        replaced = change(config)
        return pack(path, {**self.keras, "config.json": json.dumps(replaced or config)})

    def with_layer(self, path, layer):
        """The model with one more layer before the last."""
        return self.with_config(path, lambda config: config["config"]["layers"].insert(-1, layer))

    def with_weights(self, path, change):
        """The .keras file with its HDF5 member changed by a function of the open file."""
        stream = io.BytesIO(self.keras["model.weights.h5"])
        with h5py.File(stream, "r+") as content:
            change(content)
        return pack(path, {**self.keras, "model.weights.h5": stream.getvalue()})

    def hdf5_with(self, path, change):
        path.write_bytes(self.hdf5)
        with h5py.File(path, "r+") as content:
            change(content)
        return path

    def hdf5_with_layer(self, path, layer):
        def change(content):
            config = json.loads(content.attrs["model_config"])
            config["config"]["layers"].insert(-1, layer)
            content.attrs["model_config"] = json.dumps(config)

        return self.hdf5_with(path, change)


def object_of(module, name, config=None, registered=None):
    return {
        "module": module,
        "class_name": name,
        "config": {} if config is None else config,
        "registered_name": registered,
    }


def lambda_layer():
    return keras.saving.serialize_keras_object(keras.layers.Lambda(lambda x: 2.0 * x))


@dataclasses.dataclass(frozen=True)
class Hostile:
    """A file that is refused.

    Attributes:
        build: writes it; `(template, folder) -> path`.
        expected: what must stand in the message.
        limits: `(module, name, value)` of each limit to lower while it is read.
        by_keras: True if Keras is what refuses it; no other may reach Keras.
    """

    build: Callable
    expected: str
    limits: tuple = ()
    by_keras: bool = False

    def lower(self, patch):
        for module, name, value in self.limits:
            patch.setattr(module, name, value)


BUILDERS = {}


def hostile(expected, *limits, by_keras=False):
    """Adds a builder under its function's name."""

    def add(function):
        name = function.__name__.replace("_", " ").strip()
        BUILDERS[name] = Hostile(function, expected, limits, by_keras)
        return function

    return add


# .keras: what would need code of its own -------------------------------------------------------------


@hostile("a Lambda layer, which is Python code")
def a_lambda_in_keras(good, folder):
    return good.with_layer(folder / "m.keras", lambda_layer())


@hostile("a Lambda layer, which is Python code")
def a_lambda_in_hdf5(good, folder):
    return good.hdf5_with_layer(folder / "m.h5", lambda_layer())


@hostile("a Python function in bytecode")
def bytecode_as_an_activation(good, folder):
    def change(config):
        code = {"class_name": "__lambda__", "config": {"value": ["", None, None]}}
        config["config"]["layers"][1]["config"]["activation"] = code

    return good.with_config(folder / "m.keras", change)


@hostile(f"{NOBODY}.no_function")
def a_function_of_another_module(good, folder):
    def change(config):
        call = object_of(NOBODY, "function", "no_function", "no_function")
        config["config"]["layers"][1]["config"]["activation"] = call

    return good.with_config(folder / "m.keras", change)


@hostile(f"{NOBODY}.Layer")
def a_class_of_another_module(good, folder):
    layer = object_of(NOBODY, "Layer", {"args": ["x"], "units": 3})
    return good.with_layer(folder / "m.keras", layer)


@hostile("builtins.NoClass")
def a_class_of_builtins(good, folder):
    return good.with_layer(folder / "m.keras", object_of("builtins", "NoClass", {"source": "1"}))


@hostile("builtins.no name")
def a_function_of_builtins_that_is_no_name(good, folder):
    def change(config):
        call = object_of("builtins", "function", "no name")
        config["config"]["layers"][1]["config"]["activation"] = call

    return good.with_config(folder / "m.keras", change)


@hostile(f"keras.config.{NOBODY}")
def a_setting_of_keras(good, folder):
    return good.with_layer(folder / "m.keras", object_of("keras.config", NOBODY))


@hostile(f"keras.utils.{NOBODY}")
def a_tool_of_keras(good, folder):
    return good.with_layer(folder / "m.keras", object_of("keras.utils", NOBODY))


@hostile(f"keras.saving.{NOBODY}")
def a_reader_of_keras(good, folder):
    return good.with_layer(folder / "m.keras", object_of("keras.saving", NOBODY))


@hostile(f"keras.src.utils.{NOBODY}")
def a_function_of_keras_own_tools(good, folder):
    return good.with_layer(folder / "m.keras", object_of(f"keras.src.utils.{NOBODY}", "x"))


@hostile("names 7.Layer")
def a_module_that_is_a_number(good, folder):
    return good.with_layer(folder / "m.keras", object_of(7, "Layer"))


@hostile("keras.Custom>Nobody")
def a_custom_class_by_name(good, folder):
    layer = object_of("keras", "Custom>Nobody", {}, "Custom>Nobody")
    return good.with_layer(folder / "m.keras", layer)


@hostile("a TFSMLayer")
def a_saved_model_by_path(good, folder):
    layer = object_of("keras.layers", "TFSMLayer", {"filepath": NOBODY, "call_endpoint": "serve"})
    return good.with_layer(folder / "m.keras", layer)


@hostile("a TorchModuleWrapper, which is a pickle")
def a_pickle_in_a_layer(good, folder):
    layer = object_of("keras.layers", "TorchModuleWrapper", {"module": "no pickle"})
    return good.with_layer(folder / "m.keras", layer)


@hostile("a type of another module")
def a_type_of_another_module(good, folder):
    layer = {**object_of(NOBODY, "__typespec__", ["x"]), "spec_name": "NoSpec"}
    return good.with_layer(folder / "m.keras", layer)


@hostile(f"reads the file '{NOBODY}.txt'")
def a_vocabulary_from_the_disk(good, folder):
    layer = object_of("keras.layers", "StringLookup", {"vocabulary": f"{NOBODY}.txt"})
    return good.with_layer(folder / "m.keras", layer)


@hostile(f"{NOBODY}.Loss")
def code_in_a_nested_model(good, folder):
    inner = copy.deepcopy(good.config)
    inner["compile_config"] = {"loss": object_of(NOBODY, "Loss")}
    return good.with_layer(folder / "m.keras", inner)


# .keras: the archive -------------------------------------------------------------------------------


@hostile("members of a Keras model")
def a_member_by_way_of_the_folder_above(good, folder):
    return pack(folder / "m.keras", {**good.keras, "assets/../assets/x": b"x"})


@hostile("members of a Keras model")
def the_root_as_a_member(good, folder):
    return pack(folder / "m.keras", {**good.keras, "/": b""})


@hostile("members of a Keras model")
def a_member_with_backslashes(good, folder):
    return pack(folder / "m.keras", {**good.keras, "assets\\x": b"x"})


@hostile("members of a Keras model")
def a_member_with_a_colon(good, folder):
    return pack(folder / "m.keras", {**good.keras, "assets/a:b": b"x"})


@hostile("members of a Keras model")
def a_member_nobody_asked_for(good, folder):
    return pack(folder / "m.keras", {**good.keras, "setup.py": b""})


@hostile("a symbolic link")
def a_link_in_the_archive(good, folder):
    path = pack(folder / "m.keras", good.keras)
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "x")
    return path


@hostile("distinct members")
def a_member_twice(good, folder):
    """The same bytes under the same name."""
    path = pack(folder / "m.keras", {**good.keras, "assets/x": b"x"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.NameToInfo.pop("assets/x")  # or Python warns of the second that is wanted here
        archive.writestr("assets/x", b"x")
    return path


@hostile("which unpacks", (archives, "FLOOR", 1 << 14), (archives, "EXPANSION", 2))
def weights_that_unpack_to_more_than_the_file(good, folder):
    content = {**good.keras, "model.weights.h5": bytes(1 << 17)}
    return pack(folder / "m.keras", content, zipfile.ZIP_DEFLATED)


@hostile("which unpacks", (archives, "FLOOR", 1 << 14), (archives, "EXPANSION", 2))
def small_members_that_are_large_together(good, folder):
    content = {f"assets/{number}": bytes(1 << 13) for number in range(20)}
    return pack(folder / "m.keras", {**good.keras, **content}, zipfile.ZIP_DEFLATED)


@hostile("20 members", (scans, "_MAX_MEMBERS", 19))
def more_members_than_a_model_has(good, folder):
    content = {f"assets/{number}": b"" for number in range(20 - len(good.keras))}
    return pack(folder / "m.keras", {**good.keras, **content})


@hostile("a configuration below 100 bytes", (scans, "_MAX_CONFIG", 100))
def a_configuration_that_is_long(good, folder):
    return pack(folder / "m.keras", good.keras)


@hostile("JSON in")
def a_configuration_of_another_size_than_it_says(good, folder):
    path = pack(folder / "m.keras", {**good.keras, "config.json": b" " * 4000})
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"."  # or nothing is written
        archive.getinfo("config.json").file_size = 1000
        archive.getinfo("config.json").CRC = zlib.crc32(b" " * 1000)
    return path


@hostile("packed by method")
def members_packed_by_bzip2(good, folder):
    return pack(folder / "m.keras", good.keras, zipfile.ZIP_BZIP2)


@hostile("config.json in")
def no_configuration(good, folder):
    content = {name: data for name, data in good.keras.items() if name != "config.json"}
    return pack(folder / "m.keras", content)


@hostile("model.weights.h5 in")
def no_weights(good, folder):
    content = {name: data for name, data in good.keras.items() if name != "model.weights.h5"}
    return pack(folder / "m.keras", content)


@hostile("JSON in")
def a_configuration_that_is_no_json(good, folder):
    return pack(folder / "m.keras", {**good.keras, "config.json": b"{'class_name': "})


@hostile("more than 20 levels", (configs, "_MAX_DEPTH", 20))
def a_configuration_of_thirty_levels(good, folder):
    text = json.dumps(good.config)[:-1] + ', "x": ' + "[" * 30 + "]" * 30 + "}"
    return pack(folder / "m.keras", {**good.keras, "config.json": text})


@hostile("millions of values", (configs, "_MAX_VALUES", 50))
def a_configuration_of_many_values(good, folder):
    return pack(folder / "m.keras", good.keras)


@hostile("the configuration of a Keras model")
def a_configuration_that_is_a_list(good, folder):
    return pack(folder / "m.keras", {**good.keras, "config.json": b"[1, 2]"})


@hostile("a keras.Model", by_keras=True)
def a_layer_that_is_no_model(good, folder):
    text = json.dumps(object_of("keras.layers", "ReLU", {"name": "relu"}))
    return pack(folder / "m.keras", {**good.keras, "config.json": text})


@hostile("encrypted")
def an_encrypted_member(good, folder):
    path = pack(folder / "m.keras", good.keras)
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(mark, at + 4)
    path.write_bytes(data)
    return path


@hostile("Bad CRC-32")
def weights_with_a_flipped_bit(good, folder):
    path = pack(folder / "m.keras", good.keras)
    data = bytearray(path.read_bytes())
    kernel = small().get_layer("dense").kernel  # only its number of bytes matters
    at = data.find(b"\x89HDF") + len(good.keras["model.weights.h5"]) - kernel.shape[0]
    data[at] ^= 4
    path.write_bytes(data)
    return path


# HDF5, inside and alone ----------------------------------------------------------------------------


@hostile("ExternalLink")
def an_external_link_in_keras(good, folder):
    def change(content):
        content["layers/extra"] = h5py.ExternalLink(f"{NOBODY}.h5", "/")

    return good.with_weights(folder / "m.keras", change)


@hostile("ExternalLink")
def an_external_link_in_hdf5(good, folder):
    def change(content):
        content["model_weights/extra"] = h5py.ExternalLink(f"{NOBODY}.h5", "/")

    return good.hdf5_with(folder / "m.h5", change)


@hostile("SoftLink")
def a_soft_link(good, folder):
    def change(content):
        content["a"] = h5py.SoftLink("/model_weights")

    return good.hdf5_with(folder / "m.h5", change)


@hostile("stands there twice")
def a_group_under_two_names(good, folder):
    def change(content):
        content["again"] = content["model_weights/dense"]

    return good.hdf5_with(folder / "m.h5", change)


@hostile("groups and datasets in")
def a_type_in_place_of_a_dataset(good, folder):
    def change(content):
        content["model_weights/named"] = np.dtype("f4")

    return good.hdf5_with(folder / "m.h5", change)


@hostile("more than 5 objects", (hdf5, "_MAX_OBJECTS", 5))
def more_objects_than_a_model_has(good, folder):
    path = folder / "m.h5"
    path.write_bytes(good.hdf5)
    return path


def heap(lengths):
    """A collection of texts that declares these lengths, in bytes that HDF5 takes for no file of its."""
    objects = b"".join(
        struct.pack("<H6xQ", number, length) + bytes(16)
        for number, length in enumerate(lengths, start=1)
    )
    begin = b"no HDF5!".ljust(13, b"\0") + b"\x08\x08"
    size = struct.pack("<Q", 16 + len(objects))
    return begin.ljust(64, b"\0") + b"GCOL\x01\0\0\0" + size + objects


@hostile("texts inside of their heap")
def a_text_longer_than_its_heap(good, folder):
    return pack(folder / "m.keras", {**good.keras, "model.weights.h5": heap([16, 1 << 20])})


@hostile("another layout")
def sizes_that_keras_does_not_write(good, folder):
    """The lengths of a file would be of four bytes; HDF5 takes it for no file of its own."""
    data = heap([16]).replace(b"\x08\x08", b"\x08\x04")
    return pack(folder / "m.keras", {**good.keras, "model.weights.h5": data})


@hostile("an HDF5 file in")
def weights_of_a_few_bytes(good, folder):
    return pack(folder / "m.keras", {**good.keras, "model.weights.h5": b"\x89HDF\r\n\x1a\n"})


@hostile("whose values are elsewhere")
def values_in_another_file(good, folder):
    def change(content):
        content.create_dataset("x", (16,), "f4", external=[(f"{NOBODY}.bin", 0, 64)])

    return good.hdf5_with(folder / "m.h5", change)


@hostile("whose values are elsewhere")
def a_virtual_dataset(good, folder):
    def change(content):
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource(f"{NOBODY}.h5", "x", (4,))
        content.create_virtual_dataset("virtual", layout)

    return good.with_weights(folder / "m.keras", change)


@hostile("which declares 1048576 bytes and stores 0", (hdf5, "_FLOOR", 1 << 16))
def a_dataset_that_stores_nothing(good, folder):
    def change(content):
        content.create_dataset("empty", (1 << 18,), "f4", chunks=(1 << 10,))

    return good.with_weights(folder / "m.keras", change)


@hostile("the plug-in 305")
def a_filter_that_is_a_plug_in(good, folder):
    """Registered for a format of bits, optional, and nothing is stored with it."""

    def change(content):
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((4,))
        settings.set_filter(305, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(content.id, b"plain", h5py.h5t.NATIVE_FLOAT, space, settings)

    return good.with_weights(folder / "m.keras", change)


@hostile("numbers in")
def references_in_place_of_numbers(good, folder):
    def change(content):
        content.create_dataset("refs", (2,), h5py.ref_dtype)

    return good.with_weights(folder / "m.keras", change)


@hostile("no model_config")
def weights_alone(good, folder):
    path = folder / "m.h5"
    path.write_bytes(good.keras["model.weights.h5"])
    return path


# The file ------------------------------------------------------------------------------------------


@hostile("begins as bytes b''")
def no_bytes(good, folder):
    (folder / "m.keras").touch()
    return folder / "m.keras"


@hostile("m.keras")
def half_a_file(good, folder):
    path = pack(folder / "m.keras", good.keras)
    path.write_bytes(path.read_bytes()[: len(good.keras["model.weights.h5"]) // 2])
    return path


@hostile("HDF5 file")
def half_an_hdf5_file(good, folder):
    path = folder / "m.h5"
    path.write_bytes(good.hdf5[: len(good.hdf5) // 2])
    return path


@hostile("a file of the kind hdf5")
def hdf5_called_keras(good, folder):
    path = folder / "m.keras"
    path.write_bytes(good.hdf5)
    return path


@hostile("a file of the kind keras")
def keras_called_hdf5(good, folder):
    return pack(folder / "m.h5", good.keras)


@hostile("Save it again")
def a_file_of_another_suffix(good, folder):
    return pack(folder / "m.model", good.keras)


@hostile("begins as bytes")
def an_empty_list_as_a_pickle(good, folder):
    path = folder / "m.keras"
    path.write_bytes(b"\x80\x04]\x94.")
    return path


@hostile("the folder")
def a_folder(good, folder):
    (folder / "m.keras").mkdir()
    return folder / "m.keras"


@hostile("not a regular file")
def a_device(good, folder):
    (folder / "m.keras").symlink_to("/dev/null")
    return folder / "m.keras"


@hostile("does not exist")
def a_link_to_nothing(good, folder):
    (folder / "m.keras").symlink_to(folder / "nothing.keras")
    return folder / "m.keras"


@hostile("null")
def a_name_with_a_null(good, folder):
    return Path("m\0.keras")


# The model -----------------------------------------------------------------------------------------


@hostile("safe mode", by_keras=True)
def weights_of_another_shape(good, folder):
    def change(config):
        config["config"]["layers"][-1]["config"]["units"] = 5

    return good.with_config(folder / "m.keras", change)


@hostile("with units=100000 and")
def a_layer_larger_than_its_weights(good, folder):
    def change(config):
        config["config"]["layers"][-1]["config"]["units"] = 100_000

    return good.with_config(folder / "m.keras", change)


@hostile("bytes of weights that", by_keras=True)
def layers_larger_than_their_weights_together(good, folder):
    """Each has fewer units than the file has bytes, and together they would have 300 times its weights."""
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(600)]).save(folder / "m.keras")
    content = members(folder / "m.keras")
    config = json.loads(content["config.json"])
    config["config"]["layers"].append(copy.deepcopy(config["config"]["layers"][-1]))
    config["config"]["layers"][-1]["config"]["name"] = "another"
    config["config"]["layers"][-1].pop("build_config", None)
    return pack(folder / "m.keras", {**content, "config.json": json.dumps(config)})


@hostile("dense", by_keras=True)
def a_layer_without_its_weights(good, folder):
    def change(content):
        del content["layers/dense/vars/0"], content["layers/dense/vars/1"]

    return good.with_weights(folder / "m.keras", change)


# The mutants that the tests read.
COUNT, SEED = 50, 0


def mutants(data, count, seed):
    """Damaged copies of some bytes: bits flipped, runs overwritten, cut, doubled, numbers made large."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        copied = bytearray(data)
        for _ in range(int(rng.integers(1, 6))):
            at = int(rng.integers(len(copied)))
            match int(rng.integers(5)):
                case 0:
                    copied[at] ^= 1 << int(rng.integers(8))
                case 1:
                    run = int(rng.integers(1, 64))
                    copied[at : at + run] = rng.bytes(len(copied[at : at + run]))
                case 2:
                    del copied[at : at + int(rng.integers(1, 256))]
                case 3:
                    copied[at:at] = copied[at : at + int(rng.integers(1, 256))]
                case _:
                    big = struct.pack("<Q", int(rng.integers(1 << 62)))
                    copied[at : at + 8] = big[: len(copied[at : at + 8])]
            if not copied:
                copied = bytearray(b"\0")
        yield bytes(copied)


def outcomes(kind, data, count, seed, folder):
    """How many mutants load and how many are refused; any other error escapes."""
    loaded = refused = 0
    path = folder / f"mutant.{kind}"
    for mutant in mutants(data, count, seed):
        path.write_bytes(mutant)
        try:
            actmax.load_model(path)
            loaded += 1
        except actmax.ModelFileError:
            refused += 1
    return loaded, refused
