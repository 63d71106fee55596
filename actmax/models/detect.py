"""What can be read off a model: its input range, its preprocessing, and what is wrong with it."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from actmax.models.structure import children, is_keras

# Models are trained on values in about [-1, 1] or [0, 1]: what a Rescaling must map its range into, and
# the least part of it that the range must fill.
_REACH = 1.05
_FILL = 0.5
# Least standard deviation of data that fill (0, 1).
_SPREAD = 0.01


def detect_range(model: Any) -> tuple[tuple[float, float], str] | None:
    """Input range of a model that begins with its own Rescaling or Normalization, and from where.

    A `Rescaling(scale, offset)` that maps 0..255 into [-1.05, 1.05] or wider than half of [0, 1]
    takes 0..255; one that so maps 0..1 takes 0..1. A `Normalization` whose means and deviations lie in
    (0, 1) takes 0..1, in (1, 255) takes 0..255.

    Returns:
        `((low, high), "name of the layer")`, or None if nothing of the kind was found.
    """
    import keras

    first: Any = model
    while is_keras(first) and isinstance(first, keras.Model):
        inner = children(first) if not isinstance(first, keras.layers.Layer) or first.layers else []
        if not inner:
            return None
        first = inner[0]
    if isinstance(first, keras.layers.Rescaling):
        scale, offset = np.asarray(first.scale, float), np.asarray(first.offset, float)
        for high in (255.0, 1.0):
            ends = np.stack([offset + 0.0 * scale, offset + high * scale])
            if np.all(np.abs(ends) <= _REACH) and np.all(np.ptp(ends, axis=0) >= _FILL):
                return (0.0, high), first.name
    if isinstance(first, keras.layers.Normalization):
        mean = np.asarray(first.mean, float)
        std = np.sqrt(np.asarray(first.variance, float))
        if np.all((mean > 0) & (mean < 1) & (std > _SPREAD) & (std < 1)):
            return (0.0, 1.0), first.name
        if np.all((mean > 1) & (mean < 255) & (std > 1) & (std < 255)):
            return (0.0, 255.0), first.name
    return None


def applications_preprocess(model: Any) -> str | None:
    """Name of the `keras.applications` module whose preprocessing a model by its name expects."""
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
    """Whether all rows of `[N, ..., C]`, C > 1, are non-negative and sum to 1 within 1e-3."""
    if values.ndim < 2 or values.shape[-1] < 2:
        return False
    return bool(np.all(values >= 0) and np.allclose(values.sum(-1), 1.0, atol=1e-3))


def bad_weight(model: Any) -> str | None:
    """Path of the first weight of a Keras model that is not finite, or None."""
    for weight in getattr(model, "weights", None) or ():
        if not np.all(np.isfinite(np.asarray(weight, np.float64))):
            return str(getattr(weight, "path", weight.name))
    return None


def weights_digest(model: Any) -> str | None:
    """SHA-256 over paths, shapes, dtypes and values of a Keras model's weights; None for a callable."""
    if not is_keras(model):
        return None
    total = hashlib.sha256()
    for weight in model.weights:
        values = np.ascontiguousarray(weight)
        name = getattr(weight, "path", weight.name)
        total.update(f"{name} {values.shape} {values.dtype.name}\n".encode())
        total.update(values.tobytes())
    return total.hexdigest()
