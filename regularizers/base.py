"""The two kinds of regularizer: penalty, `[N, ...] -> [N]`, and transform, `-> [N, ...]`."""

from __future__ import annotations

import abc
import dataclasses
import math
import numbers
import re
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, cast

import tensorflow as tf

from regularizers.signatures import OFFERED, of_class, parameters, unknown

# What the call of a penalty may ask for beside images, and the arrays that it names.
GIVEN = OFFERED["penalty"][1]

Schedule: TypeAlias = Callable[[Any], Any]
Weight: TypeAlias = float | tuple[float, ...] | Schedule
Strength: TypeAlias = float | Schedule


@dataclasses.dataclass(frozen=True)
class ScaledSchedule:
    """A schedule of the step times a constant: `step -> factor * schedule(step)`."""

    factor: float
    schedule: Schedule

    def __call__(self, step: Any) -> Any:
        return self.factor * self.schedule(step)


def check_weight(weight: Any, owner: str) -> Weight:
    """Returns `weight` as a number, a tuple of numbers (one per image) or a schedule of the step.

    Raises:
        TypeError: if it is none of the three.
        ValueError: if a number is not finite, or a sequence is empty.
    """
    if callable(weight):
        if not _is_schedule(weight):
            raise TypeError(_weight_message(owner, weight))
        return weight
    if isinstance(weight, bool) or isinstance(weight, (str, bytes)):
        raise TypeError(_weight_message(owner, weight))
    try:
        if not hasattr(weight, "__len__") or getattr(weight, "shape", None) == ():
            values: tuple[float, ...] = (float(weight),)
            result: Weight = values[0]
        else:
            values = tuple(float(value) for value in weight)
            result = values
    except (TypeError, ValueError) as error:
        raise TypeError(_weight_message(owner, weight)) from error
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(
            f"Expected the weight of {owner} to be finite. Received: {weight!r}. "
            "Give a finite number, one finite number per image, or a schedule of the step."
        )
    return result


def _is_schedule(function: Any) -> bool:
    """Whether something callable can be a function of the step: not a class, a network or a part."""
    other = isinstance(function, (type, tf.Module, Regularizer))
    # A layer of any Keras is known by what all of them have, and no schedule has.
    layer = hasattr(function, "trainable_weights") or hasattr(function, "trainable_variables")
    return not (other or layer or unknown(function, ()))


def _check_every(every: Any, owner: str) -> int:
    """Returns `every` if it is a whole number of steps."""
    if isinstance(every, bool) or not isinstance(every, numbers.Integral):
        raise TypeError(
            f"Expected every= of {owner} to be a whole number of steps. Received: {every!r} of type "
            f"{type(every).__name__}. Give 1 for every step."
        )
    if every < 1:
        raise ValueError(
            f"Expected every= of {owner} to be at least 1. Received: {every!r}. "
            "Give 1 for every step."
        )
    return int(every)


def names_of(value: Any) -> tuple[str, ...]:
    """A tuple of texts as it is; an empty tuple for anything else."""
    fits = isinstance(value, tuple) and all(isinstance(name, str) for name in value)
    return value if fits else ()


def check_named(part: Penalty) -> None:
    """Raises unless the layers and arrays that a penalty names are parameters of its call.

    Raises:
        TypeError: if the names and the parameters of the call do not match.
        ValueError: if a penalty of layers has `every` above 1.
    """
    asks, arrays = part.asks, part.array_names
    if any(name not in asks for name in arrays) or set(arrays) & set(GIVEN):
        raise TypeError(
            f"Expected the call of {part.name} to have a parameter for each of its arrays "
            f"{list(arrays)}, with a name of its own. Received: a call that asks for "
            f"{list(asks)}. Write (images, {', '.join(arrays)})."
        )
    if "activations" in asks and not part.inner_layers:
        raise TypeError(
            f"Expected {part.name}, which asks for activations, to name layers of the model. "
            f'Received: layers = {part.layers!r}. Write layers = ("name",), with the comma.'
        )
    if "state" in asks and part.inner_layers:
        raise TypeError(
            f"Expected {part.name}, which has a state, to be a penalty of images. Received: one of "
            f"the layers {list(part.inner_layers)}. Keep the state of images, or leave one out."
        )
    if not part.remembers and _must_have(part, "state"):
        raise TypeError(
            f"Expected the class of {part.name}, whose call asks for a state, to have the methods "
            "init(images) and update(images, state), which return it. Received: a class without "
            "them. Write both, or leave state out."
        )
    if part.inner_layers and part.every > 1:
        raise ValueError(
            f"Expected every=1 of {part.name}, which is fed from the pass that each step makes. "
            f"Received: every={part.every}. Leave every out."
        )


