"""Callbacks: Python between compiled chunks. None of them changes a byte of the result."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from actmax import images, reporting
from actmax.types import Snapshot, Stop


class Callback:
    """What runs every `callback_every` steps. Override what you need.

    `on_step` may return `STOP` to end the run; the images so far are returned with status STOPPED.
    A plain function of a snapshot is a callback too.
    """

    def on_begin(self, snapshot: Snapshot) -> None:
        """Before the first step."""

    def on_step(self, snapshot: Snapshot) -> Stop | None:
        """After every chunk of steps."""

    def on_end(self, snapshot: Snapshot) -> None:
        """After the last step, also when the run was stopped or interrupted."""


@dataclasses.dataclass(frozen=True)
class FunctionCallback(Callback):
    """A plain function `snapshot -> None | STOP` as a callback."""

    function: Callable[[Snapshot], Stop | None]

    def on_step(self, snapshot: Snapshot) -> Stop | None:
        return self.function(snapshot)


class Progress(Callback):
    """A line that is rewritten on a terminal and in a notebook; at most ten lines in a log file.

    Args:
        stream: where to write; None for standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self._started = 0.0
        self._printed = 0

    def on_begin(self, snapshot: Snapshot) -> None:
        self._started = time.monotonic()
        self._printed = 0

    def on_step(self, snapshot: Snapshot) -> None:
        stream = self.stream or sys.stderr
        live = stream.isatty() or "ipykernel" in sys.modules
        tenth = snapshot.steps if snapshot.steps < 10 else snapshot.step * 10 // snapshot.steps
        if not live and tenth <= self._printed and snapshot.step < snapshot.steps:
            return
        self._printed = tenth
        seconds = time.monotonic() - self._started
        rate = snapshot.step / max(seconds, 1e-9)
        score = snapshot.history["score"][-1]
        mean = float(np.nanmean(score)) if np.any(np.isfinite(score)) else float("nan")
        text = (
            f"step {snapshot.step}/{snapshot.steps}  score {mean:.4g}  {rate:.1f} steps/s  "
            f"{(snapshot.steps - snapshot.step) / max(rate, 1e-9):.0f} s left"
        )
        stream.write(f"\r{text:<70}" if live else text + "\n")
        stream.flush()

    def on_end(self, snapshot: Snapshot) -> None:
        stream = self.stream or sys.stderr
        if stream.isatty() or "ipykernel" in sys.modules:
            stream.write("\n")
            stream.flush()


class Frames(Callback):
    """Keeps the images of every chunk, for a GIF of the run.

    Attributes:
        frames: list of `[N, ...]`, in the input range.
        steps: list of the number of updates before each.
    """

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self.steps: list[int] = []

    def on_begin(self, snapshot: Snapshot) -> None:
        self.frames, self.steps = [snapshot.images], [snapshot.step]

    def on_step(self, snapshot: Snapshot) -> None:
        self.frames.append(snapshot.images)
        self.steps.append(snapshot.step)

    def film(self, low: Any, high: Any) -> reporting.Film:
        """The frames, 8 bits deep, for `Result.report`; low becomes black, high white."""
        frames = np.stack([images.to_uint8(frame, low, high) for frame in self.frames])
        return reporting.Film(np.asarray(self.steps), frames)

    def save(self, folder: str | Path, low: Any, high: Any) -> Path:
        """Writes `frames.npz` into the folder of a saved result, for `actmax report`."""
        return reporting.save_film(folder, self.film(low, high))

    def save_gif(self, path: str | Path, low: Any, high: Any, *, fps: float = 12.0) -> Path:
        """Writes the grid of every kept step as an animated GIF.

        Args:
            path: of the file.
            low: value that becomes black.
            high: value that becomes white.
            fps: frames per second.
        """
        sheets = [images.grid(images.to_uint8(frame, low, high)) for frame in self.frames]
        images.save_gif(Path(path), sheets, fps=fps)
        return Path(path)


def as_callback(value: Any) -> Callback:
    """A callback as it is, a function of a snapshot as a callback.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(value, Callback):
        return value
    if callable(value) and not isinstance(value, type):
        return FunctionCallback(value)
    raise TypeError(f"Expected a callback or a function of a snapshot. Received: {value!r}.")
