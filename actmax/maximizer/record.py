"""The record of a run: what it was made of, as JSON."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax._version import __version__
from actmax.maximizer.build import Built
from actmax.optimizers import KerasOptimizer
from actmax.types import describe


def record(
    built: Built, compile_: Any, device: str | None, call: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything needed to repeat a run, as JSON.

    Args:
    built: the problem, and why things were chosen.
    compile_: how the loop was compiled.
    device: as given.
    call: the arguments of the call.
    """
    import keras

    problem = built.problem
    gpus = tf.config.list_logical_devices("GPU")
    return {
        "model": [
            str(getattr(model, "name", type(model).__name__))
            for model in [taps.model for taps in problem.models]
        ],
        "objective": describe(problem.objective),
        "inputs": {
            entry.name: {
                "shape": list(entry.shape),
                "constraint": describe(entry.constraint),
                "parameterization": describe(entry.parameterization),
                "preprocess": describe(entry.preprocess),
            }
            for entry in problem.inputs
        },
        "penalties": {name: describe(part) for name, _, part in problem.penalties},
        "transforms": [describe(part) for entry in problem.inputs for _, part in entry.transforms],
        "gradients": describe(problem.gradients),
        "metrics": [name for name, _ in problem.metrics],
        "optimizer": _optimizer(problem.optimizer),
        "copies": problem.copies,
        "balance": built.balance,
        "heads": [dict(taps.heads) for taps in problem.models],
        "precision": built.compute or problem.dtype.name,
        "compile": compile_,
        "chosen": dict(built.chosen),
        "fixed": describe(built.fixed),
        "call": describe(dict(call)),
        "versions": {
            "actmax": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": device or (gpus[0].name if gpus else "CPU"),
    }


def _optimizer(optimizer: Any) -> Any:
    if isinstance(optimizer, KerasOptimizer):
        return {"class": optimizer.name, **describe(optimizer.config)}
    return describe(optimizer)
