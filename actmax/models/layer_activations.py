"""Activations of a layer for given images."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.models.structure import input_specs
from actmax.models.taps import Taps
from actmax.types import IMAGES


def activations(model: Any, images: Any, layer: str, *, batch_size: int = 64) -> np.ndarray:
    """A layer's activations of given images. `[N, H, W, C] -> [N, ...]`.

    Use them as references for `Inversion`, `Caricature` and `SortMatching`, or look at them. The
    model runs in inference mode and does not change.

    Args:
        model: a Keras model of one input.
        images: as the model takes them, in its input range.
        layer: path of the layer, as `actmax inspect` lists it.
        batch_size: images at once.

    Raises:
        ValueError: if there is no such layer, no image, or a value that is not finite.

    Example:
        >>> import actmax, numpy as np
        >>> from actmax import zoo
        >>> model = zoo.load("cifar10")
        >>> layer = actmax.layer_paths(model)[0]
        >>> actmax.activations(model, np.zeros([2, 32, 32, 3]), layer).shape
        (2, 30, 30, 32)
    """
    checks.integer(batch_size, "batch_size", low=1)
    given = np.asarray(images)
    if given.dtype.kind not in "fiu" or given.ndim < 2 or len(given) == 0:
        raise ValueError(
            checks.message("images [N, ...], numbers", f"{given.dtype} of shape {given.shape}")
        )
    specs = input_specs(model)
    if specs is not None and len(specs) > 1:
        names = ", ".join(spec.name for spec in specs)
        raise ValueError(checks.message("a model of one input", f"inputs {names}"))
    values = checks.finite(given.astype(specs[0].dtype if specs else np.float32), "images")
    taps = Taps(model, [layer])
    found = [
        np.asarray(taps({IMAGES: tf.constant(values[start : start + batch_size])})[layer])
        for start in range(0, len(values), batch_size)
    ]
    return np.concatenate(found)
