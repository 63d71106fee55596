"""The small model that the laws are tried on."""

from __future__ import annotations

import keras
import numpy as np

SHAPE = (8, 8, 3)


def tiny():
    """Convolution, pooling, softmax of five classes; weights from a seed of their own."""
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, activation="tanh", name="conv"),
            keras.layers.GlobalAveragePooling2D(name="pool"),
            keras.layers.Dense(5, activation="softmax", name="out"),
        ],
        name="tiny",
    )
    # Keras draws from a global seed, which other tests may have moved.
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(0.0, 0.4, w.shape) for w in model.get_weights()])
    return model


def decoder():
    """A generator of images in (0, 1) from four latents; in float64, so that slopes can be checked."""
    model = keras.Sequential(
        [
            keras.Input([4], dtype="float64"),
            keras.layers.Dense(int(np.prod(SHAPE)), "sigmoid", dtype="float64"),
            keras.layers.Reshape(SHAPE, dtype="float64"),
        ],
        name="decoder",
    )
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(0.0, 0.5, w.shape) for w in model.get_weights()])
    return model


def photos():
    """Images whose channels vary together. `[N, H, W, C]`."""
    generator = np.random.default_rng(2)
    return generator.uniform(size=(20, *SHAPE)) @ generator.uniform(size=(SHAPE[-1], SHAPE[-1]))


def feature_map():
    """What a reference image could leave in the convolution of `tiny`, sorted along its positions."""
    return np.sort(np.random.default_rng(3).normal(size=(36, 4)), axis=0).reshape(6, 6, 4)


def normalized(seed=0, dtype="float32", shape=SHAPE):
    """Two batch-norm layers, one of them inside a nested model, with statistics of their own."""
    inner = keras.Sequential(
        [
            keras.Input((None, None, 4), dtype=dtype),
            keras.layers.BatchNormalization(name="norm", dtype=dtype),
            keras.layers.Conv2D(5, 3, name="conv", dtype=dtype),
        ],
        name="inner",
    )
    model = keras.Sequential(
        [
            keras.Input(shape, dtype=dtype),
            keras.layers.Conv2D(4, 3, activation="tanh", name="stem", dtype=dtype),
            inner,
            keras.layers.BatchNormalization(name="norm", dtype=dtype),
            keras.layers.GlobalAveragePooling2D(dtype=dtype),
            keras.layers.Dense(3, activation="softmax", dtype=dtype),
        ]
    )
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(0.2, 0.9, w.shape) for w in model.get_weights()])
    return model
