"""Weights of the HDF5 files of Keras 2, put into the layers that they were saved from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actmax.loading.errors import refuse
from actmax.loading.keras2 import ITSELF


def load(model: Any, path: str, renamed: Mapping[str, str]) -> None:
    """Loads the weights of a file into a model made of its configuration.

    Keras goes by the order of the layers. Where Keras 3 orders them otherwise than Keras 2 did, two layers of
    one shape would get each other's weights, so that names are compared first.

    Raises:
        ModelFileError: if the layers with weights are not those of the file.
    """
    import h5py

    with h5py.File(path, "r") as file:
        group = file["model_weights"] if "model_weights" in file else file
        stored = [_text(name) for name in group.attrs.get("layer_names", ())]
        stored = [renamed.get(n, n) for n in stored if len(group[n].attrs.get("weight_names", ()))]
    mine = [layer.name for layer in model.layers if layer.weights]
    if stored == mine:
        model.load_weights(path)
    elif sorted(stored) == sorted(mine) and not renamed:
        model.load_weights(path, by_name=True)
    else:
        first = [name for name in (*stored, *mine) if (name in stored) != (name in mine)]
        received = f"{len(stored)} there and {len(mine)} in the network, such as {first[:3]}"
        raise refuse(f"the layers that {path} has weights of", received, ITSELF)


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
