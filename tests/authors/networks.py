"""Published penalties with a network, of layers, with arrays, with noise, and of several images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, ClassVar

import keras
import tensorflow as tf

import regularizers
from regularizers import random
from tests.authors.versions import AXES, OF_VALUES, Version

SHAPE = (8, 8, 3)
# Common mistakes that are tried on each of these parts.
TRIED = (
    "mean over the batch",
    "rows leak",
    "TensorFlow's own draws",
    "cut gradient",
    "turned gradient",
)


@functools.cache
def network() -> Any:
    """A small convolution in float32."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input(SHAPE)
    conv = keras.layers.Conv2D(6, 3, padding="same", activation="softplus", name="conv")(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same")(conv))


@functools.cache
def features() -> Any:
    """Its first layer."""
    return keras.Model(network().inputs, network().get_layer("conv").output)


class Odd(regularizers.Penalty):
    """What the parts below share: a name, and one piece that may be wrong."""

    mistake: str = ""

    def end(self, values: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        """The values, or those of a common mistake, in the type of the images."""
        values = tf.cast(values, images.dtype)
        return OF_VALUES[self.mistake][0](values) if self.mistake in OF_VALUES else values


@dataclasses.dataclass(frozen=True)
class Perceptual(Odd):
    """Johnson et al., 2016: distance of features to those of gray."""

    mistake: str = ""

    def __call__(self, images):
        if self.mistake == "in training mode":
            found = features()(tf.cast(images, tf.float32), training=True)
        else:
            found = features()(tf.cast(images, tf.float32), training=False)
        gray = features()(tf.fill([1, *SHAPE], 0.5), training=False)
        return self.end(tf.reduce_mean((found - gray) ** 2, AXES), images)


@dataclasses.dataclass(frozen=True)
class Gram(Odd):
    """Gatys et al., 2015: products of features."""

    mistake: str = ""

    def __call__(self, images):
        found = features()(tf.cast(images, tf.float32), training=False)
        axes = "nhwc,mhwd->ncd" if self.mistake == "products across the batch" else "nhwc,nhwd->ncd"
        return self.end(
            tf.reduce_mean(tf.einsum(axes, found, found) ** 2, (1, 2)) / 64.0**2, images
        )


@dataclasses.dataclass(frozen=True)
class Field(Odd):
    """Romano, Elad and Milanfar, 2017: `mean(x (x - f(x))) / 2`, whose gradient is the residual."""

    exact_gradient: ClassVar[bool] = False
    mistake: str = ""

    def __call__(self, images):
        residual = images - self.denoised(images)
        return self.end(tf.reduce_mean(images * tf.stop_gradient(residual), AXES), images)

    def denoised(self, images):
        """Of the network."""
        return tf.cast(network()(tf.cast(images, tf.float32), training=False), images.dtype)

    def expected_gradient(self, images):
        """The residual over the number of values."""
        found = (images - self.denoised(images)) / float(SHAPE[0] * SHAPE[1] * SHAPE[2])
        return 2 * found if self.mistake == "twice its field" else found


@dataclasses.dataclass(frozen=True)
class Annealed(Odd):
    """Graikos et al., 2022: the residual of noise that falls with the step."""

    mistake: str = ""

    def __call__(self, images, seeds, step):
        level = 0.2 / (1.0 + tf.cast(step, images.dtype))
        own = seeds[:1] if self.mistake == "one draw for the batch" else seeds
        noise = random.normal(own, images.shape[1:], dtype=images.dtype)
        if self.mistake == "one draw for ever":
            noise = tf.random.stateless_normal(tf.shape(images), [1, 2], dtype=images.dtype)
        noisy = images + level * noise
        found = network()(tf.cast(noisy, tf.float32), training=False)
        return self.end(tf.reduce_mean((noisy - tf.cast(found, images.dtype)) ** 2, AXES), images)


@dataclasses.dataclass(frozen=True)
class Quiet(Odd):
    """Energy of a layer of the model itself."""

    layers: tuple[str, ...] = ("conv",)
    mistake: str = ""

    def __call__(self, images, activations):
        found = activations["conv"]
        if self.mistake == "divided by the layer's largest":
            found = found / tf.reduce_max(found)
        return self.end(tf.reduce_mean(found**2, AXES), images)


@dataclasses.dataclass(frozen=True)
class Near(Odd):
    """Distance to a reference for each image."""

    arrays: ClassVar[tuple[str, ...]] = ("reference",)
    mistake: str = ""

    def __call__(self, images, reference):
        if self.mistake == "reference of the first":
            reference = reference[:1]
        if self.mistake == "root of the distance":
            return tf.sqrt(tf.reduce_sum((images - reference) ** 2, AXES))
        return self.end(tf.reduce_mean((images - reference) ** 2, AXES), images)


@dataclasses.dataclass(frozen=True)
class Group(Odd):
    """Yin et al., 2021: distance to the mean of the batch."""

    couples_images: ClassVar[bool] = True
    mistake: str = ""

    def __call__(self, images):
        center = tf.reduce_mean(images, 0, keepdims=True)
        values = (images - center) ** 2
        if self.mistake == "one number for all":
            return tf.fill(tf.shape(images)[:1], tf.reduce_mean(values))
        if self.mistake == "sum":
            return tf.reduce_sum(values, AXES)
        return self.end(tf.reduce_mean(values, AXES), images)


@dataclasses.dataclass(frozen=True)
class Uncoupled(Group):
    """As Group, without the word that it couples."""

    couples_images: ClassVar[bool] = False


OWN: tuple[tuple[Any, dict[str, tuple[str, ...]]], ...] = (
    (Perceptual, {}),
    (Gram, {"products across the batch": ("independent",)}),
    (Field, {"twice its field": ("gradient",)}),
    (Annealed, {"one draw for the batch": ("independent",), "one draw for ever": ("seeds", "independent")}),
    (Quiet, {"divided by the layer's largest": ("independent",)}),
    (Near, {"reference of the first": ("independent",), "root of the distance": ("resolution",)}),
)  # fmt: skip


def versions() -> Iterator[Version]:
    """All versions of these parts."""
    check = {"shapes": [SHAPE]}
    for kind, own in OWN:
        name = kind.__name__
        yield Version("penalty", name, "", kind, (), check)
        wrong = {mistake: OF_VALUES[mistake][1] for mistake in TRIED} | own
        if kind is Field:  # whose gradient is not the slope: what it says is held against it
            wrong["turned gradient"] = ("gradient",)
        for mistake, laws in wrong.items():
            yield Version(
                "penalty", name, mistake, lambda k=kind, m=mistake: k(mistake=m), laws, check
            )
    yield Version("penalty", "Group", "", Group, (), {})
    yield Version(
        "penalty", "Group", "does not say that it couples", Uncoupled, ("independent",), {}
    )
    for mistake, laws in {
        "one number for all": ("share",), "sum": ("resolution",),
        "TensorFlow's own draws": ("repeat",), "first row": ("order",),
    }.items():  # fmt: skip
        yield Version("penalty", "Group", mistake, lambda m=mistake: Group(mistake=m), laws, {})
