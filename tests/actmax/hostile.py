"""Model files that nobody should load: each builder writes one into a folder and returns its path.

Files that would run code leave a canary, `HOSTILE_CANARY` in the folder's parent, when they succeed.
"""

import copy
import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import keras
import numpy as np

import actmax

CANARY = "HOSTILE_CANARY"


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


def touch(folder):
    """An argument list that would create the canary."""
    return [f"touch {folder.parent / CANARY}"]


def lambda_layer(folder):
    canary = str(folder.parent / CANARY)
    layer = keras.layers.Lambda(lambda x: __import__("pathlib").Path(canary).touch() or x)
    return keras.saving.serialize_keras_object(layer)


# .keras: what would run code -----------------------------------------------------------------------

BUILDERS = {}


def hostile(expected):
    """Adds a builder; `expected` must stand in the message."""

    def add(function):
        BUILDERS[function.__name__.replace("_", " ").strip()] = (function, expected)
        return function

    return add


@hostile("a Lambda layer, which is Python code")
def a_lambda_in_keras(good, folder):
    return good.with_layer(folder / "m.keras", lambda_layer(folder))


@hostile("a Lambda layer, which is Python code")
def a_lambda_in_hdf5(good, folder):
    return good.hdf5_with_layer(folder / "m.h5", lambda_layer(folder))


@hostile("a Python function in bytecode")
def bytecode_as_an_activation(good, folder):
    def change(config):
        code = {"class_name": "__lambda__", "config": {"value": ["4wAAAA==", None, None]}}
        config["config"]["layers"][1]["config"]["activation"] = code

    return good.with_config(folder / "m.keras", change)


@hostile("os.system")
def a_function_of_os(good, folder):
    def change(config):
        call = object_of("os", "function", "system", "system")
        config["config"]["layers"][1]["config"]["activation"] = call

    return good.with_config(folder / "m.keras", change)


@hostile("subprocess.Popen")
def a_class_of_subprocess(good, folder):
    layer = object_of("subprocess", "Popen", {"args": touch(folder), "shell": True})
    return good.with_layer(folder / "m.keras", layer)


@hostile("builtins.")
def eval_of_builtins(good, folder):
    return good.with_layer(folder / "m.keras", object_of("builtins", "eval", {"source": "1"}))


@hostile("keras.config.enable_unsafe_deserialization")
def safe_mode_turned_off(good, folder):
    layer = object_of("keras.config", "enable_unsafe_deserialization")
    return good.with_layer(folder / "m.keras", layer)


@hostile("keras.utils.get_file")
def a_download(good, folder):
    config = {"fname": "x", "origin": "https://example.org/x", "cache_dir": str(folder)}
    return good.with_layer(folder / "m.keras", object_of("keras.utils", "get_file", config))


@hostile("keras.saving.load_model")
def a_model_that_loads_another(good, folder):
    config = {"filepath": "other.keras", "safe_mode": False}
    return good.with_layer(folder / "m.keras", object_of("keras.saving", "load_model", config))


@hostile("keras.src.utils.python_utils")
def a_function_of_keras_own_tools(good, folder):
    layer = object_of("keras.src.utils.python_utils", "func_load", {"code": "x"})
    return good.with_layer(folder / "m.keras", layer)


@hostile("evil_package.Layer")
def a_module_that_is_not_there(good, folder):
    return good.with_layer(folder / "m.keras", object_of("evil_package", "Layer"))


@hostile("this_is_imported.Layer")
def a_module_on_the_path(good, folder):
    (folder / "this_is_imported.py").write_text(
        f"import pathlib\npathlib.Path({str(folder.parent / CANARY)!r}).touch()\nclass Layer: pass\n"
    )
    return good.with_layer(folder / "m.keras", object_of("this_is_imported", "Layer"))


@hostile("keras.Custom>Evil")
def a_custom_class_by_name(good, folder):
    layer = object_of("keras", "Custom>Evil", {}, "Custom>Evil")
    return good.with_layer(folder / "m.keras", layer)


@hostile("a TFSMLayer")
def a_saved_model_by_path(good, folder):
    layer = object_of("keras.layers", "TFSMLayer", {"filepath": "/etc", "call_endpoint": "serve"})
    return good.with_layer(folder / "m.keras", layer)


@hostile("a TorchModuleWrapper, which is a pickle")
def a_pickle_in_a_layer(good, folder):
    layer = object_of("keras.layers", "TorchModuleWrapper", {"module": "gASVAAAA"})
    return good.with_layer(folder / "m.keras", layer)


