"""Letters and numbers in one run, each with its own update rule."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from actmax.optimizers.base import Optimizer
from actmax.optimizers.rules import SGD
from actmax.types import Params


@dataclasses.dataclass(frozen=True)
class Apart(Optimizer):
    """Moves some inputs by steps of fixed length along the gradient, and the others by `inner`.

    A sum of normalized gradients keeps the information which letter gains most. Adam makes steps of about
    the same size for every value, and loses it.

    Args:
        learning_rate: replaces that of `inner`; steps of the named inputs have twice this length.
        names: of the inputs that are moved by the gradient's direction.
        inner: an optimizer for all others.
    """

    names: tuple[str, ...] = ()
    inner: Any = None

    def _apart(self, params: Params) -> tuple[Params, Params]:
        named = {name: part for name, part in params.items() if name in self.names}
        return named, {name: part for name, part in params.items() if name not in self.names}

    @property
    def asks(self) -> tuple[str, ...]:
        return self.inner.asks

    def init(self, params: Params) -> Any:
        return self.inner.init(self._apart(params)[1])

    def update(
        self,
        gradients: Params,
        state: Any,
        params: Params,
        learning_rate: tf.Tensor,
        **given: tf.Tensor,
    ) -> tuple[Params, Any]:
        (ours, others), (down, slopes) = self._apart(params), self._apart(gradients)
        direction = SGD(1.0, normalize=True)
        ours, _ = direction.update(down, (), ours, 2.0 * learning_rate)
        others, state = self.inner.update(slopes, state, others, learning_rate, **given)
        return {name: {**ours, **others}[name] for name in params}, state
