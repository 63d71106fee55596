"""The base class of optimizers: `update(gradients, state, params, rate) -> params, state`.

Every optimizer takes one learning rate per image, keeps its state per image, and moves params
*against* the given gradient. The loop decides the sign of this gradient.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.types import Params
from regularizers.base import Weight, check_weight
from regularizers.signatures import of_class


def like(rate: tf.Tensor, leaf: tf.Tensor) -> tf.Tensor:
    """A rate `[1 or N]` shaped to multiply a leaf `[N, ...]`."""
    return tf.reshape(tf.cast(rate, leaf.dtype), [-1] + [1] * (leaf.shape.rank - 1))


@dataclasses.dataclass(frozen=True)
class Optimizer(abc.ABC):
    """A rule that turns gradients into new params.

    Attributes:
        learning_rate: a number, one number per image, or a schedule of the step, in units of params.
        fixed_rows: True if `update` needs to know N; the loop is then traced once per N.
        of_images: True if a part of it works on images, so that params must be images.
        by_value: True if every value is divided by its own history. With a constraint that couples
            values, such a run does not end at an optimum.
    """

    fixed_rows: ClassVar[bool] = False
    of_images: ClassVar[bool] = False
    by_value: ClassVar[bool] = False

    learning_rate: Weight = 0.05

    def __post_init__(self) -> None:
        rate = check_weight(self.learning_rate, "the learning rate")
        if not callable(rate) and np.any(np.asarray(rate) < 0):
            raise ValueError(
                checks.message(
                    "a learning rate of at least 0",
                    repr(self.learning_rate),
                    "To minimize, negate the objective.",
                )
            )

    @property
    def asks(self) -> tuple[str, ...]:
        """What `update` asks for beside its four arguments: `seeds`, int32 `[N, 2]`, new at every step."""
        return of_class("optimizer", type(self), "update")

    @abc.abstractmethod
    def init(self, params: Params) -> Any:
        """State before the first step: a structure of tensors, `[N, ...]` or scalars."""

    @abc.abstractmethod
    def update(
        self, gradients: Params, state: Any, params: Params, learning_rate: tf.Tensor
    ) -> tuple[Params, Any]:
        """New params and state; pure.

        Args:
            gradients: structure of `[N, ...]`, the direction to move against.
            state: what `init` or the last `update` returned.
            params: structure of `[N, ...]`.
            learning_rate: `[1]` or `[N]`.
        """


def fraction(value: float, name: str) -> None:
    """Raises ValueError unless a number is in [0, 1)."""
    if checks.number(value, name, low=0.0, high=1.0) == 1.0:
        raise ValueError(checks.message(f"{name} to be in [0, 1)", repr(value)))
