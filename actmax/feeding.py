"""Calls parts with the arguments that they take: images, and by name what `signatures.OFFERED` lists."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from actmax import checks
from actmax.types import GradientFunction, Images, Params
from regularizers import random
from regularizers.base import Penalty, function_name
from regularizers.signatures import asks, of_class

# Inputs that a penalty sees: one, or several as a dict.
On: TypeAlias = str | tuple[str, ...]

# Streams of random numbers of penalties, gradient functions, optimizers and constraints are numbered from
# here, those of transforms and inputs from 0: no list is as long.
FIRST_PENALTY, FIRST_GRADIENT, FIRST_OPTIMIZER, FIRST_SET = 1 << 20, 1 << 21, 1 << 22, 1 << 23


class Given(NamedTuple):
    """The other arguments that penalties can take.

    Attributes:
        seeds: of the run, int32 `[N, 2]`.
        step: int32 `[]`.
        arrays: one row per image, `[N, ...]`, by `array_key`.
        learning_rate: `[N]`; None if nobody asks for it.
        states: of the penalties with a state, by name.
    """

    seeds: tf.Tensor
    step: tf.Tensor
    arrays: Mapping[str, tf.Tensor]
    learning_rate: tf.Tensor | None = None
    states: Mapping[str, Any] | None = None


def array_key(penalty: str, parameter: str) -> str:
    """The name of an array in a run, from the names of its penalty and of the parameter."""
    return f"{penalty}/{parameter}"


def penalty_of(
    entry: tuple[str, On, Penalty],
    place: int,
    images: Images,
    given: Given,
    dtype: tf.DType,
    activations: Mapping[str, Any] | None = None,
) -> tf.Tensor:
    """Unweighted values of one penalty. `-> [N]`.

    Args:
        entry: its name, the input or inputs that it sees, and the penalty.
        place: its position in the list of penalties; its random draws depend on it.
        images: by input name.
        given: what it may ask for.
        dtype: of the values.
        activations: of the layers that it names, by name.

    Raises:
        TypeError, ValueError: naming the penalty, if it fails or returns something else.
    """
    name, on, penalty = entry
    owner = f"the penalty {name!r}"
    seen = _seen(images, on)
    own = penalty.asks
    named: dict[str, Any] = _given(own, FIRST_PENALTY + place, given)
    if "state" in own:
        # What was is held: a gradient goes through the images of this step alone.
        named["state"] = tf.nest.map_structure(tf.stop_gradient, (given.states or {})[name])
    named |= {key: given.arrays[array_key(name, key)] for key in penalty.array_names}
    if activations is not None:
        named["activations"] = {key: activations[key] for key in penalty.inner_layers}
    with checks.at_fault(owner):
        values = penalty(seen, **named)
    return per_image(values, owner, dtype, next(iter(images.values())).shape[0])


def inner_penalty_of(
    entry: tuple[str, On, Penalty],
    place: int,
    images: Images,
    found: Sequence[Mapping[str, Any]],
    given: Given,
    copies: int,
    dtype: tf.DType,
) -> tf.Tensor:
    """Unweighted values of a penalty on layers, as a mean over the models. `-> [K * N]`.

    Args:
        entry: as for `penalty_of`.
        place: as for `penalty_of`.
        images: what the model saw, by input name, `[K * N, ...]`.
        found: activations of every model, by name.
        given: of the N images; each copy draws for itself.
        copies: K, copy by copy.
        dtype: of the values.
    """
    if copies > 1:
        numbers = tf.repeat(tf.range(copies), tf.shape(given.seeds)[0])
        tiled = {name: tile(value, copies) for name, value in given.arrays.items()}
        seeds = random.fold_in(tf.tile(given.seeds, [copies, 1]), numbers)
        rates = None if given.learning_rate is None else tile(given.learning_rate, copies)
        given = Given(seeds, given.step, tiled, rates)
    own = [{name: heard[name] for name in entry[2].inner_layers} for heard in found]
    if copies == 1 or not entry[2].couples_images:
        values = [penalty_of(entry, place, images, given, dtype, each) for each in own]
    else:  # Copies of an image are no company for it.
        values = [
            tf.concat(
                [
                    penalty_of(
                        entry, place, part[0], Given(part[2], given.step, *part[3]), dtype, part[1]
                    )
                    for part in _split(
                        (images, each, given.seeds, (dict(given.arrays), given.learning_rate)),
                        copies,
                    )
                ],
                0,
            )
            for each in own
        ]
    return values[0] if len(values) == 1 else tf.add_n(values) / float(len(values))


def _split(structure: Any, copies: int) -> list[Any]:
    """A structure of tensors `[K * N, ...]` as K of them, copy by copy."""
    parts = [
        [None] * copies if leaf is None else tf.split(leaf, copies)
        for leaf in tf.nest.flatten(structure)
    ]
    return [tf.nest.pack_sequence_as(structure, list(each)) for each in zip(*parts, strict=True)]


def tile(value: tf.Tensor, copies: int) -> tf.Tensor:
    """Rows repeated, copy by copy. `[N, ...] -> [K * N, ...]`."""
    return tf.tile(value, [copies] + [1] * (value.shape.rank - 1))


def shape_gradients(
    functions: Sequence[GradientFunction],
    gradients: Params,
    images: Images,
    given: Given,
) -> Params:
    """Gradients after the gradient functions, by input name, in list order."""
    for place, function in enumerate(functions):
        wanted = asks("gradient function", function)
        named = _given(wanted, FIRST_GRADIENT + place, given)
        shaped = {}
        for name, structure in gradients.items():
            if "images" in wanted:
                named["images"] = images[name]
            with checks.at_fault(f"the gradient function {function_name(function)!r}"):
                called = functools.partial(function, **named) if named else function
                shaped[name] = tf.nest.map_structure(called, structure)
        gradients = shaped
    return gradients


def first_states(
    penalties: Sequence[tuple[str, On, Penalty]], images: Images, seeds: tf.Tensor
) -> dict[str, Any]:
    """States of the penalties that have one, before the first step, by name.

    Args:
        penalties: name, input or inputs, penalty.
        images: of the start, by input name.
        seeds: of the run, int32 `[N, 2]`.
    """
    found = {}
    for place, (name, on, penalty) in enumerate(penalties):
        if penalty.remembers:
            asked_for = of_class("init of a penalty", type(penalty), "init")
            given = Given(seeds, tf.constant(-1), {})
            named = _given(asked_for, FIRST_PENALTY + place, given)
            owner = f"init of the penalty {name!r}"
            with checks.at_fault(owner):
                made = penalty.init(_seen(images, on), **named)  # type: ignore[attr-defined]
            found[name] = tf.nest.map_structure(tf.convert_to_tensor, made)
            rows = next(iter(images.values())).shape[0]
            for leaf in tf.nest.flatten(found[name]):
                if leaf.shape.rank == 0 or leaf.shape[0] not in (None, rows):
                    raise ValueError(
                        checks.message(
                            f"{owner} to return tensors [N, ...], a row for each image",
                            f"shape {tuple(leaf.shape)} for {rows} images",
                        )
                    )
    return found


def next_states(
    penalties: Sequence[tuple[str, On, Penalty]], images: Images, given: Given
) -> dict[str, Any]:
    """States after a step with its images, by name of the penalty.

    Args:
        penalties: name, input or inputs, penalty.
        images: of the step, by input name.
        given: what `update` may ask for, and the states before.

    Raises:
        ValueError: naming the penalty, if `update` returns another structure, shape or type.
    """
    found = {}
    for place, (name, on, penalty) in enumerate(penalties):
        if not penalty.remembers:
            continue
        before = (given.states or {})[name]
        asked_for = of_class("update of a penalty", type(penalty), "update")
        named = _given(asked_for, FIRST_PENALTY + place, given)
        owner = f"update of the penalty {name!r}"
        with checks.at_fault(owner):
            after = penalty.update(_seen(images, on), before, **named)  # type: ignore[attr-defined]
        try:
            found[name] = tf.nest.map_structure(_like, after, before)
        except (TypeError, ValueError) as error:
            raise ValueError(
                checks.message(
                    f"{owner} to return a state like the one before, in structure, shapes and types",
                    str(error).splitlines()[0][:200],
                    "Return what init returns, with other values.",
                )
            ) from error
    return found


def _like(new: Any, old: tf.Tensor) -> tf.Tensor:
    found = tf.convert_to_tensor(new)
    if found.dtype != old.dtype or not found.shape.is_compatible_with(old.shape):
        raise ValueError(f"{found.dtype.name} {found.shape} after {old.dtype.name} {old.shape}")
    return tf.ensure_shape(found, old.shape)


def _seen(images: Images, on: On) -> Any:
    return images[on] if isinstance(on, str) else {key: images[key] for key in on}


def _given(wanted: Sequence[str], stream: int, given: Given) -> dict[str, tf.Tensor]:
    """The step, the rate, and seeds of a stream of one's own, for those that ask for them."""
    named = {"step": given.step} if "step" in wanted else {}
    if "learning_rate" in wanted and given.learning_rate is not None:
        named["learning_rate"] = given.learning_rate
    if "seeds" in wanted:
        named["seeds"] = random.fold_in(random.fold_in(given.seeds, stream), given.step)
    return named


