"""What the checkers share: sample images, names, and the law of fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from actmax.testing.rows import Part, seeds
from regularizers import random
from regularizers.base import function_name

# Square and not, three channels and one, even and odd sides.
SHAPES = ((8, 8, 3), (6, 9, 1))
COUNT = 3


def sample_images(
    shape: Sequence[int], dtype: tf.DType, low: float = 0.0, high: float = 1.0
) -> Any:
    """`COUNT` images of uniform noise. `[N, *shape]`."""
    return random.uniform(seeds(COUNT, 1), list(shape), low, high, dtype)


def check_fields(part: Part, value: Any) -> None:
    """Configuration in fields: hashable, and without tensors."""
    if not dataclasses.is_dataclass(value):
        return
    fields = [getattr(value, field.name) for field in dataclasses.fields(value)]
    plain = not any(isinstance(field, (tf.Tensor, tf.Variable)) for field in fields)
    do = "Store numbers, and make tensors of them in the call."
    part.require("fields", plain, "fields of plain configuration", "tensors in fields", do)
    with part.trying("fields", "Use @dataclasses.dataclass(frozen=True), and tuples, not lists."):
        hash(value)


def name_of(part: Any) -> str:
    """A function's name, or the class of an object."""
    named = callable(part) and not isinstance(part, type) and hasattr(part, "__name__")
    return function_name(part) if named else type(part).__name__
