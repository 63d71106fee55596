"""actmax: the input that a part of a neural network responds to most, on TensorFlow.

import actmax
result = actmax.maximize(model, targets=range(10), input_range=(0, 1))
"""

from actmax._version import __version__
from actmax.callbacks import Callback, Frames, Progress
from actmax.constraints import (
    Box,
    Constraint,
    Contrast,
    L2Ball,
    PixelBall,
    Sigmoid,
    Unbounded,
)
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

__all__ = [
    "STOP",
    "SGD",
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
    "Exponential",
    "Fourier",
    "Frames",
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
    "Sigmoid",
    "Snapshot",
    "Status",
    "Unbounded",
    "__version__",
    "grid",
    "layer_paths",
    "maximize",
    "objective",
    "save_gif",
    "save_png",
    "to_uint8",
]
