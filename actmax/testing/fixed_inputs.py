"""A model with several inputs, as a function of the one that is not held fixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, models
from actmax.maximizer import letter_inputs
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
    (spec,) = free
    own_range = input_range.get(spec.name) if isinstance(input_range, Mapping) else input_range
    letters = letter_inputs.read([model], specs, free, own_range)
    taps = models.Taps(model, [OUTPUT], letters.numbers)
    spec = letters.specs[0] if letters.numbers else spec

    def of_one(images: tf.Tensor) -> Any:
        rows = tf.shape(images)[0]
        given = {name: tf.repeat(value, rows, axis=0) for name, value in held.items()}
        if letters.numbers:
            return taps({**given, spec.name: images})[OUTPUT]
        return taps.forward({**given, spec.name: images})

    shape = input_shape.get(spec.name) if isinstance(input_shape, Mapping) else input_shape
    return of_one, shape or spec.shape, own_range
