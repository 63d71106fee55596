"""Keras optimizers as pure updates."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.types import Params


class KerasOptimizer:
    """Any Keras optimizer as a pure update, through scratch variables. One trace per N.

    The user's instance is only read. A copy is made from its configuration. The variables of the
    copy are loaded from `state` before each update and read back after it.

    Raises:
        ValueError: if the optimizer couples images (`clipnorm`, Adafactor, Lamb, ...): a row must
            move in the same way alone and together with others.
    """

    fixed_rows = True

    @property
    def by_value(self) -> bool:
        """Whether every value is scaled by its own history; False for plain gradient descent."""
        return self.name != "SGD"

    asks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, optimizer: Any) -> None:
        self._kind = type(optimizer)
        self.name = self._kind.__name__
        if hasattr(optimizer, "inner_optimizer"):
            raise ValueError(
                checks.message(
                    "an optimizer that moves the images itself",
                    f"{self.name}, which scales the loss of another one",
                    "Give the optimizer inside of it: its inner_optimizer. A run scales by itself "
                    "where the model computes in float16.",
                )
            )
        self.config = _of_an_unscaled_loss(optimizer.get_config())
        rate = getattr(optimizer, "_learning_rate", None)
        self.learning_rate: Any = (
            rate if callable(rate) else float(np.array(optimizer.learning_rate))
        )
        self._scratch: tuple[list[Any], Any] | None = None
        try:
            self._check_rows()
        except AttributeError as error:
            # Muon, for example, needs the path of a variable in a model.
            raise ValueError(
                checks.message(
                    "an optimizer of plain variables",
                    f"{self.name} ({error})",
                    "Use actmax.Adam, RMSprop or SGD, or another Keras optimizer.",
                )
            ) from error

    @property
    def kind(self) -> type:
        """Class of the optimizer that was given."""
        return self._kind

    def _fresh(self, params: Params) -> tuple[list[Any], Any]:
        copy = self._kind.from_config({**self.config, "learning_rate": 0.0})
        leaves = tf.nest.flatten(params)
        variables = [
            tf.Variable(tf.zeros(leaf.shape, leaf.dtype), trainable=True) for leaf in leaves
        ]
        copy.build(variables)
        return variables, copy

    def _check_rows(self) -> None:
        gradients = tf.constant([[1.0, 2.0], [300.0, -50.0]])
        params = tf.constant([[0.5, -1.0], [3.0, 0.2]])  # not zero: Lamb scales with their norm
        together = self._one_step(params, gradients)
        rows = [self._one_step(params[n : n + 1], gradients[n : n + 1]) for n in range(2)]
        clips = any(self.config.get(name) is not None for name in ("clipnorm", "global_clipnorm"))
        if clips or not np.allclose(together, np.concatenate(rows), rtol=1e-5):
            raise ValueError(
                checks.message(
                    "an optimizer that treats every image by itself",
                    f"{self._kind.__name__}, whose update of one image depends on the others",
                    "Take clipnorm or global_clipnorm off and use gradients=[actmax.ClipNorm(...)], "
                    "or use actmax.Adam, RMSprop or SGD.",
                )
            )

    def _one_step(self, params: tf.Tensor, gradients: tf.Tensor) -> np.ndarray:
        state = self.init(params)
        moved, _ = self.update(gradients, state, params, tf.constant([0.1]))
        self._scratch = None
        return moved.numpy()

    def init(self, params: Params) -> Any:
        """The state of a fresh copy, as tensors."""
        self._scratch = self._fresh(params)
        return [tf.convert_to_tensor(variable) for variable in self._scratch[1].variables]

    def update(
        self, gradients: Params, state: Any, params: Params, learning_rate: tf.Tensor
    ) -> tuple[Params, Any]:
        """One `apply` of the copy, from `state` and `params` to new ones."""
        if self._scratch is None:
            raise RuntimeError(message_no_init())
        variables, copy = self._scratch
        for variable, leaf in zip(variables, tf.nest.flatten(params), strict=True):
            variable.assign(leaf)
        for variable, value in zip(copy.variables, state, strict=True):
            variable.assign(value)
        copy.learning_rate.assign(tf.cast(learning_rate[0], copy.learning_rate.dtype))
        copy.apply(tf.nest.flatten(gradients), variables)
        moved = tf.nest.pack_sequence_as(params, [tf.identity(v) for v in variables])
        return moved, [tf.identity(tf.convert_to_tensor(v)) for v in copy.variables]


def _of_an_unscaled_loss(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration for gradients of the score itself.

    Raises:
        ValueError: if it averages what it moves, which Keras does only when `fit` ends.
    """
    if config.get("use_ema") and not config.get("ema_overwrite_frequency"):
        raise ValueError(
            checks.message(
                "an optimizer whose updates are the whole of it",
                "use_ema=True, whose average Keras takes only at the end of fit",
                "Give ema_overwrite_frequency= as well, or take use_ema off.",
            )
        )
    # Keras divides by this factor what its own training has multiplied by it before.
    return {**config, "loss_scale_factor": None} if config.get("loss_scale_factor") else config


def message_no_init() -> str:
    """The message if `update` is called before `init`."""
    return checks.message("init(params) to be called before update", "no state", "Call init first.")
