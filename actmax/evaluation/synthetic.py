"""Train on synthetic, test on real: what a small network learns from the generated images alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from actmax import checks

__all__ = ["train_on_synthetic"]

_UPDATES = 600  # as many for few images as for many: a thousand are seen 38 times
_BATCH = 64
_RATE = 1e-3
_POOLED = 16  # pixels: from here on two poolings leave something


def train_on_synthetic(
    images: npt.ArrayLike,
    classes: npt.ArrayLike,
    natural: npt.ArrayLike,
    natural_classes: npt.ArrayLike,
    *,
    seeds: int = 3,
) -> npt.NDArray[np.float64]:
    """Accuracy on natural images of a network that saw generated ones alone. `-> [seeds]` in 0..1.

    A fixed network (convolutions 3x3 of 16 and 32 channels, each with max pooling; a dense layer of
    64), 600 updates of Adam at 1e-3 in batches of 64, one for each seed. High only if the images show what
    makes up the class, and in more than one way.

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
        keras.optimizers.Adam(_RATE),
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
            return x[batches[index]], y[batches[index]]

    model.fit(Batches(), shuffle=False, verbose=0)
    found = np.argmax(model.predict(test, batch_size=500, verbose=0), axis=1)
    return float(np.mean(found == truth))


def _network(shape: tuple[int, ...], outputs: int, draws: np.random.Generator) -> Any:
    from keras import Input, Model, initializers, layers

    def start() -> Any:
        return initializers.GlorotUniform(seed=int(draws.integers(2**31)))

    inputs = x = Input(shape)
    for filters in (16, 32):
        x = layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer=start()
        )(x)
        if min(x.shape[1:3]) >= _POOLED // 2:
            x = layers.MaxPooling2D(2)(x)
    x = layers.Dense(64, activation="relu", kernel_initializer=start())(layers.Flatten()(x))
    return Model(inputs, layers.Dense(outputs, kernel_initializer=start())(x))
