"""The part of `Maximizer` that batches, sweeps and scores of given images use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from actmax.problem import Problem
from actmax.result import Result


class Runner(Protocol):
    """Runs a problem, as `Maximizer` does. The methods of `Maximizer` describe the arguments."""

    problem: Problem
    labels: tuple[str, ...] | None

    @property
    def fixed(self) -> Mapping[str, np.ndarray]:
        """Arrays of the inputs that are held fixed, by name."""
        ...

    def renew(self) -> None:
        """Compiles again at the next call if the model was changed in place."""
        ...

    def __call__(self, *targets: Any, **call: Any) -> Result:
        """One run."""
        ...

    def robust_scores(
        self, images: Any, targets: Any = None, *, draws: int, arrays: Any = None
    ) -> np.ndarray:
        """Mean scores over fixed draws of the transforms. `[N, ...] -> [N]`."""
        ...
