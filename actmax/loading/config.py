"""The configuration of a Keras model as JSON: checks that it would run no foreign code."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from actmax.loading.errors import ModelFileError, refuse
from actmax.loading.keras2 import OURS

# Objects of these modules are layers, operations and their settings, which is all that a model is made of.
# No other module of Keras may be named.
_MODULES = frozenset({
    "keras.activations", "keras.constraints", "keras.dtype_policies", "keras.initializers",
    "keras.layers", "keras.losses", "keras.metrics", "keras.models", "keras.optimizers",
    "keras.optimizers.schedules", "keras.quantizers", "keras.random", "keras.regularizers",
})  # fmt: skip
_PREFIXES = ("keras.src.applications.", "keras.src.layers.", "keras.src.models.", "keras.src.ops.")
# The module `keras` itself also holds functions that do anything.
_OF_KERAS = frozenset({
    "DTypePolicy", "FloatDTypePolicy", "Functional", "Input", "InputSpec", "KerasTensor", "Model",
    "Sequential",
})  # fmt: skip
# What holds a program or a path instead of weights.
_CODE = {
    "Lambda": "a Lambda layer, which is Python code",
    "__lambda__": "a Python function in bytecode",
    "__typespec__": "a type of another module",
    "TFSMLayer": "a TFSMLayer, which runs a SavedModel from a path",
    "JaxLayer": "a JaxLayer, which is Python code",
    "FlaxLayer": "a FlaxLayer, which is Python code",
    "TorchModuleWrapper": "a TorchModuleWrapper, which is a pickle",
}
# Packages of the makers of Keras, which Keras itself imports when a file names one of their classes.
_BESIDE_KERAS = {"keras_hub": "keras-hub", "keras_nlp": "keras-nlp", "keras_cv": "keras-cv"}
# Settings of tokenizers that can be the path of a file.
_NO_PACKAGES = ("", "builtins", "__main__", "keras", *_BESIDE_KERAS)
_TOKENIZER_FILES = ("vocabulary", "merges", "proto")
# Packages that register their classes when they are imported: what to install, and their classes as
# HDF5 files name them, which have no room for a module.
_INSTALL = {"tcn": "keras-tcn", "hgq": "hgq2", "ncps": "ncps", "kapre": "kapre"}
_IMPORTED = {
    "TCN": "tcn", "ResidualBlock": "tcn", "LTC": "ncps", "CfC": "ncps", "WiredCfCCell": "ncps",
    "STFT": "kapre", "Magnitude": "kapre", "MagnitudeToDecibel": "kapre",
    "QDense": "hgq", "QConv2D": "hgq", "HDense": "hgq", "HQuantize": "hgq",
}  # fmt: skip
# Settings of preprocessing layers that hold values; no path may stand there.
_READERS = ("vocabulary", "idf_weights")
_LOOKUPS = frozenset({"IndexLookup", "IntegerLookup", "StringLookup", "TextVectorization"})
# Every one of so many units has at least one weight of its own.
_SIZES = ("units", "filters", "input_dim", "output_dim", "num_heads", "key_dim")
_MAX_DEPTH = 200
_MAX_VALUES = 2_000_000

Known = Callable[[str], bool]


def parse(text: bytes | str, where: str) -> Any:
    """JSON as a tree.

    Raises:
        ModelFileError: if it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refuse(f"JSON in {where}", f"{type(error).__name__}: {error}"[:200]) from error


def check(tree: Any, known: Known, where: str, weights: int) -> None:
    """Raises if a model made of this configuration could run code that is not Keras'.

    Args:
        tree: the configuration.
        known: whether the user has registered a class or function of this name.
        where: the file, for messages.
        weights: bytes of weights in the file; no layer may have more units than that.

    Raises:
        ModelFileError: naming what stands there.
    """
    bound(tree, where)
    for value in _values(tree, where):
        if isinstance(value, Mapping) and isinstance(value.get("class_name"), str):
            _check_object(value, known, where)
            _check_sizes(value, where, weights)


def bound(tree: Any, where: str) -> None:
    """Raises if a tree is no configuration of a model, or too deep or too large for one.

    Raises:
        ModelFileError: naming which.
    """
    if not isinstance(tree, Mapping) or "class_name" not in tree:
        raise refuse(f"the configuration of a Keras model in {where}", repr(tree)[:80])
    for _ in _values(tree, where):
        pass


