"""Inputs of an evaluation: a result, a folder of pictures, or 8-bit images; and natural images."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from actmax import archives, checks, files
from actmax.images import file_names, from_uint8
from actmax.preparing import channels_last
from actmax.result import Result

__all__ = ["Natural", "Pictures"]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Generated images: 8 bits `[N, H, W, C]`, and their reported scores and targets, if known."""

    levels: npt.NDArray[np.uint8]
    inputs: npt.NDArray[Any] | None
    reported: npt.NDArray[np.float64] | None
    targets: npt.NDArray[Any] | None
    bounds: tuple[Any, Any] | None
    config: Mapping[str, Any]

    def floats(self) -> npt.NDArray[np.float32]:
        """The 8-bit images in (0, 1)."""
        return from_uint8(self.levels, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Natural:
    """Natural images that the subject did not see: uint8 `[M, H, W, C]`, with classes `[M]`."""

    images: npt.NDArray[np.uint8]
    classes: npt.NDArray[np.int64]

    def floats(self) -> npt.NDArray[np.float32]:
        """The images in (0, 1)."""
        return from_uint8(self.images, 0.0, 1.0)

    def halves(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Rows of a bank and rows held out: each class in turns, so that both have all classes."""
        order = np.argsort(self.classes, kind="stable")
        return np.sort(order[::2]), np.sort(order[1::2])

    @classmethod
    def read(cls, given: Any) -> Natural:
        """From `(images, classes)`, a `Natural`, or an NPZ file.

        A file has `images` and `classes`, or `x_test` and `y_test` as those of `keras.datasets`.

        Raises:
            ValueError: if the arrays do not fit, or the file has neither pair.
        """
        if isinstance(given, Natural):
            return given
        if isinstance(given, str | Path):
            given = _arrays(Path(given))
        if not isinstance(given, tuple | list) or len(given) != 2:
            expected = "natural images as (images, classes), or as the path of an .npz file"
            raise ValueError(checks.message(expected, type(given).__name__))
        images, classes = np.asarray(given[0]), np.ravel(np.asarray(given[1]))
        if images.ndim == 3:
            images = images[..., None]
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(classes):
            received = f"{images.dtype} {images.shape} and {len(classes)} classes"
            raise ValueError(
                checks.message("uint8 images [M, H, W, C] and a class for each", received)
            )
        return cls(images, classes.astype(np.int64))


def pictures(given: Any) -> Pictures:
    """Pictures from a result, the folder of a saved one or of PNG files, or a uint8 array.

    For a folder, the pictures are read from its files.

    Raises:
        ValueError: if the folder has no pictures, some are missing or of another size, or an array is not
            `[N, H, W, C]`.
        TypeError: if an array is not uint8.
    """
    if isinstance(given, Result):
        return _of_result(given, given.to_uint8())
    if isinstance(given, str | Path):
        return _of_folder(Path(given))
    levels = np.asarray(given)
    if levels.dtype != np.uint8:
        do = "Convert with actmax.to_uint8(images, low, high): all metrics are of 8-bit images."
        raise TypeError(checks.message("a Result, a folder, or uint8 images", levels.dtype, do))
    if levels.ndim != 4 or not len(levels):
        raise ValueError(checks.message("uint8 images [N, H, W, C]", f"shape {levels.shape}"))
    return Pictures(levels, None, None, None, None, {})


def _of_folder(folder: Path) -> Pictures:
    result = Result.load(folder) if (folder / "result.json").exists() else None
    if result is None:
        listed = sorted(file for file in folder.glob("*.png") if file.name != "grid.png")
    else:  # By its own names: others may lie there, and of a thousand the order of names is another.
        listed = [folder / name for name in file_names(result.names())] if result.shows() else []
    missing = [file.name for file in listed if not file.exists()]
    if missing or not listed:
        found = f"{folder}, without {', '.join(missing[:3])}" if missing else folder
        raise ValueError(
            checks.message("a folder with PNG files", found, "Save a result of images there.")
        )
    each = [_read(file) for file in listed]
    shapes = sorted({levels.shape for levels in each})
    if len(shapes) > 1:
        raise ValueError(checks.message("pictures of one size", f"{folder}, which has {shapes}"))
    levels = np.stack(each)
    return (
        Pictures(levels, None, None, None, None, {})
        if result is None
        else _of_result(result, levels)
    )


def _of_result(result: Result, levels: npt.NDArray[np.uint8]) -> Pictures:
    if len(levels) != len(result):
        raise ValueError(
            checks.message("a picture for each image", f"{len(levels)} files, {len(result)} images")
        )
    scores = np.asarray(result.scores, np.float64)
    name = next(iter(result.low))
    images = channels_last(result.images, result.channels(name))
    return Pictures(levels, images, scores, result.targets, result.scale(), result.config)


def _read(file: Path) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(files.read(file)), formats=["PNG"]) as image:
            if image.mode.startswith(("I", "F")):  # Pillow would cut off what is above 255.
                raise ValueError("more than 8 bits per value")
            gray = image.mode in ("1", "L")
            levels = np.asarray(image.convert("L" if gray else "RGB"))
    except Exception as error:
        # A damaged file makes Pillow and zlib raise many errors. The caller gets one class of
        # error.
        found = f"{file} ({type(error).__name__}: {error})"
        raise ValueError(checks.message("a PNG file of 8 bits", found)) from error
    return levels[..., None] if gray else levels


def _arrays(file: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    expected = "an NPZ file with `images` and `classes`, or `x_test` and `y_test`"
    try:
        with file.open("rb") as stream, archives.opened(stream) as arrays:
            for pair in (("images", "classes"), ("x_test", "y_test")):
                if all(name in arrays for name in pair):
                    return arrays[pair[0]], arrays[pair[1]]
            names = arrays.files
    except FileNotFoundError:
        raise
    except Exception as error:
        # A damaged file makes zip and NumPy raise many errors. The caller gets one class of error.
        found = f"{file} ({type(error).__name__}: {error})"
        raise ValueError(checks.message(expected, found)) from error
    raise ValueError(checks.message(expected, f"{file} with {names}"))
