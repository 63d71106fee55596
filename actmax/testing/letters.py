"""Sequences to try a model of letters on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, models
from actmax.constraints import Rows
from actmax.maximizer import letter_inputs
from actmax.preparing import prepared
from actmax.types import IMAGES

_OPEN_LENGTH = 64  # letters, for sizes that the model leaves open


@dataclasses.dataclass(frozen=True)
class Letters:
    """The one input of a model, which is letters.

    Attributes:
        rows: their set.
        shape: of one input, rows with an axis of their own.
        numbers: of a model that takes whole numbers, as of `models.Taps`.
        flat: the model's own shape, if it takes flattened rows; else None.
    """

    rows: Rows
    shape: tuple[int, ...]
    numbers: Mapping[str, models.Lettered]
    flat: tuple[int, ...] | None

    def prepared(self, preprocess: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
        """Turns rows into the input of the model."""
        if self.flat is None:
            return preprocess
        flat = self.flat
        return lambda images: prepared(tf.reshape(images, [-1, *flat]), preprocess)

    def each(self, count: int) -> tf.Tensor:
        """Sequences of one letter throughout, of the first few. `[count, ...]`."""
        axis = self.rows.axis % (len(self.shape) + 1)
        size = self.shape[axis - 1]
        eye = np.eye(size, dtype=np.float32)[np.arange(count) % size]
        for place in range(1, len(self.shape) + 1):
            if place != axis:
                eye = np.expand_dims(eye, place)
        return tf.constant(np.broadcast_to(eye, [count, *self.shape]))


def letters_of(model: Any, given: Any, shape: Any) -> Letters | None:
    """How a model with one input takes the letters that were given; None where none were.

    Raises:
        ValueError: if the letters do not fit the model's input.
    """
    if not isinstance(given, Rows):
        return None
    specs = models.input_specs(model)
    if specs is None or len(specs) != 1:
        if shape is None:
            expected = "the shape of one input of letters"
            raise ValueError(
                checks.message(expected, "none", "Give input_shape=(length, letters).")
            )
        specs = (models.InputSpec(IMAGES, tuple(shape), "float32"),)
    sizes = shape or tuple(_OPEN_LENGTH if s is None else s for s in specs[0].shape or ())
    specs = (dataclasses.replace(specs[0], shape=tuple(sizes)),)
    found = letter_inputs.read([model], specs, specs, given)
    own = tuple(found.specs[0].shape or ())
    sides = tuple(int(size) for size in own if size is not None)
    given.positions(sides)
    return Letters(given, sides, found.numbers, found.flat.get(specs[0].name))
