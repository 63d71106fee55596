"""`load_model`: a Keras model from a file that is not trusted."""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actmax import checks
from actmax.loading import (
    config,
    keras2,
    kinds,
    limits,
    old_layers,
    old_weights,
    saved_model,
)
from actmax.loading.errors import ModelFileError, refuse
from actmax.loading.scan import Scan, describe, file_hash, old_of, scan

_FILES: weakref.WeakKeyDictionary[Any, Scan] = weakref.WeakKeyDictionary()
# How Keras says, as a warning, that a part of the model kept its random start.
_NOT_LOADED = "could not be loaded"
# Letters of what Keras says that a message repeats; a configuration may stand in it.
_MOST = 1200


def load_model(
    path: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
) -> Any:
    """A model from a .keras or .h5 file or a SavedModel, which is checked before anything is used.

    The file is first read without Keras. It may contain only layers and operations of Keras itself or
    registered by you, no links, no paths, and no sizes larger than the stored data. A weight that Keras could
    not load is an error, not a warning.

    A file of Keras 2 is corrected in a copy of its configuration: settings that Keras 3 renamed or
    removed, layer names with "/", and the old `hard_sigmoid`. The file itself does not change. The record
    of every run and `actmax inspect` list the corrections. If a file cannot be corrected, it is refused
    with the reason.

    A SavedModel is a program, so it needs `trusted=True`. Its endpoint `serving_default`, or else its
    only endpoint, becomes a model that returns one tensor, or several by name.

    Args:
        path: of the file, or of the folder of a SavedModel.
        sha256: the expected SHA-256 of the file, in hexadecimal. It finds files that were damaged
            silently.
        custom_objects: your own classes and functions, by their names in the file.
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
    old_layers.register()

    def known(name: str) -> bool:
        return _known(name, own)

    if trusted and kinds.is_saved_model(Path(path)):
        return _remember(*saved_model.load(Path(path), sha256))
    found = _trusted(Path(path), known) if trusted else scan(path, known)
    if sha256 is not None and sha256.lower() != found.sha256:
        raise refuse(f"{path} with SHA-256 {sha256}", found.sha256, "Fetch the file again.")
    bounded = contextlib.nullcontext() if trusted else limits.weights(found.values, str(path))
    with bounded:
        model = _load(found, own, trusted)
    if file_hash(found.path) != found.sha256:
        raise refuse(f"{path} to stay as it is while it is read", "another file than before")
    return _remember(model, found)


def _remember(model: Any, found: Scan) -> Any:
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


def _trusted(file: Path, known: Any) -> Scan:
    if file.is_dir():
        raise kinds.folder(file)
    if not file.is_file():
        raise refuse(kinds.EXPECTED, f"{file}, which is no file")
    return Scan(file, "trusted", file_hash(file), file.stat().st_size, old_of(file, known))


def _load(found: Scan, own: dict[str, Any], trusted: bool) -> Any:
    import keras

    if found.old is not None:
        _refuse_missing(found, found.old, own)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            if found.old is None:
                with _as_keras_names_it(found.path) as path:
                    model = keras.models.load_model(
                        path, custom_objects=own, compile=False, safe_mode=not trusted
                    )
            else:
                model = _load_old(found.path, found.old, own, trusted)
        except ModelFileError:
            raise
        except Exception as error:
            # Keras, zip and HDF5 raise almost anything for a file that they cannot read.
            raise _refusal(found, error, trusted) from error
    lost = [str(each.message) for each in told if _NOT_LOADED in str(each.message)]
    if lost:
        raise refuse(f"every weight of the model in {found.path}", " ".join(lost[0].split())[:300])
    for each in told:
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if not isinstance(model, keras.Model):
        raise refuse("a keras.Model", f"{found.path}, which holds a {type(model).__name__}")
    return model


def _load_old(file: Path, old: keras2.Mend, own: dict[str, Any], trusted: bool) -> Any:
    """The model of a mended configuration, with the weights of the file."""
    import keras

    model = keras.saving.deserialize_keras_object(
        copy.deepcopy(old.tree), custom_objects=own, safe_mode=not trusted
    )
    with _as_keras_names_it(file) as path:
        if Path(path).suffix == ".keras":
            model.load_weights(path)
        else:
            old_weights.load(model, path, old.renamed)
    return model


@contextlib.contextmanager
def _as_keras_names_it(file: Path) -> Iterator[str]:
    """The path of a file whose ending is small letters; Keras goes by it, and knows no .H5."""
    ending = file.suffix.lower()
    if file.suffix == ending:
        yield str(file)
        return
    with tempfile.TemporaryDirectory(prefix="actmax") as folder:
        named = Path(folder) / f"model{ending}"
        try:
            named.symlink_to(file.resolve())
        except OSError:  # No links on this system.
            shutil.copyfile(file, named)
        yield str(named)


def _refuse_missing(found: Scan, old: keras2.Mend, own: dict[str, Any]) -> None:
    """Raises for a class of Keras 2, or of somebody else, that Keras 3 does not have."""
    import keras

    for name in old.classes:
        if hasattr(keras.layers, name) or _known(name, own):
            continue
        if name in keras2.DROPPED:
            raise refuse(
                "layers that Keras 3 has, or that actmax mends",
                f"{found.path} of Keras 2, with {name}",
                keras2.ITSELF,
            )
        raise config.unknown_class(str(found.path), name)


def _refusal(found: Scan, error: Exception, trusted: bool) -> ModelFileError:
    """What Keras said of a file, in full, and the remedy that fits."""
    reason = " ".join(str(error).split())
    _, told, last = reason.rpartition("Exception encountered: ")
    reason = last if told else reason
    if len(reason) > _MOST:
        reason = f"{reason[: _MOST // 2]} ... {reason[-_MOST // 2 :]}"
    received = f"{found.path} ({type(error).__name__}: {reason.rstrip('. ')})"
    if found.old is not None:
        return refuse("a model of Keras 2 that Keras 3 can make", received, keras2.ITSELF)
    if trusted:
        do = "Give classes of your own as custom_objects={...}, or register them with Keras."
        return refuse("a model", received, do)
    return refuse(
        "a model that Keras loads in safe mode",
        received,
        "A class of your own goes into custom_objects={...}, or is registered with Keras.",
    )
