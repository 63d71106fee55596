"""`portrait`: a regularizer described in numbers, which a test can compare."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from regularizers.testing.facts import Facts
from regularizers.testing.probe import Probe


@dataclasses.dataclass(frozen=True)
class Portrait:
    """Describes a penalty in numbers. `str()` is a table.

    Attributes:
        name: of the penalty.
        value: on uniform noise in the range.
        degree: exponent d of `value ~ factor ** d` for noise times a factor near 1; NaN for none.
        degree_of_bytes: the same for noise 255 times as large. If it differs from `degree`, the penalty
            has a constant in units of the images.
        shift: value of noise plus a tenth of the range, divided by the value of noise.
        channels: value with channels in another order, divided by the value of noise.
        transposed: value of the transposed noise, divided by the value of noise.
        tiled: value of 4 x 4 copies side by side, divided by the value of noise. 16 means a sum.
        enlarged: value of the picture enlarged 4 times, divided by the value of noise.
        constant: value of a constant image.
        constant_gradient: largest absolute gradient of one value of the constant image.
    """

    name: str
    value: float
    degree: float
    degree_of_bytes: float
    shift: float
    channels: float
    transposed: float
    tiled: float
    enlarged: float
    constant: float
    constant_gradient: float

    def __str__(self) -> str:
        rows = [
            ("on noise", self.value),
            ("power of x -> f x", self.degree),
            ("the same, x 255", self.degree_of_bytes),
            ("x + 0.1 range", self.shift),
            ("channels exchanged", self.channels),
            ("transposed", self.transposed),
            ("4 x 4 copies", self.tiled),
            ("enlarged 4 times", self.enlarged),
            ("on a constant", self.constant),
            ("its largest slope", self.constant_gradient),
        ]
        return "\n".join([self.name, *(f"  {what:<20}{value:.4g}" for what, value in rows)])


def draw(probe: Probe) -> Portrait:
    """The portrait of a penalty. Numbers that cannot be computed are NaN."""
    facts, shape = Facts(probe), probe.shapes[0]
    plain = float(tf.reduce_mean(facts.plain))

    def ratio(images: tf.Tensor) -> float:
        after = float(tf.reduce_mean(facts.value(images)))
        return after / plain if plain else math.nan

    def grown(kind: str) -> float:
        try:
            return float(4.0 ** ((len(shape) - 1 or 1) * facts.growth(kind, 4)))
        except Exception:  # of one fixed size
            return math.nan

    constant = probe.sample("constant", shape, tf.float64, facts.count)
    value, slope = probe.differentiated(constant, probe.seeds(facts.count))
    square = len(shape) == 3 and shape[0] == shape[1]
    return Portrait(
        probe.part.name,
        plain,
        facts.degree(),
        facts.degree(255.0),
        ratio(facts.images + 0.1 * probe.width),
        ratio(tf.roll(facts.images, 1, len(shape))),
        ratio(tf.transpose(facts.images, [0, 2, 1, 3])) if square else math.nan,
        grown("tiled"),
        grown("smooth"),
        float(tf.reduce_mean(value)),
        float(tf.reduce_max(tf.abs(slope))),
    )
