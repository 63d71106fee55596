"""How the value of a part changes when images are scaled, turned or enlarged."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import tensorflow as tf

from regularizers.testing.probe import Probe, distance

# Factor on each spatial side for enlarged images.
LARGER = (2, 4)
Change = Callable[[tf.Tensor], tf.Tensor]


def permuted(axis: int) -> Change:
    """Positions along an axis in another order that is neither a shift nor a reflection."""

    def change(images: tf.Tensor) -> tf.Tensor:
        size = images.shape[axis]
        order = [*range(0, size, 2), *reversed(range(1, size, 2))] if size > 3 else [1, 0, 2][:size]
        return tf.gather(images, order, axis=axis)

    return change


def _rolled(axis: int) -> Change:
    return lambda images: tf.roll(images, 3, axis)


def _reversed(axis: int) -> Change:
    return lambda images: tf.reverse(images, [axis])


def _tinted(images: tf.Tensor) -> tf.Tensor:
    """Another constant added to each channel."""
    channels = images.shape[-1]
    offsets = [0.05 * (k + 1) ** 2 for k in range(channels)]
    return images + tf.constant(offsets, images.dtype)


def transposed(images: tf.Tensor) -> tf.Tensor:
    """Rows as columns. `[N, H, W, C] -> [N, W, H, C]`."""
    return tf.transpose(images, [0, 2, 1, 3])


@dataclasses.dataclass(frozen=True)
class Facts:
    """Facts about a part on small images. Each is computed on request.

    Attributes:
        probe: the part, and the images tried.
        count: images in a batch: several for a part that couples them, one for any other.
    """

    probe: Probe

    @property
    def shape(self) -> tuple[int, ...]:
        return self.probe.shapes[0]

    @property
    def count(self) -> int:
        return 4 if self.probe.part.couples_images else 1

    @functools.cached_property
    def images(self) -> tf.Tensor:
        return self.probe.sample("random", self.shape, tf.float64, self.count)

    def value(self, images: tf.Tensor) -> tf.Tensor:
        """The result of the part for images. All rows have the same seeds. `[N, ...] ->`."""
        count = int(images.shape[0])
        seeds = self.probe.seeds(self.count) if count == self.count else None
        if seeds is None:
            seeds = tf.repeat(self.probe.seeds(1), count, axis=0)
        return tf.cast(self.probe(images, seeds), tf.float64)

    @functools.cached_property
    def plain(self) -> tf.Tensor:
        return self.value(self.images)

    def _same(self, first: tf.Tensor, second: tf.Tensor) -> bool:
        # Relative to the value itself, because a small penalty changes little.
        size = float(tf.reduce_max(tf.abs(second)))
        if first.shape != second.shape:
            return False
        if size == 0:
            return bool(tf.reduce_all(first == second))
        tolerance = 1e-4 if self.probe.rough else 1e-9
        return distance(first / size, second / size) <= tolerance

    def ignores(self, change: Change) -> bool:
        """Whether a change of the images keeps a penalty's value, or changes a transform's result alike."""
        after = self.value(change(self.images))
        before = self.plain if self.probe.is_penalty else change(self.plain)
        return self._same(after, before)

    def ignores_order(self, axis: int) -> bool:
        """Whether the order of positions along an axis does not matter."""
        return self.ignores(permuted(axis))

    def ignores_shift(self, axis: int) -> bool:
        """Whether a circular shift along an axis does not matter."""
        return self.ignores(_rolled(axis))

    def ignores_reflection(self, axis: int) -> bool:
        """Whether a reflection along an axis does not matter."""
        return self.ignores(_reversed(axis))

    @property
    def ignores_tint(self) -> bool:
        """Whether a constant added to each channel does not matter."""
        return self.ignores(_tinted)

    @property
    def ignores_transposition(self) -> bool:
        """Whether rows may be turned into columns."""
        side = min(self.shape[:2])
        square = self.images[:, :side, :side]
        if self.shape[0] == self.shape[1]:
            return self.ignores(transposed)
        after, before = self.value(transposed(square)), self.value(square)
        return self._same(after, before if self.probe.is_penalty else transposed(before))

    def degree(self, scale: float = 1.0) -> float:
        """Exponent d of `value ~ factor ** d` for images around a scale. NaN if it has no clear sign."""
        small, large = (
            float(tf.reduce_mean(self.value(factor * self.images)))
            for factor in (scale / 1.25, scale)
        )
        if not (math.isfinite(small) and math.isfinite(large)) or small * large <= 0:
            return math.nan
        return math.log(large / small) / math.log(1.25)

    @functools.cached_property
    def smooth(self) -> tf.Tensor:
        """Noise of a quarter of the size, enlarged to the size: neither white nor flat."""
        spatial = len(self.shape) - 1 or 1
        sizes = tuple(max(size // 4, 1) for size in self.shape[:spatial]) + self.shape[spatial:]
        images = self.probe.sample("random", sizes, tf.float64, self.count)
        for axis in range(1, spatial + 1):
            size = self.shape[axis - 1]
            factor = -(-size // int(images.shape[axis]))
            images = tf.gather(_stretched(images, factor, axis), tf.range(size), axis=axis)
        return images

    def degree_of_change(self, scale: float, zero: tf.Tensor) -> float:
        """Exponent of `|value - value at zero| ~ factor ** d` for a smooth picture; NaN for no change."""
        small, large = (
            float(tf.reduce_mean(tf.abs(self.value(factor * self.smooth) - zero)))
            for factor in (scale / 1.25, scale)
        )
        if not (math.isfinite(small) and math.isfinite(large)) or small * large <= 0:
            return math.nan
        return math.log(large / small) / math.log(1.25)

    def growth(self, kind: str, factor: int) -> float:
        """Exponent g of `value ~ pixels ** g`, for images whose sides are `factor` times as large.

        Args:
            kind: "tiled", copies side by side; "smooth", the same picture enlarged; "noise", as many
                values of noise.
            factor: on each spatial side.
        """
        spatial = len(self.shape) - 1 or 1
        rows = max(self.count, 4)
        images = self.probe.sample("random", self.shape, tf.float64, rows)
        if kind == "noise":
            sizes = tuple(factor * size for size in self.shape[:spatial]) + self.shape[spatial:]
            larger = self.probe.sample("random", sizes, tf.float64, rows)
        elif kind == "tiled":
            larger = tf.tile(images, [1] + [factor] * spatial + [1] * (len(self.shape) - spatial))
        else:
            larger = images
            for axis in range(1, spatial + 1):
                larger = _stretched(larger, factor, axis)
        seeds = self.probe.seeds(rows)
        before, after = (
            float(tf.reduce_mean(tf.cast(self.probe(x, seeds), tf.float64)))
            for x in (images, larger)
        )
        if not (math.isfinite(before) and math.isfinite(after)) or before * after <= 0:
            return math.nan
        return math.log(after / before) / (spatial * math.log(factor))


def _stretched(images: tf.Tensor, factor: int, axis: int) -> tf.Tensor:
    """Linear interpolation along one axis to `factor` times as many values."""
    size = int(images.shape[axis])
    places = (tf.range(size * factor, dtype=tf.float64) + 0.5) / factor - 0.5
    places = tf.clip_by_value(places, 0.0, size - 1.0)
    below = tf.cast(tf.floor(places), tf.int32)
    above = tf.minimum(below + 1, size - 1)
    shape = [1] * images.shape.rank
    shape[axis] = size * factor
    part = tf.reshape(tf.cast(places - tf.floor(places), images.dtype), shape)
    return (1 - part) * tf.gather(images, below, axis=axis) + part * tf.gather(
        images, above, axis=axis
    )
