"""What an objective is, and how objectives combine."""

from __future__ import annotations

import abc
import dataclasses
import functools
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
# Beside logits, where the model ends with a softmax or sigmoid: its probabilities, and their logarithms.
LOGARITHMS = ":logarithms"
PROBABILITIES = ":probabilities"
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

    @property
    def targeted(self) -> tuple[str, ...]:
        """Those of `taps` of which its targets pick units; none where it takes no targets."""
        return () if self.kind is None else self.taps

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

    def classes(
        self, activations: Activations, targets: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor] | None:
        """Outputs of all classes before their softmax or sigmoid, and those asked for. `-> [N, C], [N]`.

        None where the objective is no single class of an output.

        Args:
            activations: as for the call.
            targets: as for the call.
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

    def __truediv__(self, other: Any) -> Objective:
        if isinstance(other, bool) or not isinstance(other, (int, float)):
            return NotImplemented
        if other == 0:
            raise ValueError(checks.message("a number other than 0 to divide an objective by", "0"))
        return _combine("*", self, 1.0 / other)


_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def _combine(operation: str, left: Any, right: Any) -> Objective:
    for side in (left, right):
        if isinstance(side, bool) or not isinstance(side, (int, float, Objective)):
            return NotImplemented
    if operation == "*":
        return Combination(operation, left, right)
    first, second = _flat(left), _flat(right)
    turned = {"+": "-", "-": "+"} if operation == "-" else {"+": "+", "-": "-"}
    return Sum(
        (*first.terms, *second.terms), first.signs + "".join(turned[sign] for sign in second.signs)
    )


def _flat(side: Any) -> Sum:
    return side if isinstance(side, Sum) else Sum((side,), "+")


class _Composite(Objective):
    """An objective of others, which share their targets. Its parts are looked through once."""

    @abc.abstractmethod
    def _parts(self) -> Sequence[Any]:
        """Objectives and numbers."""

    def _check(self) -> None:
        for part in self._parts():
            if not isinstance(part, Objective):
                checks.number(part, "a number in an objective")
        kinds = {part.kind for part in self._objectives} - {None}
        if len(kinds) > 1:
            raise TypeError(
                checks.message(
                    "terms that can share their targets",
                    f"targets of kinds {sorted(map(str, kinds))}",
                    "Bind the targets of one of them, as in Channel('layer', target=5).",
                )
            )

    @functools.cached_property
    def _objectives(self) -> tuple[Objective, ...]:
        return tuple(part for part in self._parts() if isinstance(part, Objective))

    @functools.cached_property
    def couples_images(self) -> bool:  # type: ignore[override]
        return any(part.couples_images for part in self._objectives)

    @functools.cached_property
    def layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(layer for part in self._objectives for layer in part.layers))

    @functools.cached_property
    def taps(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in self._objectives for name in part.taps))

    @functools.cached_property
    def targeted(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in self._objectives for name in part.targeted))

    @functools.cached_property
    def kind(self) -> Kind:
        return next((part.kind for part in self._objectives if part.kind is not None), None)

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        for part in self._objectives:
            part.check(shapes, targets if part.kind is not None else None)

    def check_heads(self, heads: Mapping[str, str]) -> None:
        for part in self._objectives:
            part.check_heads(heads)


@dataclasses.dataclass(frozen=True)
class Sum(_Composite):
    """Terms added up or taken away, from the first on; each is an objective or a number.

    Args:
        terms: at least one.
        signs: "+" or "-" of every term, as "+-+".
    """

    terms: tuple[Any, ...]
    signs: str

    def __post_init__(self) -> None:
        if not self.terms or len(self.signs) != len(self.terms) or set(self.signs) - {"+", "-"}:
            raise ValueError(
                checks.message(
                    'terms, and "+" or "-" for each', f"{len(self.terms)} terms, {self.signs!r}"
                )
            )
        self._check()

    def _parts(self) -> Sequence[Any]:
        return self.terms

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        total: Any = None
        for sign, term in zip(self.signs, self.terms, strict=True):
            value = term(activations, targets) if isinstance(term, Objective) else term
            if total is None:
                total = value if sign == "+" else -value
            else:
                total = _OPERATIONS[sign](*_of_one_type((total, value)))
        return total


@dataclasses.dataclass(frozen=True)
class Combination(_Composite):
    """`left operation right`, where each side is an objective or a number, and one is an objective."""

    operation: str
    left: Objective | float
    right: Objective | float

    def __post_init__(self) -> None:
        checks.one_of(self.operation, "operation", tuple(_OPERATIONS))
        self._check()

    def _parts(self) -> Sequence[Any]:
        return (self.left, self.right)

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