def per_image(values: Any, owner: str, dtype: tf.DType, rows: int | None) -> tf.Tensor:
    """One value per image, `[N]`, checked while tracing.

    Raises:
        TypeError: if it is not a tensor.
        ValueError: if its rank is not 1, or its numbers are complex.
    """
    if not tf.is_tensor(values):
        raise TypeError(
            checks.message(
                f"{owner} to return a tensor, one value per image", type(values).__name__
            )
        )
    if values.dtype.is_complex:
        do = "Maximize tf.abs(...) or tf.math.real(...) of it, by a function or at the end of the model."
        raise ValueError(
            checks.message(f"{owner} to return real numbers", f"dtype {values.dtype.name}", do)
        )
    if values.shape.rank != 1:
        shape = tuple(values.shape)
        do = (
            "It returns one number for the whole batch: reduce over axis=(1, 2, 3), not over all axes."
            if values.shape.rank == 0
            else "Reduce over every axis but the first. A function that returns images is a transform."
        )
        raise ValueError(
            checks.message(
                f"{owner} to return one value per image, shape [N]", f"shape {shape}", do
            )
        )
    if values.shape[0] not in (None, rows):
        # With an open batch dimension only a tensor that has lost it has a size of its own.
        raise ValueError(
            checks.message(
                f"{owner} to return one value per image, shape [N]",
                f"shape {tuple(values.shape)}, whatever N is",
                "Keep the first axis: it counts images.",
            )
        )
    return tf.cast(values, dtype)


def tile_to(value: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """A fixed input repeated for every copy of every image. `[1 or N, ...], [K * N, ...] -> [K * N, ...]`."""
    repeats = tf.shape(images)[0] // tf.shape(value)[0]
    return tf.tile(value, [repeats] + [1] * (value.shape.rank - 1))