def _values(tree: Any, where: str) -> Iterator[Any]:
    """Every value of a tree, without recursion; the losses and optimizer of the whole are left out."""
    top = {key: value for key, value in tree.items() if key != "compile_config"}
    waiting = [(top, 0)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > _MAX_DEPTH or seen > _MAX_VALUES:
            what = f"more than {_MAX_DEPTH} levels" if depth > _MAX_DEPTH else "millions of values"
            raise refuse(f"the configuration of a Keras model in {where}", what)
        yield value
        if isinstance(value, Mapping):
            waiting += [(child, depth + 1) for child in value.values()]
        elif isinstance(value, list):
            waiting += [(child, depth + 1) for child in value]


def _check_object(entry: Mapping[str, Any], known: Known, where: str) -> None:
    name, module = entry["class_name"], entry.get("module")
    registered = entry.get("registered_name")
    function = name == "function"
    if function and isinstance(entry.get("config"), str):
        name = entry["config"]
    own = [each for each in (registered, name) if isinstance(each, str)]
    if name in _CODE:
        raise _code(f"{where}, which has {_CODE[name]}")
    if name in _LOOKUPS and isinstance(entry.get("config"), Mapping):
        paths = [key for key in _READERS if isinstance(entry["config"].get(key), str)]
        if paths:
            raise _code(f"{where}, whose {name} reads the file {entry['config'][paths[0]]!r}")
    if any(known(each) or each in OURS for each in own) or _of_keras(module, name, function):
        return
    package = str(module or "").split(".")[0]
    if package in _BESIDE_KERAS and not function:
        return _beside_keras(package, name, entry, where)
    if package in _NO_PACKAGES:
        package = _IMPORTED.get(name, "")
    package = package if package.isidentifier() else ""
    raise _code(f"{where}, which names {f'{module}.' if module else ''}{name}"[:300], package)


def _check_sizes(entry: Mapping[str, Any], where: str, weights: int) -> None:
    settings = entry.get("config")
    if not isinstance(settings, Mapping):
        return
    for key in _SIZES:
        size = settings.get(key)
        if isinstance(size, int) and size > weights:
            received = f"{entry['class_name']} with {key}={size} and {weights} bytes of weights"
            raise refuse(f"layers of the size of their weights in {where}", received)


def _of_keras(module: Any, name: str, function: bool) -> bool:
    if module is None:  # HDF5 files name Keras' own classes without a module.
        return True
    if not isinstance(module, str):
        return False
    if module == "builtins":
        return function and name.isidentifier()
    if module == "keras":
        return name in _OF_KERAS
    return module in _MODULES or module.startswith(_PREFIXES)


def _beside_keras(package: str, name: str, entry: Mapping[str, Any], where: str) -> None:
    """Raises if a class of Keras' own further packages cannot be had, or reads files."""
    settings = entry.get("config")
    if name.endswith("Tokenizer") and isinstance(settings, Mapping):
        paths = [key for key in _TOKENIZER_FILES if isinstance(settings.get(key), str)]
        if paths:
            raise _code(f"{where}, whose {name} may read the file that {paths[0]} names")
    if importlib.util.find_spec(package) is None:
        raise refuse(
            f"the package {package}, whose {name} is in {where}",
            "an environment without it",
            f"pip install {_BESIDE_KERAS[package]}; Keras imports it by itself.",
        )


def unknown_class(where: str, name: str) -> ModelFileError:
    """The refusal of a class that stands in an HDF5 file by its bare name."""
    package = _IMPORTED.get(name, "")
    if package:
        return _code(f"{where}, which names {name}", package)
    return refuse(
        "layers of Keras, or classes that are given or registered",
        f"{where}, which names {name}",
        f"Give the class as custom_objects={{{name!r}: ...}}, or import the package that registers "
        "it: `--import PACKAGE` on the command line.",
    )


def _code(received: str, package: str = "") -> ModelFileError:
    if package:
        install = f" (pip install {_INSTALL[package]})" if package in _INSTALL else ""
        do = (
            f"Import the package that has the class before you load: import {package}{install}, or "
            f"`--import {package}` on the command line. Importing runs the package's code, not the "
            "file's. A class that the package does not register goes into custom_objects=."
        )
        return refuse("layers of Keras, or of packages that are imported", received, do)
    return refuse(
        "a model without code of its own",
        received,
        "If you trust whoever wrote it: actmax.load_model(path, trusted=True), with the classes "
        "registered or in custom_objects=, or `--trust-model` on the command line.",
    )
