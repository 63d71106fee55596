"""Objectives that pick one unit per image: of the output, or of a layer."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.objectives.base import (
    GROUPS,
    LOGARITHMS,
    LOGITS,
    PROBABILITIES,
    ROWS,
    Activations,
    Kind,
    Objective,
    at_position,
    bind_position,
    channels_last,
    check_layer,
    check_position,
    of_rows,
    of_units,
)
from regularizers.lanes import by_row, log_softmax, softmax
from regularizers.slopes import custom_gradient

# What makes probabilities of logits, by the operation at the end of the model.
_HEADS: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "softmax": softmax,
    "logsoftmax": softmax,
    "sigmoid": functools.partial(by_row, tf.sigmoid),
    "logsigmoid": functools.partial(by_row, tf.sigmoid),
}

# What is the output itself, in words.
_BOUNDED = {"tanh": "tanh", "softplus": "softplus", "bounded": "a clipped or scaled function"}


@dataclasses.dataclass(frozen=True)
class _Unit(Objective):
    """A unit of one activation, chosen by an index per image or by one bound index."""

    rises: ClassVar[bool] = True

    @property
    @abc.abstractmethod
    def _layer(self) -> str: ...

    @property
    def taps(self) -> tuple[str, ...]:
        return (channels_last(self._layer), *self._rows)

    @property
    def targeted(self) -> tuple[str, ...]:
        return () if self.kind is None else (channels_last(self._layer),)

    @property
    def _bound(self) -> int | tuple[int, ...] | None:
        return getattr(self, "target", None)

    @property
    def _rows(self) -> tuple[str, ...]:
        return () if self.count is None else (ROWS,)

    @property
    def count(self) -> int | None:
        return len(self._bound) if isinstance(self._bound, tuple) else None

    @property
    def layers(self) -> tuple[str, ...]:
        return (self._layer, *self._rows)

    @property
    def kind(self) -> Kind:
        return "index" if self._bound is None else None

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        count = of_units(shapes, self._layer)[-1]
        used = np.atleast_1d(targets if self._bound is None else self._bound)
        if count is None:
            return
        if count == 0:
            raise ValueError(
                checks.message(
                    f"at least one unit of {_spoken(self._layer)}", "none: its size is 0"
                )
            )
        bad = np.flatnonzero((used < 0) | (used >= count))
        if len(bad):
            where = "" if isinstance(self._bound, int) else f" at position {bad[0]}"
            raise ValueError(
                checks.message(
                    f"targets of {type(self).__name__} in 0..{count - 1}, because "
                    f"{_spoken(self._layer)} has {count} units",
                    f"{used[bad[0]]}{where}",
                )
            )

    def _indices(
        self, targets: tf.Tensor | None, like: tf.Tensor, activations: Activations
    ) -> tf.Tensor:
        if isinstance(self._bound, tuple):
            return of_rows(self._bound, activations, tf.int32)
        return targets if self._bound is None else tf.fill(tf.shape(like)[:1], self._bound)

    def _pick(
        self, values: tf.Tensor, targets: tf.Tensor | None, activations: Activations
    ) -> tf.Tensor:
        """One unit per image: `[N, C], [N] -> [N]`."""
        return pick(values, self._indices(targets, values, activations))


def pick(values: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """`values[n, indices[n]]`. `[N, C], [N] -> [N]`.

    It has a custom gradient, because that of `tf.gather` with batch dimensions has thirty
    operations.
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


def _bind(objective: Any) -> None:
    """Checks the bound target of an objective: none, a number, or one per image, kept as a tuple."""
    value = objective.target
    if isinstance(value, (list, tuple, range, np.ndarray)) and np.ndim(value) == 1 and len(value):
        value = tuple(checks.integer(each, "every target", low=0) for each in value)
        object.__setattr__(objective, "target", value)
    elif value is not None:
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
        target: one index for all images, or a list of one per image, for terms whose targets differ;
            None to take it from `targets=`.
        output: name of the output, for models with several.
    """

    target: int | Sequence[int] | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        _bind(self)

    @property
    def _layer(self) -> str:
        return _head(LOGITS, self.output)

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        return self._pick(over_space(of_units(activations, self._layer)), targets, activations)

    def probability(
        self, activations: Activations, targets: tf.Tensor | None, heads: Mapping[str, str]
    ) -> tf.Tensor | None:
        logits = of_units(activations, self._layer)
        head = _HEADS.get(heads.get(self.output or "", ""))
        # A mean over space of logits is no logit.
        if head is None or logits.shape.rank != 2:
            return None
        if self._groups(activations) is not None:
            return self._pick(activations[_head(PROBABILITIES, self.output)], targets, activations)
        return self._pick(head(logits), targets, activations)

    def _groups(self, activations: Activations) -> tf.Tensor | None:
        """For every unit the number of its softmax; None where all units are one softmax, or in none."""
        return activations.get(_head(GROUPS, self.output))

    def classes(
        self, activations: Activations, targets: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor] | None:
        logits = of_units(activations, self._layer)
        return (
            None
            if logits.shape.rank != 2
            else (logits, self._indices(targets, logits, activations))
        )


@dataclasses.dataclass(frozen=True)
class _AmongClasses(Logit):
    """An objective that sets one class against the others, which the units of a sigmoid are not."""

    def check_heads(self, heads: Mapping[str, str]) -> None:
        kind = heads.get(self.output or "", "")
        if kind in ("sigmoid", "logsigmoid"):
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

    It can also rise when the logits of other classes fall, unlike `Logit`. If the output has several
    softmaxes, it is the log-probability in the softmax of the target.
    """

    def check_heads(self, heads: Mapping[str, str]) -> None:
        super().check_heads(heads)
        kind = heads.get(self.output or "", "")
        if kind in _BOUNDED:
            raise ValueError(
                checks.message(
                    "an output of logits or probabilities, for LogProbability",
                    f"an output that ends with {_BOUNDED[kind]}",
                    "Use actmax.Logit(), which is the output itself, or actmax.Margin().",
                )
            )

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        if self._groups(activations) is not None:
            found = activations[_head(LOGARITHMS, self.output)]
            return self._pick(over_space(found), targets, activations)
        return self._pick(
            log_softmax(over_space(of_units(activations, self._layer))), targets, activations
        )


