"""The compiled gradient of a model with respect to its input, compared with differences of its output."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import models
from actmax.preparing import prepared
from actmax.types import IMAGES

# Of the input range: a step must be above rounding and below the next kink, and no one size is both for every
# network. Where the two smallest above rounding disagree, the slope is not known, and nothing is said.
_STEPS = (0.1, 0.03, 0.01, 0.003, 0.001)
# A slope of a float32 network agrees to a few percent; a wrong gradient is off by a factor.
_TOLERANCE = 0.1
# Relative to the output: a change below it is rounding.
_ROUNDING = 1e-5

Weigh = Callable[[tf.Tensor], tf.Tensor]


class Slope:
    """One activation of a model: its values and the gradient of their weighted sum, compiled.

    Only the input is watched: gradients of weights are never taken, and nothing runs eagerly.

    Args:
        model: a Keras model or a callable.
        name: of the activation, as of `models.Taps`.
        preprocess: of the images, or None.
        letters: inputs of whole numbers that are given in rows, by name.
    """

    def __init__(
        self,
        model: Any,
        name: str,
        preprocess: Callable[[Any], Any] | None,
        letters: Mapping[str, models.Lettered] | None = None,
    ) -> None:
        self._taps, self._name = models.Taps(model, [name], letters), name
        self._preprocess = preprocess
        self.blocked = False
        # TensorFlow warns of retracing by a function's code; a partial has none, and counts alone.
        self._graph = tf.function(functools.partial(self._run), autograph=False)

    def _run(self, images: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            ready = prepared(images, self._preprocess)
            value = self._taps({IMAGES: ready})[self._name]
            total = tf.reduce_sum(tf.cast(value, tf.float32) * weights)
        gradient = tape.gradient(total, images)
        self.blocked = gradient is None
        return value, tf.zeros_like(images) if gradient is None else tf.convert_to_tensor(gradient)

    def __call__(self, images: tf.Tensor, weights: Any = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Values `[N, ...]`, and the gradient of their weighted sum `[N, ...]` (zeros if there is none)."""
        value, gradient = self._graph(images, tf.constant(weights, tf.float32))
        return np.asarray(value), np.asarray(gradient)


def wrong(slope: Slope, images: np.ndarray, span: float) -> tuple[float, float] | None:
    """`(slope of the output, slope that the gradient promises)` along a direction where they differ.

    Central differences along the gradient itself and along random signs, at five step sizes. None if one of
    them agrees, if the two smallest disagree with each other, or if the changes are smaller than rounding.

    Nocedal and Wright, "Numerical Optimization", 2006, section 8.1: central differences.
    """
    value, _ = slope(tf.constant(images))
    random = np.random.default_rng(0)
    weights = random.choice([-1.0, 1.0], value.shape[1:]) * random.uniform(
        0.5, 1.5, value.shape[1:]
    )

    def total(given: np.ndarray) -> float:
        found, _ = slope(tf.constant(given.astype(images.dtype)), weights)
        return float(np.sum(found.astype("f8") * weights))

    _, gradient = slope(tf.constant(images), weights)
    gradient = gradient.astype("f8")
    largest = float(np.max(np.abs(gradient)))
    if not np.isfinite(gradient).all() or not largest:
        return None
    rounding = _ROUNDING * float(np.sum(np.abs(value.astype("f8") * weights)))
    for direction in (gradient / largest, random.choice([-1.0, 1.0], images.shape)):
        promised = float(np.sum(gradient * direction))
        founds: list[float] = []
        for size in _STEPS:
            step = size * span * direction
            change = total(images + step) - total(images - step)
            if abs(change) > 10 * rounding or abs(promised) * 2 * size * span > 10 * rounding:
                founds.append(change / (2 * size * span))
        if len(founds) < 2:
            continue
        larger = max(abs(founds[-1]), abs(founds[-2]), abs(promised))
        settled = abs(founds[-1] - founds[-2]) <= _TOLERANCE / 2 * larger
        nearest = min(founds, key=lambda found: abs(found - promised))
        if settled and abs(nearest - promised) > _TOLERANCE * larger:
            return founds[-1], promised
    return None


def first_wrong(slopes: Iterable[tuple[str, Slope]], images: np.ndarray, span: float) -> str:
    """The path of the first activation whose gradient is not its slope; empty if there is none."""
    for path, slope in slopes:
        try:
            if wrong(slope, images, span) is not None:
                return path
        except (ValueError, TypeError):
            continue  # Not called, shared, or several tensors.
    return ""
