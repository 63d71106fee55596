"""The small model that the laws are tried on."""

from __future__ import annotations

import keras
import numpy as np

SHAPE = (8, 8, 3)
# Not square, and no whole number of vectors: kernels round the tail of an array in another way.
UNEVEN = (9, 7, 3)


def tiny(shape=SHAPE, head="softmax"):
    """Convolution, pooling, softmax of five classes; weights from a seed of their own.

    Softsign, because a network's own tanh or exponentials round by the place of a row, and laws are about us.
    """
    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(4, 3, activation="softsign", name="conv"),
            keras.layers.GlobalAveragePooling2D(name="pool"),
            keras.layers.Dense(5, activation=head, name="out"),
        ],
        name="tiny",
    )
    # Keras draws from a global seed, which other tests may have moved.
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(0.0, 0.4, w.shape) for w in model.get_weights()])
    return model


def uneven(head="softmax"):
    """`tiny`, of images that fill no whole vectors."""
    return tiny(UNEVEN, head)


def decoder(shape=SHAPE):
    """A generator of images in (0, 1) from four latents; in float64, so that slopes can be checked."""
    model = keras.Sequential(
        [
            keras.Input([4], dtype="float64"),
            keras.layers.Dense(int(np.prod(shape)), "sigmoid", dtype="float64"),
            keras.layers.Reshape(shape, dtype="float64"),
        ],
        name="decoder",
    )
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(0.0, 0.5, w.shape) for w in model.get_weights()])
    return model


def photos(shape=SHAPE):
    """Images whose channels vary together. `[N, H, W, C]`."""
    generator = np.random.default_rng(2)
    return generator.uniform(size=(20, *shape)) @ generator.uniform(size=(shape[-1], shape[-1]))


def feature_map():
    """What a reference image could leave in the convolution of `uneven`, sorted along its positions."""
    return np.sort(np.random.default_rng(3).normal(size=(35, 4)), axis=0).reshape(7, 5, 4)


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
            keras.layers.Conv2D(4, 3, activation="softsign", name="stem", dtype=dtype),
            inner,
            keras.layers.BatchNormalization(name="norm", dtype=dtype),
            keras.layers.GlobalAveragePooling2D(dtype=dtype),
            keras.layers.Dense(3, activation="softmax", dtype=dtype),
        ]
    )
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(0.2, 0.9, w.shape) for w in model.get_weights()])
    return model
