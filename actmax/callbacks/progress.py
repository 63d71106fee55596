"""How far a run is."""

from __future__ import annotations

import sys
import time
from typing import TextIO

import numpy as np

from actmax.callbacks.base import Callback
from actmax.types import Snapshot


class Progress(Callback):
    """A line that is rewritten on a terminal and in a notebook; at most ten lines in a log file.

    Args:
        stream: where to write; None for standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self._started = 0.0
        self._printed = 0
        self._first = 0

    def on_begin(self, snapshot: Snapshot) -> None:
        self._started = time.monotonic()
        self._printed = 0
        self._first = snapshot.step

    def on_step(self, snapshot: Snapshot) -> None:
        stream = self.stream or sys.stderr
        live = stream.isatty() or "ipykernel" in sys.modules
        tenth = snapshot.steps if snapshot.steps < 10 else snapshot.step * 10 // snapshot.steps
        if not live and tenth <= self._printed and snapshot.step < snapshot.steps:
            return
        self._printed = tenth
        seconds = time.monotonic() - self._started
        rate = (snapshot.step - self._first) / max(seconds, 1e-9)
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
