"""The recipes, with few steps: they run, write what they say, and their numbers are true."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import actmax
from actmax import recipes, zoo
from actmax.recipes import (
    cifar10_classes,
    deep_dream,
    frank_wolfe,
    lbfgs,
    mnist_digits,
    multi_start,
    regression,
    softmax_kept,
    training_time,
)

MODULES = pkgutil.iter_modules(recipes.__path__)
NAMES = sorted(module.name for module in MODULES if not module.name.startswith("_"))


def run(recipe, *arguments):
    assert recipe.main([str(argument) for argument in arguments]) == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_short_and_names_its_source(name):
    module = importlib.import_module(f"actmax.recipes.{name}")
    assert callable(module.main)
    assert "Source: " in module.__doc__
    assert re.search(r"\b(19|20)\d\d\b", module.__doc__)
    assert len(Path(module.__file__).read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize(
    ("recipe", "name"), [(mnist_digits, "mnist"), (cifar10_classes, "cifar10")]
)
def test_ten_pictures_with_labels(tmp_path, capsys, recipe, name):
    run(recipe, "--out", tmp_path, "--steps", 3, "--seed", 3)
    result = actmax.Result.load(tmp_path)
    assert result.names() == zoo.labels(name)
    assert len(list(tmp_path.glob("0*.png"))) == 10
    assert result.images.min() >= 0.0
    assert result.images.max() <= 1.0
    lines = capsys.readouterr().out.splitlines()
    for label, score, line in zip(result.names(), result.scores, lines, strict=False):
        assert line.startswith(f"{label}: logit {score:.4g}, ")
    assert lines[-1] == f"grid: {tmp_path / 'grid.png'}"


def test_softmax_kept_against_removed(tmp_path, capsys):
    run(softmax_kept, "--out", tmp_path, "--steps", 24)
    kept, removed = (actmax.Result.load(tmp_path / name) for name in ("kept", "removed"))
    assert (tmp_path / "side_by_side.png").is_file()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:12]]
    numbers = np.array([[float(cell) for cell in row[1:]] for row in rows])
    # Each yardstick says of its own images what their run said, and the model itself agrees.
    np.testing.assert_allclose(numbers[:, 0], kept.scores, atol=1e-4)
    np.testing.assert_allclose(numbers[:, 3], removed.scores, atol=0.01)
    model = zoo.load("mnist")
    np.testing.assert_allclose(numbers[:, 2], model(removed.images).numpy().diagonal(), atol=1e-4)
    # The logit is higher where the logit was maximized; that is the point.
    assert np.all(numbers[:, 3] > numbers[:, 1])


@pytest.fixture
def synthetic(tmp_path):
    """Images of ten classes that a network tells apart within an epoch: each a shade of its own."""
    draws = np.random.default_rng(0)

    def images(count):
        classes = np.arange(count) % 10
        shade = 25 * classes[:, None, None]
        return (shade + draws.integers(0, 10, [count, 28, 28])).astype(np.uint8), classes

    x_train, y_train = images(300)
    x_test, y_test = images(50)
    file = tmp_path / "synthetic.npz"
    np.savez(file, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return file


def test_training_time(tmp_path, capsys, synthetic):
    out = tmp_path / "out"
    arguments = ["--name", "mnist", "--data", synthetic, "--images", 100, "--epochs", 1, 2]
    run(training_time, "--out", out, "--steps", 1, *arguments)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 epochs: accuracy ")
    assert lines[1].startswith("2 epochs: accuracy ")
    shorter, longer = (actmax.Result.load(out / f"{n}_epochs") for n in (1, 2))
    # The same noise to start from, another network.
    assert not np.array_equal(shorter.images, longer.images)
    assert (out / "side_by_side.png").is_file()


def test_training_time_wants_the_shorter_first(capsys):
    with pytest.raises(SystemExit, match="2"):
        training_time.main(["--epochs", "3", "3"])
    assert "Expected --epochs A B with A < B. Received: 3 3." in capsys.readouterr().err


def test_training_time_says_when_there_are_too_few_images(synthetic):
    with pytest.raises(ValueError, match="Expected at least 400 training images"):
        training_time.main(["--name", "mnist", "--data", str(synthetic), "--images", "400"])


def test_regression_finds_both_optima(tmp_path, capsys):
    run(regression, "--out", tmp_path, "--epochs", 12, "--restarts", 16, "--steps", 128)
    lines = capsys.readouterr().out.splitlines()
    distances = [float(re.search(r"([\d.]+) away", line).group(1)) for line in lines]
    # 12 epochs leave the network's own optimum about 0.05 from the true one, in a box of 4 x 4, whose
    # other hill and valley are more than 2 away.
    assert len(distances) == 2
    assert max(distances) < 0.25
    best = actmax.Result.load(tmp_path / "maximum")
    assert best.images.shape == (16, 2)
    assert np.abs(best.images).max() <= 2.0


def test_the_true_optima_of_the_regression_are_at_its_largest_bumps():
    axis = np.linspace(regression.LOW, regression.HIGH, 201)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    values = regression.truth(points)
    assert np.linalg.norm(points[np.argmax(values)] - regression.BUMPS[0][1]) < 0.1
    assert np.linalg.norm(points[np.argmin(values)] - regression.BUMPS[2][1]) < 0.1


def test_dreams_raise_the_energy_of_the_layer(tmp_path, capsys):
    run(deep_dream, "--out", tmp_path, "--steps", 3, "--octaves", 2)
    lines = capsys.readouterr().out.splitlines()
    for line in lines[:4]:
        before, after = map(float, re.search(r"(\S+) -> (\S+)$", line).groups())
        assert after > 1.2 * before
    result = actmax.Result.load(tmp_path)
    assert result.images.shape == (4, 64, 64, 3)
    assert result.images.min() >= 0.0 and result.images.max() <= 1.0


def test_dreams_of_a_model_of_open_size_see_every_octave_as_it_is():
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="conv")(inputs))
    start = np.full((1, 20, 14, 1), 0.5, np.float32)
    result = deep_dream.dream(model, "conv", start, (0.0, 1.0), octaves=2, steps=2)
    assert result.images.shape == (1, 20, 14, 1)
    # Two octaves of two steps of mean size 1.5 / 255, before clipping.
    assert 0 < np.abs(result.images - start).mean() <= 4.01 * 1.5 / 255


def test_one_start_beside_several(tmp_path, capsys):
    run(multi_start, "--out", tmp_path, "--starts", 2, "--steps", 8)
    lines = capsys.readouterr().out.splitlines()
    result = actmax.Result.load(tmp_path)
    assert tuple(line.split()[0] for line in lines[1:11]) == zoo.labels("cifar10")
    shown = [float(line.split()[2]) for line in lines[1:11]]
    np.testing.assert_allclose(shown, result.scores, rtol=1e-3)


def test_frank_wolfe_on_digits(tmp_path, capsys):
    run(frank_wolfe, "--out", tmp_path, "--steps", 2)
    *lines, last = capsys.readouterr().out.splitlines()
    numbers = [re.search(r"objective (\S+) -> (\S+), gap (\S+)$", line).groups() for line in lines]
    assert len(numbers) == 10
    assert all(float(after) > float(before) for before, after, _ in numbers)
    assert all(float(gap) > 0 for _, _, gap in numbers)
    assert last.endswith(f"grid: {tmp_path / 'grid.png'}")


def test_lbfgs_on_digits(tmp_path, capsys):
    run(lbfgs, "--out", tmp_path, "--steps", 2)
    *lines, _ = capsys.readouterr().out.splitlines()
    result = actmax.Result.load(tmp_path)
    for digit, line in enumerate(lines):
        objective = float(re.search(r"objective (\S+) in", line).group(1))
        assert objective < result.scores[digit]
    assert len(lines) == 10
