"""What the default recipe of gray images believes, and what says so; and starts that are worth keeping."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import actmax
from actmax import evidence, zoo

JUDGE = Path(__file__).parents[1] / "judge" / "mnist_judge.keras"


def chosen(model, **given):
    maximizer = actmax.Maximizer(model, **{"input_range": (0, 1)} | given)
    return maximizer._built.chosen, maximizer.problem


def test_information_is_mutual_information_by_hand():
    # Two images, two classes: H(mean) = log 2, mean of H = H(0.9), of log 2.
    p = np.array([[0.9, 0.1], [0.1, 0.9]])
    own = -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1))
    assert evidence.information(p) == pytest.approx(1 - own, abs=1e-6)
    assert evidence.information(np.full([5, 3], 1 / 3)) == 0


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("low_high", [(0.0, 1.0), (-1.0, 1.0)])
def test_networks_of_digits_say_that_they_were_trained_on_strokes(turned, low_high):
    low, high = low_high
    sign = -1 if turned else 1

    def preprocess(x):
        x = (x - low) / (high - low)
        return 1 - x if turned else x

    for model in (zoo.load("mnist"), keras.models.load_model(JUDGE)):
        why, problem = chosen(model, input_range=low_high, preprocess=preprocess)
        assert why["recipe"].startswith("strokes")
        assert why["images"].endswith(
            "dark strokes on bright" if turned else "bright strokes on dark"
        )
        assert problem.inputs[0].parameterization.mean == -1.2 * sign
        (log_sum,) = [p for name, _, p in problem.penalties if name == "log_sum"]
        assert log_sum.center == (high if turned else low)


def network(side=20, units=4, channels=1, head="softmax"):
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential(
        [keras.Input((side, side, channels)), *layers, keras.layers.Dense(units, activation=head)]
    )


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (network, {}, "no kind of strokes stands out"),
        (lambda: network(head=None), {}, "no kind of strokes stands out"),
        (lambda: network(units=1, head=None), {}, "no probabilities of classes"),
        (lambda: network(head="sigmoid"), {}, "no probabilities of classes"),
        (network, {"input_range": actmax.Unbounded()}, "no black and white"),
    ],
    ids=["softmax", "linear", "one unit", "sigmoid units", "no range"],
)
def test_without_evidence_nothing_is_assumed(model, given, said):
    why, problem = chosen(model(), **given)
    assert said in why["images"] and why["recipe"].startswith("gray_images")
    assert "log_sum" not in [name for name, _, _ in problem.penalties]


def test_what_the_user_has_decides():
    strokes = np.zeros([3, 20, 20, 1], np.float32)
    strokes[:, 5:15, 9:11] = 1.0
    why, _ = chosen(network(), natural=strokes)
    assert why["images"].endswith("bright strokes on dark") and "natural=" in why["images"]
    why, _ = chosen(network(), natural=1 - strokes)
    assert why["images"].endswith("dark strokes on bright")
    photos = np.random.default_rng(0).uniform(0.2, 0.8, [8, 20, 20, 1])
    why, problem = chosen(zoo.load("mnist"), natural=np.resize(photos, (8, 28, 28, 1)))
    assert "no strokes" in why["images"] and why["recipe"].startswith("gray_images")
    # Uniform on 0.2 .. 0.8: a deviation of 0.6 / sqrt(12).
    assert problem.inputs[0].parameterization.std == pytest.approx(0.6 / 12**0.5, rel=0.05)


@pytest.mark.parametrize(
    ("natural", "error", "said"),
    [
        ("photo.png", TypeError, "natural to be images"),
        (np.zeros([2, 9, 9, 1]), ValueError, "natural of shape .M, 20, 20, 1."),
        (np.zeros([0, 20, 20, 1]), ValueError, "natural of shape"),
        (np.full([2, 20, 20, 1], 7.0), ValueError, "natural"),
        (np.full([2, 20, 20, 1], np.nan), ValueError, "natural"),
    ],
)
def test_natural_images_are_checked(natural, error, said):
    with pytest.raises(error, match=said):
        chosen(network(), natural=natural)


@pytest.mark.parametrize("channels", [1, 3])
def test_how_a_range_is_written_does_not_change_the_recipe(channels):
    pair, box = (
        chosen(network(channels=channels), input_range=given)
        for given in ((0, 1), actmax.Box(0, 1))
    )
    assert pair[0] == box[0]
    assert pair[1].inputs[0].parameterization == box[1].inputs[0].parameterization
    assert pair[1].inputs[0].constraint == box[1].inputs[0].constraint
    assert pair[1].optimizer == box[1].optimizer


def test_a_picture_to_start_from_is_kept_and_an_even_start_is_none():
    maximizer = actmax.Maximizer(network(channels=3), input_range=(0, 1))
    y, x = np.mgrid[:20, :20] / 19
    photo = np.stack([0.5 + 0.3 * np.sin(5 * x + 3 * y), x, y], -1)[None].astype(np.float32)
    starts = np.concatenate([photo, np.full_like(photo, 0.5)])
    result = maximizer([0, 1], initial_images=starts, steps=40)
    assert result.config["start"] == "1 of 2 rows start from a picture: 0.0625 of the recipe's rate"
    fast = maximizer(
        [0, 1], initial_images=starts, steps=40, learning_rate=actmax.Linear(0.1, 0.02)
    )

    def alike(image):
        return np.corrcoef(image.ravel(), photo.ravel())[0, 1]

    assert "start" not in fast.config
    assert alike(result.images[0]) > 0.9 > alike(fast.images[0])
    np.testing.assert_array_equal(result.images[1], fast.images[1])
    assert result.scores[0] > np.asarray(maximizer.problem.models[0].model(photo))[0, 0] - 1


@pytest.mark.parametrize("sides", [(80, 70), (65, 1)])
def test_large_pictures_are_mirrored_at_their_border_so_that_they_have_no_frame(sides):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((*sides, 3)), *layers])
    _, problem = chosen(model)
    (moved,) = [part for part in problem.inputs[0].transforms if part[1].name == "scale"]
    pads = [part for _, part in problem.inputs[0].transforms if part.name == "pad"]
    border = min(round(min(sides) / 10), min(sides) - 1)
    assert [(pad.pixels, pad.value) for pad in pads] == ([(border, "reflect")] if border else [])
    # What is padded is scaled up by as much: resized to the model's size, the picture is as large as it was.
    assert moved[1].low == pytest.approx(0.9 * (1 + 2 * border / min(sides)))
    assert actmax.Maximizer(model, input_range=(0, 1))([0], steps=1).images.shape == (1, *sides, 3)
