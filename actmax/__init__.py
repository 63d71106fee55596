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
    from actmax import presets, testing, zoo
    from actmax.callbacks import (
        BestSoFar,
        Callback,
        CSVLog,
        Frames,
        JSONLines,
        MLflow,
        Progress,
        Snapshots,
        StopOnPlateau,
        TensorBoard,
        WandB,
    )
    from actmax.catalogs import Catalog, CatalogError, catalog, channels
    from actmax.constraints import (
        Box,
        Columns,
        Constraint,
        Contrast,
        L2Ball,
        LinearEquations,
        LInfBall,
        Mixture,
        OneHot,
        PixelBall,
        Sigmoid,
        Simplex,
        Unbounded,
    )
    from actmax.evaluation import Evaluation, Judge, evaluate
    from actmax.gradients import BlurGradient, ClipNorm, ClipValue, InverseFrequency, Normalize
    from actmax.images import grid, save_gif, save_png, to_uint8
    from actmax.loading import ModelFileError, load_model
    from actmax.maximizer import (
        BrokenLawWarning,
        InputRangeWarning,
        Maximizer,
        NonFiniteError,
        ProbabilityWarning,
        maximize,
    )
    from actmax.models import activations, layer_paths
    from actmax.objectives import (
        BatchNormPrior,
        Caricature,
        Channel,
        CrossEntropy,
        Direction,
        Diversity,
        Inversion,
        Layer,
        Logit,
        LogProbability,
        Margin,
        Neuron,
        Objective,
        SortMatching,
        objective,
    )
    from actmax.operators import (
        AfterUpdate,
        BlurImage,
        ClipSmallContributions,
        ClipSmallNorms,
        DecayImage,
        Proximal,
        soft_threshold,
    )
    from actmax.optimizers import (
        SGD,
        Adam,
        ForgetfulAdagrad,
        Optimizer,
        ProgressSGD,
        RMSprop,
    )
    from actmax.parameterizations import (
        CPPN,
        Blurred,
        Decorrelated,
        Fourier,
        Generator,
        LaplacianPyramid,
        LimitedContrast,
        LowResolutionSum,
        Maco,
        Parameterization,
        Pixels,
        Strokes,
    )
    from actmax.predictions import Named, NamedOtherwiseWarning
    from actmax.priors import BatchNormPenalty
    from actmax.result import RecordError, Result
    from actmax.schedules import Cosine, Exponential, Linear
    from actmax.sweeps import Sweep
    from actmax.throughput import Throughput, benchmark
    from actmax.types import STOP, Snapshot, Status

