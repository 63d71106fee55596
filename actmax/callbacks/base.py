"""What a callback is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from actmax.types import Snapshot, Stop

# None, STOP, or bool `[N]`: True for the images to stop.
Answer: TypeAlias = "Stop | np.ndarray | None"


class Callback:
    """Code that runs every `callback_every` steps. Override the methods that you need.

    `on_step` may return `STOP` to end the run, or a bool array `[N]`, True for the images that stop
    now while the others continue. Stopped images have the status STOPPED. A plain function of a
    snapshot is a callback too. A callback that depends only on the snapshot decides the same in a
    resumed run.

    An error in a callback ends the run. `on_end` is still called for every callback that has begun.
    """

    def on_begin(self, snapshot: Snapshot) -> None:
        """Before the first step, or with the step reached so far where a run is resumed."""

    def on_step(self, snapshot: Snapshot) -> Answer:
        """After every chunk of steps."""

    def on_end(self, snapshot: Snapshot) -> None:
        """After the last step, also when the run was stopped or interrupted."""


@dataclasses.dataclass(frozen=True)
class FunctionCallback(Callback):
    """A plain function `snapshot -> None | STOP | bool [N]` as a callback."""

    function: Callable[[Snapshot], Answer]

    def on_step(self, snapshot: Snapshot) -> Answer:
        return self.function(snapshot)


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
