"""Optimizers as pure functions on tensors: `update(gradients, state, params, rate) -> params, state`.

Every one takes a learning rate per image, keeps its state per image, and moves params *down* the
gradient that it is given; which gradient that is, the loop decides.
"""

from actmax.optimizers.apart import Apart
from actmax.optimizers.base import Optimizer
from actmax.optimizers.keras import KerasOptimizer
from actmax.optimizers.rules import SGD, Adam, ForgetfulAdagrad, ProgressSGD, RMSprop
from actmax.optimizers.units import InUnits

__all__ = [
    "Adam",
    "Apart",
    "ForgetfulAdagrad",
    "InUnits",
    "KerasOptimizer",
    "Optimizer",
    "ProgressSGD",
    "RMSprop",
    "SGD",
]
