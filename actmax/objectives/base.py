"""What an objective is, and how objectives combine."""

from __future__ import annotations

import abc
import dataclasses
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import tensorflow as tf

from actmax import checks

Activations: TypeAlias = Mapping[str, tf.Tensor]
Kind: TypeAlias = Literal["index", "vector"] | None

# Names of activations that are no layers: a model's output as it is, and before its softmax. For a
# model of several outputs the output's name follows the colon and a slash: ":logits/age".
OUTPUT = ":output"
LOGITS = ":logits"
# What enters every batch-norm layer: a tuple of `Normalized`.
BATCH_NORM = ":batch_norm"
# Which image a row is, or is a transformed copy of: int `[N]`, counted from 0.
ROWS = ":rows"


# Behind the path of a layer: its activation with the channels last, whatever its layout. The path alone
# is the activation as the layer returns it.
CHANNELS_LAST = "|channels_last"


class Normalized(NamedTuple):
    """What enters a batch-norm layer, and the moving statistics that it expects of it.

    Attributes:
        inputs: `[N, ..., C]`.
        mean: `[N, C]`, the same in every row.
        variance: `[N, C]`, the same in every row.
    """

    inputs: tf.Tensor
    mean: tf.Tensor
    variance: tf.Tensor


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
    def taps(self) -> tuple[str, ...]:
        """Names under which it gets them: those of `layers`, or with `CHANNELS_LAST` behind a path."""
        return self.layers

    @property
    def kind(self) -> Kind:
        """What its targets are: "index" (int `[N]`), "vector" (float `[N, C]`), or None."""
        return None

    @abc.abstractmethod
    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        """Scores. `-> [N]`."""

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        """Raises ValueError if `targets` (NumPy, or None) do not fit activations of these shapes."""

    def check_heads(self, heads: Mapping[str, str]) -> None:
        """Raises ValueError if it makes no sense for what stands at the end of the model.

        Args:
            heads: by output name ("" for the only one), "softmax", "sigmoid", "linear", ...
        """

    def probability(
        self, activations: Activations, targets: tf.Tensor | None, heads: Mapping[str, str]
    ) -> tf.Tensor | None:
        """What the model's own softmax or sigmoid says of the targets. `-> [N]` in 0..1, or None.

        None where the objective picks no unit of an output, or the output has neither.

        Args:
            activations: as for the call.
            targets: as for the call.
            heads: as for `check_heads`.
        """
        return None

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
    def taps(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for side in self._sides() for name in side.taps))

    @property
    def kind(self) -> Kind:
        return next((side.kind for side in self._sides() if side.kind is not None), None)

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        for side in self._sides():
            side.check(shapes, targets if side.kind is not None else None)

    def check_heads(self, heads: Mapping[str, str]) -> None:
        for side in self._sides():
            side.check_heads(heads)

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        values = [
            side(activations, targets) if isinstance(side, Objective) else side
            for side in (self.left, self.right)
        ]
        return _OPERATIONS[self.operation](*_of_one_type(values))


def _of_one_type(values: Sequence[Any]) -> Sequence[Any]:
    """Scores of layers that compute in different types, as in mixed precision, in one that holds both."""
    types = {value.dtype for value in values if tf.is_tensor(value)}
    if len(types) < 2:
        return values
    widest = max(types, key=lambda kind: kind.size)
    # float16 and bfloat16 hold one another's values in neither.
    wide = tf.float32 if widest.size < tf.float32.size else widest
    return [tf.cast(value, wide) if tf.is_tensor(value) else value for value in values]


def check_layer(layer: Any) -> None:
    """Raises TypeError if `layer` is not the path of a layer."""
    if not isinstance(layer, str) or not layer:
        raise TypeError(
            checks.message(
                "the path of a layer, a string such as 'block3_conv1'",
                repr(layer),
                "List the paths with actmax.layer_paths(model).",
            )
        )


def channels_last(layer: str) -> str:
    """Name of a layer's activation with the channels last; outputs and logits have names of their own."""
    return layer if layer.startswith(":") else layer + CHANNELS_LAST


def of_units(found: Mapping[str, Any], layer: str) -> Any:
    """What belongs to a layer with the channels last; of a dict that has one form only, that one."""
    name = channels_last(layer)
    return found[name] if name in found else found[layer]


def refuse_coupled(objective: Objective, what: str) -> None:
    """Raises ValueError for an objective that scores images of a batch by one another.

    Args:
        objective: the objective.
        what: whose scores are wanted, which are computed a batch at a time.
    """
    if objective.couples_images:
        raise ValueError(
            checks.message(
                f"an objective that scores every image by itself, for {what}",
                f"{objective!r}, whose scores depend on what else is in the batch",
                "Give the part of it that does, such as actmax.Logit().",
            )
        )
