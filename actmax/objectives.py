"""Objectives: what a part of the network responds with, one score per image, higher is better.

`objective(activations: dict of [N, ...], targets) -> scores [N]`. They add, subtract, multiply and
negate, with numbers and with each other, into new objectives:

    actmax.Logit(3) - actmax.Logit(5)         0.2 * actmax.Channel("a") + 0.8 * actmax.Channel("b")
"""

from __future__ import annotations

import abc
import dataclasses
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import tensorflow as tf

from actmax import checks
from regularizers.base import function_name

Activations: TypeAlias = Mapping[str, tf.Tensor]
Kind: TypeAlias = Literal["index", "vector"] | None

# Names of activations that are no layers: a model's output as it is, and before its softmax. For a
# model of several outputs the output's name follows the colon and a slash: ":logits/age".
OUTPUT = ":output"
LOGITS = ":logits"


class Objective(abc.ABC):
    """A score of activations.

    Subclasses are frozen dataclasses. `layers` names the activations that the call gets, by layer
    path or as `OUTPUT` or `LOGITS`.

    Attributes:
        couples_images: True if one image's score depends on another image.
    """

    couples_images: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def layers(self) -> tuple[str, ...]:
        """Names of the activations that it needs."""

    @property
    def kind(self) -> Kind:
        """What its targets are: "index" (int `[N]`), "vector" (float `[N, C]`), or None."""
        return None

    @abc.abstractmethod
    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        """Scores. `-> [N]`."""

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        """Raises ValueError if `targets` (NumPy, or None) do not fit activations of these shapes."""

    def __add__(self, other: Any) -> Objective:
        return _combine("+", self, other)

    def __radd__(self, other: Any) -> Objective:
        return _combine("+", other, self)

    def __sub__(self, other: Any) -> Objective:
        return _combine("-", self, other)

    def __rsub__(self, other: Any) -> Objective:
        return _combine("-", other, self)

    def __mul__(self, other: Any) -> Objective:
        return _combine("*", self, other)

    def __rmul__(self, other: Any) -> Objective:
        return _combine("*", other, self)

    def __neg__(self) -> Objective:
        return _combine("*", -1.0, self)


_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def _combine(operation: str, left: Any, right: Any) -> Objective:
    for side in (left, right):
        if isinstance(side, bool) or not isinstance(side, (int, float, Objective)):
            return NotImplemented
    return Combination(operation, left, right)


@dataclasses.dataclass(frozen=True)
class Combination(Objective):
    """`left operation right`, where each side is an objective or a number, and one is an objective."""

    operation: str
    left: Objective | float
    right: Objective | float

    def __post_init__(self) -> None:
        checks.one_of(self.operation, "operation", tuple(_OPERATIONS))
        for side in (self.left, self.right):
            if not isinstance(side, Objective):
                checks.number(side, "a number in an objective")
        kinds = {side.kind for side in self._sides()} - {None}
        if len(kinds) > 1:
            raise TypeError(
                checks.message(
                    "terms that can share their targets",
                    f"targets of kinds {sorted(map(str, kinds))}",
                    "Bind the targets of one of them, as in Channel('layer', target=5).",
                )
            )

    def _sides(self) -> list[Objective]:
        return [side for side in (self.left, self.right) if isinstance(side, Objective)]

    @property
    def couples_images(self) -> bool:  # type: ignore[override]
        return any(side.couples_images for side in self._sides())

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(layer for side in self._sides() for layer in side.layers))

    @property
    def kind(self) -> Kind:
        return next((side.kind for side in self._sides() if side.kind is not None), None)

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        for side in self._sides():
            side.check(shapes, targets if side.kind is not None else None)

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        values = [
            side(activations, targets) if isinstance(side, Objective) else side
            for side in (self.left, self.right)
        ]
        return _OPERATIONS[self.operation](*values)


@dataclasses.dataclass(frozen=True)
class _Unit(Objective):
    """A unit of one activation, chosen by an index per image or by one bound index."""

    @property
    @abc.abstractmethod
    def _layer(self) -> str: ...

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
        count = shapes[self._layer][-1]
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
        return tf.gather(values, self._indices(targets, values), batch_dims=1)


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
        return self._pick(over_space(activations[self._layer]), targets)


@dataclasses.dataclass(frozen=True)
class LogProbability(Logit):
    """`log softmax(z)[target]`, of the output before its softmax. Targets: int `[N]`.

    It can rise by lowering the other classes, which `Logit` cannot.
    """

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        return self._pick(tf.nn.log_softmax(over_space(activations[self._layer])), targets)


@dataclasses.dataclass(frozen=True)
class Margin(Logit):
    """`z[target] - max of the other z`, of the output before its softmax. Targets: int `[N]`."""

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        super().check(shapes, targets)
        if shapes[self._layer][-1] == 1:
            raise ValueError(
                checks.message("at least two units for a margin", "one", "Use actmax.Logit().")
            )

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        logits = over_space(activations[self._layer])
        own = tf.one_hot(self._indices(targets, logits), logits.shape[-1], True, False, dtype=tf.bool)
        others = tf.where(own, tf.constant(logits.dtype.min, logits.dtype), logits)
        return self._pick(logits, targets) - tf.reduce_max(others, axis=-1)


