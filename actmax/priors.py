"""Penalties that use a second network with knowledge of natural images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import tensorflow as tf

from actmax import checks
from actmax.models import Taps, is_keras, taken
from actmax.objectives import BATCH_NORM, statistics_distance
from actmax.objectives.statistics import Scope, check_prior
from actmax.preparing import prepare
from actmax.types import IMAGES
from regularizers.base import Penalty


@dataclasses.dataclass(frozen=True)
class BatchNormPenalty(Penalty):
    """Distance of the clean image from a second network's batch-norm statistics. `[N, ...] -> [N]`.

    This is the distance of `BatchNormPrior`, computed with another network. It is a prior for models
    without batch-norm layers, such as vision transformers. It costs one forward and backward pass of
    that network in every step, or with `every=k` in every k-th step.

    Source: Hatamizadeh et al., GradViT, CVPR 2022, https://arxiv.org/abs/2203.11894.

    Like every penalty, its first field is `weight`.

    Args:
        model: a Keras model with BatchNormalization layers; read, never changed.
        preprocess: a function from images in the input range, in that model's size and layout, to its
            input, called in inference mode; None for the identity.
        scope: "image" or "batch", as in `BatchNormPrior`.
        first: factor on the first layer.
        relative: as in `BatchNormPrior`.

    Raises:
        TypeError: without a Keras model.
        ValueError: if it has no batch-norm layer.

    Example:
        >>> import keras
        >>> import actmax
        >>> layers = [keras.Input((8, 8, 3)), keras.layers.BatchNormalization()]
        >>> penalty = actmax.BatchNormPenalty(0.1, model=keras.Sequential(layers))
        >>> penalty.name
        'batch_norm_penalty'
    """

    model: Any = None
    preprocess: Callable[[tf.Tensor], tf.Tensor] | None = None
    scope: Scope = "image"
    first: float = 1.0
    relative: bool = True

    _LAYERS: ClassVar[tuple[str, ...]] = (BATCH_NORM,)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_prior(self.scope, self.first, self.relative)
        if not is_keras(self.model):
            raise TypeError(
                checks.message(
                    "model= to be a Keras model with BatchNormalization layers", repr(self.model)
                )
            )
        self._taps  # noqa: B018 - its checks, at construction

    @property
    def couples_images(self) -> bool:  # type: ignore[override]
        return self.scope == "batch"

    @functools.cached_property
    def _taken(self) -> tuple[Any, int | None]:
        return taken(self.model)

    @functools.cached_property
    def _taps(self) -> Taps:
        return Taps(self.model, self._LAYERS)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        # Half precision would round the pixels before the network sees them.
        half = images.dtype.size < tf.float32.size
        fitted = tf.cast(images, tf.float32) if half else images
        fitted = prepare(fitted, *self._taken, self.preprocess)
        found = self._taps({IMAGES: fitted})[BATCH_NORM]
        distance = statistics_distance(found, self.scope, first=self.first, relative=self.relative)
        return tf.cast(distance, images.dtype)
