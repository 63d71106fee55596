"""The fixed list of 32 small changes that an activation should survive. NumPy, SciPy and Pillow only."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

__all__ = ["NAMES", "variations"]

Array = npt.NDArray[np.float32]

# Fractions of the size, degrees, factors, pixels, standard deviations in units of the range.
_SHIFT = 0.04
_DEGREES = 5.0
_ZOOMS = (0.95, 1.05)
_BLURS = (0.5, 1.0)
_NOISE = 0.05
_NOISES = 4
_JPEG_QUALITY = 75


def variations(images: npt.ArrayLike) -> Iterator[tuple[str, Array]]:
    """Names and changed images, one change after the other. `[N, H, W, C] -> 32 of [N, H, W, C]`.

    Eight shifts by 4 % of the size, alone and with a rotation by 2.5 degrees; rotations by 2.5 and 5
    degrees; zooms of 0.95 and 1.05, alone and with rotations by 5 degrees; blurs of 0.5 and 1 pixel;
    four draws of noise of 0.05, always the same; JPEG of quality 75, alone and after a blur (none for
    other than 1 or 3 channels). Linear interpolation, border replicated, clipped to (0, 1).

    Args:
        images: floats in (0, 1).
    """
    pictures = np.asarray(images, np.float32)
    for name, change in _CHANGES.items():
        yield name, np.clip(change(pictures), 0.0, 1.0, dtype=np.float32)


def _moved(degrees: float, zoom: float, down: float, right: float) -> Callable[[Array], Array]:
    def change(images: Array) -> Array:
        angle = np.deg2rad(degrees)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = np.eye(4)
        matrix[1:3, 1:3] = rotation / zoom
        size = np.array(images.shape[1:3])
        centre = (size - 1) / 2
        offset = np.zeros(4)
        offset[1:3] = centre - matrix[1:3, 1:3] @ (centre + size * [down, right])
        moved = ndimage.affine_transform(images, matrix, offset, order=1, mode="nearest")
        return np.asarray(moved, np.float32)

    return change


def _blurred(sigma: float) -> Callable[[Array], Array]:
    return lambda images: np.asarray(
        ndimage.gaussian_filter(images, (0, sigma, sigma, 0), mode="nearest"), np.float32
    )


def _noisy(seed: int) -> Callable[[Array], Array]:
    def change(images: Array) -> Array:
        # All images get the same noise, so that the value of an image does not depend on its row.
        noise = np.random.default_rng(seed).normal(0, _NOISE, images.shape[1:])
        return np.asarray(images + noise, np.float32)

    return change


def _jpeg(images: Array) -> Array:
    if images.shape[-1] not in (1, 3):
        return images
    result = np.empty_like(images)
    for row, image in enumerate(np.rint(images * 255).astype(np.uint8)):
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(
            buffer, "JPEG", quality=_JPEG_QUALITY
        )
        with Image.open(buffer) as read:
            result[row] = np.asarray(read, np.float32).reshape(image.shape) / 255
    return result


def _list() -> dict[str, Callable[[Array], Array]]:
    changes: dict[str, Callable[[Array], Array]] = {}
    directions = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    for degrees in (0.0, _DEGREES / 2):
        for number, (y, x) in enumerate(directions):
            signed = degrees * (-1) ** number
            name = f"shift {y:+d} {x:+d}" + (f", turn {signed:+g}" if degrees else "")
            changes[name] = _moved(signed, 1.0, _SHIFT * y, _SHIFT * x)
    for turn in (-_DEGREES, -_DEGREES / 2, _DEGREES / 2, _DEGREES):
        changes[f"turn {turn:+g}"] = _moved(turn, 1.0, 0.0, 0.0)
    for zoom in _ZOOMS:
        changes[f"zoom {zoom:g}"] = _moved(0.0, zoom, 0.0, 0.0)
        sign = 1 if zoom > 1 else -1
        changes[f"zoom {zoom:g}, turn"] = _moved(sign * _DEGREES, zoom, 0.0, 0.0)
    for sigma in _BLURS:
        changes[f"blur {sigma:g}"] = _blurred(sigma)
    for seed in range(_NOISES):
        changes[f"noise {seed}"] = _noisy(seed)
    changes["jpeg"] = _jpeg
    changes["jpeg, blur 0.5"] = lambda images: _jpeg(_blurred(_BLURS[0])(images))
    return changes


_CHANGES = _list()
NAMES = tuple(_CHANGES)
