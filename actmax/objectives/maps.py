"""Objectives of a whole layer: its energy, or a direction among its channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.objectives.base import (
    Activations,
    Kind,
    Objective,
    at_position,
    bind_position,
    channels_last,
    check_layer,
    check_position,
    of_units,
    one_tensor,
)
from regularizers.lanes import by_row


@dataclasses.dataclass(frozen=True)
class Layer(Objective):
    """Mean of the squares of a layer's activations: DeepDream's objective. No targets.

    The number of images is `images=` of the call.

    Source: Mordvintsev, Olah and Tyka, Inceptionism, 2015 (half the sum there; the mean here, so that
    the scale does not depend on the layer's size).

    Args:
        layer: path of the layer.
    """

    layer: str
    rises: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_layer(self.layer)

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        values = one_tensor(activations[self.layer], self.layer)
        return tf.reduce_mean(tf.square(values), axis=list(range(1, values.shape.rank)))


@dataclasses.dataclass(frozen=True)
class Direction(Objective):
    """Activations along a direction: `<v, a> max(floor, cos(v, a))^power`, mean over positions.

    Targets: float `[N, C]`, the directions v, which are divided by their norms. With `power=0` it is
    the mean dot product.

    Source: Carter et al., Activation Atlas, 2019, https://doi.org/10.23915/distill.00015, whose dot
    product times a power of the cosine has floor 0.1.

    Args:
        layer: path of the layer.
        power: of the cosine, 0 or more.
        vector: one direction for all images; None to take it from `targets=`.
        position: use only this position, as for `Neuron`; None for the mean over all positions.

    Raises:
        ValueError: in a run, if a direction has not as many numbers as the layer has channels or is zero,
            or the position is outside of the map.
    """

    layer: str
    power: float = 0.0
    vector: tuple[float, ...] | None = None
    position: tuple[int, ...] | None = None

    rises: ClassVar[bool] = True
    _FLOOR: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        check_layer(self.layer)
        checks.number(self.power, "power", low=0.0)
        if self.vector is not None:
            vector = tuple(checks.number(v, "every value of vector") for v in self.vector)
            object.__setattr__(self, "vector", vector)
        bind_position(self)

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    @property
    def taps(self) -> tuple[str, ...]:
        return (channels_last(self.layer),)

    @property
    def kind(self) -> Kind:
        return "vector" if self.vector is None else None

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        vectors = np.asarray(targets if self.vector is None else [self.vector])
        self._check_length(vectors.shape[-1], of_units(shapes, self.layer)[-1])
        check_position(self.position, of_units(shapes, self.layer), self.layer)
        if not np.all(np.any(vectors != 0, axis=-1)):
            raise ValueError(checks.message("directions that are not zero", "a zero vector"))

    def _check_length(self, given: int | None, channels: int | None) -> None:
        if None not in (given, channels) and given != channels:
            raise ValueError(
                checks.message(
                    f"directions of {channels} numbers, as layer {self.layer!r} has channels",
                    f"{given} numbers",
                )
            )

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        values = of_units(activations, self.layer)
        # Here too, before TensorFlow multiplies what does not fit.
        check_position(self.position, tuple(values.shape), self.layer)
        if self.position is not None:
            values = at_position(values, self.position)
        vectors = targets if self.vector is None else tf.constant([self.vector], values.dtype)
        vectors = tf.cast(vectors, values.dtype)
        self._check_length(vectors.shape[-1], values.shape[-1])
        vectors /= by_row(tf.sqrt, tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True))
        for _ in range(values.shape.rank - 2):
            vectors = vectors[:, None]
        dot = tf.reduce_sum(values * vectors, axis=-1)
        if self.power:
            squares = tf.reduce_sum(tf.square(values), axis=-1)
            # The smallest normal number keeps the root's gradient finite where a position is silent.
            size = by_row(tf.sqrt, tf.maximum(squares, values.dtype.as_numpy_dtype(1e-12)))
            cosine = tf.maximum(dot / size, self._FLOOR)
            dot *= by_row(lambda values: values**self.power, cosine)
        return (
            tf.reduce_mean(dot, axis=list(range(1, dot.shape.rank))) if dot.shape.rank > 1 else dot
        )
