"""Checks of the parts that come in lists and dicts, and of the optimizer."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from actmax import checks
from actmax.constraints import Constraint, Rows, Unbounded
from actmax.feeding import On
from actmax.models import Taps
from actmax.objectives import Objective
from actmax.optimizers import KerasOptimizer, Optimizer
from actmax.problem import Input
from actmax.types import FixedArray
from regularizers.base import Penalty, Regularizer, function_name


def regularizers(value: Any, names: Sequence[str]) -> list[tuple[int, On, Regularizer]]:
    """`(position, input name or names, regularizer)` of a checked list."""
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            checks.message(
                "regularizers to be a list", f"{type(value).__name__}", "Put it in [...]."
            )
        )
    checked = []
    for position, part in enumerate(value):
        if not isinstance(part, Regularizer):
            hint = "Decorate it with @regularizers.penalty or @regularizers.transform."
            if isinstance(part, type):
                hint = f"Write the parentheses: {part.__name__}()."
            elif isinstance(part, tuple):
                hint = "The weight is the first argument: TotalVariation(0.1)."
            elif isinstance(part, str):
                hint = "Regularizers are objects: regularizers.TotalVariation(0.1), for example."
            elif type(part).__module__.startswith(("keras", "tf_keras")):
                hint = (
                    "A regularizer of Keras is one number for a whole tensor of weights, and "
                    "images need one number each: write regularizers.L2(w) or L1(w), a mean over "
                    "the values of an image, so w is Keras' factor times their number."
                )
            raise TypeError(
                checks.message(
                    f"a penalty or transform at position {position} of regularizers",
                    repr(part),
                    hint,
                )
            )
        if isinstance(part.on, tuple) and not isinstance(part, Penalty):
            raise TypeError(
                checks.message(
                    f"on= of the transform {part.name} to name one input",
                    repr(part.on),
                    "Only a penalty sees several inputs at once.",
                )
            )
        wanted = part.on if isinstance(part.on, tuple) else (part.on,)
        if part.on is not None and (not wanted or not set(wanted) <= set(names)):
            raise ValueError(
                checks.message(
                    f"on= to name one of the optimized inputs {list(names)}",
                    repr(part.on),
                    "Leave on= out: there is one input." if len(names) == 1 else "",
                )
            )
        if part.on is None and len(names) > 1:
            raise ValueError(
                checks.message(
                    f"{part.name} to say which input it is for",
                    "on=None",
                    f"Give on= one of {list(names)}.",
                )
            )
        checked.append((position, part.on or names[0], part))
    return checked


def penalties(
    regularizers: Sequence[tuple[int, On, Regularizer]],
) -> list[tuple[str, On, Penalty]]:
    """`(unique name, input, penalty)`. Two of one kind both count; the second name gets a suffix."""
    counts: collections.Counter[str] = collections.Counter()
    named = []
    for _, name, part in regularizers:
        if isinstance(part, Penalty):
            counts[part.name] += 1
            suffix = f"_{counts[part.name]}" if counts[part.name] > 1 else ""
            named.append((part.name + suffix, name, part))
    names = [name for name, _, _ in named]
    if len(set(names)) < len(names) or {"score", "objective"} & set(names):
        raise ValueError(
            checks.message(
                "penalties with names of their own, not 'score' or 'objective'",
                f"{names}",
                "Rename the function.",
            )
        )
    return named


def copies(recipe: Any) -> int:
    """Checks the number of copies and `balance`."""
    checks.one_of(recipe.balance, "balance", (None, True, False))
    return checks.integer(recipe.copies, "copies", low=1)


def layers_asked(
    objective: Objective, penalties: Sequence[tuple[str, On, Penalty]], members: Sequence[Any]
) -> tuple[str, ...]:
    """Names of the activations that an objective and penalties use.

    Raises:
        ValueError: naming the penalty, if a model has no such layer.
    """
    found = list(objective.taps)
    for name, _, part in penalties:
        for layer in part.inner_layers:
            for member in members:
                try:
                    Taps(member, (layer,))
                except (TypeError, ValueError) as error:
                    raise ValueError(
                        checks.message(
                            f"the penalty {name!r} to name layers of the model",
                            f"{layer!r}: {error}".rstrip("."),
                            "Name one of actmax.layer_paths(model).",
                        )
                    ) from error
        found += part.inner_layers
    return tuple(dict.fromkeys(found))


def functions(value: Any, name: str) -> tuple[Callable[..., Any], ...]:
    """A checked list of functions, or None."""
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(callable(part) for part in value):
        raise TypeError(checks.message(f"{name} to be a list of functions", repr(value)))
    return tuple(value)


def metrics(
    value: Any, regularizers: Sequence[tuple[int, On, Regularizer]]
) -> tuple[tuple[str, Any], ...]:
    """`(name, function)` of a checked dict, or None."""
    if value is None:
        return ()
    if not isinstance(value, Mapping) or not all(callable(part) for part in value.values()):
        raise TypeError(checks.message("metrics to be a dict of functions by name", repr(value)))
    for name, part in value.items():
        if isinstance(part, Objective):
            raise TypeError(
                checks.message(
                    f"metrics to be functions of the images, images -> [N], for {name!r}",
                    f"the objective {part.title}",
                    "Call a model of its layer in a function: keras.Model(model.inputs, layer.output). "
                    "What each term of the objective adds stands in result.terms.",
                )
            )
    taken = {"score", "objective", *(name for name, _, _ in penalties(regularizers))}
    clash = sorted(taken & set(value))
    if clash:
        raise ValueError(
            checks.message("metrics with names of their own", f"{clash}, already taken")
        )
    return tuple(value.items())


def mask(
    value: Any, name: str, shape: tuple[int, ...], constraint: Constraint
) -> FixedArray | None:
    """A checked mask of one input, or None.

    Its shape is `[H, W]` for all channels, or the image's shape for columns or channels. Both may
    have N in front.

    Raises:
        TypeError: if it is no array of numbers.
        ValueError: if it has another size than the image, has values outside 0 .. 1 or is 0
            everywhere. Also if parts of two images of the set may form an image outside the set.
    """
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(checks.message("mask to be an array of numbers", f"dtype {array.dtype}"))
    if isinstance(constraint, Rows):
        array = constraint.spread(array, shape, name)
    places = shape[:-1]
    known = [places] if places else []
    if array.shape not in (*known, shape):
        # One mask per image. Channels are kept as an axis.
        if array.ndim > 1 and array.shape[1:] == places and places:
            array = array[..., None]
        elif array.ndim < 2 or array.shape[1:] != shape:
            wanted = (
                f"{places}, that of the images of {name!r} without channels, or " if places else ""
            )
            raise ValueError(
                checks.message(
                    f"a mask of shape {wanted}{shape}",
                    f"shape {array.shape}",
                    "It is one for all images; for one each put their number first.",
                )
            )
    array = checks.finite(array.astype(np.float64), "mask")
    if array.min() < 0 or array.max() > 1 or array.max() == 0:
        raise ValueError(
            checks.message(
                "a mask of values in 0 .. 1, not all 0",
                f"values in {array.min():g} .. {array.max():g}",
                "1 is optimized, 0 is kept.",
            )
        )
    if not constraint.by_value and not isinstance(constraint, Rows):
        if not constraint.solves:
            raise ValueError(
                checks.message(
                    "with a mask, a constraint on each value by itself, or one that is solved for a part",
                    f"{constraint!r}",
                    "Give a pair (low, high), L2Ball, Contrast or LinearEquations, with actmax.Pixels(); "
                    "or hold values by equal bounds: actmax.Box(low, high) & this constraint.",
                )
            )
        if np.any((array > 0) & (array < 1)):
            raise ValueError(
                checks.message(
                    f"a mask of 0 and 1 beside {type(constraint).__name__}",
                    "values between",
                    "What fades is in no norm: round it.",
                )
            )
    return FixedArray(array)


def antithetic(value: Any, copies: int) -> bool:
    """Checks `antithetic`, which needs pairs of copies."""
    if not isinstance(value, bool):
        raise TypeError(checks.message("antithetic to be True or False", repr(value)))
    if value and copies % 2:
        raise ValueError(
            checks.message(
                "an even number of copies for antithetic pairs", f"copies={copies}", "Add one."
            )
        )
    return value


def optimizer(value: Any) -> Any:
    """An optimizer unchanged, or a Keras optimizer with the same interface."""
    if isinstance(value, Optimizer):
        return value
    import keras

    if isinstance(value, keras.optimizers.Optimizer):
        return KerasOptimizer(value)
    raise TypeError(
        checks.message(
            "an optimizer such as actmax.Adam(0.05) or a Keras optimizer instance", repr(value)
        )
    )


def places(optimizer: Any, gradients: Sequence[Any], inputs: Sequence[Input]) -> None:
    """Raises ValueError if a part for images would get other params, such as coefficients."""
    for entry in inputs:
        pixels = entry.parameterization.are_images
        what = f"those of {type(entry.parameterization).__name__}"
        given: list[tuple[str, str, bool]] = [
            (type(part).__name__, "gradients in the shape of the images", pixels)
            for part in gradients
            if getattr(part, "of_images", False)
        ]
        if getattr(optimizer, "of_images", False):
            # All values are inside the set of all images, and nothing is mapped.
            stays = entry.constraint.projects or isinstance(entry.constraint, Unbounded)
            if pixels and not stays:
                what = f"pixels before {type(entry.constraint).__name__} maps them"
            plain = pixels and stays
            names = [function_name(part) for part in getattr(optimizer, "operators", ())]
            given.append((f"operators {names} after the update", "params that are images", plain))
        for name, wanted, fits in given:
            if not fits:
                raise ValueError(
                    checks.message(
                        f"{wanted} of {entry.name!r} for {name}",
                        what,
                        "Give parameterization=actmax.Pixels(), and input_range= as a pair; or ask the "
                        "same of images by a penalty or a transform of regularizers=.",
                    )
                )
