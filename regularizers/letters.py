"""Penalties on sequences of letters, rows of one axis: `[N, L, A] -> [N]`."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import tensorflow as tf

from regularizers.base import Penalty, image_axes

# One letter alone is never undecided.
_LETTERS = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Edits(Penalty):
    """The number of positions whose letter differs from the given sequence. `[N, L, A] -> [N]`.

    `sum over positions of (1 - sum over letters of x * original)`. The weight is therefore the price of
    one edit in units of the score: an edit that gains less is not made. The value is a number of letters
    and not a mean, because a sequence is not resized. For matrices of probabilities it is the expected
    number. Positions where the original is all zero (an unknown letter) cost nothing.

    Source: the input loss of Schreiber et al., Ledidi, 2020, https://doi.org/10.1101/2020.05.21.109686.

    Args:
        original: one sequence of rows, `[L, A]` or whatever the shape of one input is, or with a leading
            axis of 1.
        axis: of the batch, along which a letter is written.

    Raises:
        ValueError: if `original` is empty or has values that are not finite.

    Example:
        >>> import numpy as np, regularizers
        >>> gat = np.eye(4)[[2, 0, 3]]
        >>> regularizers.Edits(original=gat)(np.eye(4)[[[2, 0, 3], [2, 1, 1]]]).numpy().tolist()
        [0.0, 2.0]
    """

    original: Any = dataclasses.field(kw_only=True)
    axis: int = dataclasses.field(default=-1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        values = tf.cast(self.original, tf.float64).numpy()
        if not values.size or not bool(tf.reduce_all(tf.math.is_finite(values))):
            raise ValueError(
                f"Expected original= of {self.name} to be one sequence of finite numbers. Received "
                f"an array of shape {values.shape}. Give its one-hot rows, [L, A]."
            )
        values.flags.writeable = False
        object.__setattr__(self, "original", values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Edits):
            return NotImplemented
        same = (self.weight, self.every, self.on, self.axis) == (
            other.weight, other.every, other.on, other.axis,
        )  # fmt: skip
        return same and self._bytes() == other._bytes()

    def __hash__(self) -> int:
        return hash((self.weight, self.every, self.on, self.axis, self._bytes()))

    def _bytes(self) -> tuple[Any, ...]:
        return self.original.shape, self.original.tobytes()

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        given = self.original
        if given.ndim == images.shape.rank and len(given) == 1:
            given = given[0]
        if given.shape != tuple(images.shape[1:]):
            raise ValueError(
                f"Expected original= of {self.name} of the shape of one input, "
                f"{tuple(images.shape[1:])}. Received shape {given.shape}. Give one sequence."
            )
        own = tf.constant(given[None], images.dtype)
        known = tf.reduce_sum(own, self.axis, keepdims=True)
        same = tf.reduce_sum(images * own, self.axis, keepdims=True)
        return tf.reduce_sum(known - same, image_axes(images))


@dataclasses.dataclass(frozen=True)
class Entropy(Penalty):
    """Entropy of rows of probabilities: 0 for letters, 1 if all are equal. `[N, L, A] -> [N]`.

    The mean over positions of `-sum p log p / log A`. A positive weight pulls a matrix of probabilities
    (`actmax.Simplex`, or `actmax.OneHot` with `straight_through=False`) towards letters, a negative
    weight away from them. For letters it is always 0 and has no effect.

    Source: Linder and Seelig, 2021, https://doi.org/10.1186/s12859-021-04437-5.

    Args:
        axis: of the batch, along which probabilities sum to 1.

    Raises:
        ValueError: if the axis has fewer than two values, or a number of them that is not known.

    Example:
        >>> import regularizers
        >>> regularizers.Entropy()([[[0.5, 0.5]], [[1.0, 0.0]]]).numpy().tolist()
        [1.0, 0.0]
    """

    axis: int = dataclasses.field(default=-1, kw_only=True)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        size = images.shape[self.axis]
        if size is None or size < _LETTERS:
            raise ValueError(
                f"Expected rows of two or more letters along axis {self.axis}. Received: shape "
                f"{tuple(images.shape)}. Give entropy the axis of the letters."
            )
        # The slope of p log p is infinite at 0, where nothing is left to move.
        least = tf.constant(1e-30 if images.dtype.size > 2 else 1e-7, images.dtype)
        rows = -tf.reduce_sum(
            images * tf.math.log(tf.maximum(images, least)), self.axis, keepdims=True
        )
        return tf.reduce_mean(rows, image_axes(rows)) / math.log(size)
