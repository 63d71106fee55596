"""Images stop by themselves when they no longer become better."""

from __future__ import annotations

import dataclasses

import numpy as np

from actmax import checks
from actmax.callbacks.base import Callback
from actmax.types import Snapshot


@dataclasses.dataclass(frozen=True)
class StopOnPlateau(Callback):
    """Stops every image whose series has not risen for `patience` steps; the others continue.

    With y the series of an image, it stops when
    `max(last patience of y) <= max(all before them) + min_delta`. This depends only on the history,
    so a resumed run stops at the same step as a run without interruption. It is checked every
    `callback_every` steps.

    Args:
        patience: steps, at least 1.
        min_delta: least rise that counts, in units of the series, at least 0.
        series: a name in `history`: "objective", "score", or a metric; the larger the better.

    Raises:
        ValueError: in a run without such a series.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> stop = actmax.StopOnPlateau(patience=4, min_delta=1e6)
        >>> result = actmax.maximize(
        ...     zoo.load("mnist"), targets=[3], input_range=(0, 1), steps=40, callbacks=[stop]
        ... )
        >>> actmax.Status(result.status[0]).name, int(result.steps[0])
        ('STOPPED', 6)
    """

    patience: int = 32
    min_delta: float = 0.0
    series: str = "objective"

    def __post_init__(self) -> None:
        checks.integer(self.patience, "patience", low=1)
        checks.number(self.min_delta, "min_delta", low=0.0)

    def on_begin(self, snapshot: Snapshot) -> None:
        if self.series not in snapshot.history:
            known = list(snapshot.history)
            raise ValueError(checks.message(f"a series of the run, {known}", repr(self.series)))

    def on_step(self, snapshot: Snapshot) -> np.ndarray:
        values = snapshot.history[self.series]
        if len(values) <= self.patience:
            return np.zeros(len(snapshot.live), bool)
        values = np.where(np.isnan(values), -np.inf, values)
        late, early = values[-self.patience :].max(axis=0), values[: -self.patience].max(axis=0)
        return (late <= early + self.min_delta) & snapshot.live
