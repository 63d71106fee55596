"""Judges and subjects: trained once, cached, never committed.

    python -m benchmarks.quality train mnist --data FOLDER

Development judges are for tuning and for every table; a reporting judge is looked at only at the
end. None has seen an image that a subject was trained on. They differ in architecture, seed and
augmentation, and one per track is trained against adversarial examples (one step of random start,
Wong et al. 2020, https://arxiv.org/abs/2001.03994).
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from actmax import zoo
from benchmarks.quality import networks
from benchmarks.quality.data import Data, Images
from regularizers import Noise, Rotate, Scale, Shift
from regularizers.base import Transform

MOVES = {
    "mnist": (Rotate(12.0), Scale(0.9, 1.1), Shift(2.0)),
    "cifar10": (Shift(3.0),),
}
AFFINE = {"mnist": (Shift(1.5),), "cifar10": (Rotate(8.0), Scale(0.9, 1.1), Shift(2.0))}
NOISY = {"mnist": (Shift(2.0), Noise(0.1)), "cifar10": (Shift(3.0), Noise(0.03))}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Attributes:
        build: `(shape, classes) -> model` that returns logits.
        seed: of the weights, the order of images and their augmentation.
        epochs: passes over the images.
        rate: rate of Adam at the start. It falls to 0 along a cosine.
        augment: transforms of the images, by track.
        epsilon: largest change of a value in the adversarial step. 0 for no such step.
        on: "judges" or "subject", the part of the data for its training.
    """

    build: Callable[[tuple[int, ...], int], keras.Model]
    seed: int
    epochs: int
    rate: float
    augment: tuple[Transform, ...]
    epsilon: float = 0.0
    on: str = "judges"


def recipes(track: str) -> dict[str, Recipe]:
    """All networks of a track, in the order of training: the subject first."""
    mnist = track == "mnist"
    cnn, res, mix = (5, 5, 6) if mnist else (18, 18, 24)
    judges = {
        "cnn_1": Recipe(networks.cnn, 1, cnn, 2e-3, MOVES[track]),
        "resnet_1": Recipe(networks.resnet, 1, res, 4e-3, AFFINE[track]),
        "mixer_1": Recipe(networks.mixer, 1, mix, 3e-3, NOISY[track]),
        "robust_1": Recipe(networks.cnn, 3, cnn, 2e-3, MOVES[track], 0.2 if mnist else 4 / 255),
        "cnn_2": Recipe(networks.cnn, 2, cnn, 2e-3, NOISY[track]),
        "resnet_2": Recipe(networks.resnet, 2, res, 4e-3, MOVES[track]),
    }
    if mnist:
        return judges
    subject = Recipe(networks.subject_resnet, 7, 14, 3e-3, MOVES[track], on="subject")
    report = Recipe(networks.resnet, 11, res, 4e-3, (*MOVES[track], Noise(0.05)))
    return {"subject": subject, **judges, "report_1": report}


DEVELOPMENT = ("cnn_1", "cnn_2", "resnet_1", "resnet_2", "mixer_1", "robust_1")


def fit(recipe: Recipe, images: Images, classes: int, batch: int = 64) -> keras.Model:
    """A trained network. Images uint8 `[N, H, W, C]`."""
    keras.utils.set_random_seed(recipe.seed)
    draws = np.random.default_rng(recipe.seed)
    model = recipe.build(images.images.shape[1:], classes)
    per_epoch = len(images) // batch
    rate = keras.optimizers.schedules.CosineDecay(recipe.rate, recipe.epochs * per_epoch, 1e-3)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-3)
    optimizer.build(model.trainable_variables)
    flip = (
        images.images.shape[-1] == 3
    )  # Mirrored digits are wrong. Mirrored photographs mostly are not.
    inputs, targets = tf.constant(images.images), tf.constant(images.classes)

    def losses(x: tf.Tensor, y: tf.Tensor, training: bool) -> tf.Tensor:
        logits = model(x, training=training)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))

    @tf.function
    def step(rows: tf.Tensor, seeds: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        x = tf.cast(tf.gather(inputs, rows), tf.float32) / 255.0
        y = tf.gather(targets, rows)
        if flip:
            x = tf.where((seeds[:, 0] % 2 == 0)[:, None, None, None], x, x[:, :, ::-1])
        for number, transform in enumerate(recipe.augment):
            x = transform(x, seeds + number, tf.constant(0))
        x = tf.clip_by_value(x, 0.0, 1.0)
        if recipe.epsilon:
            start = tf.clip_by_value(x + recipe.epsilon * noise, 0.0, 1.0)
            with tf.GradientTape() as tape:
                tape.watch(start)
                loss = losses(start, y, False)
            moved = start + 1.25 * recipe.epsilon * tf.sign(tape.gradient(loss, start))
            moved = tf.clip_by_value(moved, x - recipe.epsilon, x + recipe.epsilon)
            # Half of each batch stays unchanged, because the judge must also learn clean images.
            x = tf.concat([x[: batch // 2], tf.clip_by_value(moved, 0.0, 1.0)[batch // 2 :]], 0)
        with tf.GradientTape() as tape:
            loss = losses(x, y, True)
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    shape = (batch, *images.images.shape[1:])
    quiet = np.zeros(shape, np.float32)
    for _ in range(recipe.epochs):
        order = draws.permutation(len(images))[: per_epoch * batch].reshape(-1, batch)
        for rows in order:
            seeds = draws.integers(0, 2**31 - 16, (batch, 2)).astype(np.int32)
            noise = draws.uniform(-1, 1, shape).astype(np.float32) if recipe.epsilon else quiet
            step(tf.constant(rows), tf.constant(seeds), tf.constant(noise))
    return model


def accuracy(model: keras.Model, images: Images) -> float:
    """Share of images for which the largest output is the right class."""
    outputs = model.predict(images.floats(), batch_size=500, verbose=0)
    return float(np.mean(np.argmax(outputs, axis=-1) == images.classes))


def train(name: str, data: Data, folder: Path, again: bool = False) -> Path:
    """Trains one network of a track into the cache, if it is not there. Returns its file."""
    file = folder / data.track.name / f"{name}.keras"
    if file.exists() and not again:
        return file
    recipe = recipes(data.track.name)[name]
    start = time.perf_counter()
    model = fit(recipe, getattr(data, recipe.on), data.track.classes)
    seconds = time.perf_counter() - start
    file.parent.mkdir(parents=True, exist_ok=True)
    model.save(file)
    record = {"test_accuracy": accuracy(model, data.test), "seconds": seconds}
    file.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    return file


def load(name: str, track: str, folder: Path) -> keras.Model:
    """A cached network. The subject of MNIST comes from the zoo.

    Raises:
        ValueError: if it was not trained yet.
    """
    if track == "mnist" and name == "subject":
        return zoo.load("mnist")
    file = folder / track / f"{name}.keras"
    if not file.exists():
        raise ValueError(
            f"Expected {file}. Received: no such file. Train it first: "
            f"python -m benchmarks.quality train {track} --data FOLDER"
        )
    return keras.models.load_model(file)
