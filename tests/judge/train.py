"""Train the judge: `python -m tests.judge.train --out tests/judge [--data FILE.npz]`.

A judge says whether an image made for one model means anything to another. So it shares nothing
with its subject, the zoo's MNIST model: neither training images (these are the second half, of
which the subject saw none), nor architecture (strided convolutions, batch normalization and global
average pooling, and no hidden dense layer), nor training (augmented images, which make it judge
shapes and not exact pixels).

The file beside this one came from a run with TensorFlow 2.18.1 and Keras 3.5.0: training accuracy
0.9929, test accuracy 0.9886. Why so old a Keras, `actmax/zoo/train.py` says.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import tensorflow as tf

from actmax.zoo.train import Data, read, report, save_without_optimizer

SEED = 1
BATCH_SIZE = 128
LEARNING_RATE = 3e-3
TRAINING_IMAGES = slice(30_000, 60_000)


def build() -> keras.Model:
    """The untrained judge: images in (0, 1) `[N, 28, 28, 1] -> [N, 10]`, 76,000 weights."""
    layers = keras.layers
    model = keras.Sequential([layers.Input((28, 28, 1), name="images")], name="judge")
    for block, (filters, kernel_size) in enumerate([(32, 5), (64, 3), (96, 3)], start=1):
        # Batch normalization has an offset of its own, so a bias before it would do nothing.
        model.add(
            layers.Conv2D(
                filters,
                kernel_size,
                strides=2,
                padding="same",
                use_bias=False,
                name=f"block{block}_conv",
            )
        )
        model.add(layers.BatchNormalization(name=f"block{block}_norm"))
        model.add(layers.ReLU(name=f"block{block}_relu"))
    model.add(layers.GlobalAveragePooling2D(name="pool"))
    model.add(layers.Dense(10, activation="softmax", name="predictions"))
    return model


def augmentation() -> keras.Model:
    """Random shifts of at most 2 pixels, rotations of at most 15 degrees, zooms of at most 10 %."""
    layers = keras.layers
    black = {"fill_mode": "constant", "fill_value": 0.0}
    return keras.Sequential(
        [
            layers.RandomTranslation(2 / 28, 2 / 28, **black),
            layers.RandomRotation(15 / 360, **black),
            layers.RandomZoom(0.1, **black),
        ]
    )


def augmented(data: Data) -> tf.data.Dataset:
    """Batches of training images, shuffled and augmented anew in every epoch."""
    augment = augmentation()
    images = tf.data.Dataset.from_tensor_slices((data.train_images, data.train_labels))
    images = images.shuffle(len(data.train_images), seed=SEED)
    batches = images.batch(BATCH_SIZE, drop_remainder=True)
    return batches.map(lambda images, labels: (augment(images, training=True), labels)).prefetch(2)


def main() -> None:
    """Train the judge and write it to a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.judge.train", description="Train the judge of the tests."
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE.npz", help="default: download by keras.datasets"
    )
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    arguments = parser.parse_args()

    keras.utils.set_random_seed(SEED)
    data = read("mnist", arguments.data, TRAINING_IMAGES)
    batches = augmented(data)
    # A rate that falls to zero lets the moving averages of batch normalization settle.
    steps = arguments.epochs * len(batches)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, decay_steps=steps)
    model = build()
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(batches, epochs=arguments.epochs, verbose=2)

    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "mnist_judge.keras"
    save_without_optimizer(model, file)
    print(report(keras.models.load_model(file), data, file))


if __name__ == "__main__":
    main()
