"""A model with several inputs, as a function of the one that is not held fixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, models
from actmax.objectives import OUTPUT


def of_one_input(
    model: Any, fixed: Mapping[str, Any], input_shape: Any, input_range: Any
) -> tuple[Any, Any, Any]:
    """A function of the one input that is not fixed, with its shape and range."""
    specs = models.input_specs(model) or ()
    free = [spec for spec in specs if spec.name not in fixed]
    unknown = sorted(set(fixed) - {spec.name for spec in specs})
    if unknown or len(free) != 1:
        received = f"{unknown}" if unknown else f"{[spec.name for spec in free]} left"
        expected = f"values of all inputs but one of {[spec.name for spec in specs]} in fixed"
        raise ValueError(checks.message(expected, received))
    kinds = {spec.name: spec.dtype for spec in specs}
    held = {name: tf.constant(np.asarray(value)[:1], kinds[name]) for name, value in fixed.items()}
    taps = models.Taps(model, [OUTPUT])
    (spec,) = free

    def of_one(images: tf.Tensor) -> Any:
        rows = tf.shape(images)[0]
        given = {name: tf.repeat(value, rows, axis=0) for name, value in held.items()}
        return taps.forward({**given, spec.name: images})

    def own(value: Any) -> Any:
        return value.get(spec.name) if isinstance(value, Mapping) else value

    return of_one, own(input_shape) or spec.shape, own(input_range)
