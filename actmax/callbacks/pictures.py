"""The images of a run while it goes on: in memory, and as files."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actmax import checks, images, reporting, videos
from actmax.callbacks.base import Callback
from actmax.files import write_atomic
from actmax.preparing import channels_last
from actmax.scales import shown_between
from actmax.types import IMAGES, Snapshot


class Frames(Callback):
    """Keeps the images of every chunk, for a GIF of the run. Images that are not finite are crossed out.

    Attributes:
        frames: list of `[N, ...]`, in the input range.
        steps: list of the number of updates before each.
    """

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self.steps: list[int] = []
        self._channels: int | None = None

    def on_begin(self, snapshot: Snapshot) -> None:
        self.frames, self.steps = [snapshot.images], [snapshot.step]
        self._channels = snapshot.channels

    def on_step(self, snapshot: Snapshot) -> None:
        self.frames.append(snapshot.images)
        self.steps.append(snapshot.step)

    def _tiles(self, frame: Any, low: Any, high: Any) -> np.ndarray:
        if isinstance(frame, Mapping):
            raise ValueError(
                checks.message(
                    "frames of one input",
                    f"those of {list(frame)}",
                    f"Give result.save_gif(path, input={next(iter(frame))!r}).",
                )
            )
        return images.tiles(channels_last(frame, self._channels), low, high)[0]

    def film(self, low: Any, high: Any) -> reporting.RecordedFrames:
        """The frames, 8 bits deep, for `Result.report`; low becomes black, high white."""
        frames = np.stack([self._tiles(frame, low, high) for frame in self.frames])
        return reporting.RecordedFrames(np.asarray(self.steps), frames)

    def save(self, folder: str | Path, low: Any, high: Any) -> Path:
        """Writes `frames.npz` into the folder of a saved result, for `actmax report`."""
        return reporting.save_frames(folder, self.film(low, high))

    def save_gif(self, path: str | Path, low: Any, high: Any, *, fps: float = 12.0) -> Path:
        """Writes the grid of every kept step as an animated GIF.

        Args:
            path: of the file.
            low: value that becomes black.
            high: value that becomes white.
            fps: frames per second.
        """
        sheets = [images.grid(self._tiles(frame, low, high)) for frame in self.frames]
        images.save_gif(Path(path), sheets, fps=fps)
        return Path(path)

    def save_mp4(self, path: str | Path, low: Any, high: Any, *, fps: float = 12.0) -> Path:
        """Writes the same as an MP4, for films too long or too large for a GIF; see `save_gif`.

        Raises:
            ImportError: without the extra `video`.
        """
        sheets = [images.grid(self._tiles(frame, low, high)) for frame in self.frames]
        return videos.save_mp4(path, np.stack(sheets), fps)


class Snapshots(Callback):
    """Writes the images of the run as files, `step-000128.npz`, and `.png` where they are pictures.

    The NPZ has the exact images by input name; a single input has the name `images`. The PNG is the grid
    of all images, for 1 or 3 channels. Images that are not finite are crossed out. If the range is open,
    it shows values from minus to plus the largest one. Files of the same step are replaced.

    Args:
        folder: made if it is not there.
        every: steps between files, at least 1. A file is written at the first call at or after each
            multiple.
        steps: a list of steps instead, such as `[0, 10, 100]`, each at least 0. A file is written at the
            first call at or after each. Use `callback_every=1` in the run to hit every step exactly.

    Raises:
        ValueError: if both are given, or a step is negative.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int = 1,
        steps: Sequence[int] | None = None,
    ) -> None:
        self.folder = _folder(folder)
        self.every = checks.integer(every, "every", low=1)
        self.steps = None
        if steps is not None:
            if every != 1:
                raise ValueError(checks.message("every= or steps=", "both", "Leave one out."))
            self.steps = tuple(sorted({checks.integer(s, "every step", low=0) for s in steps}))
        self._passed = 0

    def on_begin(self, snapshot: Snapshot) -> None:
        self._passed = self._count(snapshot.step)
        if snapshot.step == 0 and self._count(0):
            self._write(snapshot)

    def on_step(self, snapshot: Snapshot) -> None:
        if self._count(snapshot.step) > self._passed:
            self._passed = self._count(snapshot.step)
            self._write(snapshot)

    def _count(self, step: int) -> int:
        """How many files are due up to a step."""
        if self.steps is None:
            return step // self.every + 1
        return sum(chosen <= step for chosen in self.steps)

    def _write(self, snapshot: Snapshot) -> None:
        sheet_of = sheet(snapshot, snapshot.images)
        write_pictures(self.folder, f"step-{snapshot.step:06d}", snapshot.images, sheet_of)


class BestSoFar(Callback):
    """Writes the best images so far, `best.npz`, and `best.png` where they are pictures.

    For runs with `keep="best"`. The best image is that with the highest mean score over a fixed set
    of transforms. The files are replaced whenever an image has become better. The NPZ also has
    `scores [N]`.

    Args:
        folder: made if it is not there.

    Raises:
        ValueError: in a run without `keep="best"`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = _folder(folder)
        self._scores: np.ndarray | None = None

    def on_begin(self, snapshot: Snapshot) -> None:
        if snapshot.best_scores is None:
            raise ValueError(
                checks.message('a run with keep="best"', "another", 'Give keep="best" to the call.')
            )
        self._scores = None
        self.on_step(snapshot)

    def on_step(self, snapshot: Snapshot) -> None:
        scores = snapshot.best_scores
        if scores is None or (self._scores is not None and np.array_equal(scores, self._scores)):
            return
        self._scores = scores
        sheet_of = sheet(snapshot, snapshot.best_images)
        write_pictures(self.folder, "best", snapshot.best_images, sheet_of, scores=scores)


def sheet(snapshot: Snapshot, pictures: Any) -> np.ndarray | None:
    """The grid of all images, uint8 `[H, W, 3]`; None if they are not pictures."""
    if isinstance(pictures, Mapping):
        return None
    pictures = channels_last(pictures, snapshot.channels)
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3):
        return None
    low, high = shown_between(pictures, snapshot.low, snapshot.high)
    return images.grid(images.tiles(pictures, low, high)[0], snapshot.labels)


def write_pictures(
    folder: Path, name: str, pictures: Any, grid: np.ndarray | None, **more: np.ndarray
) -> None:
    """The exact arrays as NPZ, and the grid as PNG where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = dict(pictures) if isinstance(pictures, Mapping) else {IMAGES: pictures}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays, **more)
    write_atomic(folder / f"{name}.npz", buffer.getvalue())
    if grid is not None:
        images.save_png(folder / f"{name}.png", grid)


def _folder(folder: Any) -> Path:
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(checks.message("the path of a folder", repr(folder)))
    return Path(folder)
