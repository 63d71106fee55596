"""From the arguments of a call to rows: targets, labels, seeds, weights, rates, start images."""

from __future__ import annotations

import collections
import difflib
import numbers
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, schedules
from actmax.feeding import array_key
from actmax.loop import Arguments
from actmax.maximizer import constraint_checks, start_image_checks
from actmax.objectives import Kind, Objective
from actmax.problem import Input, Problem
from actmax.types import Images
from regularizers import random

_IMAGE_RANK = 3
# Factor on a recipe's learning rate for rows that start from a picture. The second number is a contrast in
# units of the range. Start images below it count as uniform, not as pictures.
_KEPT = 1 / 16
_EVEN = 0.03


def as_targets(
    targets: Any,
    objective: Objective,
    labels: Sequence[str] | None,
    images: int | None,
    started: int | None,
) -> tuple[np.ndarray | None, int]:
    """Checked targets and N.

    Args:
        targets: as given to the call.
        objective: the objective. It may fix the number of images.
        labels: names of classes, for targets given as names.
        images: number of images, for objectives without targets.
        started: number of start images, None without them.

    Returns:
        `(targets, N)`, targets int32 `[N]`, float64 `[N, C]`, or None.
    """
    if images is None and objective.kind is None and started in (None, 1):
        images = objective.count
    found, count = _as_targets(targets, objective.kind, labels, images, started)
    if objective.count not in (None, count):
        raise ValueError(
            checks.message(
                f"{objective.count} images, one for each value that the objective lists",
                f"{count}",
            )
        )
    return found, count


def _as_targets(
    targets: Any, kind: Kind, labels: Sequence[str] | None, images: int | None, started: int | None
) -> tuple[np.ndarray | None, int]:
    if kind is None:
        if targets is not None:
            raise ValueError(
                checks.message(
                    "no targets, because the objective takes none",
                    repr(targets),
                    "Give the number of images as images=.",
                )
            )
        if images is None:
            return None, 1 if started is None else started
        count = checks.integer(images, "images", low=1)
        if started not in (None, 1, count):
            raise ValueError(
                checks.message(f"one start image, or one for each of {count} images", f"{started}")
            )
        return None, count
    if images is not None:
        raise ValueError(
            checks.message(
                "targets alone, one image each", f"images={images} as well", "Drop images=."
            )
        )
    if targets is None:
        raise ValueError(
            checks.message(
                "targets, one image each", "none", "Give targets=range(10), or a single number."
            )
        )
    array = _indices(targets, labels) if kind == "index" else _vectors(targets)
    if len(array) == 0:
        raise ValueError(checks.message("at least one target", "none", "Give targets=[0]."))
    if started not in (None, 1, len(array)):
        raise ValueError(
            checks.message(
                f"one start image, or one for each of the {len(array)} targets", f"{started}"
            )
        )
    return array, len(array)


def _indices(targets: Any, labels: Sequence[str] | None) -> np.ndarray:
    scalar = isinstance(targets, str) or not hasattr(targets, "__iter__")
    # An array or tensor of rank 0 has __iter__ but cannot be iterated.
    if getattr(targets, "shape", None) == ():
        targets, scalar = np.asarray(targets)[()], True
    if isinstance(targets, (Mapping, Set)):
        raise TypeError(checks.message("targets in an order: a list", type(targets).__name__))
    values = [targets] if scalar else targets
    return np.array([_index(value, labels, i) for i, value in enumerate(values)], np.int32)


def _index(target: Any, labels: Sequence[str] | None, position: int) -> int:
    if isinstance(target, str):
        if labels is None:
            raise ValueError(
                checks.message(
                    "numbers as targets", repr(target), "For names give labels= as well."
                )
            )
        matches = [number for number, label in enumerate(labels) if label == target]
        if len(matches) != 1:
            near = difflib.get_close_matches(target, labels, n=3)
            do = f"Did you mean {', '.join(map(repr, near))}?" if near else "See labels."
            if matches:
                do = f"The name stands at {matches}: give the number."
            raise ValueError(checks.message("a name that labels has once", repr(target), do))
        return matches[0]
    value = target.numpy() if isinstance(target, tf.Tensor) else target
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(
            checks.message(
                f"a whole number or a name as target {position}",
                f"{str(target)[:80]} ({type(target).__name__})",
                "A row of numbers for each image, such as soft labels or a direction, goes with "
                "actmax.CrossEntropy(), actmax.Direction(...), or an objective of your own of kind 'vector'."
                if np.ndim(value)
                else "Give the number of a unit, counted from 0.",
            )
        )
    index = int(value)
    if not 0 <= index <= np.iinfo(np.int32).max:
        raise ValueError(
            checks.message("targets counted from 0", f"{index} at position {position}")
        )
    return index


