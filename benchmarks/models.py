"""The models of the cases, and their logits as a plain function for the baselines.

MobileNetV2 and ResNet50 have random weights: nothing is downloaded, and time does not depend on them.
Their pictures are noise, so nothing is said about quality here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from actmax import zoo


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model and what a baseline needs to know of it.

    Attributes:
        model: what actmax gets, with its softmax.
        logits: images `[N, H, W, C] -> [N, classes]` without the softmax; shares the weights. Baselines
            should not pay for a softmax that they have no use for.
        low: least value of an image.
        high: largest value of an image.
        classes: number of output units.
    """

    model: keras.Model
    logits: Callable[[tf.Tensor], tf.Tensor]
    low: float
    high: float
    classes: int


def _subject(model: keras.Model, low: float, high: float) -> Subject:
    """All of our models end in a Dense layer with a softmax, whose product is written out here."""
    last = model.layers[-1]
    assert isinstance(last, keras.layers.Dense)
    assert last.activation is keras.activations.softmax
    features = keras.Model(model.inputs, model.layers[-2].output)

    def logits(images: tf.Tensor) -> tf.Tensor:
        found = features(images, training=False)
        return tf.matmul(found, tf.convert_to_tensor(last.kernel)) + last.bias

    return Subject(model, logits, low, high, last.units)


def _zoo(name: str) -> Callable[[int], Subject]:
    return lambda size: _subject(zoo.load(name), 0.0, 1.0)


def _application(build: Callable[..., keras.Model]) -> Callable[[int], Subject]:
    # Both in (-1, 1), which is MobileNetV2's; for a network of random weights one is as good as another.
    return lambda size: _subject(build(weights=None, input_shape=(size, size, 3)), -1.0, 1.0)


MODELS: dict[str, Callable[[int], Subject]] = {
    "mnist": _zoo("mnist"),
    "cifar10": _zoo("cifar10"),
    "mobilenet_v2": _application(keras.applications.MobileNetV2),
    "resnet50": _application(keras.applications.ResNet50),
}
