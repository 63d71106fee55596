"""Laws about the meaning of a part: its axes, its units, its size, and its declared properties."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import tensorflow as tf

from regularizers.testing.facts import LARGER, Facts
from regularizers.testing.probe import KINDS, Probe, require

# A sum over pixels grows with exponent 1. A sum over one side, or a root of a sum, grows with
# exponent 1/2. For both, tiled images and more noise give the same exponent. Other parts give
# different exponents.
LEAST_GROWTH, ALIKE, _EXACT, _BETWEEN = 0.35, 0.12, 0.04, 0.75
# Byte images are 255 times as large as images in 0..1. This is the usual mistake about units.
BYTES = 255.0
# Maximum distance of an exponent from a whole number to count as equal, and minimum distance to
# count as different.
STRAIGHT, BENDING, BENT = 0.06, 0.4, 0.3
# What is left on images of bytes, of the value at zero, by a penalty that does not end.
_LEFT = 0.05


def check_share(probe: Probe) -> None:
    """A part that couples images gives each image its own value, not one number for all."""
    values = probe(probe.images("random", probe.shapes[0], tf.float64, 4), probe.seeds(4))
    same = tf.reduce_all(values == values[:1])
    nothing = tf.reduce_all(values == 0)
    require(
        not same or nothing,
        "each image's own share of what couples them",
        f"one number for all, {float(values[0]):.4g}, which counts once for every image of the batch",
        "Reduce over all axes but the first; of what is one number for all give each row 1/N.",
    )


def check_resolution(probe: Probe) -> None:
    """A penalty is a mean over pixels and not a sum, so a weight means the same at every size."""
    facts = Facts(probe)
    for shape in probe.shapes[:1]:
        probe.place = (
            f"on float64 images of shape {shape}, and of {LARGER[-1]} times as large sides"
        )
        try:
            found = [facts.growth("noise", factor) for factor in LARGER]
            # First twice as many noise values. If the value does not grow, this is enough.
            if not _grows(found):
                return
            found += [facts.growth("tiled", factor) for factor in LARGER]
        except Exception:  # The part has one fixed size.
            return
        if not _grows(found):
            return
        growth = sum(found) / len(found)
        require(
            False,
            "about the same value at every size, so that a weight means the same there",
            f"a value that grows as the number of pixels to the power of {growth:.2f}",
            "Take the mean over pixels and channels, not the sum"
            + ("." if growth > _BETWEEN else ", and not a sum over the root of their number."),
        )


def _grows(found: list[float]) -> bool:
    if any(math.isnan(growth) for growth in found):
        return False
    if min(map(abs, found)) < LEAST_GROWTH:
        return False
    if max(found) - min(found) <= ALIKE:
        return True
    # A pyramid has more levels at twice the size; from there on a sum shows as what it is.
    later = [2 * large - small for small, large in zip(found[::2], found[1::2], strict=True)]
    return all(min(abs(growth - 0.5), abs(growth - 1.0)) <= _EXACT for growth in later)


def check_axes(probe: Probe) -> None:
    """Rows and columns are spatial axes and channels are not, unless the part declares otherwise."""
    if len(probe.shapes[0]) != 3 or min(probe.shapes[0][:2]) < 4:
        return
    part, facts = probe.part, Facts(probe)
    isotropic = getattr(part, "isotropic", None)
    channels = getattr(part, "symmetric_in_channels", None)
    probe.place = f"on random float64 images of shape {probe.shapes[0]} whose axes are exchanged"
    if not probe.is_penalty:
        _check_pointwise(facts)
        return
    do = "The axes are [N, H, W, C]: rows are 1, columns 2, channels 3."
    by_channel = probe.shapes[0][2] >= 3 and channels is None and not facts.ignores_order(3)
    if by_channel:
        require(
            not facts.ignores_reflection(3),
            "channels to have no order in space",
            "a value that depends on which channels are neighbors, though not on first and last",
            f"{do} If it is so on purpose, say `symmetric_in_channels: ClassVar[bool] = False`.",
        )
    if isotropic is not None:
        return
    rows, columns = facts.ignores_order(1), facts.ignores_order(2)
    if rows != columns and by_channel:
        seen = "columns" if rows else "rows"
        require(
            facts.ignores_tint,
            "rows and columns to be space, and channels to be none",
            f"a value to which the order of {seen} and of channels matters, and none of the other axis",
            f"{do} If it is so on purpose, say `isotropic: ClassVar[bool] = False`.",
        )
    if rows and columns:
        require(
            facts.ignores_transposition,
            "rows and columns to be treated alike by what looks at no neighbors",
            "another value of the transposed image",
            f"{do} Reduce over both. If it is so on purpose, say `isotropic: ClassVar[bool] = False`.",
        )
    elif not (rows or columns):
        first, second = facts.ignores_shift(1), facts.ignores_shift(2)
        require(
            first == second,
            "rows and columns to be treated alike",
            f"a value that a circular shift of {'rows' if first else 'columns'} leaves, and one of "
            f"{'columns' if first else 'rows'} changes",
            f"{do} A transform of tf.signal acts on the last two axes: transpose before. If it is so on "
            "purpose, say `isotropic: ClassVar[bool] = False`.",
        )


def _check_pointwise(facts: Facts) -> None:
    """A transform without geometry treats rows and columns alike."""
    part = facts.probe.part
    if not part.keeps_shape:
        return
    if facts.ignores_order(1) and facts.ignores_order(2):
        require(
            facts.ignores_transposition,
            "rows and columns to be treated alike by what moves no pixel",
            "another result of the transposed image",
            "The axes are [N, H, W, C]: rows are 1, columns 2, channels 3.",
        )


def check_units(probe: Probe) -> None:
    """Constants of the part have an effect on images in the range, and not only on larger ones."""
    facts = Facts(probe)
    shape = probe.shapes[0]
    probe.place = f"on float64 images of shape {shape} in {probe.low:g} .. {probe.high:g}"
    do = (
        "Give constants in units of the images: a threshold of 12 of 255 gray levels is 0.05 of the "
        "range 0 to 1. For images of another range give image_range=."
    )
    if not probe.rough:
        _bends_in_range(facts.degree, "one that", do, BENDING)
        zero = facts.value(tf.zeros_like(facts.smooth))
        # One that ends on large images, a floor under contrast for example, bends where it is reached.
        left = float(tf.reduce_mean(tf.abs(facts.value(BYTES * facts.images))))
        size = float(tf.reduce_mean(tf.abs(zero)))
        if size > 0 and left > _LEFT * size:
            degree = functools.partial(facts.degree_of_change, zero=zero)
            _bends_in_range(degree, "one whose change from an image of zeros", do, STRAIGHT)
    samples = {
        kind: facts.value(probe.sample(kind, shape, tf.float64, facts.count)) for kind in KINDS
    }
    values = tf.concat(list(samples.values()), 0)
    low, high = float(tf.reduce_min(values)), float(tf.reduce_max(values))
    require(
        not (0 < high - low <= 0.01 * max(abs(low), abs(high))),
        "a penalty that tells images apart",
        f"values between {low:.5g} and {high:.5g} for noise, a constant and a checkerboard",
        do,
    )


def _bends_in_range(degree: Callable[[float], float], what: str, do: str, begun: float) -> None:
    first, second, far = (degree(scale) for scale in (1.0, 0.25, BYTES))
    whole = round(second) if math.isfinite(second) else 0
    # A robust penalty may have begun to bend, from a square towards an absolute value.
    begun = begun if whole > 1 and far < first else STRAIGHT
    straight = whole >= 1 and abs(second - whole) < STRAIGHT and abs(first - whole) < begun
    bends = straight and abs(far - first) > BENT + abs(first - whole)
    require(
        not bends,
        "a penalty that bends where images are",
        f"{what} goes as the power of {first:.2f} in their range, and bends only near images "
        f"{BYTES:g} times as large (power {far:.2f})",
        do,
    )


def check_words(probe: Probe) -> None:
    """The declared properties of a penalty are true."""
    part, facts = probe.part, Facts(probe)
    probe.place = f"on random float64 images of shape {probe.shapes[0]}"
    space = len(probe.shapes[0]) == 3
    if part.isotropic and space:
        require(
            facts.ignores_transposition,
            "the same value of the transposed image, because isotropic is True",
            "another",
            "Treat axes 1 and 2 alike, or set isotropic False.",
        )
    if part.symmetric_in_channels and probe.shapes[0][-1] > 1:
        require(
            facts.ignores_order(len(probe.shapes[0])),
            "the same value of channels in another order, because symmetric_in_channels is True",
            "another",
            "Treat channels, the last axis, alike, or set symmetric_in_channels False.",
        )
    if part.degree is not None:
        found = [facts.degree(scale) for scale in (1.0, 1 / BYTES, BYTES)]
        tolerance = 0.02 if probe.rough else 1e-4
        require(
            all(abs(one - part.degree) <= tolerance for one in found),
            f"a value that goes as the power of {part.degree:g} of images, because degree says so",
            f"powers of {', '.join(f'{one:.3g}' for one in found)} at 1, 1/255 and 255 times the range",
            "Leave out constants in units of the images, or say no degree.",
        )
