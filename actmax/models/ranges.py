"""Finds the values that a model takes, from its operations before the first layer with weights.

This shows which values black and white become, on every branch, and which axis the first convolution
uses for the channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from actmax.models.following import SAME, End, Step, Value, follow
from actmax.models.layout import FORMATTED, format_axis

Range = tuple[float, float]

# Ranges in which images are stored, and ranges on which networks are trained. A range of the first kind is
# mapped to one of the second kind.
_STORED: tuple[Range, ...] = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0))
_TRAINED: dict[Range, tuple[Range, ...]] = {
    (0.0, 255.0): ((0.0, 1.0), (-1.0, 1.0), (-0.5, 0.5), (-127.5, 127.5)),
    (0.0, 1.0): ((-1.0, 1.0), (-0.5, 0.5), (0.0, 255.0), (-127.5, 127.5)),
    (-1.0, 1.0): ((0.0, 1.0), (0.0, 255.0), (-127.5, 127.5)),
}
# Tolerance of the ends, as a fraction of the width. It accepts 1 / 256 for 1 / 255, and 1 / 128 for
# 1 / 127.5.
_CLOSE = 0.02
# The blue, green and red means that networks of 2014 subtract from 0..255, without a division.
_CAFFE = (103.939, 116.779, 123.68)
# Two standard deviations around the mean of images are inside their range, with this tolerance, and
# fill at least half of it.
_BEYOND = 0.1
_IMAGE_RANK = 4


@dataclasses.dataclass(frozen=True)
class Reading:
    """The range and channel axis of one input, found in a trace.

    Attributes:
        range: the values of black and white. None if they are unknown or two branches disagree.
        source: the layer or operation that shows the range.
        why: the reason against a range, as part of a sentence. None if there is none.
        channels: the channel axis, counted with the batch axis. None if no operation shows it.
    """

    range: Range | None = None
    source: str = ""
    why: str | None = None
    channels: int | None = None


def read_range(graph: Any, given: Any, outputs: Sequence[Any]) -> Reading:
    """The range of one input, from a traced model.

    Args:
        graph: a graph of operations, `tf.function(...).get_concrete_function(...).graph`.
        given: the tensor of the input in the graph, `[N, ...]`.
        outputs: tensors that are used. Operations that they do not need are ignored.

    Example:
        >>> import keras
        >>> import tensorflow as tf
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(2, 3)]
        ... )
        >>> function = tf.function(model).get_concrete_function(tf.TensorSpec([None, 8, 8, 3]))
        >>> read_range(function.graph, function.inputs[0], function.outputs).range
        (0.0, 255.0)
    """
    rank = given.shape.rank
    if rank is None or rank < 2:
        return Reading()
    one = np.ones([1] * rank)
    first = Value(one, 0.0 * one, tuple(range(rank)))
    ends = follow(graph, {given.name: first}, outputs, None, [])
    channels = next((axis for axis in map(_channels_at, ends) if axis), None)
    if rank <= 2:
        # A column of a table has its own units, for any divisor.
        return Reading(channels=channels)
    verdicts = {_verdict(end.value, rank) for end in ends if _counts(end)}
    said = {verdict[0] for verdict in verdicts if verdict is not None}
    if len(said) == 1 and None not in verdicts:
        found, source = sorted(v for v in verdicts if v is not None)[0]
        return Reading(found, source, None, channels)
    why = None
    if len(said) > 1:
        why = (
            " and ".join(f"({low:g}, {high:g})" for low, high in sorted(said)) + " on two branches"
        )
    elif said:
        (low, high), source = next(v for v in verdicts if v is not None)
        why = f"({low:g}, {high:g}) by {source!r} on one branch, and nothing on another"
    return Reading(None, "", why, channels)


def _counts(end: End) -> bool:
    return end.operation.type not in SAME


def _channels_at(end: End) -> int | None:
    """The axis of the input that an operation uses as channels. None if it shows nothing."""
    operation = end.operation
    rank = len(end.value.axes)
    if operation.type not in FORMATTED or rank < 3 or operation.type == "BiasAdd":
        return None
    return end.value.axes[format_axis(operation, rank)]


def _mapped(value: Value | Step) -> Range | None:
    """The range that is mapped to a usual range of networks. None if there is none."""
    scale, offset = np.broadcast_arrays(value.scale, value.offset)
    scale, offset = scale.ravel(), offset.ravel()
    if np.allclose(scale, 1.0) and np.allclose(offset, 0.0):
        return None
    for low, high in _STORED:
        made = np.sort([scale * low + offset, scale * high + offset], axis=0)
        # An inversion inside the range, such as 1 - x, also shows the range. -x does not.
        turned = ((low, high),) if np.all(scale < 0) and low == 0 else ()
        for ends in (*_TRAINED[low, high], *turned):
            width = ends[1] - ends[0]
            if np.all(np.abs(made - np.array(ends)[:, None]) <= _CLOSE * width):
                return low, high
    if np.allclose(scale, 1.0) and offset.size == len(_CAFFE):
        if np.allclose(np.sort(-offset), _CAFFE, atol=0.5):
            return 0.0, 255.0
    return None


def _verdict(value: Value, rank: int) -> tuple[Range, str] | None:
    """The range that a branch shows, and the layer or operation that shows it."""
    if not value.steps:
        return None
    # A shift alone may be the first half of a standardization. It counts only as the last operation.
    whole = [step for step in value.steps[:-1] if not np.allclose(step.scale, 1.0)]
    said = [(found, step.by) for step in (*whole, value.steps[-1]) if (found := _mapped(step))]
    if said:
        return said[0] if len({found for found, _ in said}) == 1 else None
    if rank != _IMAGE_RANK:
        return None
    scale, offset = np.broadcast_arrays(value.scale, value.offset)
    if np.any(scale <= 0):
        return None
    mean, deviation = -offset / scale, 1.0 / scale
    for high in (1.0, 255.0):
        low_end, high_end = mean - 2.0 * deviation, mean + 2.0 * deviation
        inside = np.all(low_end >= -_BEYOND * high) and np.all(high_end <= (1.0 + _BEYOND) * high)
        if inside and np.all(high_end >= 0.5 * high) and np.all(mean > 0):
            return (0.0, high), value.steps[-1].by
    return None
