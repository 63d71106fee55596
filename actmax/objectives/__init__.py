"""Objectives: the response of a part of the network, one score per image; higher is better.

`objective(activations: dict of [N, ...], targets) -> scores [N]`. You can add, subtract,
multiply and negate them, with numbers and with each other:

    actmax.Logit(3) - actmax.Logit(5)         0.2 * actmax.Channel("a") + 0.8 * actmax.Channel("b")
"""

from actmax.objectives.base import (
    BATCH_NORM,
    CHANNELS_LAST,
    GROUPS,
    LOGARITHMS,
    LOGITS,
    OUTPUT,
    PROBABILITIES,
    ROWS,
    Activations,
    Combination,
    Kind,
    Normalized,
    Objective,
    Sum,
    refuse_coupled,
)
from actmax.objectives.diversity import Diversity
from actmax.objectives.features import Caricature, Inversion, SortMatching
from actmax.objectives.functions import FunctionObjective, as_objective, objective
from actmax.objectives.maps import Direction, Layer
from actmax.objectives.statistics import BatchNormPrior, statistics_distance
from actmax.objectives.units import Channel, CrossEntropy, Logit, LogProbability, Margin, Neuron

__all__ = [
    "Activations",
    "BATCH_NORM",
    "BatchNormPrior",
    "CHANNELS_LAST",
    "Caricature",
    "Channel",
    "Combination",
    "CrossEntropy",
    "Direction",
    "Diversity",
    "FunctionObjective",
    "GROUPS",
    "Inversion",
    "Kind",
    "LOGARITHMS",
    "LOGITS",
    "Layer",
    "LogProbability",
    "Logit",
    "Margin",
    "Neuron",
    "Normalized",
    "OUTPUT",
    "Objective",
    "PROBABILITIES",
    "ROWS",
    "SortMatching",
    "Sum",
    "as_objective",
    "objective",
    "refuse_coupled",
    "statistics_distance",
]