@dataclasses.dataclass(frozen=True)
class Margin(_AmongClasses):
    """`z[target] - max of the other z`, of the output before its softmax. Targets: int `[N]`.

    If the output has several softmaxes, the others are the other units of the target's softmax.
    """

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        super().check(shapes, targets)
        if of_units(shapes, self._layer)[-1] == 1:
            raise ValueError(
                checks.message("at least two units for a margin", "one", "Use actmax.Logit().")
            )

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        logits = over_space(of_units(activations, self._layer))
        indices = self._indices(targets, logits, activations)
        left_out = tf.one_hot(indices, logits.shape[-1], True, False)
        groups = self._groups(activations)
        if groups is not None:
            _refuse_alone(groups)
            left_out |= groups[None, :] != tf.gather(groups, indices)[:, None]
        others = tf.where(left_out, tf.constant(logits.dtype.min, logits.dtype), logits)
        return self._pick(logits, targets, activations) - tf.reduce_max(others, axis=-1)


@dataclasses.dataclass(frozen=True)
class CrossEntropy(Objective):
    """Minus the cross-entropy with soft labels: `sum_c p_c log softmax(z)_c`. `-> [N]`, at most 0.

    Targets: float `[N, C]`, the probabilities p of all classes, which sum to 1. For example,
    `[0.5, 0.5, 0.0]` asks for an image that is equally the first and the second class. The maximum is
    minus the entropy of p.

    Args:
        output: name of the output, for models with several.

    Raises:
        ValueError: in a run, if targets are no shares of as many classes as the output has, or the model
            ends with sigmoids.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> shares = [[0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0]]
        >>> result = actmax.maximize(
        ...     zoo.load("mnist"), actmax.CrossEntropy(), shares, input_range=(0, 1), steps=2
        ... )
        >>> bool(result.scores[0] < 0)
        True
    """

    output: str | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        return (_head(LOGITS, self.output),)

    @property
    def kind(self) -> Kind:
        return "vector"

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        shares, count = np.asarray(targets), of_units(shapes, self.layers[0])[-1]
        if count is not None and shares.shape[-1] != count:
            raise ValueError(
                checks.message(
                    f"soft labels of {count} numbers, as the output has units",
                    f"{shares.shape[-1]} numbers",
                )
            )
        if np.any(shares < 0) or not np.allclose(shares.sum(-1), 1.0, atol=1e-6):
            raise ValueError(
                checks.message(
                    "soft labels of at least 0 that sum to 1",
                    f"a row from {shares.min():g} to {shares.max():g}, sums {shares.sum(-1)}"[:120],
                )
            )

    def check_heads(self, heads: Mapping[str, str]) -> None:
        LogProbability(output=self.output).check_heads(heads)

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        logarithms = log_softmax(over_space(of_units(activations, self.layers[0])))
        return tf.reduce_sum(tf.cast(targets, logarithms.dtype) * logarithms, axis=-1)


def _refuse_alone(groups: tf.Tensor) -> None:
    """Raises ValueError where a unit has no other one in its softmax."""
    known = tf.get_static_value(groups)
    if known is not None and min(np.bincount(known), default=0) < 2:
        raise ValueError(
            checks.message(
                "at least two units of every softmax in the output, for a margin",
                "an output with one unit of a softmax alone",
                "Use actmax.Logit() or actmax.LogProbability().",
            )
        )


@dataclasses.dataclass(frozen=True)
class Channel(_Unit):
    """Mean over space of one channel of a layer. Targets: int `[N]`.

    Source: Olah, Mordvintsev and Schubert, 2017, https://doi.org/10.23915/distill.00007.

    Args:
        layer: path of the layer, as `actmax inspect` lists it. Channels are counted along the layer's
            channel axis, which is the first one after the batch in channels-first layers.
        target: one channel for all images, or a list of one per image; None to take it from `targets=`.
    """

    layer: str
    target: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        check_layer(self.layer)
        _bind(self)

    @property
    def _layer(self) -> str:
        return self.layer

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        return self._pick(over_space(of_units(activations, self._layer)), targets, activations)


@dataclasses.dataclass(frozen=True)
class Neuron(_Unit):
    """One channel of a layer at one position. Targets: int `[N]`, the channel.

    Args:
        layer: path of the layer.
        position: indices along the axes between the first and the last, `(row, column)`; None for
            the centre, `size // 2` along each.
        target: one channel for all images, or a list of one per image; None to take it from `targets=`.
    """

    layer: str
    position: tuple[int, ...] | None = None
    target: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        check_layer(self.layer)
        _bind(self)
        bind_position(self)

    @property
    def _layer(self) -> str:
        return self.layer

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        super().check(shapes, targets)
        check_position(self.position, of_units(shapes, self._layer), self.layer)

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        values = of_units(activations, self._layer)
        check_position(self.position, tuple(values.shape), self.layer)  # before it is looked up
        values = at_position(values, self.position)
        return self._pick(values, targets, activations)