def _vectors(targets: Any) -> np.ndarray:
    try:
        array = np.asarray(targets, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(checks.message("directions, float [N, C]", repr(targets))) from error
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2:
        raise ValueError(checks.message("directions of shape [N, C]", f"shape {array.shape}"))
    return checks.finite(array, "targets")


def row_seeds(seed: Any, targets: np.ndarray | None, count: int) -> tf.Tensor:
    """Seeds of the rows. int32 `[N, 2]`.

    From one integer, row n has `fold_in(seed, k)`. k is the number of earlier rows with the same
    target, so a row does not depend on the other rows. From one integer per row, row n has
    `fold_in(seed[n], 0)`: the seed that it has alone.
    """
    if isinstance(seed, np.ndarray) and seed.ndim == 0:
        seed = seed[()]
    if isinstance(seed, (Sequence, np.ndarray)) and not isinstance(seed, (str, bytes)):
        if len(seed) != count:
            raise ValueError(
                checks.message(f"one seed, or {count} of them, one per image", f"{len(seed)} seeds")
            )
        seeds = [_seed(value) for value in seed]
        order = [0] * count
    else:
        seeds = [_seed(seed)] * count
        keys = [b""] * count if targets is None else [row.tobytes() for row in targets]
        earlier: dict[bytes, int] = collections.defaultdict(int)
        order = []
        for key in keys:
            order.append(earlier[key])
            earlier[key] += 1
    # 64 bits of seed in two words of 32.
    words = np.array([[value & 0xFFFFFFFF, value >> 32] for value in seeds], np.uint32)
    return random.fold_in(tf.constant(words.view(np.int32)), tf.constant(order, tf.int32))


def _seed(value: Any) -> int:
    return checks.integer(value, "seed", low=0, high=2**64 - 1)


def tables(
    problem: Problem, weights: Any, learning_rate: Any, steps: int, count: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Weights `[P, 1 or steps, 1 or N]` and rates `[1 or steps, 1 or N]` of a run."""
    if weights is not None and not isinstance(weights, Mapping):
        raise TypeError(
            checks.message("weights to be a dict by the name of the penalty", repr(weights))
        )
    given = dict(weights or {})
    names = [name for name, _, _ in problem.penalties]
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(
            checks.message(
                f"names of penalties {names} in weights",
                f"{unknown}",
                "Only penalties of the Maximizer can be weighted; put the penalty into regularizers.",
            )
        )
    rows = [
        schedules.table(given.get(name, part.weight), steps, count, f"the weight of {name}")
        for name, _, part in problem.penalties
    ]
    if rows:
        shape = np.broadcast_shapes(*(row.shape for row in rows))
        stacked = np.stack([np.broadcast_to(row, shape) for row in rows])
    else:
        stacked = np.zeros((0, 1, 1))
    rate = problem.optimizer.learning_rate if learning_rate is None else learning_rate
    rates = schedules.table(rate, steps, count, "learning_rate")
    if problem.optimizer.fixed_rows and rates.shape[1] > 1:
        raise ValueError(
            checks.message(
                "one learning rate, because a Keras optimizer has one for all images",
                f"{rates.shape[1]} rates",
                "Use actmax.Adam, RMSprop or SGD for a rate per image.",
            )
        )
    if np.any(rates < 0):
        raise ValueError(
            checks.message(
                "a learning rate of at least 0",
                f"{rates.min():g}",
                "To minimize, negate the objective.",
            )
        )
    return tf.constant(stacked, problem.dtype), tf.constant(rates, problem.dtype)


def kept_rates(
    rates: tf.Tensor, first: Mapping[str, np.ndarray], problem: Problem, count: int
) -> tuple[tf.Tensor, dict[str, str]]:
    """Rates that keep a start picture recognizable, and their entry in the record.

    The rate of a recipe is made for noise starts. With it, all starts end in the same picture. Rows that
    start from a picture use one sixteenth of it. A uniform start is not a picture.

    Args:
        rates: rates of the recipe, `[1 or steps, 1 or N]`.
        first: start images by input name, `[1 or N, ...]` each.
        problem: of the run.
        count: N.
    """
    pictured = np.zeros(count, bool)
    for entry in problem.inputs:
        if entry.name in first and len(entry.shape) == _IMAGE_RANK:
            images = first[entry.name]
            contrast = images.std(axis=tuple(range(1, images.ndim)))
            size = float(np.mean(entry.constraint.units(entry.shape)))
            pictured |= np.broadcast_to(contrast > _EVEN * size, count)
    if not pictured.any():
        return rates, {}
    factor = tf.constant(np.where(pictured, _KEPT, 1.0), rates.dtype)
    text = f"{int(pictured.sum())} of {count} rows start from a picture: {_KEPT:g} of the recipe's rate"
    return rates * factor, {"start": text}


def start_images(value: Any, inputs: Sequence[Input]) -> dict[str, np.ndarray]:
    """Checked start images by input name, `[1 or N, ...]` each."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) and len(inputs) > 1:
        names = [entry.name for entry in inputs]
        raise TypeError(
            checks.message(f"images as a dict by input name, one of {names}", type(value).__name__)
        )
    named = value if isinstance(value, Mapping) else {inputs[0].name: value}
    known = {entry.name: entry for entry in inputs}
    found = {}
    for name, images in named.items():
        if name not in known:
            raise ValueError(
                checks.message(f"names of inputs {sorted(known)} in initial_images", repr(name))
            )
        found[name] = start_image_checks.checked(np.asarray(images), known[name])
    return found


def spread(images: Mapping[str, np.ndarray], count: int, dtype: tf.DType) -> dict[str, tf.Tensor]:
    """Start images as tensors, one per row. `[1 or N, ...] -> [N, ...]`."""
    return {
        name: tf.constant(np.broadcast_to(value, (count, *value.shape[1:])), dtype)
        for name, value in images.items()
    }


def arrays(problem: Problem, given: Any, count: int) -> dict[str, np.ndarray]:
    """Checked arrays of penalties by `array_key`, `[1 or N, ...]` each.

    Raises:
        TypeError: if they are not a dict by penalty, or not numbers.
        ValueError: if a name is unknown, or an array is missing, not finite, or does not have 1 or
            N rows.
    """
    wanted = {name: part.array_names for name, _, part in problem.penalties if part.array_names}
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(
            checks.message("arrays to be a dict by the name of the penalty", type(given).__name__)
        )
    unknown = sorted(set(given or {}) - set(wanted))
    if unknown:
        raise ValueError(
            checks.message(
                f"names of penalties that take arrays, {sorted(wanted)}, in arrays", f"{unknown}"
            )
        )
    found = {}
    for name, parameters in wanted.items():
        own = (given or {}).get(name, {})
        if not isinstance(own, Mapping):  # of a penalty with one array
            own = {parameters[0]: own} if len(parameters) == 1 else {"": own}
        if set(own) != set(parameters):
            raise ValueError(
                checks.message(
                    f"arrays={{{name!r}: ...}} with {list(parameters)} of the penalty {name!r}, one row "
                    "per image",
                    f"{sorted(own) or 'none'}",
                    "Give an array [1 or N, ...] for each, by name if there are several.",
                )
            )
        for parameter in parameters:
            what = f"arrays[{name!r}][{parameter!r}]"
            found[array_key(name, parameter)] = _array(own[parameter], what, count)
    return found


def _array(value: Any, what: str, count: int) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(checks.message(f"{what} to be numbers", f"dtype {array.dtype}"))
    if array.ndim == 0 or len(array) not in (1, count):
        raise ValueError(
            checks.message(
                f"{what} of shape [1 or {count}, ...], one row per image", f"shape {array.shape}"
            )
        )
    return checks.finite(array, what) if array.dtype.kind == "f" else array


def arguments(
    problem: Problem,
    targets: np.ndarray | None,
    weights: tf.Tensor,
    rates: tf.Tensor,
    seeds: tf.Tensor,
    fixed: Mapping[str, np.ndarray],
    kept: Images,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> Arguments:
    """What stays the same during a run, as tensors."""
    count = int(seeds.shape[0])
    constraint_checks.check_rows(problem.inputs, count)
    if targets is None:
        given = tf.zeros([count], tf.int32)
    elif problem.objective.kind == "vector":
        given = tf.constant(targets, problem.dtype)
    else:
        given = tf.constant(targets, tf.int32)
    for name, value in fixed.items():
        if len(value) not in (1, count):
            raise ValueError(
                checks.message(f"fixed[{name!r}] of 1 or {count} rows", f"{len(value)} rows")
            )
    held = {name: tf.constant(value) for name, value in fixed.items()}
    own = {name: _rows_of(value, count, problem.dtype) for name, value in (arrays or {}).items()}
    return Arguments(given, weights, rates, seeds, held, kept, own)


def _rows_of(value: np.ndarray, count: int, dtype: tf.DType) -> tf.Tensor:
    """An array with a row for every image. Fractions get the images' dtype. Whole numbers keep theirs."""
    spread = np.broadcast_to(value, (count, *value.shape[1:]))
    if value.dtype.kind == "f":
        return tf.constant(spread, dtype)
    return tf.constant(spread, tf.bool if value.dtype.kind == "b" else tf.int32)
