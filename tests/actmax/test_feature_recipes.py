"""Recipes of growing canvases and of reference images, with few steps: what they do at each step."""

from __future__ import annotations

import itertools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import zoo
from actmax.recipes import accentuation, class_octaves, distributions, plug_in_inversion
from tests.conformance.models import SHAPE, tiny


def some(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def test_a_grown_canvas_is_the_last_image_in_the_middle_of_noise():
    images, noise = some(2, 4, 6, 3), some(2, 10, 11, 3, seed=1)
    canvas = plug_in_inversion.grown(images, (10, 11), (2, 3), noise)
    inner = tf.image.resize(images, (8, 8)).numpy()
    np.testing.assert_array_equal(canvas[:, 1:9, 1:9], inner)
    border = np.ones((10, 11), bool)
    border[1:9, 1:9] = False
    np.testing.assert_array_equal(canvas[:, border], noise[:, border])


def test_the_canvas_grows_to_the_models_size_in_seven_stages():
    model = keras.Sequential(
        [keras.Input((16, 24, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
    )
    results = plug_in_inversion.invert(model, [0, 2], (0.0, 1.0), steps=1, copies=2, seed=1)
    sizes = [(2 * stage, 3 * stage) for stage in range(2, 9)]
    assert [result.images.shape for result in results] == [(2, *size, 1) for size in sizes]
    for before, after in itertools.pairwise(results):
        height, width = after.images.shape[1:3]
        inner = tf.image.resize(before.images, (height - 1, width - 1)).numpy()
        # One step of Adam moves a value by its learning rate at most.
        assert np.abs(after.images[:, :-1, :-1] - inner).max() <= 0.01 + 1e-6
    assert all(0 <= result.images.min() <= result.images.max() <= 1 for result in results)


def test_one_step_of_an_octave_moves_values_by_its_step_in_the_mean():
    one = class_octaves.Octave(1.0, 1, (0.0, 0.0), (11.0, 11.0))
    still = one._replace(step=(0.0, 0.0))
    model = zoo.load("cifar10")
    start, moved = (
        class_octaves.draw(model, [3], (0.0, 1.0), octaves=[octave], seed=2)[0].images
        for octave in (still, one)
    )
    assert np.mean(start) == pytest.approx(200 / 255, abs=0.01)
    assert np.mean(np.abs(moved - start)) == pytest.approx(11 / 255, rel=0.1)
    # With a blur in the step's end there is less of it.
    blurred = class_octaves.draw(
        model, [3], (0.0, 1.0), octaves=[one._replace(sigma=(14.0, 14.0))], seed=2
    )[0].images
    assert np.std(blurred) < 0.6 * np.std(moved)


def test_octaves_grow_beyond_the_model(tmp_path, capsys):
    assert class_octaves.main(["--out", str(tmp_path), "--steps", "0.01"]) == 0
    lines = capsys.readouterr().out.splitlines()
    sizes = [re.search(r"canvas \((\d+), ", line).group(1) for line in lines[:4]]
    assert sizes == ["32", "38", "46", "46"]
    assert actmax.Result.load(tmp_path).images.shape == (10, 46, 46, 3)


def test_aligned_images_come_nearer_to_the_references(tmp_path, capsys):
    references = distributions.stripes(4, 32, 1)
    assert references.min() >= 0
    assert references.max() <= 1
    np.save(tmp_path / "stripes.npy", references)
    missed = {}
    for steps in (0, 12):
        call = ["--references", tmp_path / "stripes.npy", "--out", tmp_path / "out", "--images", 2]
        assert distributions.main([str(each) for each in (*call, "--steps", steps)]) == 0
        numbers = re.findall(r"misses (\d\.\d+)", capsys.readouterr().out)
        missed[steps] = np.array(numbers, float)
    assert missed[12].shape == (2,)
    assert np.all(missed[12] < 0.9 * missed[0])


VIEWS = {"input_range": (0, 1), "regularizers": []}


def test_the_balance_is_the_ratio_of_the_pulls():
    model, image = tiny(), some(1, *SHAPE)
    logit = actmax.Logit(1)
    ratio = accentuation.balance(model, logit, -4.0 * logit, image, VIEWS)
    assert ratio == pytest.approx(0.25, rel=1e-5)
    with pytest.raises(ValueError, match="not 0"):
        accentuation.balance(model, logit, 0.0 * logit, image, VIEWS)


def test_an_accentuated_image_stays_nearer_the_stronger_its_anchor():
    model, image = tiny(), some(*SHAPE)
    before = actmax.activations(model, image[None], ":logits")[0, 1]
    reference = actmax.activations(model, image[None], "conv")[0]
    missed = []
    for strength in (0.01, 3.0):
        result = accentuation.accentuate(
            model, actmax.Logit(1), "conv", image, (0, 1), strength=strength, crops=4, steps=20
        )
        assert actmax.activations(model, result.images, ":logits")[0, 1] > before
        own = actmax.activations(model, result.images, "conv")[0]
        missed.append(np.sum((own - reference) ** 2) / np.sum(reference**2))
    assert missed[1] < 0.7 * missed[0]


def test_the_program_prints_logits_before_and_after(tmp_path, capsys):
    assert accentuation.main(["--out", str(tmp_path), "--targets", "3", "--steps", "4"]) == 0
    before, after = map(float, re.findall(r"-?\d+\.\d+", capsys.readouterr().out.splitlines()[0]))
    assert after > before
    assert (tmp_path / "grid.png").exists()
