"""`assert_traces`: that a sweep was compiled once."""

from __future__ import annotations

from typing import Any

from actmax import checks
from actmax.testing.rows import ContractError


def assert_traces(maximizer: Any, n: int = 1) -> None:
    """Asserts that a Maximizer's loop was traced exactly `n` times.

    Args:
        maximizer: an `actmax.Maximizer`, after its runs.
        n: expected number of traces; with a Keras optimizer one for every number of images.

    Raises:
        ContractError: if it was traced more or less often.

    Example:
        >>> import actmax
        >>> from actmax import testing, zoo
        >>> maximizer = actmax.Maximizer(zoo.load("mnist"), input_range=(0, 1), regularizers=[])
        >>> for target in range(3):
        ...     result = maximizer(target, steps=2)
        >>> testing.assert_traces(maximizer)
    """
    traces = maximizer.traces
    if traces == n:
        return
    if traces > n:
        do = (
            "Targets, weights, seeds, rates, steps and N are run-time tensors; make one Maximizer and "
            "call it again."
        )
        if maximizer.problem.optimizer.fixed_rows:
            do = "A Keras optimizer is traced for every N: use actmax.Adam, RMSprop or SGD, or one N."
    else:
        do = "Run it first; with compile=False or steps=0 nothing is traced."
    name = type(maximizer).__name__
    text = checks.message(f"{n} traces", traces, do)
    raise ContractError("compiled once", f"{name} breaks the law of compiled once. {text}")
