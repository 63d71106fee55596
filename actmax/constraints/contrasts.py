"""Images of a fixed contrast: over all values, in every channel, or one for each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.constraints.base import Constraint
from actmax.constraints.bounds import Bound
from actmax.constraints.mapped import Mapped
from actmax.constraints.norms import per_image, positive
from actmax.constraints.solving import contrast_within
from actmax.types import FixedArray
from regularizers.base import image_axes


@dataclasses.dataclass(frozen=True)
class Contrast(Constraint):
    """Images of a fixed standard deviation and, if given, mean: over all values, or in every channel.

    `x -> mean + (x - mean(x)) * std / std(x)`; without `mean` the image keeps its own mean. A
    constant image has no contrast to scale, so only its mean is set. With bounds
    (`Box(0, 1) & Contrast(0.2)`) the nearest image in both sets is found exactly. With a mask,
    standard deviation and mean are taken over the part that is optimized.

    Source: Walker et al., Inception loops, Nature Neuroscience 2019,
    https://doi.org/10.1038/s41593-019-0517-x; one contrast per channel as in Franke et al., State-
    dependent pupil dilation rapidly shifts visual feature selectivity, Nature 2022,
    https://doi.org/10.1038/s41586-022-05270-3.

    Args:
        std: positive, in units of images: a number, a tuple with one number per channel, or an
            array `[N, 1]` (or `[N, C]`) with one contrast per image.
        mean: a number, one per channel, or None to leave the mean free.

    Example:
        >>> import numpy as np
        >>> import actmax
        >>> images = np.random.default_rng(0).normal(size=(1, 8, 8, 2))
        >>> actmax.Contrast((0.1, 0.3)).project(images).numpy().std((0, 1, 2)).round(6).tolist()
        [0.1, 0.3]
    """

    solves: ClassVar[bool] = True

    std: Any
    mean: Any = None

    def __post_init__(self) -> None:
        std = self.std
        if isinstance(std, FixedArray):
            std = std.values
        if isinstance(std, (Sequence, np.ndarray)) and np.ndim(std) == 2:
            for value in np.ravel(np.asarray(std)).tolist():
                positive(value, "every value of std")
            object.__setattr__(self, "std", FixedArray(np.asarray(std, np.float64)))
        else:
            object.__setattr__(self, "std", per_image(std, "std"))
        if self.mean is not None:
            mean = self.mean
            if isinstance(mean, (Sequence, np.ndarray)) and not isinstance(mean, str):
                mean = tuple(checks.number(value, "every value of mean") for value in mean)
            else:
                mean = checks.number(mean, "mean")
            object.__setattr__(self, "mean", mean)

    @property
    def convex(self) -> bool:
        return False

    @property
    def by_channel(self) -> bool:
        """Whether every channel has a mean and standard deviation of its own."""
        many = isinstance(self.std, tuple) or isinstance(self.mean, tuple)
        return many or (isinstance(self.std, FixedArray) and self.std.values.shape[1] > 1)

    @property
    def rows(self) -> int | None:
        if isinstance(self.std, FixedArray) and self.std.values.shape[0] > 1:
            return int(self.std.values.shape[0])
        return None

    def _wanted(self, images: tf.Tensor) -> tuple[tuple[int, ...], tf.Tensor, tf.Tensor | None]:
        """Axes of the mean, the target standard deviation and the target mean."""
        axes = image_axes(images)
        if self.by_channel:
            axes = axes[:-1]
            known = [v for v in (self.std, self.mean) if isinstance(v, tuple)]
            if isinstance(self.std, FixedArray):
                known.append(tuple(self.std.values[0]))
            channels = images.shape[-1]
            if not axes or any(len(each) not in (1, channels) for each in known):
                raise ValueError(
                    checks.message(
                        "a contrast for each channel of images with at least one more axis",
                        f"{len(known[0])} of them for shape {tuple(images.shape[1:])}",
                        "For one contrast per image write std=[[0.1], [0.2], ...], of shape [N, 1].",
                    )
                )
        if isinstance(self.std, FixedArray):
            table = tf.constant(self.std.values, images.dtype)
            if self.rows is not None:
                table = tf.gather(table, tf.range(tf.shape(images)[0]))
            std = tf.reshape(table, [-1] + [1] * (images.shape.rank - 2) + [table.shape[1]])
        else:
            std = tf.constant(self.std, images.dtype)
        return axes, std, None if self.mean is None else tf.constant(self.mean, images.dtype)

    def project(self, images: tf.Tensor) -> tf.Tensor:
        return self.nearest(images)

    def nearest(
        self,
        images: tf.Tensor,
        low: tf.Tensor | None = None,
        high: tf.Tensor | None = None,
        part: tf.Tensor | None = None,
    ) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        axes, std, mean = self._wanted(images)
        if part is None:
            weights = tf.ones([], images.dtype)
            own = tf.reduce_mean(images, axes, keepdims=True)
        else:
            weights = tf.cast(part, images.dtype) * tf.ones_like(images)
            own = tf.math.divide_no_nan(
                tf.reduce_sum(weights * images, axes, keepdims=True),
                tf.reduce_sum(weights, axes, keepdims=True),
            )
        found = contrast_within(images - own, own, mean, std, low, high, axes, weights)
        return found if part is None else tf.where(part, found, images)

    def distance(self, images: tf.Tensor) -> tf.Tensor:
        """In units of images: the error of the standard deviation or of the mean, whichever is larger."""
        images = tf.convert_to_tensor(images)
        axes, std, mean = self._wanted(images)
        own = tf.reduce_mean(images, axes, keepdims=True)
        size = tf.sqrt(tf.reduce_mean(tf.square(images - own), axes, keepdims=True))
        off = tf.abs(size - std)
        off = off if mean is None else tf.maximum(off, tf.abs(own - mean))
        return tf.reduce_max(tf.reshape(off, [tf.shape(images)[0], -1]), -1)

    def units(self, shape: tuple[int, ...]) -> float | np.ndarray:
        if isinstance(self.std, FixedArray):
            values = 2.0 * self.std.values
            middle = [1] * (len(shape) - 1)
            found = np.reshape(values, [len(values), *middle, values.shape[1]])
            return found if len(values) > 1 or values.shape[1] > 1 else float(values.flat[0])
        if isinstance(self.std, tuple):
            return 2.0 * np.asarray(self.std)
        return 2.0 * self.std

    def meets(self, low: Bound, high: Bound) -> bool | None:
        if low is None or high is None or np.ndim(low) or np.ndim(high):
            return None
        std = np.max(self.std.values if isinstance(self.std, FixedArray) else self.std)
        means = [(low + high) / 2] if self.mean is None else np.ravel(self.mean)
        # Half of the values at either bound, or as many as the mean allows.
        most = min((high - mean) * (mean - low) for mean in means)
        return False if most < 0 or std > np.sqrt(most) * (1 + 1e-6) else None

    def mapped(self) -> Constraint | None:
        return Mapped(self)
