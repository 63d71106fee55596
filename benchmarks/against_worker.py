"""A process of `python -m benchmarks against COMMIT`, of either build.

The driver puts a copy of this file into the checkout of the other commit, so it uses only the models, the
cases and the `Maximizer` of that build.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.peers import protocol


def build(job: dict[str, Any]) -> Mapping[str, Any]:
    """The run of a case for a number of steps, or the time of a first call."""
    from benchmarks import cases, parts
    from benchmarks.models import MODELS

    given = {**job["case"], "penalties": tuple(job["case"]["penalties"])}
    case = cases.Case(**given)
    subject = MODELS[case.model](case.size)
    targets = case.classes(subject.classes)
    if job["kind"] == "first":
        return {"runs": {}, "info": {"seconds": _first(subject, targets, job)}}
    maximizer = parts.maximizer(subject, case, job["device"])
    return {"runs": {"run": lambda steps: maximizer(targets, steps=steps)}, "info": {}}


def _first(subject: Any, targets: list[int], job: Mapping[str, Any]) -> float:
    """Seconds of a call of `maximize`. An earlier run of the model has loaded TensorFlow's kernels."""
    import tensorflow as tf

    import actmax

    subject.model(tf.zeros((1, *subject.model.input_shape[1:])))
    maximize = actmax.maximize  # names are imported when they are first used
    settings = {} if job["default"] else {"regularizers": []}
    started = time.perf_counter()
    maximize(
        subject.model,
        targets=targets,
        input_range=(subject.low, subject.high),
        steps=job["steps"],
        device=job["device"],
        **settings,
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(protocol.serve(build))
