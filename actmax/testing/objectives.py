"""`check_objective`."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from actmax.models import Taps, input_specs
from actmax.objectives import ROWS, Objective, as_objective
from actmax.testing.common import COUNT, check_fields, name_of, sample_images
from actmax.testing.rows import (
    Part,
    all_finite,
    check_gradient,
    check_graph,
    check_independent,
    check_repeat,
    pick,
    seeds,
)
from actmax.types import IMAGES
from regularizers import random

_TARGETS = ":targets"
# Activations this many times as large tell how a score grows; a square grows by 1e4 from 10 times on.
FAR, GROWS, ALIKE = 1e3, 1e3, 1e-6
_NEAR = (0.3, 0.1, 0.01, 1e-3)


def _cast(values: Any, dtype: tf.DType) -> Any:
    return tf.nest.map_structure(
        lambda leaf: tf.cast(leaf, dtype) if leaf.dtype.is_floating else leaf, values
    )


def check_objective(
    objective: Objective | Any, model: Any, targets: Any = None, *, input_shape: Any = None
) -> None:
    """Checks an objective on the activations of a model.

    Laws: fields; layers exist; scores `[N]`, of the activations' dtype, finite; repeat; the gradient
    equals central differences in float64 and reaches the image; sign: it is not a distance without
    its minus sign; a graph of unknown N agrees; rows are independent unless `couples_images`; a small
    step along the gradient raises the score.

    Args:
        objective: an `Objective`, or a plain function of the model's output.
        model: a Keras model, or a callable.
        targets: one or more valid targets, repeated for three images. None for 0, 1, ... or for
            random directions.
        input_shape: shape of one input, for models that do not know theirs.

    Raises:
        ContractError: at the first law that breaks.

    Example:
        >>> import actmax
        >>> from actmax import testing, zoo
        >>> testing.check_objective(actmax.Logit(), zoo.load("mnist"), [3, 7])
    """
    whole = as_objective(objective)
    part = Part(getattr(objective, "name", None) or name_of(objective))
    check_fields(part, whole)
    with part.trying("runs", "Make it run on the activations of any batch of images."):
        _check_objective(part, whole, model, targets, input_shape)


def _check_objective(
    part: Part, whole: Objective, model: Any, targets: Any, input_shape: Any
) -> None:
    specs = input_specs(model)
    known = specs[0].shape if specs and input_shape is None else input_shape
    shape = tuple(int(size) for size in known or () if size is not None)
    images = {(specs[0].name if specs else IMAGES): sample_images(shape, tf.float32)}
    with part.trying("layers", "List the paths with actmax.layer_paths(model)."):
        taps = Taps(model, whole.taps)
        found = taps(images)
        activations = {name: found[name] for name in taps.names}
    given = _targets(whole, taps, targets)
    _check_scores(part, whole, activations, given)

    # What is no activation has no gradient.
    others = {name: value for name, value in activations.items() if name == ROWS}
    others |= {} if given is None else {_TARGETS: given}

    def score(values: Any, others: Any) -> tf.Tensor:
        held = {name: value for name, value in others.items() if name == ROWS}
        return whole({**values, **held}, others.get(_TARGETS))

    values = {name: value for name, value in activations.items() if name != ROWS}
    check_repeat(part, score, values, others)
    wide = _cast(values, tf.float64)
    part.place = "in float64"
    check_repeat(part, score, wide, others)
    with part.trying("gradient", "Make it run in float64, and give it a gradient."):
        check_gradient(part, score, wide, others, coupled=whole.couples_images)
    _check_sign(part, score, wide, others)
    check_graph(part, score, wide, others)
    if not whole.couples_images:
        check_independent(part, score, wide, others)
    part.place = f"on images of shape {shape}"
    _check_ascent(part, whole, taps, images, given)


def _check_sign(part: Part, score: Any, values: Any, others: Any) -> None:
    """An objective is to be high: one that is a distance from something has lost its minus.

    A distance is above 0 everywhere, grows as a square or faster on both sides, and is smaller than at 0
    somewhere, since what it is the distance from is not 0. A mean of squares is least at 0.
    """

    def at(factor: float) -> Any:
        there = tf.nest.map_structure(
            lambda leaf: factor * leaf if leaf.dtype.is_floating else leaf, values
        )
        return score(there, others).numpy()

    none, near, far, back = (at(factor) for factor in (0.0, 10.0, FAR, -FAR))
    # However far off it is the distance from something, near enough to 0 it falls on one of the sides.
    least = np.minimum.reduce([at(sign * size) for size in _NEAR for sign in (-1, 1)])
    with np.errstate(all="ignore"):
        above = (none > 0) & (near > 0) & (far > 0) & (back > 0)
        fast = (far > GROWS * near) & (back > GROWS * none)
        lower = (least > 0) & (least < none * (1 - ALIKE))
    distance = bool(np.all(above & fast & lower))
    part.require(
        "sign",
        not distance,
        "a score that is high where the objective is met",
        "one that grows without end in every direction, as a distance from something does",
        "Put a minus before it: the loop maximizes.",
    )


def _targets(objective: Objective, taps: Taps, targets: Any) -> tf.Tensor | None:
    if objective.kind is None:
        return None
    channels = taps.shapes[objective.taps[0]][-1] or 1
    if objective.kind == "index":
        units = np.arange(COUNT) % channels if targets is None else np.ravel(targets)
        return tf.constant(np.resize(units, COUNT), tf.int32)
    if targets is None:
        return random.uniform(seeds(COUNT, 2), [channels], -1.0, 1.0, tf.float32)
    vectors = np.atleast_2d(np.asarray(targets, np.float32))
    return tf.constant(vectors[np.arange(COUNT) % len(vectors)])


def _check_scores(part: Part, objective: Objective, activations: Any, given: Any) -> None:
    for count in (1, COUNT):
        part.place = f"on {count} images"
        rows = list(range(count))
        with part.trying("shape", "Make it run there."):
            scores = objective(
                pick(activations, rows), None if given is None else pick(given, rows)
            )
        do = "Reduce over every axis but the first."
        shape = tuple(scores.shape)
        part.require("shape", shape == (count,), f"scores of shape ({count},)", shape, do)
        kept = scores.dtype.is_floating and scores.dtype in {
            leaf.dtype for leaf in tf.nest.flatten(activations)
        }
        do = "Cast constants to the activations' dtype."
        part.require("dtype", kept, "the activations' dtype", scores.dtype.name, do)
        part.require("finite", all_finite(scores), "finite scores", "NaN or infinity", do="")


def _check_ascent(
    part: Part, objective: Objective, taps: Taps, images: Any, given: tf.Tensor | None
) -> None:
    def scores(images: Any) -> tf.Tensor:
        return objective(taps(images), given)

    with tf.GradientTape() as tape:
        tape.watch(images)
        before = scores(images)
    gradient = tape.gradient(before, images)
    connected = all(leaf is not None for leaf in gradient.values())
    do = "Choose a layer between the input and the first operation without a gradient."
    part.require("connected", connected, "a gradient that reaches the image", "None", do)
    size = max(float(tf.reduce_max(tf.abs(leaf))) for leaf in gradient.values())
    do = "The unit may be dead on random images: choose another target or layer."
    part.require("connected", size > 0, "a gradient that is not zero everywhere", 0.0, do)
    rose = False
    for length in (1e-1, 1e-2, 1e-3):
        there = {k: v + length / size * gradient[k] for k, v in images.items()}
        rose = rose or bool(tf.reduce_sum(scores(there)) > tf.reduce_sum(before))
    do = "Correct the custom gradient: its sign, or what it forgets."
    part.require("ascent", rose, "a higher score after a step up the gradient", "a lower one", do)