_MODULES = {
    "actmax.callbacks": (
        "BestSoFar",
        "CSVLog",
        "Callback",
        "Frames",
        "JSONLines",
        "MLflow",
        "Progress",
        "Snapshots",
        "StopOnPlateau",
        "TensorBoard",
        "WandB",
    ),
    "actmax.catalogs": (
        "Catalog",
        "CatalogError",
        "catalog",
        "channels",
    ),
    "actmax.constraints": (
        "Box",
        "Columns",
        "Constraint",
        "Contrast",
        "L2Ball",
        "LInfBall",
        "LinearEquations",
        "Mixture",
        "OneHot",
        "PixelBall",
        "Sigmoid",
        "Simplex",
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
        "InverseFrequency",
        "Normalize",
    ),
    "actmax.images": (
        "grid",
        "save_gif",
        "save_png",
        "to_uint8",
    ),
    "actmax.loading": (
        "ModelFileError",
        "load_model",
    ),
    "actmax.maximizer": (
        "BrokenLawWarning",
        "InputRangeWarning",
        "Maximizer",
        "NonFiniteError",
        "ProbabilityWarning",
        "maximize",
    ),
    "actmax.models": ("activations", "layer_paths"),
    "actmax.predictions": (
        "Named",
        "NamedOtherwiseWarning",
    ),
    "actmax.objectives": (
        "BatchNormPrior",
        "Caricature",
        "Channel",
        "CrossEntropy",
        "Direction",
        "Diversity",
        "Inversion",
        "Layer",
        "LogProbability",
        "Logit",
        "Margin",
        "Neuron",
        "Objective",
        "SortMatching",
        "objective",
    ),
    "actmax.operators": (
        "AfterUpdate",
        "BlurImage",
        "ClipSmallContributions",
        "ClipSmallNorms",
        "DecayImage",
        "Proximal",
        "soft_threshold",
    ),
    "actmax.optimizers": (
        "Adam",
        "ForgetfulAdagrad",
        "Optimizer",
        "ProgressSGD",
        "RMSprop",
        "SGD",
    ),
    "actmax.parameterizations": (
        "Blurred",
        "CPPN",
        "Decorrelated",
        "Fourier",
        "Generator",
        "LaplacianPyramid",
        "LimitedContrast",
        "LowResolutionSum",
        "Maco",
        "Parameterization",
        "Pixels",
        "Strokes",
    ),
    "actmax.priors": ("BatchNormPenalty",),
    "actmax.result": (
        "RecordError",
        "Result",
    ),
    "actmax.schedules": (
        "Cosine",
        "Exponential",
        "Linear",
    ),
    "actmax.sweeps": ("Sweep",),
    "actmax.throughput": (
        "Throughput",
        "benchmark",
    ),
    "actmax.types": (
        "STOP",
        "Snapshot",
        "Status",
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}
_SUBMODULES = ("presets", "testing", "zoo")

__all__ = [
    "Adam",
    "AfterUpdate",
    "BatchNormPenalty",
    "BatchNormPrior",
    "BestSoFar",
    "BlurGradient",
    "BlurImage",
    "Blurred",
    "Box",
    "BrokenLawWarning",
    "CPPN",
    "CSVLog",
    "Callback",
    "Caricature",
    "Catalog",
    "CatalogError",
    "Channel",
    "ClipNorm",
    "ClipSmallContributions",
    "ClipSmallNorms",
    "ClipValue",
    "Columns",
    "Constraint",
    "Contrast",
    "Cosine",
    "CrossEntropy",
    "DecayImage",
    "Decorrelated",
    "Direction",
    "Diversity",
    "Evaluation",
    "Exponential",
    "ForgetfulAdagrad",
    "Fourier",
    "Frames",
    "Generator",
    "InputRangeWarning",
    "InverseFrequency",
    "Inversion",
    "JSONLines",
    "Judge",
    "L2Ball",
    "LInfBall",
    "LaplacianPyramid",
    "Layer",
    "LimitedContrast",
    "Linear",
    "LinearEquations",
    "LogProbability",
    "Logit",
    "LowResolutionSum",
    "MLflow",
    "Maco",
    "Margin",
    "Maximizer",
    "Mixture",
    "ModelFileError",
    "Named",
    "NamedOtherwiseWarning",
    "Neuron",
    "NonFiniteError",
    "Normalize",
    "Objective",
    "OneHot",
    "Optimizer",
    "Parameterization",
    "PixelBall",
    "Pixels",
    "ProbabilityWarning",
    "Progress",
    "ProgressSGD",
    "Proximal",
    "RMSprop",
    "RecordError",
    "Result",
    "SGD",
    "STOP",
    "Sigmoid",
    "Simplex",
    "Snapshot",
    "Snapshots",
    "SortMatching",
    "Status",
    "StopOnPlateau",
    "Strokes",
    "Sweep",
    "TensorBoard",
    "Throughput",
    "Unbounded",
    "WandB",
    "__version__",
    "activations",
    "benchmark",
    "catalog",
    "channels",
    "evaluate",
    "grid",
    "layer_paths",
    "load_model",
    "maximize",
    "objective",
    "presets",
    "save_gif",
    "save_png",
    "soft_threshold",
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
