"""Penalties and transforms made of plain functions: `@penalty` and `@transform`."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from typing import Any, overload

import tensorflow as tf

from regularizers.base import GIVEN, Penalty, Regularizer, Transform, function_name
from regularizers.signatures import asked, asks, unknown

# What a part may say of itself, for those that are made of a function and have no class to say it in.
PENALTY_WORDS = (
    "arrays",
    "couples_images",
    "degree",
    "exact_gradient",
    "isotropic",
    "layers",
    "symmetric_in_channels",
)
TRANSFORM_WORDS = ("couples_images", "draws", "exact_gradient", "keeps_range", "keeps_shape")


def _saying(*words: str) -> Callable[[type], type]:
    """Lets objects of a class say what its ClassVars say, from their own field `said`."""

    def decorate(kind: type) -> type:
        for word in words:
            default = getattr(kind, word)

            def read(self: Any, word: str = word, default: Any = default) -> Any:
                return dict(self.said).get(word, default)

            setattr(kind, word, property(read))
        return kind

    return decorate


def _found_again(module: str, name: str, changes: dict[str, Any]) -> Any:
    """The part of that name in a module, with other settings: how decorated parts are unpickled."""
    found: Any = importlib.import_module(module)
    for step in name.split("."):
        found = getattr(found, step)
    return dataclasses.replace(found, **changes)


def _reduced(part: Any) -> Any:
    """A decorated part by name, where its module holds it under the name of its function.

    Python pickles functions by name, and under that name the module holds the part, not the function.
    """
    module, name = part.function.__module__, getattr(part.function, "__qualname__", "")
    try:
        held: Any = importlib.import_module(module)
        for step in name.split("."):
            held = getattr(held, step)
    except (AttributeError, ImportError, ValueError):
        held = None
    if not isinstance(held, type(part)) or held.function is not part.function:
        return object.__reduce_ex__(part, 2)
    changes = {
        field.name: getattr(part, field.name)
        for field in dataclasses.fields(part)
        if field.name != "function"
    }
    return _found_again, (module, name, changes)


@_saying(*PENALTY_WORDS)
@dataclasses.dataclass(frozen=True)
class FunctionPenalty(Penalty):
    """A penalty made of a plain function by `@penalty`. `[N, ...] -> [N]`."""

    function: Callable[..., tf.Tensor] = dataclasses.field(kw_only=True)
    said: tuple[tuple[str, Any], ...] = dataclasses.field(default=(), kw_only=True, repr=False)

    @property
    def name(self) -> str:
        """The name of the function."""
        return function_name(self.function)

    @property
    def asks(self) -> tuple[str, ...]:
        """The parameters of the function besides images."""
        found = asks("penalty", self.function, self.array_names)
        return tuple(name for name in found if name != "state")

    def __call__(self, images: tf.Tensor, **given: tf.Tensor) -> tf.Tensor:
        return self.function(images, **given)

    def __reduce__(self) -> Any:
        return _reduced(self)


@_saying(*TRANSFORM_WORDS)
@dataclasses.dataclass(frozen=True)
class FunctionTransform(Transform):
    """A transform made of a plain function by `@transform`. `[N, ...], [N, 2], [] -> [N, ...]`."""

    function: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor] = dataclasses.field(
        kw_only=True
    )
    said: tuple[tuple[str, Any], ...] = dataclasses.field(default=(), kw_only=True, repr=False)

    @property
    def name(self) -> str:
        """The name of the function."""
        return function_name(self.function)

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        return self.function(images, seeds, step)

    def __reduce__(self) -> Any:
        return _reduced(self)


@overload
def penalty(function: Callable[..., tf.Tensor], /) -> FunctionPenalty: ...
@overload
def penalty(**said: Any) -> Callable[[Callable[..., tf.Tensor]], FunctionPenalty]: ...


def penalty(function: Any = None, /, **said: Any) -> Any:
    """Makes a penalty of a function `images [N, ...] -> [N]`.

    The function can have more parameters: `seeds` (int32 `[N, 2]`, new ones at every step), `step`
    (int32 `[]`), `learning_rate` (`[N]`), `activations` of the given `layers`, and the given `arrays`.
    For a penalty with a state, subclass `Penalty`.

    Args:
        function: the function; left out if properties are given.
        **said: properties of the penalty: `couples_images`, `exact_gradient`, `isotropic`,
            `symmetric_in_channels`, `degree`, `layers`, `arrays`, as the attributes of `Penalty`.

    Example:
        >>> import tensorflow as tf
        >>> import regularizers
        >>> @regularizers.penalty
        ... def contrast_floor(images):
        ...     return tf.nn.relu(0.05 - tf.math.reduce_variance(images, axis=(1, 2, 3)))
        >>> (5.0 * contrast_floor).weight
        5.0
        >>> @regularizers.penalty(couples_images=True)
        ... def group(images):
        ...     center = tf.reduce_mean(images, axis=0)
        ...     return tf.reduce_mean((images - center) ** 2, axis=(1, 2, 3))
        >>> group.couples_images
        True
        >>> @regularizers.penalty(layers=("conv",))
        ... def quiet(images, activations):
        ...     return tf.reduce_mean(tf.abs(activations["conv"]), axis=(1, 2, 3))
        >>> @regularizers.penalty(arrays=("reference",))
        ... def near(images, reference):
        ...     return tf.reduce_mean((images - reference) ** 2, axis=(1, 2, 3))
        >>> near.asks
        ('reference',)

    Raises:
        TypeError: if `function` cannot be called with images and what it asks for, or if it says what
            no penalty says.
    """
    words = _words(said, PENALTY_WORDS, "penalty")

    def make(function: Any) -> FunctionPenalty:
        _check_function(function, "penalty", "(images)")
        given = tuple(name for name in GIVEN if name != "state")
        offered = (*given, *map(str, dict(words).get("arrays", ())))
        missing = unknown(function, offered)
        if missing or not _takes(function, 1, offered):
            raise TypeError(
                "Expected a function of (images) to make a penalty of, which may also ask for "
                f"{', '.join(offered)}. Received: {function_name(function)}"
                f"{inspect.signature(function)}. Name what is an array per image, "
                'penalty(arrays=("name",)), or subclass regularizers.Penalty for one with settings.'
            )
        return FunctionPenalty(function=function, said=words)

    return make if function is None else make(function)


@overload
def transform(
    function: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor], /
) -> FunctionTransform: ...
@overload
def transform(**said: Any) -> Callable[[Callable[..., tf.Tensor]], FunctionTransform]: ...


def transform(function: Any = None, /, **said: Any) -> Any:
    """Makes a transform of a function `(images [N, ...], seeds [N, 2], step []) -> [N, ...]`.

    Args:
        function: the function; left out if properties are given.
        **said: properties of the transform: `keeps_range`, `keeps_shape`, `draws`,
            `couples_images`, `exact_gradient`, as the attributes of `Transform`.

    Example:
        >>> import regularizers
        >>> from regularizers import random
        >>> @regularizers.transform
        ... def fade(images, seeds, step):
        ...     return images * random.uniform(seeds, [1, 1, 1], 0.8, 1.0, images.dtype)
        >>> fade.name
        'fade'

    Raises:
        TypeError: if `function` cannot be called with three arguments, or if it says what no
            transform says.
    """
    words = _words(said, TRANSFORM_WORDS, "transform")

    def make(function: Any) -> FunctionTransform:
        _check_function(function, "transform", "(images, seeds, step)")
        if not _takes(function, 3, ()):
            raise TypeError(
                "Expected a function of (images, seeds, step) to make a transform of. Received: "
                f"{function_name(function)}{inspect.signature(function)}."
            )
        return FunctionTransform(function=function, said=words)

    return make if function is None else make(function)


def _words(said: dict[str, Any], known: tuple[str, ...], kind: str) -> tuple[tuple[str, Any], ...]:
    odd = sorted(set(said) - set(known))
    if odd:
        raise TypeError(
            f"Expected a {kind} to say one of {', '.join(known)}. Received: {', '.join(odd)}. "
            f"Subclass regularizers.{kind.capitalize()} for one with settings."
        )
    return tuple(sorted(said.items()))


def _takes(function: Any, positional: int, offered: tuple[str, ...]) -> bool:
    try:
        given = dict.fromkeys(asked(function, offered, positional))
        inspect.signature(function).bind(*[None] * positional, **given)
    except (TypeError, ValueError):
        return False
    return True


def _check_function(function: Any, kind: str, wanted: str) -> None:
    if not callable(function) or isinstance(function, (type, Regularizer)):
        raise TypeError(
            f"Expected a function {wanted} to make a {kind} of. Received: {function!r}. "
            f"To write a {kind} with parameters, subclass regularizers.{kind.capitalize()}."
        )
