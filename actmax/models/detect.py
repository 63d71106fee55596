"""Reads from a model its input range, its preprocessing, and problems with it."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax.models.lookups import looked_up
from actmax.models.ranges import Reading, read_range
from actmax.models.structure import InputSpec, every_layer, input_specs, is_keras, layers

# Minimum sides of an input that counts as a picture because of its shape alone.
_SIDE = 8
# The allowed error of a sum of probabilities: in float32, and in half precision.
_NEAR, _NEAR_HALF = 1e-5, 1e-2
# A sigmoid this near to 0 or 1 is saturated.
_END = 1e-2


def readings(model: Any, specs: Sequence[InputSpec]) -> dict[str, Reading]:
    """The operations of a model on each of its inputs before its first layer with weights, by name.

    Empty if the model cannot be traced. Its first run then explains the error.
    """
    traced = _traced(model, specs)
    if traced is None:
        return {}
    program = traced.program
    outputs = [value for value in traced.returned if hasattr(value, "op")]
    known = {path.rsplit("/", 1)[-1] for path in layers(model)} if is_keras(model) else set()
    found = {}
    for name in (spec.name for spec in specs):
        reading = read_range(program.graphs[0], program.tensors[traced.inputs[name]], outputs)
        found[name] = dataclasses.replace(reading, source=_layer(reading.source, known))
    return found


def only_looked_up(model: Any, specs: Sequence[InputSpec], name: str) -> bool:
    """Whether the only use of an input is as indices of tables, as in an Embedding."""
    traced = _traced(model, specs)
    return traced is not None and looked_up(traced.program, traced.inputs[name])


def _traced(model: Any, specs: Sequence[InputSpec]) -> Any:
    """The model's trace, or None if tracing fails."""
    from actmax.models.taps import Taps  # it imports this module

    signature = {
        spec.name: tf.TensorSpec([None, *(spec.shape or ())], spec.dtype) for spec in specs
    }
    try:
        return Taps(model, ()).traced(signature)
    except Exception:
        return None


def _layer(source: str, known: Container[str]) -> str:
    """`layer 'x'` or `operation 'x'`. The number that a graph adds to a repeated name is removed."""
    for name in (source, re.sub(r"_\d+$", "", source)):
        if name in known:
            return f"layer {name!r}"
    return f"operation {source!r}"


def channels_of(reading: Reading, shape: tuple[int | None, ...]) -> int | None:
    """Axis of an input's channels, batch axis counted; None if they are the last.

    A convolution or a pooling says it. Without one, the shape decides: three sizes of a picture with
    its channels first.
    """
    if reading.channels is not None:
        return reading.channels if reading.channels < len(shape) else None
    if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3, 4):
        return 1 if all(size is not None and size >= _SIDE for size in shape[1:]) else None
    return None


def may_come_first(model: Any, shape: tuple[int | None, ...] | None) -> bool:
    """Whether the channels of an input may not be its last axis. Only then a trace is needed."""
    if shape is None or len(shape) < 2:
        return False
    if len(shape) == 3 and shape[0] in (1, 2, 3, 4) and shape[2] not in (1, 3, 4):
        return True
    import keras

    return any(
        getattr(layer, "data_format", None) == "channels_first"
        or isinstance(layer, keras.layers.Permute)
        for layer in every_layer(model)
    )


def taken(model: Any) -> tuple[tuple[int | None, ...] | None, int | None]:
    """Shape of a model's only input in its own layout, and its channel axis. None if unknown."""
    specs = input_specs(model)
    if specs is None or len(specs) != 1 or specs[0].shape is None:
        return None, None
    shape = specs[0].shape
    if not may_come_first(model, shape):
        return shape, None
    reading = readings(model, specs).get(specs[0].name, Reading())
    return shape, channels_of(reading, shape)


