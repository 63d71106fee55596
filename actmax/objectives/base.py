"""What an objective is, and how objectives combine."""

from __future__ import annotations

import abc
import dataclasses
import functools
import numbers
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from actmax import checks
from regularizers.base import snake_case

Activations: TypeAlias = Mapping[str, tf.Tensor]
Kind: TypeAlias = Literal["index", "vector"] | None

# Names of activations that are no layers: a model's output as it is, and before its softmax. For a
# model of several outputs the output's name follows the colon and a slash: ":logits/age".
OUTPUT = ":output"
LOGITS = ":logits"
# Beside logits, where the model ends with a softmax or sigmoid: its probabilities, and their logarithms.
LOGARITHMS = ":logarithms"
PROBABILITIES = ":probabilities"
# Beside logits, where an output is of several softmaxes, or leaves units of one out: int `[C]`, for every
# unit the number of its softmax.
GROUPS = ":groups"
# What enters every batch-norm layer: a tuple of `Normalized`.
BATCH_NORM = ":batch_norm"
# Which image a row is, or is a transformed copy of: int `[N]`, counted from 0.
ROWS = ":rows"


# Behind the path of a layer: its activation with the channels last, whatever its layout. The path alone
# is the activation as the layer returns it.
CHANNELS_LAST = "|channels_last"