def _must_have(part: Penalty, name: str) -> bool:
    """Whether the call has a parameter of that name without a default."""
    own = [each for each in parameters(type(part).__call__) if each.name == name]
    return bool(own) and own[0].default is own[0].empty


def _weight_message(owner: str, weight: Any) -> str:
    return (
        f"Expected the weight of {owner} to be a number, a sequence of one number per image, or "
        f"a schedule (a function of the step). Received: {weight!r} of type "
        f"{type(weight).__name__}. Give one of the three; the weight is the first field, so give "
        "other fields by name."
    )


def scale_weight(weight: Weight, factor: float) -> Weight:
    """Multiplies a weight of any of the three forms by a number."""
    if callable(weight):
        return ScaledSchedule(factor, weight)
    if isinstance(weight, tuple):
        return tuple(factor * value for value in weight)
    return factor * weight


def value_at(strength: Strength, step: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Value of a strength at a step: a number as it is, a schedule evaluated in the graph. `[]`."""
    value = strength(step) if callable(strength) else strength
    # `tf.cast` would take a Python number through float32.
    return tf.cast(value, dtype) if tf.is_tensor(value) else tf.convert_to_tensor(value, dtype)


def check_number(
    value: Any, what: str, *, at_least: float | None = None, above: float | None = None
) -> float:
    """Returns `value` if it is a finite number in range.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not finite, or out of range.
    """
    wanted = "a finite number"
    if at_least is not None:
        wanted += f" of at least {at_least:g}"
    if above is not None:
        wanted += f" above {above:g}"
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(
            f"Expected the {what} to be {wanted}. Received: {value!r} of type "
            f"{type(value).__name__}. Give a number."
        )
    number = float(value)
    if (
        not math.isfinite(number)
        or (at_least is not None and number < at_least)
        or (above is not None and number <= above)
    ):
        raise ValueError(f"Expected the {what} to be {wanted}. Received: {value!r}.")
    return number


def check_strength(value: Any, what: str, **limits: float) -> Strength:
    """Returns `value` if it is a schedule, or a number that `check_number` accepts."""
    return value if callable(value) else check_number(value, what, **limits)


def image_sizes(images: tf.Tensor, owner: str) -> tuple[int, ...]:
    """Static sizes of all axes but the first: `[N, H, W, C] -> (H, W, C)`.

    Raises:
        ValueError: if one of them is unknown.
    """
    shape = images.shape
    if shape.rank is None or shape.rank < 2 or any(size is None for size in shape[1:]):
        raise ValueError(
            f"Expected images whose sizes are all known but the first, [N, ..., C], in {owner}. "
            f"Received shape {shape}. Set the shape, or give the input signature its sizes."
        )
    return tuple(int(size) for size in shape[1:])


def spatial_axes(images: tf.Tensor) -> tuple[int, ...]:
    """Axes between the first (images) and the last (channels): `[N, H, W, C] -> (1, 2)`."""
    return tuple(range(1, images.shape.rank - 1))


def check_spatial(images: tf.Tensor, owner: str, at_least: int = 1) -> tuple[int, ...]:
    """Spatial axes, of which there must be some: `[N, H, W, C] -> (1, 2)`."""
    image_sizes(images, owner)
    axes = spatial_axes(images)
    if len(axes) < at_least:
        raise ValueError(
            f"Expected images with at least {at_least} spatial axes, [N, ..., C], in {owner}. "
            f"Received shape {images.shape}. Leave it out for inputs without them."
        )
    return axes


def image_axes(images: tf.Tensor) -> tuple[int, ...]:
    """All axes but the first: `[N, H, W, C] -> (1, 2, 3)`."""
    return tuple(range(1, images.shape.rank))


@dataclasses.dataclass(frozen=True)
class Regularizer:
    """What a penalty and a transform have in common.

    Attributes:
        couples_images: True if the result for an image depends on the other images of its batch.
        exact_gradient: False if the gradient is on purpose not the derivative of the value: for
            example with weights that are held constant, with a denoiser, or with rounding that
            passes gradients straight through.
        on: name of the model input that it is for; None for the only optimized input. A penalty of
            several inputs names all of them, `on=("left", "right")`, and gets a dict of their
            images.
    """

    couples_images: ClassVar[bool] = False
    exact_gradient: ClassVar[bool] = True

    on: str | tuple[str, ...] | None = dataclasses.field(default=None, kw_only=True)

    @property
    def name(self) -> str:
        """Its name in `history` and `weights=`: the class name in snake case."""
        return snake_case(type(self).__name__)


@dataclasses.dataclass(frozen=True)
class Penalty(Regularizer, abc.ABC):
    """A quantity that should be small, one number per image. `[N, ...] -> [N]`.

    The loop subtracts `weight * penalty(images)`. Calling a penalty gives the *unweighted* value, a
    mean over pixels, so that a weight means the same at every image size.

    A penalty that costs as much as the model, for example with a second network, need not be computed
    in every step. With `every=k`, its gradient is used only at steps 0, k, 2k, ..., with k times its
    weight. On average the gradient is the same. In the steps between, the history repeats the last
    value.

    Source of `every`: lazy regularization of Karras et al., StyleGAN2, CVPR 2020,
    https://arxiv.org/abs/1912.04958.

    A call can have the parameters `seeds`, `step` and `learning_rate`: int32 `[N, 2]`, with new seeds
    at every step; int32 `[]`; and the rates of the step, `[N]`.

    A penalty can have a state, as an optimizer has. Its class has `init(images) -> state` and
    `update(images, state) -> state`, and its call has the parameter `state`. A state is a structure of
    tensors `[N, ...]`, a row for each image. `update` comes after every step, with the images of that
    step. It is part of checkpoints. The gradient does not flow through it.

    A penalty that names `layers` of the model gets `activations`, a dict by those names. They come from
    the model's own forward pass of the step, so they are those of the transformed copies, `[K * N, ...]`.
    The loop takes the mean over the copies. A penalty that names `arrays` gets them by name, with one row
    per image, from `maximizer(..., arrays={"its_name": array})`.

    A penalty can declare the properties below, and `regularizers.testing.check_regularizer` tests
    them. None declares nothing.

    Attributes:
        isotropic: True if the value does not change when rows and columns are swapped; False if
            rows and columns differ on purpose.
        symmetric_in_channels: True if the order of channels does not matter; False if it does, on
            purpose.
        degree: the value grows as `factor ** degree` if images are multiplied by a factor. Such a
            penalty has no constant in units of the images.
        layers: paths of the layers of the model whose activations the call gets.
        arrays: parameters of the call that are arrays with one row per image, given to each run.
        weight: a number; one number per image, as a tuple; or a schedule, a function of the step.
        every: the penalty is computed in every `every`-th step, at least 1.
    """

    isotropic: ClassVar[bool | None] = None
    symmetric_in_channels: ClassVar[bool | None] = None
    degree: ClassVar[float | None] = None
    # Without annotations: a class may have fields of these names, in its own order.
    layers = cast(tuple[str, ...], ())
    arrays = cast(tuple[str, ...], ())

    weight: Weight = 1.0
    every: int = dataclasses.field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", check_weight(self.weight, self.name))
        object.__setattr__(self, "every", _check_every(self.every, self.name))
        check_named(self)

    @property
    def asks(self) -> tuple[str, ...]:
        """The parameters of its call besides images: those of `GIVEN`, and the arrays that it names."""
        found = of_class("penalty", type(self), own=self.array_names)
        return found if self.remembers else tuple(name for name in found if name != "state")

    @property
    def remembers(self) -> bool:
        """Whether it has a state: its call asks for it, and its class has `init` and `update`."""
        kind = type(self)
        methods = all(callable(getattr(kind, name, None)) for name in ("init", "update"))
        return methods and "state" in of_class("penalty", kind, own=self.array_names)

    @property
    def array_names(self) -> tuple[str, ...]:
        """`arrays`; empty if a class uses a field of that name for something else."""
        return names_of(self.arrays)

    @property
    def inner_layers(self) -> tuple[str, ...]:
        """`layers`, if the call has the parameter `activations`; empty for a penalty with its own network."""
        return names_of(self.layers) if "activations" in self.asks else ()

    @abc.abstractmethod
    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Unweighted penalties of clean images, which are in the input range. `[N, ...] -> [N]`."""

    def __mul__(self, factor: float) -> Penalty:
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            return NotImplemented
        return dataclasses.replace(self, weight=scale_weight(self.weight, float(factor)))

    __rmul__ = __mul__


@dataclasses.dataclass(frozen=True)
class Transform(Regularizer, abc.ABC):
    """A random change of the images before the model sees them. `[N, ...], [N, 2], [] -> [N, ...]`.

    It acts on a copy, inside the gradient tape: the gradient flows through it, the image does not
    move. All randomness comes from `seeds`, one pair of integers per image (`regularizers.random`).

    Attributes:
        keeps_range: True if values never leave the range of the images given.
        keeps_shape: True if images have the shape of the images given.
        draws: False if it draws nothing, and so does the same at every step.
    """

    keeps_range: ClassVar[bool] = False
    keeps_shape: ClassVar[bool] = False
    draws: ClassVar[bool] = True

    @abc.abstractmethod
    def __call__(self, images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Transformed images.

        Args:
            images: `[N, ...]`.
            seeds: int32 `[N, 2]`, already folded with the row's seed, the step, the copy and the
                position of this transform in the list: draw from them and from nothing else. For
                antithetic copies `[N, 3]`: draws of `regularizers.random` follow the third number.
            step: int32 `[]`, for strengths that are schedules.
        """

    def ahead(self, shape: tuple[int, ...], seeds: tf.Tensor, rows: tf.Tensor) -> tf.Tensor | None:
        """The part of a call that depends only on the seeds, for many calls. `[M, 2] -> [M, ...]`, or None.

        This is only for speed. The loop calls it once for a block of steps, and passes the result to
        `apply` step by step. A block then needs a few operations, and not dozens in each step. By default
        it returns None, and every step calls the transform. Return None too if the strength is a schedule,
        because the step is not known here.

        Args:
            shape: of one image, `(H, W, C)`.
            seeds: int32 `[M, 2 or 3]`, those of one call after those of another.
            rows: int32 `[]`, N, the number of images in a call; a divisor of M.

        Returns:
            `[M, ...]`, a row for each pair of seeds.
        """
        del shape, seeds, rows
        return None

    def apply(self, images: tf.Tensor, ahead: tf.Tensor) -> tf.Tensor:
        """The call of which `ahead` is known: the same bytes. `[N, ...], [N, ...] -> [N, ...]`."""
        raise NotImplementedError(f"{self.name} works nothing out ahead.")


def function_name(function: Any) -> str:
    """Name of a function or callable object; `lambda` for a lambda."""
    name = getattr(function, "__name__", None) or snake_case(type(function).__name__)
    return "lambda" if name == "<lambda>" else name


def snake_case(name: str) -> str:
    """`TotalVariation` -> `total_variation`, `L2` -> `l2`, `LInf` -> `l_inf`."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
