"""An optimizer whose steps are measured in units of the columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax.optimizers.base import Optimizer
from actmax.types import FixedArray, Params
from regularizers.base import Weight


@dataclasses.dataclass(frozen=True)
class InUnits(Optimizer):
    """Applies `inner` to `params / units`: its learning rate is in these units.

    Gradients are multiplied by the units. Params are divided by them before the update and multiplied
    after it. So columns of temperatures and of fractions move by the same part of their widths.

    Args:
        learning_rate: replaces that of `inner`.
        inner: an optimizer.
        units: by input name a number, or an array that broadcasts against its params.
    """

    by_value: ClassVar[bool] = False

    learning_rate: Weight = 0.05
    inner: Any = None
    units: Any = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        items = self.units.items() if isinstance(self.units, Mapping) else self.units
        object.__setattr__(self, "units", tuple((name, _kept(value)) for name, value in items))

    def _in(self, params: Params, *, back: bool = False) -> Params:
        known = dict(self.units)

        def change(name: str, leaf: tf.Tensor) -> tf.Tensor:
            unit = known.get(name, 1.0)
            value = tf.constant(unit.values if isinstance(unit, FixedArray) else unit, leaf.dtype)
            if value.shape.rank == leaf.shape.rank and value.shape[0] > 1:  # one for every image
                value = tf.gather(value, tf.range(tf.shape(leaf)[0]))
            return leaf * value if back else leaf / value

        return {
            name: tf.nest.map_structure(lambda leaf, name=name: change(name, leaf), part)
            for name, part in params.items()
        }

    def in_units(self, gradients: Params) -> Params:
        """Gradients with respect to `params / units` as gradients with respect to params."""
        return self._in(gradients)

    @property
    def asks(self) -> tuple[str, ...]:
        return self.inner.asks

    def init(self, params: Params) -> Any:
        return self.inner.init(params)

    def update(
        self,
        gradients: Params,
        state: Any,
        params: Params,
        learning_rate: tf.Tensor,
        **given: tf.Tensor,
    ) -> tuple[Params, Any]:
        scaled = self._in(gradients, back=True)
        moved, state = self.inner.update(scaled, state, self._in(params), learning_rate, **given)
        # The move alone is scaled back, so that what does not move keeps its bytes.
        moves = tf.nest.map_structure(tf.subtract, moved, self._in(params))
        return tf.nest.map_structure(tf.add, params, self._in(moves, back=True)), state


def _kept(value: Any) -> Any:
    if isinstance(value, FixedArray) or np.ndim(value) == 0:
        return value
    found = np.asarray(value, np.float64)
    return tuple(found.tolist()) if found.ndim == 1 else FixedArray(found)
