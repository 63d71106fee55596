"""SavedModels: reads their signatures without running them, and makes one endpoint a Keras model."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actmax.loading.errors import refuse
from actmax.loading.kinds import SAVED
from actmax.loading.scan import Scan, file_hash

_USUAL = ("serving_default", "serve")
# Signatures that TensorFlow writes for itself.
_INTERNAL = "__saved_model"
# What to do, by a part of TensorFlow's error. Objects of packages that are not installed are `_UserObject`.
_REMEDIES = {
    "_UserObject": "If Keras 2 wrote the folder, install it: pip install tf_keras, in the version of "
    "TensorFlow. It need not be imported.",
    "depends on a placeholder which is not an input": "TensorFlow 1 wrote it, and its endpoint leaves out an "
    "input, so TensorFlow 2 cannot load it. A session of tf.compat.v1 runs it: build the network in Keras "
    "and give it the variables that the session reads.",
}
Shape = tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class Signature:
    """One endpoint: by name, `(shape with the batch dimension, type)` of its inputs and outputs."""

    inputs: Mapping[str, tuple[Shape, str]]
    outputs: Mapping[str, tuple[Shape, str]]


def signatures(folder: Path) -> dict[str, Signature]:
    """Endpoints of a SavedModel by name. The file is parsed, and nothing in it is run.

    Raises:
        ModelFileError: if it is damaged or has none.
    """
    from google.protobuf import text_format  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    message = saved_model_pb2.SavedModel()
    try:
        if (folder / SAVED[0]).is_file():
            message.ParseFromString((folder / SAVED[0]).read_bytes())
        else:
            text_format.Parse((folder / SAVED[1]).read_text("utf-8"), message)
    except Exception as error:
        raise refuse(
            f"a SavedModel in {folder}", f"{type(error).__name__}: {error}"[:300]
        ) from error
    found = {}
    for graph in message.meta_graphs:
        for name, each in graph.signature_def.items():
            if not name.startswith(_INTERNAL):
                found[name] = Signature(_tensors(each.inputs), _tensors(each.outputs))
    if not found:
        do = (
            "In Python: loaded = tf.saved_model.load(folder), then actmax.maximize(lambda x: "
            "loaded.some_function(x), input_shape=..., input_range=...)."
        )
        raise refuse(f"a SavedModel with signatures in {folder}", "one without any", do)
    return found


def _tensors(described: Any) -> dict[str, tuple[Shape, str]]:
    import tensorflow as tf

    found = {}
    for name in sorted(described):
        shape = described[name].tensor_shape
        sizes = tuple(None if each.size < 0 else int(each.size) for each in shape.dim)
        kind = tf.dtypes.as_dtype(described[name].dtype).name
        found[name] = (None if shape.unknown_rank else sizes, kind)
    return found


def load(folder: Path, sha256: str | None) -> tuple[Any, Scan]:
    """A Keras model around the usual endpoint of a SavedModel, which runs the program in it.

    Raises:
        ModelFileError: if there is no such endpoint, or TensorFlow cannot load it.
    """
    import keras

    known = signatures(folder)
    usual = [name for name in _USUAL if name in known] or list(known)
    if len(usual) > 1 and usual[0] not in _USUAL:
        do = (
            f"Name one: keras.layers.TFSMLayer({str(folder)!r}, call_endpoint={usual[0]!r}) is a "
            "layer that a model can be built around."
        )
        raise refuse(f"one endpoint, or {_USUAL[0]!r}, in {folder}", f"{sorted(known)}", do)
    signature = known[usual[0]]
    digest = _hash(folder)
    if sha256 is not None and sha256.lower() != digest:
        raise refuse(f"{folder} with SHA-256 {sha256}", digest, "Fetch the folder again.")
    unknown = [name for name, (shape, _) in signature.inputs.items() if shape is None]
    if unknown:
        do = (
            f"In Python: layer = keras.layers.TFSMLayer({str(folder)!r}, call_endpoint={usual[0]!r}), "
            "then actmax.maximize(layer, input_shape=..., input_range=...)."
        )
        raise refuse(f"inputs of a known number of axes in {folder}", f"{unknown} of none", do)
    try:
        layer = _endpoint()(str(folder), call_endpoint=usual[0], trainable=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:600]
        do = next((what for sign, what in _REMEDIES.items() if sign in reason), "")
        raise refuse(
            f"a SavedModel in {folder}", f"{type(error).__name__}: {reason}", do
        ) from error
    layer.single = len(signature.outputs) == 1
    inputs = {
        name: keras.Input(batch_shape=shape, dtype=kind, name=_plain(name))
        for name, (shape, kind) in signature.inputs.items()
    }
    layer.shapes = dict(signature.outputs)
    outputs = layer(inputs)
    given: Any = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    model = keras.Model(given, outputs, name=_plain(folder.resolve().name))
    return model, Scan(folder, "saved_model", digest, 0)


def _endpoint() -> Any:
    import keras

    class Endpoint(keras.layers.TFSMLayer):
        """One signature of a SavedModel, called by the names of its inputs."""

        single = False
        shapes: dict[str, tuple[Shape, str]]

        def call(self, inputs: Any, training: Any = False, **kwargs: Any) -> Any:
            found = self.call_endpoint_fn(**inputs)
            return next(iter(found.values())) if self.single else found

        def compute_output_spec(self, inputs: Any, **kwargs: Any) -> Any:
            specs = {
                name: keras.KerasTensor(_batched(shape), dtype=kind)
                for name, (shape, kind) in self.shapes.items()
            }
            return next(iter(specs.values())) if self.single else specs

    return Endpoint


def _batched(shape: Shape) -> Any:
    return (None,) if shape is None else shape


def _plain(name: str) -> str:
    return (
        "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in name) or "model"
    )


def _hash(folder: Path) -> str:
    """SHA-256 of the names and bytes of all files of a folder, in order."""
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{file.relative_to(folder).as_posix()}\0{file_hash(file)}\n".encode())
    return total.hexdigest()
