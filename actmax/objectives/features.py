"""Objectives that match or exaggerate given activations, such as those of reference images."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.objectives.base import (
    Activations,
    Kind,
    Objective,
    channels_last,
    check_layer,
    of_units,
    one_tensor,
)
from actmax.types import FixedArray
from regularizers.lanes import by_row


@dataclasses.dataclass(frozen=True)
class _Features(Objective):
    """A layer's activations beside given ones, row by row."""

    layer: str
    reference: Any = None

    def __post_init__(self) -> None:
        check_layer(self.layer)
        if self.reference is not None and not isinstance(self.reference, FixedArray):
            object.__setattr__(self, "reference", FixedArray(_checked(self.reference)))

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.layer,)

    def _given(self, activations: Activations) -> tf.Tensor:
        return one_tensor(activations[self.layer], self.layer)

    @property
    def kind(self) -> Kind:
        return "vector" if self.reference is None else None

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        given = np.asarray(targets if self.reference is None else self.reference.values[None])
        if not np.all(np.any(given.reshape(len(given), -1) != 0, axis=1)):
            raise ValueError(
                checks.message("references that are not zero everywhere", "a silent layer")
            )

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        given = self._given(activations)
        # Sums over a layer overflow in half precision.
        wide = tf.float32 if given.dtype.size < tf.float32.size else given.dtype
        values = tf.cast(given, wide)
        if self.reference is None:
            reference = tf.cast(targets, wide)
        else:
            reference = tf.constant(self.reference.values.reshape(1, -1), wide)
        shape = tuple(values.shape[1:])
        if None not in shape and reference.shape[-1] != math.prod(shape):
            raise ValueError(
                checks.message(
                    f"references of {math.prod(shape)} numbers, as the activations {shape} of "
                    f"layer {self.layer!r} have",
                    f"{reference.shape[-1]} numbers",
                    "Take them by actmax.activations from images of the model's input size.",
                )
            )
        reference = tf.reshape(reference, tf.concat([[-1], tf.shape(values)[1:]], axis=0))
        return tf.cast(self._compare(values, reference), given.dtype)

    @abc.abstractmethod
    def _compare(self, values: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
        """Scores of activations beside those of one image or of as many. `[N, ...], [1 or N, ...] -> [N]`."""


def _checked(reference: Any) -> np.ndarray:
    array = np.asarray(reference)
    if array.dtype.kind not in "fiu" or array.size == 0:
        raise TypeError(checks.message("a reference of numbers", f"{array.dtype} {array.shape}"))
    return checks.finite(array.astype(np.float64), "reference")


@dataclasses.dataclass(frozen=True)
class Inversion(_Features):
    """Minus the squared distance to given activations, relative to their size. `-> [N]`, at most 0.

        score = - |A(x) - A0|^2 / |A0|^2

    over all positions and channels of a layer. It is 0 if the activations are equal, and -1 for an
    image with activations 0. The resulting image shows which information about the reference the
    layer keeps.

    Source: Mahendran and Vedaldi, Understanding deep image representations by inverting them, CVPR
    2015, https://arxiv.org/abs/1412.0035.

    Args:
        layer: path of the layer.
        reference: activations of one image, for all images of the call; None to take one for each
            image from `targets=`, float `[N, D]`: `actmax.activations(...).reshape(n, -1)`.

    Raises:
        ValueError: if a reference is zero everywhere or of another size than the layer's activations.

    Example:
        >>> import actmax, numpy as np
        >>> from actmax import zoo
        >>> model, photo = zoo.load("cifar10"), np.full([1, 32, 32, 3], 0.5)
        >>> layer = actmax.layer_paths(model)[0]
        >>> reference = actmax.activations(model, photo, layer)[0]
        >>> result = actmax.maximize(
        ...     model, actmax.Inversion(layer, reference), input_range=(0, 1), steps=2
        ... )
        >>> result.scores.shape
        (1,)
    """

    def _compare(self, values: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
        axes = list(range(1, values.shape.rank))
        missed = tf.reduce_sum(tf.square(values - reference), axes)
        return -missed / tf.reduce_sum(tf.square(reference), axes)


@dataclasses.dataclass(frozen=True)
class Caricature(_Features):
    """How far activations go in the direction of given ones. `-> [N]`; 1 at the reference.

        score = <A(x), A0> / |A0|^2  max(0.1, cos(A(x), A0))^power

    over all positions and channels of a layer. You can start from noise or from the reference
    itself. The result exaggerates what the layer detects in the reference.

    Source: Olah et al., lucid, 2018, `dot_compare` in
    https://github.com/tensorflow/lucid/blob/master/lucid/optvis/objectives.py, without `|A0|^2`.

    Args:
        layer: path of the layer.
        reference: as for `Inversion`.
        power: exponent of the cosine, 0 or more. A larger power gives the direction more weight.

    Raises:
        ValueError: if a reference is zero everywhere or of another size than the layer's activations.
    """

    _FLOOR: ClassVar[float] = 0.1

    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number(self.power, "power", low=0.0)

    def _compare(self, values: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
        axes = list(range(1, values.shape.rank))
        dot = tf.reduce_sum(values * reference, axes)
        own, other = (tf.reduce_sum(tf.square(side), axes) for side in (values, reference))
        # Kept off 0, where the root has no gradient: the smallest product that a silent image has.
        size = by_row(tf.sqrt, tf.maximum(own * other, values.dtype.as_numpy_dtype(1e-20)))
        cosine = tf.maximum(dot / size, self._FLOOR)
        return dot / other * by_row(lambda values: values**self.power, cosine)


@dataclasses.dataclass(frozen=True)
class SortMatching(_Features):
    """Minus the squared distance of each channel's sorted activations to given ones. `-> [N]`, at most 0.

        score = - sum_c |sort(A_c(x)) - R_c|^2 / sum_c |R_c|^2

    where `A_c` is channel c at all positions. The distance of sorted values is the optimal
    transport between the two sets of values. So the distribution of every channel is matched, and
    the positions in the image are free. `SortMatching.mean` computes `R` from several images.

    Source: Gorgun, Schiele and Fischer, VITAL: More understandable feature visualization through
    distribution alignment and relevant information flow, ICCV 2025, https://arxiv.org/abs/2503.22399,
    where the distance is not relative to the reference.

    Args:
        layer: path of a layer with spatial axes.
        reference: as for `Inversion`, sorted: what `mean` returns.

    Raises:
        ValueError: if a reference is zero everywhere or of another size than the layer's activations.

    Example:
        >>> import actmax, numpy as np
        >>> activations = np.array([[[[3.0, 1.0], [1.0, 2.0]]], [[[1.0, 4.0], [5.0, 1.0]]]])
        >>> actmax.SortMatching.mean(activations).tolist()
        [[[1.0, 1.0], [4.0, 3.0]]]
    """

    @property
    def taps(self) -> tuple[str, ...]:
        return (channels_last(self.layer),)

    def _given(self, activations: Activations) -> tf.Tensor:
        found: tf.Tensor = of_units(activations, self.layer)
        return found

    def check(self, shapes: Mapping[str, tuple[int | None, ...]], targets: Any) -> None:
        super().check(shapes, targets)
        given = () if self.reference is None else self.reference.values.shape
        wanted = of_units(shapes, self.layer)[1:]
        if len(given) == len(wanted) and None not in wanted and given != wanted:
            raise ValueError(
                checks.message(
                    f"a reference {wanted} of layer {self.layer!r}, channels last",
                    given,
                    "Name the axis of the channels: actmax.SortMatching.mean(activations, axis=1).",
                )
            )

    @staticmethod
    def mean(activations: Any, axis: int = -1) -> np.ndarray:
        """Means over images of sorted activations, channels last. `[N, ..., C] -> [..., C]`.

        Args:
            activations: of some images, as `actmax.activations` returns them.
            axis: of the channels: 1 for a layer with channels first.
        """
        array = np.asarray(activations)
        if array.ndim >= 3 and array.size:
            array = np.moveaxis(array, axis, -1)
        if array.ndim < 3 or array.size == 0:
            raise ValueError(
                checks.message("activations [N, ..., C] with positions", f"shape {array.shape}")
            )
        flat = array.reshape(len(array), -1, array.shape[-1])
        found: np.ndarray = np.sort(flat, axis=1).mean(axis=0).reshape(array.shape[1:])
        return found

    def _compare(self, values: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
        if values.shape.rank < 3:
            raise ValueError(
                checks.message(
                    "a layer with positions, whose activations can be sorted",
                    f"activations {tuple(values.shape[1:])} of layer {self.layer!r}",
                    "Use actmax.Inversion.",
                )
            )
        channels = values.shape[-1]
        flat = tf.reshape(values, [tf.shape(values)[0], -1, channels])
        wanted = tf.reshape(reference, [tf.shape(reference)[0], -1, channels])
        # Along the last axis, which is the one that sorting is made for.
        missed = tf.sort(tf.transpose(flat, [0, 2, 1])) - tf.transpose(wanted, [0, 2, 1])
        return -tf.reduce_sum(tf.square(missed), [1, 2]) / tf.reduce_sum(tf.square(wanted), [1, 2])
