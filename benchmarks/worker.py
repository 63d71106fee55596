"""A process that runs our variants of one study for the driver: `python -m benchmarks.worker JOB`.

Separate processes are needed, because the oneDNN setting is fixed at the import of TensorFlow, and a
memory peak belongs to a process.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.peers import protocol


def build(job: dict[str, Any]) -> Mapping[str, Any]:
    if job["kind"] == "start-up":
        return {"runs": {}, "info": first_steps(job)}
    from benchmarks import cases, environment, session

    study = cases.study_from(job["study"])
    if job["kind"] == "memory":
        info = session.peak_memory(study, job["case"], job["variant"], job["device"])
        return {"runs": {}, "info": info}
    made = session.prepare(study, job["device"], counted=job["counted"])
    info = {
        **made.info,
        "steps": made.steps,
        "bases": made.bases,
        "starts": {name: dataclasses.asdict(start) for name, start in made.starts.items()},
        "environment": environment.describe(),
    }
    return {"runs": made.runs, "missing": made.missing, "info": info}


def first_steps(job: Mapping[str, Any]) -> dict[str, float]:
    """Seconds from nothing to the images of the first steps, for someone who has a model file."""
    clock = [time.perf_counter()]
    import tensorflow as tf

    clock.append(time.perf_counter())
    import keras

    clock.append(time.perf_counter())
    import actmax
    from regularizers import L2, Jitter, TotalVariation

    assert tf.__version__ and actmax.maximize  # names are imported when they are first used
    clock.append(time.perf_counter())
    model = keras.models.load_model(job["model"], compile=False)
    clock.append(time.perf_counter())
    actmax.maximize(
        model,
        targets=job["targets"],
        input_range=(job["low"], job["high"]),
        regularizers=[TotalVariation(0.1), L2(0.1), Jitter(2)],
        steps=job["steps"],
    )
    clock.append(time.perf_counter())
    names = ("import tensorflow", "import keras", "import actmax", "load the model", "first run")
    return dict(zip(names, (b - a for a, b in itertools.pairwise(clock)), strict=True))


if __name__ == "__main__":
    sys.exit(protocol.serve(build))
