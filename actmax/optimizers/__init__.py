"""Optimizers as pure functions on tensors: `update(gradients, state, params, rate) -> params, state`.

Every optimizer takes one learning rate per image, keeps its state per image, and moves params
*against* the given gradient. The loop decides the sign of this gradient.
"""

from actmax.optimizers.base import Optimizer
from actmax.optimizers.keras import KerasOptimizer
from actmax.optimizers.letters import Apart
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
