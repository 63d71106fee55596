"""Models from files, in safe mode."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def load_model(file: Path) -> Any:
    """A Keras model from a file, in safe mode: nothing that the file holds is run as code.

    Raises:
        ValueError: if there is no such file, if it is no model, or if Keras refuses it.
    """
    import keras

    from actmax import checks

    expected = "a model saved as .keras or .h5"
    if not file.exists():
        raise ValueError(checks.message(expected, f"{file}, which does not exist"))
    if file.is_dir():
        do = (
            "For a SavedModel, write a Python program: wrap it in "
            f"keras.layers.TFSMLayer({str(file)!r}, call_endpoint='serving_default') and give that "
            "and input_shape= to actmax.maximize."
        )
        raise ValueError(checks.message(expected, f"the folder {file}", do))
    if file.suffix not in (".keras", ".h5", ".hdf5"):
        do = "Save it again with model.save('name.keras')."
        raise ValueError(checks.message(expected, str(file), do))
    if file.suffix != ".keras":
        _refuse_lambda(file)
    try:
        return keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        # Keras, zip and HDF5 raise almost anything for a file that they cannot read.
        reason = " ".join(str(error).split())[:300]
        do = (
            "A model with Lambda layers or classes of its own is loaded in Python, by whoever "
            "trusts it, and given to actmax.maximize there."
        )
        raise ValueError(
            checks.message(
                f"{expected} that Keras loads in safe mode",
                f"{file} ({type(error).__name__}: {reason})",
                do,
            )
        ) from error


def _refuse_lambda(file: Path) -> None:
    """Raises ValueError if an HDF5 model has a Lambda layer.

    Keras before 3.11.3 runs the code in such a file in safe mode too (CVE-2025-9905, 2025).
    """
    import h5py

    from actmax import checks

    try:
        with h5py.File(file) as content:
            config = json.loads(content.attrs.get("model_config", "null"))
    except (OSError, ValueError):
        return  # Keras says what is wrong with it.
    if _has_lambda(config):
        do = "Load it in Python, if you trust it, and give it to actmax.maximize there."
        received = f"{file}, which has a Lambda layer"
        raise ValueError(checks.message("a model without code of its own", received, do))


def _has_lambda(config: Any) -> bool:
    if isinstance(config, Mapping):
        return config.get("class_name") == "Lambda" or any(map(_has_lambda, config.values()))
    return isinstance(config, list) and any(map(_has_lambda, config))
