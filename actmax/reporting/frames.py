"""The images over the steps, as a file: `frames.npz`, 8 bits deep.

The file holds `format` (1), `steps` int64 `[F]`, the number of updates before each frame, ascending,
and `frames` uint8 `[F, N, H, W, C]`. No pickle.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from actmax import archives, checks, files, images

FILE = "frames.npz"
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class RecordedFrames:
    """Frames of a run. `steps` int `[F]`, `frames` uint8 `[F, N, H, W, C]`."""

    steps: np.ndarray
    frames: np.ndarray

    def __post_init__(self) -> None:
        steps, frames = self.steps, self.frames
        fits = frames.ndim == 5 and frames.dtype == np.uint8 and len(steps) == len(frames)
        if not fits or steps.ndim != 1 or not len(steps) or np.any(np.diff(steps) < 0):
            raise ValueError(
                checks.message(
                    "frames uint8 [F, N, H, W, C] and ascending steps [F], F at least 1",
                    f"frames {frames.dtype} {frames.shape} and steps {steps.shape}",
                )
            )

    def thinned(self, most: int) -> RecordedFrames:
        """At most `most` frames, evenly spaced, the first and the last among them."""
        if len(self.steps) <= most:
            return self
        keep = np.unique(np.rint(np.linspace(0, len(self.steps) - 1, most)).astype(int))
        return RecordedFrames(self.steps[keep], self.frames[keep])


def save_frames(folder: str | Path, film: RecordedFrames) -> Path:
    """Writes `frames.npz` into a folder that exists; returns its path."""
    steps = film.steps.astype(np.int64)
    data = archives.pack(
        {"format": np.asarray(_FORMAT, np.int64), "steps": steps, "frames": film.frames}
    )
    file = Path(folder) / FILE
    images.write_atomic(file, data)
    return file


def load_frames(folder: str | Path) -> RecordedFrames | None:
    """The recorded frames in a folder, or None.

    Raises:
        ValueError: if the file is damaged or of another format.
    """
    file = Path(folder) / FILE
    if not file.exists():
        return None
    try:
        with archives.opened(files.read(file)) as arrays:
            if int(arrays["format"]) != _FORMAT:
                raise ValueError(f"format {int(arrays['format'])}")
            return RecordedFrames(arrays["steps"], arrays["frames"])
    except Exception as error:
        # zip and NumPy raise many errors for damaged files. The caller gets one class of error.
        do = "Remove the file, or save the frames again."
        received = f"{file} ({type(error).__name__}: {error})"
        raise ValueError(
            checks.message(f"frames of format {_FORMAT} by Frames.save", received, do)
        ) from error
