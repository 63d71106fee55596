"""Train on synthetic, test on real: how much a small network learns from only the generated images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from actmax import checks

__all__ = ["train_on_synthetic"]

_UPDATES = 1000  # as many for few images as for many: a thousand are seen 64 times
_BATCH = 64
_RATE = 2e-3
_FILTERS = (16, 32, 64)
_POOLED = 4  # pixels: from here on a pooling leaves something
_DEGREES, _ZOOM, _SHIFT = 10.0, 1.15, 1 / 10  # the last in sides of the image


def train_on_synthetic(
    images: npt.ArrayLike,
    classes: npt.ArrayLike,
    natural: npt.ArrayLike,
    natural_classes: npt.ArrayLike,
    *,
    seeds: int = 3,
) -> npt.NDArray[np.float64]:
    """Accuracy on natural images of a network trained only on generated ones. `-> [seeds]` in 0..1.

    A fixed network: three convolutions 3x3 of 16, 32 and 64 channels, each with max pooling, and a dense
    layer; 1,000 updates of Adam in batches of 64 at a rate of 2e-3 that falls along a cosine. Every
    time, images are turned by up to 10 degrees, scaled by up to 1.15 and shifted by up to 0.1 of their
    size at random. The accuracy is high only if the images show the features of the class, and in more
    than one way. The network and these moves were chosen with 100 *natural* images per class. The
    network has no batch norm, because it would use statistics of the generated images for the natural
    ones.

    Args:
        images: `[N, H, W, C]`, floats in (0, 1).
        classes: `[N]`.
        natural: `[M, H, W, C]`, of the same size.
        natural_classes: `[M]`.
        seeds: number of networks.

    Raises:
        ValueError: sizes differ, or fewer than two classes were generated.

    Source:
        Ravuri and Vinyals, 2019, https://arxiv.org/abs/1905.10887.
    """
    x, y = np.asarray(images, np.float32), np.asarray(classes)
    test, truth = np.asarray(natural, np.float32), np.asarray(natural_classes)
    if x.shape[1:] != test.shape[1:]:
        expected = f"natural images of the size of the generated, {x.shape[1:]}"
        raise ValueError(checks.message(expected, test.shape[1:]))
    if len(np.unique(y)) < 2:
        raise ValueError(checks.message("images of at least two classes", f"{np.unique(y)}"))
    outputs = int(max(y.max(), truth.max())) + 1
    return np.array([_accuracy(x, y, test, truth, outputs, seed) for seed in range(seeds)])


def _accuracy(x: Any, y: Any, test: Any, truth: Any, outputs: int, seed: int) -> float:
    import keras

    draws = np.random.default_rng(seed)
    model = _network(x.shape[1:], outputs, draws)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(_RATE, _UPDATES)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    batch = min(_BATCH, len(x))
    # Our own order: that of fit comes from global random state.
    passes = -(-_UPDATES // (len(x) // batch))
    rows = [draws.permutation(len(x))[: len(x) // batch * batch] for _ in range(passes)]
    batches = np.concatenate(rows).reshape(-1, batch)[:_UPDATES]

    class Batches(keras.utils.PyDataset):
        """All passes as one, so that no copies of the images are made."""

        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            rows = batches[index]
            # Draws depend on the number of the batch, not on the order of the calls.
            return moved(x[rows], np.random.default_rng([seed, index])), y[rows]

    model.fit(Batches(), shuffle=False, verbose=0)
    found = np.argmax(model.predict(test, batch_size=500, verbose=0), axis=1)
    return float(np.mean(found == truth))


def moved(images: Any, draws: np.random.Generator) -> Any:
    """Each image turned, scaled and shifted by draws of its own. Bilinear, border replicated."""
    import tensorflow as tf

    count, height, width, _ = images.shape
    angle = np.deg2rad(draws.uniform(-_DEGREES, _DEGREES, count))
    zoom = np.exp(draws.uniform(-np.log(_ZOOM), np.log(_ZOOM), count))
    shift = draws.uniform(-_SHIFT, _SHIFT, (2, count)) * min(height, width)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    x, y = (width - 1) / 2, (height - 1) / 2
    right, down = x - cos * x + sin * y + shift[0], y - sin * x - cos * y + shift[1]
    nothing = np.zeros(count)
    # Where every pixel is taken from: (cos x - sin y + right, sin x + cos y + down).
    rows = np.stack([cos, -sin, right, sin, cos, down, nothing, nothing], axis=1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.constant(rows, tf.float32),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _network(shape: tuple[int, ...], outputs: int, draws: np.random.Generator) -> Any:
    from keras import Input, Model, initializers, layers

    def start() -> Any:
        return initializers.GlorotUniform(seed=int(draws.integers(2**31)))

    inputs = x = Input(shape)
    for filters in _FILTERS:
        x = layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer=start()
        )(x)
        if min(x.shape[1:3]) >= _POOLED:
            x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    return Model(inputs, layers.Dense(outputs, kernel_initializer=start())(x))