@hostile("a type of another module")
def a_type_of_another_module(good, folder):
    layer = {**object_of("os", "__typespec__", ["x"]), "spec_name": "system"}
    return good.with_layer(folder / "m.keras", layer)


@hostile("reads the file '/etc/passwd'")
def a_vocabulary_from_the_disk(good, folder):
    layer = object_of("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"})
    return good.with_layer(folder / "m.keras", layer)


@hostile("evil.Loss")
def code_in_a_nested_model(good, folder):
    inner = copy.deepcopy(good.config)
    inner["compile_config"] = {"loss": object_of("evil", "Loss")}
    return good.with_layer(folder / "m.keras", inner)


# .keras: the archive -------------------------------------------------------------------------------


@hostile("members of a Keras model")
def a_member_above_the_folder(good, folder):
    return pack(folder / "m.keras", {**good.keras, f"../{CANARY}": b"x"})


@hostile("members of a Keras model")
def an_absolute_member(good, folder):
    return pack(folder / "m.keras", {**good.keras, str(folder.parent / CANARY): b"x"})


@hostile("members of a Keras model")
def a_member_with_backslashes(good, folder):
    return pack(folder / "m.keras", {**good.keras, f"assets\\..\\..\\{CANARY}": b"x"})


@hostile("members of a Keras model")
def a_member_nobody_asked_for(good, folder):
    return pack(folder / "m.keras", {**good.keras, "setup.py": b"x"})


@hostile("a symbolic link")
def a_link_in_the_archive(good, folder):
    path = pack(folder / "m.keras", good.keras)
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    return path


@hostile("distinct members")
def two_configurations(good, folder):
    path = pack(folder / "m.keras", good.keras)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("config.json")
        archive.filelist.append(info)  # or Python warns of the duplicate that is wanted here
        archive.filelist.pop()
        archive.NameToInfo.pop("config.json")
        archive.writestr(info, "{}")
    return path


@hostile("which unpacks")
def a_bomb_of_zeros(good, folder):
    content = {**good.keras, "model.weights.h5": bytes(1 << 27)}
    return pack(folder / "m.keras", content, zipfile.ZIP_DEFLATED)


@hostile("which unpacks")
def members_that_share_their_bytes(good, folder):
    """No member is large for what it takes; together they are more than a hundred times the file."""
    path = pack(
        folder / "m.keras", {**good.keras, "assets/0": bytes(3 << 20)}, zipfile.ZIP_DEFLATED
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"."  # or nothing is written
        one = archive.getinfo("assets/0")
        for number in range(1, 1000):
            archive.filelist.append(copy.copy(one))
            archive.filelist[-1].filename = f"assets/{number}"
    return path


@hostile("JSON in")
def a_configuration_larger_than_it_says(good, folder):
    """Where it says so, in the directory, its size and what it takes are made small again."""
    path = pack(
        folder / "m.keras", {**good.keras, "config.json": b" " * (1 << 28)}, zipfile.ZIP_DEFLATED
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"."
        archive.getinfo("config.json").file_size = 1000
        archive.getinfo("config.json").CRC = zlib.crc32(b" " * 1000)
    return path


@hostile("packed by method")
def members_packed_by_bzip2(good, folder):
    """A million zeros of one byte, and Python unpacks four thousand bytes at once."""
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


@hostile("JSON in")
def a_configuration_a_million_deep(good, folder):
    deep = b"[" * 1_000_000 + b"]" * 1_000_000
    return pack(folder / "m.keras", {**good.keras, "config.json": deep})


@hostile("more than 200 levels")
def a_configuration_of_three_hundred_levels(good, folder):
    config = json.dumps(good.config)[:-1] + ', "x": ' + "[" * 300 + "]" * 300 + "}"
    return pack(folder / "m.keras", {**good.keras, "config.json": config})


@hostile("the configuration of a Keras model")
def a_configuration_that_is_a_list(good, folder):
    return pack(folder / "m.keras", {**good.keras, "config.json": b"[1, 2]"})


@hostile("a keras.Model")
def a_layer_that_is_no_model(good, folder):
    config = json.dumps(object_of("keras.layers", "ReLU", {"name": "relu"}))
    return pack(folder / "m.keras", {**good.keras, "config.json": config})


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
        content["layers/extra"] = h5py.ExternalLink("/etc/other.h5", "/")

    return good.with_weights(folder / "m.keras", change)


@hostile("ExternalLink")
def an_external_link_in_hdf5(good, folder):
    def change(content):
        content["model_weights/extra"] = h5py.ExternalLink("/etc/other.h5", "/")

    return good.hdf5_with(folder / "m.h5", change)


@hostile("SoftLink")
def soft_links_in_a_circle(good, folder):
    def change(content):
        content["a"] = h5py.SoftLink("/b")
        content["b"] = h5py.SoftLink("/a")

    return good.hdf5_with(folder / "m.h5", change)


@hostile("stands there twice")
def hard_links_in_a_circle(good, folder):
    def change(content):
        content["model_weights/self"] = content["model_weights"]

    return good.hdf5_with(folder / "m.h5", change)


@hostile("texts inside of their heap")
def a_heap_without_an_end(good, folder):
    """HDF5 adds up sizes of objects until it is at the end: one of 0 keeps it there for ever."""
    data = bytearray(good.hdf5)
    place = data.index(b"GCOL\x01") + 16
    while (number := struct.unpack_from("<H", data, place)[0]) != 0:
        place += 16 + (struct.unpack_from("<Q", data, place + 8)[0] + 7) // 8 * 8
    struct.pack_into("<Q", data, place + 8, number)
    (folder / "m.h5").write_bytes(data)
    return folder / "m.h5"


@hostile("whose values are elsewhere")
def values_in_another_file(good, folder):
    (folder / "secret").write_bytes(bytes(64))

    def change(content):
        content.create_dataset(
            "leak", (16,), "f4", external=[(str(folder / "secret"), 0, h5py.h5f.UNLIMITED)]
        )

    return good.hdf5_with(folder / "m.h5", change)


@hostile("whose values are elsewhere")
def a_virtual_dataset(good, folder):
    def change(content):
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4,))
        content.create_virtual_dataset("virtual", layout)

    return good.with_weights(folder / "m.keras", change)


