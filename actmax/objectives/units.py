"""Objectives that pick one unit per image: of the output, or of a layer."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.objectives.base import (
    LOGITS,
    Activations,
    Kind,
    Objective,
    channels_last,
    check_layer,
    of_units,
)
from regularizers.lanes import by_row, log_softmax, softmax
from regularizers.slopes import custom_gradient

# What makes probabilities of logits, by the operation at the end of the model.
_HEADS: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "softmax": softmax,
    "logsoftmax": softmax,
    "sigmoid": functools.partial(by_row, tf.sigmoid),
}


@dataclasses.dataclass(frozen=True)
class _Unit(Objective):
    """A unit of one activation, chosen by an index per image or by one bound index."""

    @property
    @abc.abstractmethod
    def _layer(self) -> str: ...

    @property
    def taps(self) -> tuple[str, ...]:
        return (channels_last(self._layer),)

    @property
    def _bound(self) -> int | None:
        return getattr(self, "target", None)

    @property
    def layers(self) -> tuple[str, ...]:
        return (self._layer,)

    @property
    def kind(self) -> Kind:
        return "index" if self._bound is None else None

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        count = of_units(shapes, self._layer)[-1]
        used = np.asarray(targets if self._bound is None else [self._bound])
        if count is None:
            return
        bad = np.flatnonzero((used < 0) | (used >= count))
        if len(bad):
            where = f" at position {bad[0]}" if self._bound is None else ""
            raise ValueError(
                checks.message(
                    f"targets of {type(self).__name__} in 0..{count - 1}, because "
                    f"{_spoken(self._layer)} has {count} units",
                    f"{used[bad[0]]}{where}",
                )
            )

    def _indices(self, targets: tf.Tensor | None, like: tf.Tensor) -> tf.Tensor:
        if self._bound is not None:
            return tf.fill(tf.shape(like)[:1], self._bound)
        return targets

    def _pick(self, values: tf.Tensor, targets: tf.Tensor | None) -> tf.Tensor:
        """One unit per image: `[N, C], [N] -> [N]`."""
        return pick(values, self._indices(targets, values))


def pick(values: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """`values[n, indices[n]]`. `[N, C], [N] -> [N]`.

    The gradient is written out: that of `tf.gather` with batch dimensions is thirty operations.
    """
    units = tf.shape(values)[1]

    @custom_gradient
    def picked(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # Chosen and not multiplied, so that an infinite gradient stays where it belongs.
            chosen = tf.one_hot(indices, units, True, False)
            return tf.where(chosen, upstream[:, None], tf.zeros([], upstream.dtype))

        return tf.gather(values, indices, batch_dims=1), gradient

    return picked(values)


def _spoken(layer: str) -> str:
    return "the model's output" if layer.startswith(":") else f"layer {layer!r}"


def over_space(activations: tf.Tensor) -> tf.Tensor:
    """Mean over all axes between the first and the last. `[N, ..., C] -> [N, C]`."""
    axes = list(range(1, activations.shape.rank - 1))
    return tf.reduce_mean(activations, axes) if axes else activations


def _bound_target(value: Any) -> None:
    if value is not None:
        checks.integer(value, "target")


def _head(name: str, output: str | None) -> str:
    return name if output is None else f"{name}/{output}"


@dataclasses.dataclass(frozen=True)
class Logit(_Unit):
    """The output unit before its softmax or sigmoid: `z[target]`. Targets: int `[N]`.

    Outputs of higher rank are averaged over space. A single-unit sigmoid has two targets: 1 for `z`
    and 0 for `-z`.

    Source: Simonyan, Vedaldi and Zisserman, 2013, https://arxiv.org/abs/1312.6034.

    Args:
        target: one index for all images; None to take it from `targets=`.
        output: name of the output, for models with several.
    """

    target: int | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        _bound_target(self.target)

    @property
    def _layer(self) -> str:
        return _head(LOGITS, self.output)

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        return self._pick(over_space(of_units(activations, self._layer)), targets)

    def probability(
        self, activations: Activations, targets: tf.Tensor | None, heads: Mapping[str, str]
    ) -> tf.Tensor | None:
        logits = of_units(activations, self._layer)
        head = _HEADS.get(heads.get(self.output or "", ""))
        # A mean over space of logits is no logit.
        return None if head is None or logits.shape.rank != 2 else self._pick(head(logits), targets)

    def classes(
        self, activations: Activations, targets: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor] | None:
        logits = of_units(activations, self._layer)
        return None if logits.shape.rank != 2 else (logits, self._indices(targets, logits))


@dataclasses.dataclass(frozen=True)
class _AmongClasses(Logit):
    """An objective that sets one class against the others, which the units of a sigmoid are not."""

    def check_heads(self, heads: Mapping[str, str]) -> None:
        if heads.get(self.output or "") == "sigmoid":
            raise ValueError(
                checks.message(
                    f"classes of which one is right, for {type(self).__name__}",
                    "an output of sigmoid units, each with an answer of its own",
                    "Use actmax.Logit(): it rises with the unit's probability.",
                )
            )


@dataclasses.dataclass(frozen=True)
class LogProbability(_AmongClasses):
    """`log softmax(z)[target]`, of the output before its softmax. Targets: int `[N]`.

    It can rise by lowering the other classes, which `Logit` cannot.
    """

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        return self._pick(log_softmax(over_space(of_units(activations, self._layer))), targets)


@dataclasses.dataclass(frozen=True)
class Margin(_AmongClasses):
    """`z[target] - max of the other z`, of the output before its softmax. Targets: int `[N]`."""

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        super().check(shapes, targets)
        if of_units(shapes, self._layer)[-1] == 1:
            raise ValueError(
                checks.message("at least two units for a margin", "one", "Use actmax.Logit().")
            )

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        logits = over_space(of_units(activations, self._layer))
        own = tf.one_hot(self._indices(targets, logits), logits.shape[-1], True, False)
        others = tf.where(own, tf.constant(logits.dtype.min, logits.dtype), logits)
        return self._pick(logits, targets) - tf.reduce_max(others, axis=-1)


@dataclasses.dataclass(frozen=True)
class Channel(_Unit):
    """Mean over space of one channel of a layer. Targets: int `[N]`.

    Source: Olah, Mordvintsev and Schubert, 2017, https://doi.org/10.23915/distill.00007.

    Args:
        layer: path of the layer, as `actmax inspect` lists it. Its channels are counted along the axis
            that it has for them, in channels-first layers the first one behind the batch.
        target: one channel for all images; None to take it from `targets=`.
    """

    layer: str
    target: int | None = None

    def __post_init__(self) -> None:
        check_layer(self.layer)
        _bound_target(self.target)

    @property
    def _layer(self) -> str:
        return self.layer

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        return self._pick(over_space(of_units(activations, self._layer)), targets)


@dataclasses.dataclass(frozen=True)
class Neuron(_Unit):
    """One channel of a layer at one position. Targets: int `[N]`, the channel.

    Args:
        layer: path of the layer.
        position: indices along the axes between the first and the last, `(row, column)`; None for
            the centre, `size // 2` along each.
        target: one channel for all images; None to take it from `targets=`.
    """

    layer: str
    position: tuple[int, ...] | None = None
    target: int | None = None

    def __post_init__(self) -> None:
        check_layer(self.layer)
        _bound_target(self.target)
        if self.position is not None:
            position = tuple(checks.integer(i, "every index of position") for i in self.position)
            object.__setattr__(self, "position", position)

    @property
    def _layer(self) -> str:
        return self.layer

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        super().check(shapes, targets)
        space = of_units(shapes, self._layer)[1:-1]
        if self.position is None:
            return
        fits = len(self.position) == len(space) and all(
            size is None or index < size for index, size in zip(self.position, space, strict=True)
        )
        if not fits:
            raise ValueError(
                checks.message(
                    f"a position inside the {space} map of layer {self.layer!r}", self.position
                )
            )

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        values = of_units(activations, self._layer)
        for axis in range(values.shape.rank - 2):
            index = tf.shape(values)[1] // 2 if self.position is None else self.position[axis]
            values = tf.gather(values, index, axis=1)
        return self._pick(values, targets)