@dataclasses.dataclass(frozen=True)
class Channel(_Unit):
    """Mean over space of one channel of a layer. Targets: int `[N]`.

    Source: Olah, Mordvintsev and Schubert, 2017, https://doi.org/10.23915/distill.00007.

    Args:
        layer: path of the layer, as `actmax inspect` lists it.
        target: one channel for all images; None to take it from `targets=`.
    """

    layer: str
    target: int | None = None

    def __post_init__(self) -> None:
        _check_layer(self.layer)
        _bound_target(self.target)

    @property
    def _layer(self) -> str:
        return self.layer

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        return self._pick(over_space(activations[self.layer]), targets)


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
        _check_layer(self.layer)
        _bound_target(self.target)
        if self.position is not None:
            position = tuple(checks.integer(i, "every index of position") for i in self.position)
            object.__setattr__(self, "position", position)

    @property
    def _layer(self) -> str:
        return self.layer

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        super().check(shapes, targets)
        space = shapes[self.layer][1:-1]
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
        values = activations[self.layer]
        for axis in range(values.shape.rank - 2):
            index = tf.shape(values)[1] // 2 if self.position is None else self.position[axis]
            values = tf.gather(values, index, axis=1)
        return self._pick(values, targets)


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

    def __post_init__(self) -> None:
        _check_layer(self.layer)

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        values = activations[self.layer]
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
    """

    layer: str
    power: float = 0.0
    vector: tuple[float, ...] | None = None

    _FLOOR: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        _check_layer(self.layer)
        checks.number(self.power, "power", low=0.0)
        if self.vector is not None:
            vector = tuple(checks.number(v, "every value of vector") for v in self.vector)
            object.__setattr__(self, "vector", vector)

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    @property
    def kind(self) -> Kind:
        return "vector" if self.vector is None else None

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        vectors = np.asarray(targets if self.vector is None else [self.vector])
        channels = shapes[self.layer][-1]
        if channels is not None and vectors.shape[-1] != channels:
            raise ValueError(
                checks.message(
                    f"directions of {channels} numbers, as layer {self.layer!r} has channels",
                    f"{vectors.shape[-1]} numbers",
                )
            )
        if not np.all(np.any(vectors != 0, axis=-1)):
            raise ValueError(checks.message("directions that are not zero", "a zero vector"))

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        values = activations[self.layer]
        vectors = targets if self.vector is None else tf.constant([self.vector])
        vectors = tf.math.l2_normalize(tf.cast(vectors, values.dtype), axis=-1, epsilon=0.0)
        for _ in range(values.shape.rank - 2):
            vectors = vectors[:, None]
        dot = tf.reduce_sum(values * vectors, axis=-1)
        if self.power:
            squares = tf.reduce_sum(tf.square(values), axis=-1)
            # The smallest normal number keeps the root's gradient finite where a position is silent.
            size = tf.sqrt(tf.maximum(squares, values.dtype.as_numpy_dtype(1e-12)))
            dot *= tf.maximum(dot / size, self._FLOOR) ** self.power
        return tf.reduce_mean(dot, axis=list(range(1, dot.shape.rank))) if dot.shape.rank > 1 else dot


def _check_layer(layer: Any) -> None:
    if not isinstance(layer, str) or not layer:
        raise TypeError(
            checks.message(
                "the path of a layer, a string such as 'block3_conv1'",
                repr(layer),
                "List the paths with actmax.layer_paths(model).",
            )
        )


@dataclasses.dataclass(frozen=True)
class FunctionObjective(Objective):
    """A plain function of the model's output (or of named activations) as an objective.

    Args:
        function: `output [N, ...] -> [N]` or `(output, targets) -> [N]`; with `at`, the first
            argument is a dict of activations by name.
        at: paths of the layers that it needs; empty for the model's output as it is.
        takes_targets: whether the function takes targets.
    """

    function: Callable[..., tf.Tensor]
    at: tuple[str, ...] = ()
    takes_targets: bool = False

    @property
    def layers(self) -> tuple[str, ...]:
        return self.at or (OUTPUT,)

    @property
    def kind(self) -> Kind:
        return "index" if self.takes_targets else None

    @property
    def name(self) -> str:
        """The name of the function."""
        return function_name(self.function)

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        first = {name: activations[name] for name in self.at} if self.at else activations[OUTPUT]
        return self.function(first, targets) if self.takes_targets else self.function(first)


def objective(*, layers: Sequence[str]) -> Callable[[Callable[..., tf.Tensor]], FunctionObjective]:
    """Makes an objective of a function of named activations.

    Args:
        layers: paths of the layers; the function gets a dict of their activations, and `targets` if
            it takes a second argument.

    Example:
        >>> import tensorflow as tf
        >>> import actmax
        >>> @actmax.objective(layers=["conv"])
        ... def energy(activations):
        ...     return tf.reduce_sum(activations["conv"] ** 2, axis=(1, 2, 3))
        >>> energy.layers
        ('conv',)
    """
    if isinstance(layers, str) or not layers:
        raise TypeError(checks.message("a list of layer paths", repr(layers), "Write layers=['name']."))
    for layer in layers:
        _check_layer(layer)

    def decorate(function: Callable[..., tf.Tensor]) -> FunctionObjective:
        return FunctionObjective(function, tuple(layers), _takes_targets(function))

    return decorate


def as_objective(value: Any) -> Objective:
    """An objective as it is, a plain function of the model's output as an objective.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(value, Objective):
        return value
    if callable(value) and not isinstance(value, type):
        return FunctionObjective(value, (), _takes_targets(value))
    raise TypeError(
        checks.message(
            "an objective such as actmax.Logit() or a function of the model's output",
            f"{value!r} ({type(value).__name__})",
            "Write the parentheses: actmax.Logit()." if isinstance(value, type) else "",
        )
    )


def _takes_targets(function: Callable[..., Any]) -> bool:
    """Whether a function wants `(activations, targets)`; it must take one or two arguments."""
    signature = inspect.signature(function)
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        required = [
            p
            for p in signature.parameters.values()
            if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        return count == 2 and len(required) == 2
    raise TypeError(
        checks.message(
            "a function of (output) or (output, targets)", f"{function_name(function)}{signature}"
        )
    )