class Normalized(NamedTuple):
    """The input of a batch-norm layer, and the layer's moving statistics.

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
        rises: True if it maximizes activations directly, which has no effect where they are saturated.
    """

    couples_images: ClassVar[bool] = False
    __array_ufunc__ = (
        None  # so that NumPy leaves arithmetic with its numbers and arrays to this class
    )
    rises: ClassVar[bool] = False

    @property
    def parts(self) -> tuple[Objective, ...]:
        """The objectives that it is made of: itself, or the terms of a sum."""
        return (self,)

    @property
    @abc.abstractmethod
    def layers(self) -> tuple[str, ...]:
        """Names of the activations that the objective needs."""

    @property
    def taps(self) -> tuple[str, ...]:
        """Names under which the call gets them: those of `layers`, or a path followed by `CHANNELS_LAST`."""
        return self.layers

    @property
    def kind(self) -> Kind:
        """What its targets are: "index" (int `[N]`), "vector" (float `[N, C]`), or None."""
        return None

    @property
    def terms_by_name(self) -> tuple[tuple[str, Objective], ...]:
        """The terms of a sum by unique names, with signs and factors; empty if it is not a sum."""
        return ()

    @property
    def title(self) -> str:
        """Its name in a table: `channel(conv, 3)`."""
        part: Any = self
        fields = dataclasses.fields(part) if dataclasses.is_dataclass(part) else ()
        given = [getattr(self, field.name) for field in fields]
        shown = [str(value) for value in given if isinstance(value, (int, float, str))]
        name = getattr(self, "name", None) or snake_case(type(self).__name__)
        return f"{name}({', '.join(shown)})" if shown else str(name)

    @property
    def count(self) -> int | None:
        """The number of images, if it has lists with one value per image; None for any number."""
        return None

    @property
    def targeted(self) -> tuple[str, ...]:
        """Those of `taps` from which its targets choose units; none if it takes no targets."""
        return () if self.kind is None else self.taps

    @abc.abstractmethod
    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        """Scores. `-> [N]`."""

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        """Raises ValueError if `targets` (NumPy, or None) do not fit activations of these shapes."""

    def check_heads(self, heads: Mapping[str, str]) -> None:
        """Raises ValueError if it makes no sense for the head of the model.

        Args:
            heads: by output name ("" for the only one), "softmax", "sigmoid", "linear", ...
        """

    def probability(
        self, activations: Activations, targets: tf.Tensor | None, heads: Mapping[str, str]
    ) -> tf.Tensor | None:
        """Probabilities of the targets by the model's own softmax or sigmoid. `-> [N]` in 0..1, or None.

        None if the objective does not choose a unit of an output, or the output has neither.

        Args:
            activations: as for the call.
            targets: as for the call.
            heads: as for `check_heads`.
        """
        return None

    def classes(
        self, activations: Activations, targets: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor] | None:
        """Outputs of all classes before their softmax or sigmoid, and the targets. `-> [N, C], [N]`.

        None if the objective is not a single class of an output.

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

    def __pos__(self) -> Objective:
        return self

    def __abs__(self) -> Objective:
        raise _no_operation("abs()")

    def __pow__(self, other: Any) -> Objective:
        raise _no_operation("**")

    def __rpow__(self, other: Any) -> Objective:
        raise _no_operation("**")

    def __rtruediv__(self, other: Any) -> Objective:
        raise _no_operation("/")

    def __truediv__(self, other: Any) -> Objective:
        side = _side(other)
        if isinstance(side, Objective):
            raise _no_operation("/")
        if side is None:
            return NotImplemented
        numbers_ = side if isinstance(side, tuple) else (side,)
        if 0 in numbers_:
            raise ValueError(checks.message("a number other than 0 to divide an objective by", "0"))
        inverse = tuple(1.0 / number for number in numbers_)
        return _combine("*", self, inverse if isinstance(side, tuple) else inverse[0])


def _no_operation(operation: str) -> TypeError:
    return TypeError(
        checks.message(
            "objectives with +, -, * and numbers, or divided by a number",
            operation,
            "Write another measure as a function: @actmax.objective(layers=[...]), with the layers' "
            "activations and targets as arguments.",
        )
    )


# Terms of longer sums are not recorded separately, because each would be one more tensor.
_MOST_TERMS = 16
_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def _side(value: Any) -> Objective | float | tuple[float, ...] | None:
    """An objective, a number, or one number per image; None for anything else."""
    if isinstance(value, Objective):
        return value
    if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value) == 1 and len(value):
        return tuple(checks.number(each, "every number of an objective") for each in value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        return None
    found: Any = value
    return found.item() if hasattr(found, "item") else found


def _combine(operation: str, left: Any, right: Any) -> Objective:
    left, right = _side(left), _side(right)
    if left is None or right is None:
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
            for number in part if isinstance(part, tuple) else (part,):
                if not isinstance(number, Objective):
                    checks.number(number, "a number in an objective")
        known = [part.count for part in self._objectives]
        counts = {count for count in known if count is not None} | self._lengths
        if len(counts) > 1:
            raise ValueError(
                checks.message(
                    "terms for the same number of images",
                    f"lists of {' and '.join(map(str, sorted(counts)))} values",
                )
            )
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

    @property
    def parts(self) -> tuple[Objective, ...]:
        return tuple(part for each in self._objectives for part in each.parts)

    @property
    def _lengths(self) -> set[int]:
        """Lengths of the parts that are one number per image."""
        return {len(part) for part in self._parts() if isinstance(part, tuple)}

    @functools.cached_property
    def count(self) -> int | None:
        known = [part.count for part in self._objectives if part.count is not None]
        return next(iter([*self._lengths, *known]), None)

    @property
    def _rows(self) -> tuple[str, ...]:
        return (ROWS,) if self._lengths else ()

    @functools.cached_property
    def couples_images(self) -> bool:  # type: ignore[override]
        return any(part.couples_images for part in self._objectives)

    @functools.cached_property
    def layers(self) -> tuple[str, ...]:
        names = [layer for part in self._objectives for layer in part.layers]
        return tuple(dict.fromkeys([*names, *self._rows]))

    @functools.cached_property
    def taps(self) -> tuple[str, ...]:
        names = [name for part in self._objectives for name in part.taps]
        return tuple(dict.fromkeys([*names, *self._rows]))

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
        terms: at least one; a tuple is one number per image.
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

    @functools.cached_property
    def terms_by_name(self) -> tuple[tuple[str, Objective], ...]:
        found: dict[str, Objective] = {}
        for sign, term in zip(self.signs, self.terms, strict=True):
            if isinstance(term, Objective):
                number = sum(name.split(" #")[0] == term.title for name in found) + 1
                name = term.title if number == 1 else f"{term.title} #{number}"
                found[name] = term if sign == "+" else -term
        return tuple(found.items()) if 1 < len(found) <= _MOST_TERMS else ()

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        total: Any = None
        for sign, term in zip(self.signs, self.terms, strict=True):
            value = _value(term, activations, targets)
            if total is None:
                total = value if sign == "+" else -value
            else:
                total = _OPERATIONS[sign](*_of_one_type((total, value)))
        return total


@dataclasses.dataclass(frozen=True)
class Combination(_Composite):
    """`left operation right`: an objective, and another one, a number, or one number per image.

        [0.0, 0.5, 1.0] * actmax.Logit(3) + [1.0, 0.5, 0.0] * actmax.Logit(5)

    is for three images that change from one class to another.
    """

    operation: str
    left: Objective | float | tuple[float, ...]
    right: Objective | float | tuple[float, ...]

    def __post_init__(self) -> None:
        checks.one_of(self.operation, "operation", tuple(_OPERATIONS))
        self._check()

    def _parts(self) -> Sequence[Any]:
        return (self.left, self.right)

    @property
    def title(self) -> str:
        sides = [side.title for side in self._parts() if isinstance(side, Objective)]
        return " * ".join(sides)

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        values = [_value(side, activations, targets) for side in (self.left, self.right)]
        return _OPERATIONS[self.operation](*_of_one_type(values))


def _value(part: Any, activations: Activations, targets: tf.Tensor | None) -> Any:
    """Scores of an objective, a number, or of one number per image those of the rows, `[N]`."""
    if isinstance(part, Objective):
        return part(activations, targets)
    if isinstance(part, tuple):
        kinds = {each.dtype for each in activations.values() if tf.is_tensor(each)}
        floats = [kind for kind in kinds if kind.is_floating]
        wide = max(floats, key=lambda kind: kind.size, default=tf.float32)
        return of_rows(part, activations, wide)
    return part


def of_rows(values: Sequence[Any], activations: Activations, dtype: tf.DType) -> tf.Tensor:
    """One value per image as one per row, where rows may be several copies of the images. `-> [N]`."""
    return tf.gather(tf.constant(values, dtype), activations[ROWS])


def _of_one_type(values: Sequence[Any]) -> Sequence[Any]:
    """Scores of layers that compute in different types, as in mixed precision, in one that holds both."""
    types = {value.dtype for value in values if tf.is_tensor(value)}
    if len(types) < 2:
        return values
    widest = max(types, key=lambda kind: kind.size)
    # float16 cannot represent all values of bfloat16, nor bfloat16 those of float16.
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


def one_tensor(value: Any, layer: str) -> Any:
    """The activation of a layer that returns one tensor.

    Raises:
        ValueError: if it returns several.
    """
    if isinstance(value, (list, tuple, Mapping)):
        names = ", ".join(repr(f"{layer}[{place}]") for place in range(len(value)))
        raise ValueError(
            checks.message(
                f"layer {layer!r} to return one tensor, for this objective",
                f"{len(value)} tensors",
                f"Name one of them: {names}.",
            )
        )
    return value


def of_units(found: Mapping[str, Any], layer: str) -> Any:
    """The entry of a layer with the channels last; if a dict has only one form, that one."""
    name = channels_last(layer)
    return found[name] if name in found else found[layer]


def bind_position(objective: Any) -> None:
    """Checks the position of an objective, indices or None, and keeps it as a tuple."""
    if objective.position is not None:
        found = tuple(checks.integer(i, "every index of position") for i in objective.position)
        object.__setattr__(objective, "position", found)


def check_position(
    position: tuple[int, ...] | None, shape: tuple[int | None, ...], layer: str
) -> None:
    """Raises ValueError unless a position is inside the map of a layer of this shape."""
    space = shape[1:-1]
    if position is None:
        return
    fits = len(position) == len(space) and all(
        size is None or index < size for index, size in zip(position, space, strict=True)
    )
    if not fits:
        raise ValueError(
            checks.message(f"a position inside the {space} map of layer {layer!r}", position)
        )


def at_position(values: tf.Tensor, position: tuple[int, ...] | None) -> tf.Tensor:
    """Activations at one position, the centre for None. `[N, ..., C] -> [N, C]`."""
    for axis in range(values.shape.rank - 2):
        index = tf.shape(values)[1] // 2 if position is None else position[axis]
        values = tf.gather(values, index, axis=1)
    return values


def refuse_coupled(objective: Objective, what: str) -> None:
    """Raises ValueError for an objective that scores images of a batch by one another.

    Args:
        objective: the objective.
        what: the images whose scores are computed, batch by batch.
    """
    if objective.couples_images or objective.count is not None:
        raise ValueError(
            checks.message(
                f"an objective that scores every image by itself, for {what}",
                f"{objective!r}, whose scores depend on what else is in the batch, or on its place there",
                "Give the part of it that does, such as actmax.Logit().",
            )
        )