@hostile("which declares")
def a_dataset_larger_than_any_disk(good, folder):
    def change(content):
        content.create_dataset("bomb", (1 << 40,), "f4", chunks=(1 << 20,))

    return good.with_weights(folder / "m.keras", change)


@hostile("numbers in")
def references_in_place_of_numbers(good, folder):
    def change(content):
        content.create_dataset("refs", (2,), h5py.ref_dtype)

    return good.with_weights(folder / "m.keras", change)


@hostile("without model_config")
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


@hostile("begins as bytes")
def a_pickle(good, folder):
    path = folder / "m.keras"
    path.write_bytes(b"\x80\x04cposix\nsystem\n(Vtouch " + CANARY.encode() + b"\ntR.")
    return path


@hostile("the folder")
def a_folder(good, folder):
    (folder / "m.keras").mkdir()
    return folder / "m.keras"


@hostile("not a regular file")
def a_pipe(good, folder):
    os.mkfifo(folder / "m.keras")
    return folder / "m.keras"


@hostile("does not exist")
def a_link_to_nothing(good, folder):
    (folder / "m.keras").symlink_to(folder / "nothing.keras")
    return folder / "m.keras"


@hostile("null")
def a_name_with_a_null(good, folder):
    return Path("m\0.keras")


# The model -----------------------------------------------------------------------------------------


@hostile("safe mode")
def weights_of_another_shape(good, folder):
    def change(config):
        config["config"]["layers"][-1]["config"]["units"] = 5

    return good.with_config(folder / "m.keras", change)


@hostile("with units=8589934592 and")
def a_layer_larger_than_its_weights(good, folder):
    def change(config):
        config["config"]["layers"][-1]["config"]["units"] = 1 << 33

    return good.with_config(folder / "m.keras", change)


@hostile("bytes of weights that")
def layers_larger_than_the_memory(good, folder):
    """Each has fewer units than the file has bytes, and together they need 2 GB."""
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(25_000)]).save(folder / "m.keras")
    content = members(folder / "m.keras")
    config = json.loads(content["config.json"])
    config["config"]["layers"].append(copy.deepcopy(config["config"]["layers"][-1]))
    config["config"]["layers"][-1]["config"]["name"] = "another"
    config["config"]["layers"][-1].pop("build_config", None)
    return pack(folder / "m.keras", {**content, "config.json": json.dumps(config)})


@hostile("dense")
def a_layer_without_its_weights(good, folder):
    def change(content):
        del content["layers/dense/vars/0"], content["layers/dense/vars/1"]

    return good.with_weights(folder / "m.keras", change)


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
