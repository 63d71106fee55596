"""The pictures of the default recipe, judged as a person gets them: re-read from their 8-bit files."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import actmax
from actmax import zoo

TESTS = Path(__file__).parents[1]
# Models too large to ship, in a folder beside the checkout on the machines of the project.
SHARED = TESTS.parents[1] / "shared" / "models"


def read_back(folder: Path) -> np.ndarray:
    """Images of a saved result, from its PNG files. `[N, H, W, C]`, in 0..255."""
    paths = sorted(path for path in folder.glob("*.png") if path.name != "grid.png")
    images = np.stack([np.asarray(Image.open(path), np.float32) for path in paths])
    return images if images.ndim == 4 else images[..., None]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    result = actmax.maximize(
        zoo.load("mnist"), targets=range(10), labels=zoo.labels("mnist"), input_range=(0, 1), seed=0
    )
    return read_back(result.save(tmp_path_factory.mktemp("digits"))) / 255.0


def test_the_model_is_sure_of_all_ten_digits(digits):
    probabilities = zoo.load("mnist").predict(digits, verbose=0)
    assert np.all(np.diagonal(probabilities) >= 0.99)


def test_another_network_trained_on_other_images_names_the_digits(digits):
    judge = keras.models.load_model(TESTS / "judge" / "mnist_judge.keras")
    named = judge.predict(digits, verbose=0).argmax(axis=1)
    assert np.sum(named == np.arange(10)) >= 8


def test_every_start_ends_in_a_digit_that_another_network_names():
    # A recipe that left loops open, or strokes beside them, had 8 of these 16 named.
    targets = [0] * 8 + [9] * 8
    result = actmax.maximize(zoo.load("mnist"), targets=targets, input_range=(0, 1))
    judge = keras.models.load_model(TESTS / "judge" / "mnist_judge.keras")
    named = judge.predict(result.to_uint8() / 255.0, verbose=0).argmax(axis=1)
    assert np.sum(named == targets) >= 14


def test_the_judge_does_not_name_pixels_without_regularizers():
    # The control: the same network is as sure, and the judge is not fooled.
    model = zoo.load("mnist")
    plain = actmax.maximize(model, targets=range(10), input_range=(0, 1), regularizers=[], steps=64)
    assert np.all(np.diagonal(model.predict(plain.images, verbose=0)) >= 0.99)
    judge = keras.models.load_model(TESTS / "judge" / "mnist_judge.keras")
    named = judge.predict(plain.images, verbose=0).argmax(axis=1)
    assert np.sum(named == np.arange(10)) <= 5


def test_the_model_names_the_cifar_classes(tmp_path):
    model = zoo.load("cifar10")
    result = actmax.maximize(
        model, targets=range(10), labels=zoo.labels("cifar10"), input_range=(0, 1), steps=128
    )
    named = model.predict(read_back(result.save(tmp_path)) / 255.0, verbose=0).argmax(axis=1)
    assert np.sum(named == np.arange(10)) >= 8


@pytest.mark.shared
@pytest.mark.skipif(
    not (SHARED / "efficientnet_lite0.keras").exists(),
    reason="EfficientNet-Lite0 is not in the repository; the CIFAR-10 test above is its sibling",
)
def test_an_imagenet_network_names_its_classes(tmp_path):
    model = keras.models.load_model(SHARED / "efficientnet_lite0.keras")
    labels = json.loads((SHARED / "imagenet_labels.json").read_text())
    targets = [130, 340, 980]  # flamingo, zebra, volcano
    result = actmax.maximize(model, targets=targets, labels=labels, steps=160)
    named = model.predict(read_back(result.save(tmp_path)), verbose=0).argmax(axis=1)
    assert named.tolist() == targets
