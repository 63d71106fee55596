"""What kind of gray images a network was trained on, by the model's answers or by the user's images.

A network that was trained on bright strokes on black, such as digits, gives different classes for
different bright strokes on black. For photographs, or for the same strokes in other tones, its classes
differ little. A network that was trained on photographs, radiographs or spectrograms gives about the same
classes for all strokes. So the mutual information of the classes with a few candidates of each kind is
measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from actmax import checks

# Candidates of each kind.
_COUNT = 32
# Information that strokes must have, as a part of the logarithm of the number of classes, and how many
# times that of any other kind. Two networks of digits had 0.46 and 0.65, 1.27 times and more; three of
# photographs and faces at most 0.15.
_LEAST = 0.3
_TIMES = 1.1
# Values this close to an end of the range count as background. An image of strokes has at least this share
# of background.
_NEAR = 0.1
_GROUND = 0.5
# Width of strokes: a digit of 28 pixels has about 2.
_SIDE = 28.0
_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The kind of images, and the reason.

    Attributes:
        ground: 0.0 for bright strokes on the darkest value, 1.0 for dark strokes on the brightest,
            and None for images that are not strokes.
        why: the reason, in words.
    """

    ground: float | None
    why: str


def of_images(natural: np.ndarray, low: float, high: float) -> Evidence:
    """Evidence from images of the kind that the model was trained on. `[M, H, W, 1] -> Evidence`.

    Args:
        natural: in the input range.
        low: its lower end.
        high: its upper end.

    Example:
        >>> import numpy as np
        >>> dark = np.zeros([4, 28, 28, 1])
        >>> dark[:, 8:20, 13:15] = 1.0
        >>> of_images(dark, 0.0, 1.0).ground, of_images(1.0 - dark, 0.0, 1.0).ground
        (0.0, 1.0)
    """
    values = (np.asarray(natural, np.float64) - low) / (high - low)
    dark, bright = float(np.mean(values < _NEAR)), float(np.mean(values > 1.0 - _NEAR))
    seen = f"{dark:.0%} of the values of natural= are dark, {bright:.0%} bright"
    if max(dark, bright) < _GROUND:
        return Evidence(None, f"{seen}: no strokes on an even ground")
    ground = 0.0 if dark >= bright else 1.0
    return Evidence(ground, f"{seen}: {_strokes(ground)}")


def of_answers(
    answers: Callable[[np.ndarray], np.ndarray | None], side: tuple[int, int]
) -> Evidence:
    """Evidence from a network's probabilities for a few candidates of each kind.

    Args:
        answers: a function from gray images in (0, 1), `[M, H, W, 1]`, to the probabilities of the
            classes, `[M, C]`; it returns None if the network has none.
        side: `(H, W)`.
    """
    kinds = candidates(side)
    said = answers(np.concatenate(list(kinds.values()))[..., None].astype(np.float32))
    if said is None:
        return Evidence(None, "the model has no probabilities of classes, so nothing is assumed")
    parts = np.split(np.asarray(said, np.float64), len(kinds))
    found = {name: information(part) for name, part in zip(kinds, parts, strict=True)}
    told = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
    seen = f"what its classes tell apart, of 1: {told}"
    for name, ground in (("bright strokes", 0.0), ("dark strokes", 1.0)):
        others = max(value for other, value in found.items() if other != name)
        if found[name] > max(_LEAST, _TIMES * others):
            return Evidence(ground, f"{seen}: {_strokes(ground)}")
    return Evidence(None, f"{seen}: no kind of strokes stands out")


def _strokes(ground: float) -> str:
    return "bright strokes on dark" if ground == 0.0 else "dark strokes on bright"


def information(probabilities: np.ndarray) -> float:
    """Mutual information of images and classes, relative to its maximum. `[M, C] -> float` in 0..1.

    `(H(mean of p) - mean of H(p)) / log C`.

    Example:
        >>> information(np.eye(4)), information(np.full([4, 4], 0.25))
        (1.0, 0.0)
    """
    p = np.asarray(probabilities, np.float64)

    def entropy(q: np.ndarray) -> np.ndarray:
        return -np.sum(q * np.log(np.maximum(q, _TINY)), axis=-1)

    value = float(entropy(p.mean(axis=0)) - entropy(p).mean()) / np.log(p.shape[1])
    return round(value, 6) + 0.0


def candidates(side: tuple[int, int]) -> dict[str, np.ndarray]:
    """Gray images in (0, 1) of each kind, always the same. `-> [M, H, W]` each."""
    checks.integer(min(side), "the side of images", low=1)
    random = np.random.default_rng(0)
    strokes = _drawn(random, side)
    texture = np.clip(0.5 + 0.25 * _texture(random, side, 1.5), 0.0, 1.0)
    return {
        "bright strokes": strokes,
        "dark strokes": 1.0 - strokes,
        "bright strokes on gray": 0.5 + 0.5 * strokes,
        "smooth texture": texture,
    }


def _texture(random: np.random.Generator, side: tuple[int, int], decay: float) -> np.ndarray:
    """Noise whose amplitude falls with frequency, of mean 0 and deviation 1. `-> [M, H, W]`."""
    height, width = side
    spectrum = np.fft.rfft2(random.standard_normal((_COUNT, height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    images = np.fft.irfft2(spectrum * frequency**-decay, s=side)
    return np.asarray(images / np.maximum(images.std(axis=(1, 2), keepdims=True), _TINY))


def _drawn(random: np.random.Generator, side: tuple[int, int]) -> np.ndarray:
    """Smooth lines as thick as those of digits, in the middle of the image. `-> [M, H, W]`."""
    height, width = side
    field = _texture(random, side, 2.2)
    if min(side) < 2:
        return np.clip(field, 0.0, 1.0)
    slope = np.hypot(*np.gradient(field, axis=(1, 2)))
    distance = np.abs(field) / np.maximum(
        slope, _TINY
    )  # to the line where the field is 0, in pixels
    y, x = np.mgrid[:height, :width]
    far = np.hypot((y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5)
    inside = np.clip(1.5 - 4.0 * far, 0.0, 1.0)
    return np.clip(1.8 - distance * _SIDE / min(side), 0.0, 1.0) * inside