def detect_range(model: Any) -> tuple[tuple[float, float], str] | None:
    """Input range of a model with one input, from the operations before its first layer, and its source.

    Operations and layers are treated alike, on every branch: `x / 255`, a Rescaling, a Normalization. If
    an operation maps 0..255, 0..1 or -1..1 to a usual range of networks, the input has this range. A
    standardization by means and deviations of images also gives the range. None for vectors, and if the
    branches disagree.

    Returns:
        `((low, high), "layer 'rescaling'")`, or None if no such operation was found.

    Source:
        The means and deviations of images: two deviations around the mean are in their range.
    """
    specs = input_specs(model)
    if specs is None or len(specs) != 1:
        return None
    reading = readings(model, specs).get(specs[0].name)
    return None if reading is None or reading.range is None else (reading.range, reading.source)


def applications_preprocess(model: Any) -> str | None:
    """Name of the `keras.applications` module whose preprocessing a model expects, by the model's name."""
    modules = {
        "resnet50": "resnet", "resnet101": "resnet", "resnet152": "resnet", "vgg16": "vgg16",
        "vgg19": "vgg19", "densenet121": "densenet", "densenet169": "densenet",
        "densenet201": "densenet", "inception_v3": "inception_v3", "xception": "xception",
        "inception_resnet_v2": "inception_resnet_v2", "nasnet_mobile": "nasnet",
        "nasnet_large": "nasnet", "resnet50v2": "resnet_v2", "resnet101v2": "resnet_v2",
        "resnet152v2": "resnet_v2",
    }  # fmt: skip
    name = str(getattr(model, "name", "")).lower()
    return "mobilenet_v2" if name.startswith("mobilenetv2") else modules.get(name)


def look_like_probabilities(values: np.ndarray) -> bool:
    """Whether all rows of `[N, ..., C]`, C > 1, are non-negative and sum to 1, as far as their type tells.

    The sum is over the last axis, another axis, or several axes, but never over the first.
    """
    if values.ndim < 2 or not np.all(values >= 0):
        return False
    wide = [axis for axis in range(1, values.ndim) if values.shape[axis] > 1]
    sets = [axes for size in range(1, len(wide) + 1) for axes in itertools.combinations(wide, size)]
    sums = [values.sum(axes) for axes in sets]
    near = _NEAR_HALF if _is_half(values) else _NEAR
    return any(np.allclose(total, 1.0, rtol=0.0, atol=near) for total in sums)


def _is_half(values: np.ndarray) -> bool:
    """Whether float16 or bfloat16 holds all values exactly."""
    found = np.ascontiguousarray(values, np.float32)
    lower = found.view(np.uint32) & 0xFFFF
    with np.errstate(over="ignore"):
        return not lower.any() or bool(np.all(found.astype(np.float16) == found))


def look_like_a_saturated_sigmoid(values: np.ndarray) -> bool:
    """Whether values `[N, ...]` are all between 0 and 1, all near one end, and some near 1."""
    return bool(
        np.all((values >= 0) & (values <= 1))
        and np.all((values <= _END) | (values >= 1 - _END))
        and np.any(values >= 1 - _END)
    )


def bad_weight(model: Any) -> str | None:
    """Path of the first weight of a Keras model that is not finite, or None."""
    for weight in getattr(model, "weights", None) or ():
        if not np.all(np.isfinite(np.asarray(weight, np.float64))):
            return str(getattr(weight, "path", weight.name))
    return None


def weights_digest(model: Any) -> str | None:
    """SHA-256 over shapes, dtypes and values of a Keras model's weights in order; None for a callable.

    Weights are identified by position, because Keras numbers names with a counter of the process.
    """
    weights = getattr(model, "weights", None)
    if not isinstance(weights, list):
        return None
    total = hashlib.sha256()
    for weight in weights:
        values = np.ascontiguousarray(weight)
        total.update(f"{values.shape} {values.dtype.name}\n".encode())
        total.update(values.tobytes())
    return total.hexdigest()
