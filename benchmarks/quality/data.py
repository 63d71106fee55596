"""Data of a track: the images of the subject, of the judges, and of neither. Nothing is downloaded."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

CACHE_VARIABLE = "ACTMAX_QUALITY_CACHE"


@dataclasses.dataclass(frozen=True)
class Track:
    """One data set with its splits. No judge is trained on images of the subject.

    Attributes:
        name: of the track and of its data file, `<name>.npz`.
        labels: names of the classes.
        subject: training images of the subject.
        judges: training images of the judges.
    """

    name: str
    labels: tuple[str, ...]
    subject: slice
    judges: slice

    @property
    def classes(self) -> int:
        return len(self.labels)


TRACKS = {
    "mnist": Track("mnist", tuple("0123456789"), slice(0, 30_000), slice(30_000, 60_000)),
    "cifar10": Track(
        "cifar10",
        (
            "airplane", "automobile", "bird", "cat", "deer",
            "dog", "frog", "horse", "ship", "truck",
        ),
        slice(0, 20_000),
        slice(20_000, 30_000),
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Images:
    """uint8 images `[N, H, W, C]` and classes `[N]` int."""

    images: np.ndarray
    classes: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> Images:
        return Images(self.images[rows], self.classes[rows])

    def __len__(self) -> int:
        return len(self.images)

    def floats(self) -> np.ndarray:
        """The images in (0, 1), float32."""
        return self.images.astype(np.float32) / np.float32(255)


@dataclasses.dataclass(frozen=True)
class Data:
    """All images of a track: those of the subject, those of the judges, and those of neither."""

    track: Track
    subject: Images
    judges: Images
    test: Images


def read(track: Track, folder: Path) -> Data:
    """The images of a track from `folder/<track>.npz`, in the layout of `keras.datasets`.

    Raises:
        ValueError: if there is no such file, or it has too few training images.
    """
    file = folder / f"{track.name}.npz" if folder.is_dir() else folder
    if not file.is_file():
        raise ValueError(
            f"Expected {file} with x_train, y_train, x_test, y_test. Received: no such file. "
            "Pass the folder of the data with --data; nothing is downloaded."
        )
    with np.load(file, allow_pickle=False) as arrays:
        train = _images(arrays["x_train"], arrays["y_train"])
        test = _images(arrays["x_test"], arrays["y_test"])
    if len(train) < track.judges.stop:
        raise ValueError(
            f"Expected at least {track.judges.stop} training images. Received: {len(train)}. "
            "Pass the whole training set: which images are used is part of the protocol."
        )
    return Data(track, train[track.subject], train[track.judges], test)


def _images(pixels: np.ndarray, classes: np.ndarray) -> Images:
    # MNIST comes without a channel axis, CIFAR-10 with classes [N, 1].
    return Images(pixels.reshape(*pixels.shape[:3], -1), np.ravel(classes).astype(np.int64))


def cache(folder: Path | None = None) -> Path:
    """The folder of trained networks: `folder`, $ACTMAX_QUALITY_CACHE or ~/.cache/actmax/quality."""
    if folder is not None:
        return folder
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "actmax" / "quality")
