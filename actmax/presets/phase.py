"""The preset of MACO, whose images have the amplitude spectrum of natural images."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from actmax import checks
from actmax.parameterizations import IMAGENET_COLORS, Decorrelated, Maco, Parameterization
from actmax.presets.common import pair, shape_of
from actmax.schedules import Linear
from regularizers import Noise, RandomBox


def maco(
    model: Any,
    input_range: Any,
    *,
    images: Any = None,
    crops: int = 32,
    steps: int = 256,
) -> dict[str, Any]:
    """Phases of an image whose amplitudes are those of natural images, seen in random boxes with noise.

    The image is larger than the model's input, for example 512 pixels for an input of 224. At every
    step the model sees `crops` boxes of it, resized to the model's input. Their side is half of the
    image at first and about 1/20 at the end. Every step is `crops` passes through the model.

    Three things differ from the authors' code. Phases start uniform on the circle; in the code they
    are normal, which makes a spike in a corner. Boxes lie inside the image, and their sides are
    uniform. At the first and the last step their mean is that of the code, where they are normal and
    clipped. The noise is normal, in the model's input, with the standard deviation of the code's
    normal and uniform noise together.

    The paper's pictures are large. For a network of 32 pixels, the last boxes have only four pixels.
    The optimizer is Keras' Nadam, which needs one trace for every number of images.

    Source: Fel et al., Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained
    Optimization, NeurIPS 2023, https://arxiv.org/abs/2306.06805, constants as in
    https://github.com/deel-ai/xplique, xplique/features_visualizations/maco.py.

    Args:
        model: for its input's size.
        input_range: a pair.
        images: a few hundred natural images `[M, H, W, C]` of the size of the result, in any range.
            The preset takes their amplitudes and colors. None for amplitudes 1 / frequency and the
            published colors of ImageNet.
        crops: boxes per image and step, at least 1.
        steps: number of updates; the boxes shrink over all of them.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> actmax.presets.maco(zoo.load("cifar10"), (0, 1))["canvas"]
        (73, 73)
    """
    height, width, channels = shape_of(model)
    low, high = pair(input_range)
    steps = checks.integer(steps, "steps", low=0)
    canvas = (round(height * 512 / 224), round(width * 512 / 224))
    base: Parameterization = Maco()
    if images is not None:
        canvas, base = _of_images(images, channels)
    elif channels == len(IMAGENET_COLORS):
        base = Decorrelated(base)
    # In the code a normal of 0.08 and a uniform of +-0.04, for images of -1 to 1.
    noise = 0.08 * math.sqrt(1.0 + 1.0 / 12.0) / 2.0 * (high - low)
    left = _noise_left(canvas[0], height) * _noise_left(canvas[1], width)
    span = max(steps, 1)
    # A normal of 0.05 about the mean side has the spread of a uniform of +-0.087; clipped at 0.05,
    # which is the mean side at the end, its mean is 0.07.
    boxes = RandomBox(Linear(0.413, 0.05, span), Linear(0.587, 0.09, span), 0.15)
    return {
        "input_range": (low, high),
        "parameterization": base,
        "canvas": canvas,
        "optimizer": keras.optimizers.Nadam(1.0),
        "regularizers": [boxes, Noise(noise / left)],
        "copies": checks.integer(crops, "crops", low=1),
        "steps": steps,
    }


def _of_images(images: Any, channels: int) -> tuple[tuple[int, int], Parameterization]:
    """The size of natural images, and images of their amplitudes and colors."""
    array = np.asarray(images, np.float64)
    if array.ndim != 4 or array.shape[-1] != channels:
        raise ValueError(
            checks.message(
                f"natural images [M, H, W, {channels}], with the model's channels",
                f"shape {array.shape}",
            )
        )
    size = (array.shape[1], array.shape[2])
    if channels == 1:
        return size, Maco.from_images(array)
    color = Decorrelated.from_images(array)
    return size, Decorrelated(Maco.from_images(color.decorrelate(array)), color.matrix)


def _noise_left(before: int, after: int) -> float:
    """What one axis of the resize to the model's input leaves of white noise's standard deviation.

    The root mean square over outputs of the norm of their weights, a triangle as wide as an output
    and the next (`tf.image.resize`, bilinear with antialiasing).
    """
    scale = before / after
    centers = (np.arange(after) + 0.5) * scale
    offsets = np.arange(before) + 0.5 - centers[:, None]
    weights = np.maximum(0.0, 1.0 - np.abs(offsets) / max(scale, 1.0))
    weights /= weights.sum(axis=1, keepdims=True)
    return math.sqrt(np.mean(np.sum(weights**2, axis=1)))
