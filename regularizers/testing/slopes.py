"""The law of the gradient: it is the derivative of the value, or the gradient that the part declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import tensorflow as tf

from regularizers.testing.probe import Probe, distance, require

# Central differences in float64: the step, in units of the range, balances rounding (1e-16 / h)
# against the third derivative (h^2).
STEP, TOLERANCE = 1e-5, 1e-4
# In float32 the steps are larger, and one of them must fit. Kinks spoil large steps, and rounding
# spoils small ones.
WIDE_STEPS, WIDE_TOLERANCE = (1e-2, 3e-3, 1e-3), 3e-2
# If the ratios of slopes differ by less than this, all slopes are wrong by the same factor.
ONE_FACTOR = 0.02


# `received -> (whether it fits, the slope expected)`, along one direction.
Judge: TypeAlias = Callable[[float], tuple[bool, float]]


def check_slope(probe: Probe) -> None:
    """The gradient equals central differences along random directions and along the gradient."""
    for shape in probe.shapes:
        images, seeds = probe.images("random", shape, tf.float64, 2), probe.seeds(2)
        output, gradient = probe.differentiated(images, seeds)
        if not probe.part.exact_gradient:
            _check_said(probe, images, gradient)
            continue
        size = float(tf.reduce_sum(tf.abs(probe.product(output))))
        largest = tf.reduce_max(tf.abs(gradient))
        along = [probe.direction(stream, shape) for stream in (11, 12)]
        along.append(tf.math.divide_no_nan(gradient, largest))
        slopes = [
            (
                _slope(probe, images, seeds, direction, size),
                float(tf.reduce_sum(gradient * direction)),
            )
            for direction in along
        ]
        factor = _factor(slopes)
        for judge, received in slopes:
            fits, expected = judge(received)
            require(
                fits,
                f"the slope of central differences, {expected:.6g}",
                f"{received:.6g} from the gradient{factor}",
                "Correct the custom gradient, or a float32 cast inside a float64 computation. If the "
                "gradient is not the slope on purpose (held weights, a denoiser's field, rounding "
                "passed straight through), say so: `exact_gradient: ClassVar[bool] = False`.",
            )


def _slope(
    probe: Probe, images: tf.Tensor, seeds: tf.Tensor, direction: tf.Tensor, size: float
) -> Judge:
    """The slope along one direction from central differences."""

    def difference(step: float) -> float:
        # Summed over the batch like the gradient. Another law tests coupled images.
        ahead, behind = (
            tf.reduce_sum(probe.product(probe(images + sign * step * direction, seeds)))
            for sign in (1.0, -1.0)
        )
        return float(ahead - behind) / (2 * step)

    units = WIDE_STEPS if probe.rough else (STEP,)
    found = [(step * probe.width, difference(step * probe.width)) for step in units]
    tolerance = WIDE_TOLERANCE if probe.rough else TOLERANCE
    # The rounding error of the two values, divided by their distance.
    digit = 1e-6 if probe.rough else 1e-15

    def judge(received: float) -> tuple[bool, float]:
        gaps = [
            abs(slope - received) - tolerance * max(abs(slope), abs(received)) - digit * size / step
            for step, slope in found
        ]
        nearest = min(range(len(gaps)), key=gaps.__getitem__)
        return gaps[nearest] <= 0, found[nearest][1]

    return judge


def _factor(slopes: Sequence[tuple[Judge, float]]) -> str:
    """The common factor of all slopes, if there is one, as for a halved or negated gradient."""
    ratios = []
    for judge, received in slopes:
        _, expected = judge(received)
        if not expected:
            return ""
        ratios.append(received / expected)
    low, high = min(ratios), max(ratios)
    if high - low > ONE_FACTOR * max(abs(low), abs(high)) or abs(low - 1) < ONE_FACTOR:
        return ""
    return f", {sum(ratios) / len(ratios):.3g} times the slope along every direction"


def _check_said(probe: Probe, images: tf.Tensor, gradient: tf.Tensor) -> None:
    """Compares a gradient that is not the slope with the gradient that the part declares."""
    said = getattr(probe.part, "expected_gradient", None)
    if said is None:  # Another law makes sure that it is finite.
        return
    expected = tf.convert_to_tensor(said(images))
    off = distance(gradient, tf.cast(expected, gradient.dtype))
    require(
        off <= (1e-4 if probe.rough else 1e-8),
        "the gradient that expected_gradient says",
        f"a difference of {off:.1e} of the largest value",
        "Correct one of the two; it is the gradient of one image's value.",
    )
