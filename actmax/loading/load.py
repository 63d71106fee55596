"""`load_model`: a Keras model from a file that nobody vouches for."""

from __future__ import annotations

import contextlib
import os
import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actmax import checks
from actmax.loading import limits
from actmax.loading.errors import refuse
from actmax.loading.scan import Scan, describe, file_hash, scan

_FILES: weakref.WeakKeyDictionary[Any, Scan] = weakref.WeakKeyDictionary()
# How Keras says, as a warning, that a part of the model kept its random start.
_NOT_LOADED = "could not be loaded"


def load_model(
    path: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
) -> Any:
    """A Keras model from a .keras or .h5 file, looked through before anything in it is used.

    The file is first read without Keras: only layers and operations of Keras itself or registered by you may
    stand in it, no links, no paths, and no sizes beyond what is stored. A weight that Keras could not load is
    an error, not a warning.

    Args:
        path: of the file.
        sha256: what the file's SHA-256 must be, in hexadecimal; a silently damaged file is told by it.
        custom_objects: your own classes and functions, by the names that stand in the file.
        trusted: True for a file whose author you trust to run code on your machine: Lambda layers are
            loaded, and the file is only hashed.

    Returns:
        The model, not compiled for training. Runs on it keep the file's name and hash in their record.

    Raises:
        ModelFileError: if the file is missing, damaged, another one than expected, or unsafe.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> actmax.load_model(zoo.path("mnist")).name
        'mnist_cnn'
    """
    if sha256 is not None and not isinstance(sha256, str):
        raise TypeError(checks.message("sha256 as a hexadecimal string", repr(sha256)))
    own = dict(custom_objects or {})
    found = _trusted(Path(path)) if trusted else scan(path, lambda name: _known(name, own))
    if sha256 is not None and sha256.lower() != found.sha256:
        raise refuse(f"{path} with SHA-256 {sha256}", found.sha256, "Fetch the file again.")
    bounded = contextlib.nullcontext() if trusted else limits.weights(found.values, str(path))
    with bounded:
        model = _load(found, own, trusted)
    if file_hash(found.path) != found.sha256:
        raise refuse(f"{path} to stay as it is while it is read", "another file than before")
    _FILES[model] = found
    return model


def file_of(model: Any) -> dict[str, Any] | None:
    """Name and SHA-256 of the file that `load_model` made a model from; None for any other model."""
    try:
        found = _FILES.get(model)
    except TypeError:  # A callable that cannot be referred to weakly.
        return None
    return None if found is None else describe(found)


def _known(name: str, own: Mapping[str, Any]) -> bool:
    import keras

    return keras.saving.get_registered_object(name, custom_objects=own) is not None


def _trusted(file: Path) -> Scan:
    if not file.is_file():
        raise refuse("a model saved as .keras or .h5", f"{file}, which is no file")
    return Scan(file, "trusted", file_hash(file), file.stat().st_size)


def _load(found: Scan, own: dict[str, Any], trusted: bool) -> Any:
    import keras

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            model = keras.models.load_model(
                found.path, custom_objects=own, compile=False, safe_mode=not trusted
            )
        except Exception as error:
            # Keras, zip and HDF5 raise almost anything for a file that they cannot read.
            reason = " ".join(str(error).split())[:300]
            raise refuse(
                "a model that Keras loads in safe mode" if not trusted else "a model",
                f"{found.path} ({type(error).__name__}: {reason})",
                "A model with Lambda layers or classes of its own is loaded by whoever trusts it: "
                "actmax.load_model(path, trusted=True, custom_objects={...}).",
            ) from error
    lost = [str(each.message) for each in told if _NOT_LOADED in str(each.message)]
    if lost:
        raise refuse(f"every weight of the model in {found.path}", " ".join(lost[0].split())[:300])
    for each in told:
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if not isinstance(model, keras.Model):
        raise refuse("a keras.Model", f"{found.path}, which holds a {type(model).__name__}")
    return model
