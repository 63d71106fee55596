"""The models of the cases, and their logits as a plain function for the baselines.

All models except the zoo's have random weights, so nothing is downloaded. Times do not depend on the
weights. The pictures are noise and show nothing about quality.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from actmax import zoo

SEED = 0


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model and what a baseline needs to know of it.

    Attributes:
        model: the model for actmax, with its softmax.
        logits: images `[N, H, W, C] -> [N, classes]` without the softmax; shares the weights. Baselines
            should not pay for a softmax that they have no use for.
        features: the model up to its last layer.
        low: least value of an image.
        high: largest value of an image.
        classes: number of output units.
    """

    model: keras.Model
    logits: Callable[[tf.Tensor], tf.Tensor]
    features: keras.Model
    low: float
    high: float
    classes: int

    def twin(self) -> keras.Model:
        """A model with the same weights that returns the logits, for peers."""
        last = self.model.layers[-1]
        head = keras.layers.Dense(last.units, name=f"{last.name}_logits")
        twin = keras.Model(self.features.inputs[0], head(self.features.output))
        head.set_weights(last.get_weights())
        return twin


def _subject(model: keras.Model, low: float, high: float) -> Subject:
    """All of our models end in a Dense layer with a softmax. Its matrix product is repeated here."""
    last = model.layers[-1]
    assert isinstance(last, keras.layers.Dense)
    assert last.activation is keras.activations.softmax
    features = keras.Model(model.inputs[0], model.layers[-2].output)

    def logits(images: tf.Tensor) -> tf.Tensor:
        found = features(images, training=False)
        return tf.matmul(found, tf.convert_to_tensor(last.kernel)) + last.bias

    return Subject(model, logits, features, low, high, last.units)


def _zoo(name: str) -> Callable[[int], Subject]:
    return lambda size: _subject(zoo.load(name), 0.0, 1.0)


def _application(build: Callable[..., keras.Model]) -> Callable[[int], Subject]:
    def make(size: int) -> Subject:
        keras.utils.set_random_seed(SEED)
        # All ranges are (-1, 1), as for MobileNetV2. For random weights, any range will do.
        model = build(weights=None, input_shape=(size, size, 3), classifier_activation="softmax")
        return _subject(model, -1.0, 1.0)

    return make


def vision_transformer(
    size: int, *, patch: int = 16, width: int = 192, depth: int = 12, heads: int = 3
) -> Subject:
    """ViT-Ti/16 of Keras layers without a class token. It classifies the mean of the patches.

    Source: Touvron et al., Training data-efficient image transformers, 2021 (DeiT-Ti),
    https://arxiv.org/abs/2012.12877.
    """
    keras.utils.set_random_seed(SEED)
    layers = keras.layers
    images = keras.Input([size, size, 3])
    tokens = (size // patch) ** 2
    x = layers.Conv2D(width, patch, patch, name="patches")(images)
    x = layers.Reshape([tokens, width])(x)
    places = layers.Embedding(tokens, width, name="places")
    x = x + places(keras.ops.arange(tokens))
    for block in range(depth):
        y = layers.LayerNormalization(epsilon=1e-6, name=f"norm_{block}_a")(x)
        y = layers.MultiHeadAttention(heads, width // heads, name=f"attention_{block}")(y, y)
        x = layers.Add(name=f"add_{block}_a")([x, y])
        y = layers.LayerNormalization(epsilon=1e-6, name=f"norm_{block}_b")(x)
        y = layers.Dense(4 * width, activation="gelu", name=f"wide_{block}")(y)
        y = layers.Dense(width, name=f"narrow_{block}")(y)
        x = layers.Add(name=f"add_{block}_b")([x, y])
    x = layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    x = layers.Dense(1000, activation="softmax", name="predictions")(x)
    return _subject(keras.Model(images, x), -1.0, 1.0)


MODELS: dict[str, Callable[[int], Subject]] = {
    "mnist": _zoo("mnist"),
    "cifar10": _zoo("cifar10"),
    "mobilenet_v2": _application(keras.applications.MobileNetV2),
    "resnet50": _application(keras.applications.ResNet50),
    "efficientnet_b0": _application(keras.applications.EfficientNetB0),
    "inception_v3": _application(keras.applications.InceptionV3),
    "convnext_tiny": _application(keras.applications.ConvNeXtTiny),
    "vit": vision_transformer,
}
