"""Train the zoo's models: `python -m actmax.zoo.train mnist --out DIR`.

The network and its training are those of the article: no batch normalization, no augmentation, Adam
with its default settings. But there are fewer training images. Each model is trained on a fixed
range of them, so that a judge can be trained on the others and shares no image with its subject.

Run it with the oldest Keras that actmax supports: a newer Keras reads the files of an older one,
but an older one refuses fields that it does not know (3.12 cannot read what 3.15 writes).
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from actmax import archives, zoo

SEED = 0
BATCH_SIZE = 128


@dataclass(frozen=True)
class Recipe:
    """What differs between the models of the zoo."""

    input_shape: tuple[int, int, int]
    training_images: slice


RECIPES = {
    "mnist": Recipe((28, 28, 1), slice(0, 30_000)),
    "cifar10": Recipe((32, 32, 3), slice(0, 20_000)),
}


class Data(NamedTuple):
    """Images float32 in (0, 1), `[N, H, W, C]`, and class indices `[N]`."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def read(name: str, file: Path | None, training_images: slice) -> Data:
    """A range of the training images, and all test images.

    Args:
        name: `"mnist"` or `"cifar10"`.
        file: an `.npz` with uint8 arrays `x_train`, `y_train`, `x_test`, `y_test`; None for what
            `keras.datasets` downloads.
        training_images: which of the training images to keep.

    Raises:
        ValueError: there are fewer training images than asked for.
    """
    if file is None:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    else:
        with file.open("rb") as stream, archives.opened(stream) as arrays:
            x_train, y_train = arrays["x_train"], arrays["y_train"]
            x_test, y_test = arrays["x_test"], arrays["y_test"]
    if len(x_train) < training_images.stop:
        raise ValueError(
            f"Expected at least {training_images.stop} training images. Received {len(x_train)}. "
            "Do pass the whole training set: which images are used is part of the recipe."
        )

    def as_images(pixels: np.ndarray) -> np.ndarray:
        # MNIST comes without a channel axis.
        return np.reshape(pixels, (*pixels.shape[:3], -1)).astype("float32") / 255.0

    def as_labels(classes: np.ndarray) -> np.ndarray:
        # CIFAR-10 comes with class indices [N, 1].
        return np.ravel(classes).astype("int32")

    return Data(
        as_images(x_train[training_images]),
        as_labels(y_train[training_images]),
        as_images(x_test),
        as_labels(y_test),
    )


def build(input_shape: tuple[int, int, int], classes: int = 10) -> keras.Model:
    """The article's network, untrained and not compiled: `[N, H, W, C] -> [N, classes]`.

    Args:
        input_shape: height, width and channels of the images; they are expected in (0, 1).
        classes: number of output units.

    Example:
        >>> from actmax.zoo.train import build
        >>> build((28, 28, 1)).count_params()
        1387594
    """
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input(input_shape, name="images"),
            layers.Conv2D(32, 3, activation="relu", name="conv"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Dropout(0.25, name="dropout"),
            layers.Flatten(name="flatten"),
            layers.Dense(256, activation="relu", name="dense"),
            layers.Dense(classes, activation="softmax", name="predictions"),
        ],
        name="cnn",
    )


def save_without_optimizer(model: keras.Model, file: Path) -> None:
    """Write the model as if it had never been compiled.

    Adam keeps two numbers per weight, so a file with the optimizer in it is three times as large.
    (`keras.models.clone_model` does not help: a clone of a compiled model is compiled, too.)
    """
    bare = type(model).from_config(model.get_config())
    bare.set_weights(model.get_weights())
    bare.save(file)


def report(model: keras.Model, data: Data, file: Path) -> str:
    """One line: accuracy on the training and the test images, size and SHA-256 of the file."""

    def accuracy(images: np.ndarray, classes: np.ndarray) -> float:
        probabilities = model.predict(images, batch_size=1000, verbose=0)
        return float(np.mean(np.argmax(probabilities, axis=-1) == classes))

    content = file.read_bytes()
    return (
        f"{file.name}: train accuracy {accuracy(data.train_images, data.train_labels):.4f}, "
        f"test accuracy {accuracy(data.test_images, data.test_labels):.4f}, "
        f"{len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}"
    )


def main() -> None:
    """Train one model and write it to a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m actmax.zoo.train", description="Train a zoo model."
    )
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument(
        "--data", type=Path, metavar="FILE.npz", help="default: download by keras.datasets"
    )
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    arguments = parser.parse_args()

    keras.utils.set_random_seed(SEED)
    recipe = RECIPES[arguments.name]
    data = read(arguments.name, arguments.data, recipe.training_images)
    model = build(recipe.input_shape)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        data.train_images,
        data.train_labels,
        batch_size=BATCH_SIZE,
        epochs=arguments.epochs,
        verbose=2,
    )

    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / zoo.path(arguments.name).name
    save_without_optimizer(model, file)
    # What is reported is what was written, so the file is read back.
    print(report(keras.models.load_model(file), data, file))


if __name__ == "__main__":
    main()
