"""actmax: the input that a part of a neural network responds to most, on TensorFlow.

    import actmax
    result = actmax.maximize(model, targets=range(10), input_range=(0, 1))

Names are imported when they are first used, so that `actmax --version` does not start TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from actmax._version import __version__

if TYPE_CHECKING:
    from actmax import testing, zoo
    from actmax.callbacks import Callback, Frames, Progress
    from actmax.constraints import Box, Constraint, Contrast, L2Ball, PixelBall, Sigmoid, Unbounded
    from actmax.evaluation import Evaluation, Judge, evaluate
    from actmax.gradients import BlurGradient, ClipNorm, ClipValue, Normalize
    from actmax.images import grid, save_gif, save_png, to_uint8
    from actmax.maximizer import Maximizer, NonFiniteError, ProbabilityWarning, maximize
    from actmax.models import layer_paths
    from actmax.objectives import (
        Channel,
        Direction,
        Layer,
        Logit,
        LogProbability,
        Margin,
        Neuron,
        Objective,
        objective,
    )
    from actmax.optimizers import SGD, Adam, Optimizer, RMSprop
    from actmax.parameterizations import Blurred, Decorrelated, Fourier, Parameterization, Pixels
    from actmax.result import RecordError, Result
    from actmax.schedules import Cosine, Exponential, Linear
    from actmax.types import STOP, Snapshot, Status

_MODULES = {
    "actmax.callbacks": (
        "Callback",
        "Frames",
        "Progress",
    ),
    "actmax.constraints": (
        "Box",
        "Constraint",
        "Contrast",
        "L2Ball",
        "PixelBall",
        "Sigmoid",
        "Unbounded",
    ),
    "actmax.evaluation": (
        "Evaluation",
        "Judge",
        "evaluate",
    ),
    "actmax.gradients": (
        "BlurGradient",
        "ClipNorm",
        "ClipValue",
        "Normalize",
    ),
    "actmax.images": (
        "grid",
        "save_gif",
        "save_png",
        "to_uint8",
    ),
    "actmax.maximizer": (
        "Maximizer",
        "NonFiniteError",
        "ProbabilityWarning",
        "maximize",
    ),
    "actmax.models": ("layer_paths",),
    "actmax.objectives": (
        "Channel",
        "Direction",
        "Layer",
        "LogProbability",
        "Logit",
        "Margin",
        "Neuron",
        "Objective",
        "objective",
    ),
    "actmax.optimizers": (
        "Adam",
        "Optimizer",
        "RMSprop",
        "SGD",
    ),
    "actmax.parameterizations": (
        "Blurred",
        "Decorrelated",
        "Fourier",
        "Parameterization",
        "Pixels",
    ),
    "actmax.result": (
        "RecordError",
        "Result",
    ),
    "actmax.schedules": (
        "Cosine",
        "Exponential",
        "Linear",
    ),
    "actmax.types": (
        "STOP",
        "Snapshot",
        "Status",
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}
_SUBMODULES = ("testing", "zoo")

__all__ = [
    "Adam",
    "BlurGradient",
    "Blurred",
    "Box",
    "Callback",
    "Channel",
    "ClipNorm",
    "ClipValue",
    "Constraint",
    "Contrast",
    "Cosine",
    "Decorrelated",
    "Direction",
    "Evaluation",
    "Exponential",
    "Fourier",
    "Frames",
    "Judge",
    "L2Ball",
    "Layer",
    "Linear",
    "LogProbability",
    "Logit",
    "Margin",
    "Maximizer",
    "Neuron",
    "NonFiniteError",
    "Normalize",
    "Objective",
    "Optimizer",
    "Parameterization",
    "PixelBall",
    "Pixels",
    "ProbabilityWarning",
    "Progress",
    "RMSprop",
    "RecordError",
    "Result",
    "SGD",
    "STOP",
    "Sigmoid",
    "Snapshot",
    "Status",
    "Unbounded",
    "__version__",
    "evaluate",
    "grid",
    "layer_paths",
    "maximize",
    "objective",
    "save_gif",
    "save_png",
    "testing",
    "to_uint8",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"actmax.{name}")
    else:
        raise AttributeError(f"module 'actmax' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
