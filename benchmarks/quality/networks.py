"""Architectures of subjects and judges: images in (0, 1) `[N, H, W, C] -> [N, classes]` logits.

Every judge has a layer named `features` before its last, which metrics in feature space read.
"""

from __future__ import annotations

from typing import Any

import keras

L = keras.layers
FEATURES = "features"


def cnn(shape: tuple[int, ...], classes: int) -> keras.Model:
    """A plain convolutional network: pairs of 3x3 convolutions, max pooling, no normalization."""
    inputs = x = L.Input(shape, name="images")
    for filters in (16, 32, 64):
        for _ in range(2):
            x = L.Conv2D(
                filters, 3, padding="same", activation="relu", kernel_initializer="he_normal"
            )(x)
        x = L.MaxPooling2D(2)(x)
    x = L.Dropout(0.3)(L.Flatten()(x))
    x = L.Dense(96, activation="relu", name=FEATURES)(x)
    return keras.Model(inputs, L.Dense(classes, name="logits")(x), name="cnn")


def resnet(
    shape: tuple[int, ...], classes: int, widths: tuple[int, ...] = (24, 48, 96), blocks: int = 1
) -> keras.Model:
    """A residual network with batch normalization and a strided stem."""

    def conv(x: Any, filters: int, stride: int = 1, size: int = 3) -> Any:
        x = L.Conv2D(filters, size, stride, "same", use_bias=False, kernel_initializer="he_normal")(
            x
        )
        return L.BatchNormalization(momentum=0.95)(x)

    inputs = L.Input(shape, name="images")
    x = L.ReLU()(conv(inputs, widths[0], 2))
    for level, filters in enumerate(widths):
        for block in range(blocks):
            stride = 2 if level and not block else 1
            y = conv(L.ReLU()(conv(x, filters, stride)), filters)
            if stride > 1 or x.shape[-1] != filters:
                x = conv(x, filters, stride, 1)
            x = L.ReLU()(L.Add()([x, y]))
    x = L.GlobalAveragePooling2D(name=FEATURES)(x)
    return keras.Model(inputs, L.Dense(classes, name="logits")(x), name="resnet")


def subject_resnet(shape: tuple[int, ...], classes: int) -> keras.Model:
    """The subject of CIFAR-10: two blocks per level, wider."""
    return resnet(shape, classes, (32, 64, 128), 2)


def mixer(shape: tuple[int, ...], classes: int, width: int = 64, depth: int = 3) -> keras.Model:
    """A patch mixer: patches of 4x4, dense layers over patches and over channels, no convolutions.

    Source: Tolstikhin et al. 2021, https://arxiv.org/abs/2105.01601.
    """
    inputs = L.Input(shape, name="images")
    x = L.Conv2D(width, 4, 4)(inputs)
    tokens = x.shape[1] * x.shape[2]
    x = L.Reshape((tokens, width))(x)
    for _ in range(depth):
        y = L.Permute((2, 1))(L.LayerNormalization()(x))
        y = L.Dense(tokens)(L.Dense(64, activation="relu")(y))
        x = L.Add()([x, L.Permute((2, 1))(y)])
        y = L.Dense(2 * width, activation="relu")(L.LayerNormalization()(x))
        x = L.Add()([x, L.Dense(width)(y)])
    x = L.GlobalAveragePooling1D(name=FEATURES)(L.LayerNormalization()(x))
    return keras.Model(inputs, L.Dense(classes, name="logits")(x), name="mixer")


def strided(shape: tuple[int, ...], classes: int, width: int = 32) -> keras.Model:
    """A plain network with strides instead of pooling, and a mean at the end. It has no normalization."""
    inputs = x = L.Input(shape, name="images")
    for filters, stride in ((width, 1), (2 * width, 2), (2 * width, 1), (4 * width, 2)):
        x = L.Conv2D(filters, 3, stride, "same", activation="relu", kernel_initializer="he_normal")(
            x
        )
    x = L.Conv2D(4 * width, 3, activation="relu", kernel_initializer="he_normal")(x)
    x = L.GlobalAveragePooling2D(name=FEATURES)(x)
    return keras.Model(inputs, L.Dense(classes, name="logits")(x), name="strided")


def vit(
    shape: tuple[int, ...], classes: int, width: int = 64, depth: int = 4, heads: int = 4
) -> keras.Model:
    """A small vision transformer: patches of 4x4 as tokens, attention, a mean over tokens.

    Sources: Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929; the mean in place of a class token,
    Zhai et al. 2021, https://arxiv.org/abs/2106.04560.
    """
    inputs = L.Input(shape, name="images")
    x = L.Conv2D(width, 4, 4, name="patches")(inputs)
    tokens = x.shape[1] * x.shape[2]
    x = L.Reshape((tokens, width))(x)
    places = L.Embedding(tokens, width, name="places")(keras.ops.arange(tokens)[None])
    x = L.Add()([x, places])
    for number in range(depth):
        y = L.LayerNormalization()(x)
        y = L.MultiHeadAttention(heads, width // heads)(y, y)
        x = L.Add()([x, y])
        y = L.Dense(2 * width, activation="gelu")(L.LayerNormalization()(x))
        x = L.Add(name=f"tokens_{number}")([x, L.Dense(width)(y)])
    x = L.GlobalAveragePooling1D(name=FEATURES)(L.LayerNormalization()(x))
    return keras.Model(inputs, L.Dense(classes, name="logits")(x), name="vit")


def small(shape: tuple[int, ...], classes: int) -> keras.Model:
    """The fixed network that is trained on synthetic images and tested on real ones."""
    inputs = x = L.Input(shape, name="images")
    for filters in (16, 32):
        x = L.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = L.MaxPooling2D(2)(x)
    x = L.Dense(64, activation="relu", name=FEATURES)(L.Flatten()(x))
    return keras.Model(inputs, L.Dense(classes, name="logits")(x), name="small")
