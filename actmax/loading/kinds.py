"""Files and folders that are not a complete Keras model: what each is, and what to do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actmax.loading.errors import ModelFileError, refuse

# A SavedModel is one or the other beside a folder of variables.
SAVED = ("saved_model.pb", "saved_model.pbtxt")
EXPECTED = "a model saved as .keras or .h5"
_FORWARD = (
    "Ask for the Keras file or the SavedModel that it was made from: activation maximization needs "
    "gradients, and this format only runs forward."
)
_REBUILD = (
    "Build the network in Python and load its numbers into it, then hand the model over: "
    "actmax.maximize(model, ...)."
)
_PICKLE = (
    "A pickle runs code when it is opened, so that actmax opens none. If you trust whoever wrote it, "
    "open it yourself and hand the model over: actmax.maximize(model, ...)."
)
_TORCH = "a PyTorch file, which holds no Keras model"
# Ending, what it is, what to do.
_OTHERS: dict[str, tuple[str, str]] = {
    ".tflite": ("a TensorFlow Lite file", _FORWARD),
    ".lite": ("a TensorFlow Lite file", _FORWARD),
    ".onnx": ("an ONNX file, which Keras does not read", _REBUILD),
    ".pkl": ("a pickle", _PICKLE),
    ".pickle": ("a pickle", _PICKLE),
    ".joblib": ("a pickle of joblib", _PICKLE),
    ".pt": (_TORCH, _REBUILD),
    ".pth": (_TORCH, _REBUILD),
    ".ckpt": ("a checkpoint: weights without a network", _REBUILD),
    ".index": ("the index of a checkpoint: weights without a network", _REBUILD),
    ".safetensors": ("weights without a network", _REBUILD),
    ".npz": ("arrays without a network", _REBUILD),
    ".npy": ("an array without a network", _REBUILD),
    ".mlmodel": ("a Core ML file", _FORWARD),
    ".json": (
        "a network without its weights, if it is one",
        "In Python: model = keras.models.model_from_json(text), model.load_weights(...), then "
        "actmax.maximize(model, ...).",
    ),
    ".yaml": ("a network without its weights, if it is one", _REBUILD),
    ".zip": ("an archive", "Unpack it, and give the model file in it."),
    ".gz": ("an archive", "Unpack it, and give the model file in it."),
    ".tar": ("an archive", "Unpack it, and give the model file in it."),
    ".py": (
        "a program",
        "Run it yourself and hand the model that it makes to actmax.maximize(model, ...).",
    ),
}
_HEADS = (
    (b"\x89HDF", "an HDF5 file under another ending", "Save it again as .h5, or rename it."),
    (
        b"PK\x03\x04",
        "a zip archive under another ending",
        "Save it again as .keras, or rename it.",
    ),
    (b"version ", "a pointer of Git LFS instead of the file", "Fetch the file: git lfs pull."),
)


def other(file: Path, head: bytes) -> ModelFileError:
    """The refusal of a file by its ending, or else by its first bytes."""
    ending = file.suffix.lower()
    if ending in (".pb", ".pbtxt"):
        if file.name in SAVED:
            do = f"Give the folder around it: {str(file.parent)!r}."
            return refuse(EXPECTED, f"{file}, a part of a SavedModel", do)
        return refuse(EXPECTED, f"{file}, a frozen graph of TensorFlow 1", _FORWARD)
    if head[4:8] == b"TFL3":
        return refuse(EXPECTED, f"{file}, a TensorFlow Lite file", _FORWARD)
    if ending in _OTHERS:
        what, do = _OTHERS[ending]
        return refuse(EXPECTED, f"{file}, {what}", do)
    for mark, what, do in _HEADS:
        if head.startswith(mark):
            return refuse(EXPECTED, f"{file}, {what}", do)
    return refuse(EXPECTED, str(file), "Save it again with model.save('name.keras').")


def folder(path: Path) -> ModelFileError:
    """The error for a folder."""
    if is_saved_model(path):
        do = (
            "A SavedModel is a program, so that it is loaded only if you trust whoever wrote it: "
            f"actmax.load_model({str(path)!r}, trusted=True), or `--trust-model` on the command line. "
            "`actmax inspect` lists what is in it without running it."
        )
        return refuse(EXPECTED, f"the folder {path}, a SavedModel", do)
    found = sorted(
        child.name
        for pattern in ("*.keras", "*.h5", "*.hdf5", "*/saved_model.pb")
        for child in path.glob(pattern)
    )
    do = f"Give one of the files in it, such as {found[0]!r}." if found else ""
    return refuse(EXPECTED, f"the folder {path}, which is no SavedModel", do)


def is_saved_model(path: Path) -> bool:
    """Whether a folder holds a SavedModel."""
    return path.is_dir() and any((path / name).is_file() for name in SAVED)


def no_model(file: Path, content: Any) -> ModelFileError:
    """The error for an HDF5 file without the configuration of a model."""
    keras = "layer_names" in content.attrs or {"layers", "_layer_checkpoint_dependencies"} & set(
        content
    )
    if not keras:
        return refuse(f"a model in {file}", "an HDF5 file without model_config")
    names = [name for name in list(content)[:1000] if len(name) < 50]
    shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    do = f"Build the network in Python, then model.load_weights({str(file)!r}), and hand it over."
    return refuse(
        f"a model in {file}",
        f"weights without a network (no model_config), of the layers {shown}",
        do,
    )
