"""The record of a run: all its parts and arguments, as JSON."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import loading
from actmax._version import __version__
from actmax.maximizer.build import Built
from actmax.optimizers import KerasOptimizer
from actmax.types import describe, digest


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
        "files": [loading.file_of(taps.model) for taps in problem.models],
        "objective": describe(problem.objective),
        "inputs": {
            entry.name: {
                "shape": list(entry.own_shape),
                "constraint": describe(entry.constraint),
                "parameterization": describe(entry.parameterization),
                "preprocess": describe(entry.preprocess),
                "mask": describe(entry.mask),
                **({} if entry.channels is None else {"channels": entry.channels}),
            }
            for entry in problem.inputs
        },
        "penalties": {name: describe(part) for name, _, part in problem.penalties},
        "transforms": [describe(part) for entry in problem.inputs for _, part in entry.transforms],
        # Draws depend on the position of a transform in the list of regularizers.
        "positions": [position for entry in problem.inputs for position, _ in entry.transforms],
        "gradients": describe(problem.gradients),
        "metrics": [name for name, _ in problem.metrics],
        "optimizer": _optimizer(problem.optimizer),
        "copies": problem.copies,
        "antithetic": problem.antithetic,
        "balance": built.balance,
        "heads": [dict(taps.heads) for taps in problem.models],
        "precision": built.compute or problem.dtype.name,
        "compile": compile_,
        "chosen": dict(built.chosen),
        "fixed": {name: digest(value) for name, value in built.fixed.items()},
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


def described(
    steps: int,
    seed: Any,
    weights: Any,
    rate: Any,
    keep: str,
    count: int,
    first: Mapping[str, Any],
    arrays: Mapping[str, Any],
) -> dict[str, Any]:
    """The arguments of a call in the form of the record."""
    return {
        "steps": steps,
        # NumPy converts whole numbers to floats if none of its integer types holds them.
        "seed": seed if np.ndim(seed) == 0 else [int(each) for each in seed],
        "weights": dict(weights or {}),
        "learning_rate": rate,
        "keep": keep,
        "images": count,
        "initial_images": {name: digest(value) for name, value in first.items()},
        **({"arrays": {name: digest(value) for name, value in arrays.items()}} if arrays else {}),
    }


def _optimizer(optimizer: Any) -> Any:
    if isinstance(optimizer, KerasOptimizer):
        return {"class": optimizer.name, **describe(optimizer.config)}
    return describe(optimizer)
