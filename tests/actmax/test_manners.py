"""What Python and its users expect of a call: signatures, answers to wrong names, animations."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest
from PIL import Image

import actmax
import regularizers
from actmax.maximizer import misnamed


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])


def named(function):
    kinds = inspect.signature(function).parameters.values()
    return [(p.name, p.default, p.annotation) for p in kinds if p.kind is p.KEYWORD_ONLY]


def test_maximize_has_the_arguments_of_maximizer_and_of_its_call_with_their_defaults():
    assert named(actmax.maximize) == named(actmax.Maximizer.__init__) + named(
        actmax.Maximizer.__call__
    )
    documented = inspect.getdoc(actmax.maximize)
    assert all(f"{name}: " in documented for name, _, _ in named(actmax.maximize))


def test_every_argument_arrives(model):
    arguments = {
        "input_range": (0, 1), "regularizers": [regularizers.L2(1.0)], "labels": ["a", "b", "c"],
        "steps": 3, "seed": 5, "weights": {"l2": 2.0}, "learning_rate": 0.1, "copies": 2,
    }  # fmt: skip
    config = actmax.maximize(model, targets=["b"], **arguments).config
    assert config["copies"] == 2
    call = config["call"]
    assert (call["steps"], call["seed"], call["weights"]) == (3, 5, {"l2": 2.0})
    assert call["learning_rate"] == 0.1


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("iterations", "steps="), ("max_iter", "steps="), ("tv_weight", "regularizers.TotalVariation("),
        ("input_modifiers", "regularizers=["), ("filter_indices", "targets="), ("lr", "learning_rate="),
        ("seed_input", "initial_images="), ("random_state", "seed="), ("layer_name", "objective="),
        ("values_range", "input_range=(low, high)"), ("useFft", "actmax.Fourier()"),
        ("clone", "Leave it out"), ("restarts", ".sweep("), ("step", "'steps'"),
        ("regulariser", "'regularizers'"), ("batchSize", "images="),
    ],
)  # fmt: skip
def test_a_wrong_name_is_answered_from_its_meaning_and_its_spelling(model, wrong, right):
    with pytest.raises(TypeError, match=f"arguments of maximize. Received: '{wrong}'") as error:
        actmax.maximize(model, **{wrong: 1})
    assert right in str(error.value)


def test_maximizer_its_call_and_its_sweep_answer_too(model):
    with pytest.raises(TypeError, match=r"arguments of Maximizer.*optimizer="):
        actmax.Maximizer(model, optim=1)
    maximizer = actmax.Maximizer(model, input_range=(0, 1), regularizers=[])
    with pytest.raises(TypeError, match=r"call of Maximizer.*Write steps="):
        maximizer([0], iterations=3)
    with pytest.raises(TypeError, match=r"arguments of sweep.*Write steps="):
        maximizer.sweep([0], iterations=3)


def test_every_meaning_is_an_argument_of_ours():
    assert set(misnamed._MEANINGS) <= {name for name, _, _ in named(actmax.maximize)} | {
        "targets",
        "objective",
    }
    assert not set(misnamed._MEANT) & set(misnamed._MEANINGS)


@pytest.mark.parametrize("part", [keras.regularizers.L2(0.1), keras.regularizers.L1(0.1)])
def test_a_regularizer_of_keras_is_answered_with_ours_and_the_weight(model, part):
    with pytest.raises(TypeError, match=r"position 0.*regularizers\.L2\(w\)"):
        actmax.maximize(model, targets=[0], input_range=(0, 1), regularizers=[part])


def test_the_weight_that_the_message_names_makes_the_same_penalty():
    images = np.random.default_rng(0).uniform(size=[1, 6, 6, 1]).astype("float32")
    theirs = float(keras.regularizers.L2(0.1)(images))
    ours = regularizers.L2(0.1 * 36)
    assert ours.weight * float(ours(images)[0]) == pytest.approx(theirs, rel=1e-5)


def test_a_result_animates_what_frames_kept(model, tmp_path):
    frames = actmax.Frames()
    call = {"input_range": (0, 1), "regularizers": [], "steps": 4, "callback_every": 1}
    result = actmax.maximize(model, targets=[0, 1], callbacks=[frames], **call)
    file = result.save_gif(tmp_path / "run.gif", fps=5)
    with Image.open(file) as gif:
        assert gif.n_frames == 5  # the start, and four steps
    kept = [frame.copy() for frame in result.frames.frames]
    actmax.maximize(model, targets=[2], callbacks=[frames], **call)  # the callback again
    assert all(map(np.array_equal, kept, result.frames.frames))
    pages = [
        result.report(tmp_path / f"{name}.html", **given).read_text()
        for name, given in {
            "none": {},
            "callback": {"animation": result.frames},
            "film": {"film": result.frames.film(0, 1)},
        }.items()
    ]
    assert pages[1] == pages[2] != pages[0]


def test_a_result_without_frames_says_what_to_do(model, tmp_path):
    result = actmax.maximize(model, targets=[0], input_range=(0, 1), regularizers=[], steps=1)
    for one in (result, result.take([0]), actmax.Result.load(result.save(tmp_path / "saved"))):
        with pytest.raises(ValueError, match=r"callbacks=\[actmax\.Frames\(\)\]"):
            one.save_gif(tmp_path / "run.gif")
    with pytest.raises(TypeError, match="animation to be the"):
        result.report(tmp_path / "a.html", animation="run.gif")
    with pytest.raises(ValueError, match="seen no step"):
        result.report(tmp_path / "a.html", animation=actmax.Frames())
