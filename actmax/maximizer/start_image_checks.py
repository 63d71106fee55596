"""Checks start images. The messages say what is wrong and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np

from actmax import checks
from actmax.constraints import OneHot, Rows
from actmax.problem import Input

_COLORS, _ALPHA = 3, 4
# A range this much wider than (0, 1) has gray levels. In it, a photo in 0..1 is black.
_LEVELS = 100.0


def checked(images: np.ndarray, entry: Input) -> np.ndarray:
    """Start images of the right kind, shape and range, with their channels last. `-> [N, ...]`.

    Raises:
        TypeError: if they are not numbers.
        ValueError: if they have another shape, are outside the input range, or must be in other units.
    """
    constraint = entry.constraint
    if isinstance(constraint, OneHot):
        images = _in_letters(images, constraint, entry)
    if images.dtype.kind not in "fiu":
        do = "Read the file first: np.asarray(PIL.Image.open(path))[None] / 255 for a range of 0 .. 1."
        do = do if images.dtype.kind in "USO" else "Convert them: images.astype('float32')."
        raise TypeError(checks.message("initial_images to be numbers", f"dtype {images.dtype}", do))
    shape = entry.own_shape
    if images.ndim != len(shape) + 1 or images.shape[1:] != shape or not len(images):
        raise ValueError(
            checks.message(
                f"initial_images of shape [1 or N, {', '.join(map(str, shape))}], as the "
                "network takes them",
                f"shape {images.shape}",
                _remedy(images.shape, shape, entry.channels),
            )
        )
    if isinstance(constraint, Rows):
        rows = entry.take_in(images)
        return constraint.check_start(rows, None if entry.mask is None else entry.mask.values)
    low, high = constraint.low, constraint.high
    last = checks.within(entry.take_in(images.astype(np.float64)), low, high, "initial_images")
    _check_units(last, low, high)
    return last


def _in_letters(images: np.ndarray, constraint: OneHot, entry: Input) -> np.ndarray:
    """Converts strings and whole numbers of letters to rows."""
    if images.dtype.kind in "UO":
        images = constraint.encode(images.tolist())
        return images.reshape(len(images), -1) if entry.flat else images
    if images.dtype.kind in "iu" and images.shape[1:] == constraint.positions(entry.shape):
        count = len(constraint.letters) or entry.shape[constraint.axis % (len(entry.shape) + 1) - 1]
        if images.size and not 0 <= images.min() <= images.max() < count:
            do = f"The {count} letters have the numbers 0 to {count - 1}."
            received = f"numbers from {images.min()} to {images.max()}"
            raise ValueError(checks.message("initial_images of numbers of letters", received, do))
        rows = np.eye(count, dtype=np.float32)[images]
        rows = np.moveaxis(rows, -1, constraint.axis % rows.ndim)
        return entry.hand_out(rows)
    return images


def _remedy(given: tuple[int, ...], wanted: tuple[int, ...], channels: int | None) -> str:
    """The code that gives start images the required shape."""
    if given == wanted:
        return "One image needs images[None]."
    axis = len(wanted) if channels is None else channels
    if len(wanted) != _COLORS:
        return "Resize them first, for example with tf.image.resize; one image needs images[None]."
    one = given if len(given) == len(wanted) + 1 else (1, *given)
    prefix = "" if one == given else "Add the batch axis, images = images[None]. "
    if len(one) == len(wanted) + 1:
        count, sizes = wanted[axis - 1], [s for k, s in enumerate(wanted, 1) if k != axis]
        for other in (1, 3):
            if other == axis or one[other] != count:
                continue
            # The channels of the photo are another axis.
            if [s for k, s in enumerate(one) if k not in (0, other)] == sizes:
                return f"{prefix}Move the channels: np.moveaxis(images, {other}, {axis})."
        own = [s for k, s in enumerate(one) if k not in (0, axis)]
        place = "..., :3" if axis == len(wanted) else ":, :3"
        if own == sizes and one[axis] == _ALPHA and count == _COLORS:
            return f"{prefix}Take the transparency off: images[{place}]."
        if own == sizes and one[axis] == 1 and count == _COLORS:
            return f"{prefix}Repeat the gray as three channels: np.repeat(images, 3, {axis})."
        if own == sizes and one[axis] in (_COLORS, _ALPHA) and count == 1:
            return (
                f"{prefix}Make it gray: images[{place}].mean({axis}, keepdims=True), or by "
                "tf.image.rgb_to_grayscale."
            )
    sizes = [s for k, s in enumerate(wanted, 1) if k != axis]
    if list(given[-2:]) == sizes and len(given) in (2, 3):
        count = wanted[axis - 1]
        first = "images = images[None]; " if len(given) == len(sizes) else ""
        return (
            f"A gray picture without channels: {first}np.repeat(np.expand_dims(images, {axis}), "
            f"{count}, {axis})."
        )
    return "Resize them first, for example with tf.image.resize; one image needs images[None]."


def around(given: tuple[int, ...], wanted: tuple[int | None, ...]) -> str:
    """The layers with which a model accepts images of the given shape. Both shapes are `[H, W, C]`."""
    differ = [k for k, (one, other) in enumerate(zip(given, wanted, strict=False)) if one != other]
    axis = next((k for k in (len(wanted) - 1, 0) if differ == [k]), None)
    if not len(given) == len(wanted) == _COLORS:
        return ""
    if axis is None:
        canvas = (
            f"For images of another size than the model's, give canvas=({given[0]}, {given[1]}): they are "
            "resized on their way to the model. To see layers at the images' own scale, copy them onto an "
            "open input: keras.models.clone_model(part, input_tensors="
            f"keras.Input((None, None, {given[2]}))), with the weights of part."
        )
        return canvas if given[2] == wanted[2] else ""
    count, own = wanted[axis], given[axis]
    place = "..., " if axis else ":, "
    front = "layers(images)"
    if (own, count) == (1, _COLORS):
        front = f"keras.layers.Concatenate({axis + 1})([images] * 3)"
    elif (own, count) == (_ALPHA, _COLORS):
        alpha = f"images[{place}3:]"
        front = f"images[{place}:3] * {alpha} + 0.5 * (1 - {alpha})"
    elif (own, count) in ((_COLORS, 1), (_ALPHA, 1)):
        front = f"keras.ops.mean(images[{place}:3], {axis + 1}, keepdims=True)"
    return (
        f"Put what makes {count} channels of {own} in front: images = keras.Input({given}); "
        f"keras.Model(images, model({front}))."
    )


def _check_units(images: np.ndarray, low: Any, high: Any) -> None:
    """Raises ValueError for values in 0..1 if the range has gray levels."""
    if images.ndim != 4 or images.shape[-1] not in (1, _COLORS) or low is None or high is None:
        return
    if float(np.min(np.subtract(high, low))) < _LEVELS or np.max(high) <= 1:
        return
    fractions = images.min() >= 0 and images.max() <= 1 and np.any(images % 1 != 0)
    if fractions and np.ptp(images) > 0:
        raise ValueError(
            checks.message(
                f"initial_images in the units of the input range {low} .. {high}",
                f"values of {images.min():.3g} .. {images.max():.3g}, the fractions of a photo of "
                "0 .. 1",
                f"Scale them: images * {float(np.max(high)):g}. An image that is meant to be this dark "
                "can be given in whole numbers.",
            )
        )
