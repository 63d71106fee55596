"""Images as the output of a trained network."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from actmax import checks
from actmax.constraints.bounds import Bound, as_bound, check_bound, check_order
from actmax.parameterizations.base import Parameterization, Shape
from actmax.types import Params
from regularizers import random
from regularizers.lanes import by_row

# How far an output may leave the range that was given for it, in units of the range's width.
_SLACK = 1e-3


@dataclasses.dataclass(frozen=True)
class Generator(Parameterization):
    """The output of any Keras model, whose latents are optimized. `-> [N, H, W, C]`.

    The pictures are those that the model can make, which is a prior learnt from data. Bounded latents
    are `z = middle + half * tanh(params / half)`. They are always inside `latent_range`, and the slope
    in its middle is 1. The model runs in inference mode, and its weights and state do not change. It is
    compared and hashed as an object. No image can be encoded.

    Source: Nguyen, Dosovitskiy, Yosinski, Brox and Clune, Synthesizing the preferred inputs for
    neurons in neural networks via deep generator networks, NIPS 2016, https://arxiv.org/abs/1605.09304
    (latents bounded by what the training data reach).

    Args:
        model: a built Keras model of one input `[N, ...]` and one output `[N, H, W, C]`.
        output_range: the range of its images, which is mapped linearly to the input range: `(0, 1)`
            after a sigmoid, `(-1, 1)` after a tanh. None for outputs without bounds, which the
            constraint maps, as for other parameterizations.
        latent_range: `(low, high)`, each a number or one per latent (the last axis); None for latents
            without bounds.
        std: standard deviation of the params at the start; 1 is that of the usual prior.

    Raises:
        TypeError: if the model is not a built Keras model with one input and one output.
        ValueError: if its images are of another size than the input, or leave `output_range`.

    Example:
        >>> import keras, tensorflow as tf
        >>> import actmax
        >>> decoder = keras.Sequential(
        ...     [keras.Input([4]), keras.layers.Dense(12), keras.layers.Reshape([2, 2, 3])]
        ... )
        >>> part = actmax.Generator(decoder, output_range=None, latent_range=(-2, 2))
        >>> part.init((2, 2, 3), tf.constant([[0, 1]])).shape
        TensorShape([1, 4])
    """

    model: Any
    output_range: tuple[float, float] | None = dataclasses.field(kw_only=True)
    latent_range: tuple[Bound, Bound] | None = dataclasses.field(default=None, kw_only=True)
    std: float = dataclasses.field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        import keras

        shapes = [getattr(self.model, name, None) for name in ("input_shape", "output_shape")]
        single = all(isinstance(shape, tuple) and None not in shape[1:] for shape in shapes)
        if not isinstance(self.model, keras.Model) or not single:
            raise TypeError(
                checks.message(
                    "a built Keras model of one input and one output, of known sizes",
                    f"{self.model!r} with shapes {shapes}",
                    "Wrap it: keras.Model(inputs, outputs).",
                )
            )
        checks.number(self.std, "std", low=0.0)
        if self.output_range is not None:
            object.__setattr__(self, "output_range", _pair(self.output_range, "output_range"))
        if self.latent_range is not None:
            low, high = _pair(self.latent_range, "latent_range")
            object.__setattr__(self, "latent_range", (low, high))
            for bound in (low, high):
                size = len(bound) if isinstance(bound, tuple) else None
                if size not in (None, self.model.input_shape[-1]):
                    raise ValueError(
                        checks.message(
                            f"latent_range of numbers, or of {self.model.input_shape[-1]} each",
                            f"{size} numbers",
                        )
                    )

    @property
    def image_range(self) -> tuple[float, float] | None:
        return self.output_range

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        if tuple(self.model.output_shape[1:]) != tuple(shape):
            raise ValueError(
                checks.message(
                    f"a generator of images {tuple(shape)}",
                    f"{self.model.name!r}, which makes {self.model.output_shape[1:]}",
                    "Give canvas=(height, width) of its images, or a generator of this size.",
                )
            )
        latents = list(self.model.input_shape[1:])
        return random.normal(seed, latents, std=self.std, dtype=dtype)

    def check(self, params: Params, shape: Shape) -> None:
        if self.output_range is None:
            return
        low, high = self.output_range
        images = self.decode(params, shape)
        least, most = float(tf.reduce_min(images)), float(tf.reduce_max(images))
        slack = _SLACK * (high - low)
        if least < low - slack or most > high + slack:
            raise ValueError(
                checks.message(
                    f"images of {self.model.name!r} in its output_range {low:g} .. {high:g}",
                    f"values in {least:g} .. {most:g}",
                    "Give the range of its last activation, or None if it has none.",
                )
            )

    def latents(self, params: Params) -> tf.Tensor:
        """Latents of params, inside `latent_range`. `[N, ...] -> [N, ...]`."""
        if self.latent_range is None:
            return params
        low, high = (as_bound(bound, params.dtype) for bound in self.latent_range)
        middle, half = (low + high) / 2, (high - low) / 2
        return middle + half * by_row(tf.tanh, params / half)

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        del shape  # checked at the start
        latents = tf.cast(self.latents(params), self.model.inputs[0].dtype)
        return tf.cast(self.model(latents, training=False), params.dtype)


def _pair(value: Any, name: str) -> tuple[Any, Any]:
    """A checked pair `(low, high)` of bounds."""
    if not isinstance(value, (tuple, list)) or len(value) != 2 or None in value:
        raise TypeError(checks.message(f"{name} to be a pair (low, high)", repr(value)))
    low, high = (check_bound(bound, name) for bound in value)
    check_order(low, high)
    return low, high
