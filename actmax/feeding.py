"""Parts called with what they ask for: images, and by name seeds, the step, the images of a gradient."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from actmax import checks
from actmax.types import GradientFunction, Images, Params
from regularizers import random
from regularizers.asking import asked
from regularizers.base import Penalty, function_name

# Inputs that a penalty sees: one, or several as a dict.
On: TypeAlias = str | tuple[str, ...]

# Streams of random numbers of penalties and gradient functions are numbered from here, those of
# transforms and inputs from 0: no list is as long.
FIRST_PENALTY, FIRST_GRADIENT = 1 << 20, 1 << 21


def penalty_of(
    entry: tuple[str, On, Penalty],
    place: int,
    images: Images,
    seeds: tf.Tensor,
    step: tf.Tensor,
    dtype: tf.DType,
) -> tf.Tensor:
    """Unweighted values of one penalty. `-> [N]`.

    Args:
        entry: its name, the input or inputs that it sees, and the penalty.
        place: in the list of penalties, which its draws depend on.
        images: by input name.
        seeds: of the run, int32 `[N, 2]`.
        step: int32 `[]`.
        dtype: of the values.

    Raises:
        TypeError, ValueError: naming the penalty, if it fails or returns something else.
    """
    name, on, penalty = entry
    owner = f"the penalty {name!r}"
    seen: Any = images[on] if isinstance(on, str) else {key: images[key] for key in on}
    given = _given(penalty.asks, FIRST_PENALTY + place, seeds, step)
    with checks.at_fault(owner):
        values = penalty(seen, **given)
    return per_image(values, owner, dtype, next(iter(images.values())).shape[0])


def shape_gradients(
    functions: Sequence[GradientFunction],
    gradients: Params,
    images: Images,
    seeds: tf.Tensor,
    step: tf.Tensor,
) -> Params:
    """What gradient functions make of gradients, by input name, in list order."""
    for place, function in enumerate(functions):
        asks = asked(function, ("images", "seeds", "step"))
        given = _given(asks, FIRST_GRADIENT + place, seeds, step)
        shaped = {}
        for name, structure in gradients.items():
            if "images" in asks:
                given["images"] = images[name]
            with checks.at_fault(f"the gradient function {function_name(function)!r}"):
                called = functools.partial(function, **given) if given else function
                shaped[name] = tf.nest.map_structure(called, structure)
        gradients = shaped
    return gradients


def _given(
    asks: Sequence[str], stream: int, seeds: tf.Tensor, step: tf.Tensor
) -> dict[str, tf.Tensor]:
    """The step, and seeds of a stream of one's own, for those that ask for them."""
    given = {"step": step} if "step" in asks else {}
    if "seeds" in asks:
        given["seeds"] = random.fold_in(random.fold_in(seeds, stream), step)
    return given


def per_image(values: Any, owner: str, dtype: tf.DType, rows: int | None) -> tf.Tensor:
    """One value per image, `[N]`, checked while tracing.

    Raises:
        TypeError: if it is no tensor.
        ValueError: if its rank is not 1.
    """
    if not tf.is_tensor(values):
        raise TypeError(
            checks.message(
                f"{owner} to return a tensor, one value per image", type(values).__name__
            )
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
