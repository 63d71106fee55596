"""The call that a report prints repeats the run: executed, it gives the same bytes."""

from __future__ import annotations

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
import regularizers
from actmax import zoo
from actmax.reporting import python_call
from regularizers import L2, Jitter, Noise, TotalVariation, random

L = keras.layers


@pytest.fixture(scope="module")
def gray():
    keras.utils.set_random_seed(0)
    layers = [
        L.Conv2D(4, 3, name="conv"),
        L.BatchNormalization(),
        L.ReLU(),
        L.Flatten(),
        L.Dense(3),
    ]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers])


@pytest.fixture(scope="module")
def color():
    keras.utils.set_random_seed(0)
    layers = [L.Conv2D(4, 3), L.BatchNormalization(), L.GlobalAveragePooling2D(), L.Dense(4)]
    return keras.Sequential([keras.Input((16, 16, 3)), *layers])


@pytest.fixture(scope="module")
def two_inputs():
    keras.utils.set_random_seed(1)
    image, age = keras.Input((6, 6, 1), name="image"), keras.Input((1,), name="age")
    joined = L.Concatenate()([L.Flatten()(image), age])
    return keras.Model({"image": image, "age": age}, L.Dense(2)(joined))


@regularizers.penalty
def bright(images):
    return tf.reduce_mean(images, axis=(1, 2, 3))


@regularizers.transform
def faded(images, seeds, step):
    return images * random.uniform(seeds, [1, 1, 1], 0.8, 1.0, images.dtype)


@dataclasses.dataclass(frozen=True)
class Floor(regularizers.Penalty):
    least: float = 0.1

    def __call__(self, images):
        return tf.reduce_mean(tf.nn.relu(self.least - images), axis=(1, 2, 3))


def half(images):
    return images / 2


def falling(step):
    return 1.0 / (1.0 + step)


def stop_at_two(snapshot):
    return actmax.STOP if snapshot.step >= 2 else None


MASK = np.zeros((8, 8))
MASK[:4] = 1
PHOTO = np.linspace(0, 1, 64, dtype="float32").reshape(1, 8, 8, 1)
LARGE = np.linspace(0, 1, 400, dtype="float32").reshape(1, 20, 20, 1)
WEIGHTS = np.linspace(1, 2, 2 * 2).reshape(2, 2)
NOISE = {"input_range": (0, 1), "regularizers": [Noise(0.3), L2(0.1)]}
MINE = {"bright": bright, "faded": faded, "Floor": Floor, "half": half}
# Arguments by the kind of run, and what its reader must hand in.
GRAY = {
    "recipe of gray images": ({"input_range": (0, 1)}, {}),
    "regularizers and seeds": ({**NOISE, "seed": [3, 4]}, {}),
    "antithetic copies": ({**NOISE, "copies": 2, "antithetic": True}, {}),
    "canvas": ({**NOISE, "canvas": (12, 10)}, {}),
    "start": ({**NOISE, "initial_images": PHOTO}, {}),
    "large start": (
        {**NOISE, "canvas": (20, 20), "initial_images": LARGE},
        {"initial_images": LARGE},
    ),
    "mask": ({**NOISE, "mask": MASK, "initial_images": PHOTO}, {}),
    "schedules": (
        {
            "input_range": (-1, 1),
            "regularizers": [TotalVariation(actmax.Linear(2.0, 0.5)), Jitter(1)],
            "learning_rate": actmax.Cosine(0.1, 0.01),
        },
        {},
    ),
    "weights by step": ({**NOISE, "weights": {"l2": WEIGHTS}, "labels": ["a", "b", "c"]}, {}),
    "functions of the user": (
        {
            "input_range": (0, 1),
            "regularizers": [2.0 * bright, faded, Floor(3.0, least=0.2)],
            "preprocess": half,
        },
        MINE,
    ),
    "a penalty with two fields": (
        {
            "input_range": (0, 1),
            "regularizers": [dataclasses.replace(bright, weight=actmax.Linear(1, 0), every=2)],
        },
        MINE,
    ),
    "stopped": (
        {**NOISE, "callbacks": [stop_at_two, actmax.Frames()], "callback_every": 1, "steps": 4},
        {"stop_at_two": stop_at_two},
    ),
    "channels": ({**NOISE, "objective": actmax.Channel("conv") - 0.5 * actmax.Logit(1)}, {}),
    "optimizer of Keras": ({**NOISE, "optimizer": keras.optimizers.Adam(0.07, beta_1=0.8)}, {}),
    "rate of Keras": (
        {
            **NOISE,
            "optimizer": keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 4)),
        },
        {},
    ),
    "gradients and parameterization": (
        {
            **NOISE,
            "gradients": [actmax.Normalize()],
            "parameterization": actmax.Fourier(decay=1.5),
            "balance": True,
            "optimizer": actmax.RMSprop(0.03),
        },
        {},
    ),
    "constraint": (
        {
            "input_range": actmax.Box(0.1, 0.9),
            "regularizers": [],
            "parameterization": actmax.Pixels(),
            "optimizer": actmax.AfterUpdate(actmax.SGD(0.5), [actmax.DecayImage(0.1)]),
        },
        {},
    ),
    "lists of terms": (
        {
            **NOISE,
            "objective": [0.5, 1.0] * actmax.Logit() - actmax.Channel("conv", [1, 3]) / 2,
        },
        {},
    ),
    "partial and schedule of the user": (
        {
            "input_range": (0, 1),
            "regularizers": [L2(falling)],
            "preprocess": functools.partial(tf.multiply, 0.5),
        },
        {"falling": falling},
    ),
    "best, folded": ({**NOISE, "keep": "best", "callback_every": 1, "compile": "fold"}, {}),
    "another precision": ({**NOISE, "precision": "float64"}, {}),
}


def repeated(result, **names):
    """What the printed call gives, with the record as it is after it was saved."""
    config = json.loads(json.dumps(actmax.records.plain(result.config)))
    text = python_call(config, result.targets, result.labels)
    try:
        exec(text, names)  # noqa: S102 (it is the code that is tested)
    except Exception as error:
        raise AssertionError(f"{error}\n{text}") from error
    return names["result"], text


def assert_same(one, other):
    for name, images in one.items() if isinstance(one, dict) else {"images": one}.items():
        assert images.tobytes() == (other[name] if isinstance(other, dict) else other).tobytes()


@pytest.mark.parametrize("kind", GRAY)
def test_a_printed_call_repeats_the_bytes(gray, kind):
    arguments, own = GRAY[kind]
    # What the call says does not depend on how the loop runs, and without a graph it begins at once.
    result = actmax.maximize(gray, targets=[0, 2], **{"steps": 2, "compile": False, **arguments})
    again, text = repeated(result, model=gray, **own)
    assert_same(result.images, again.images)
    assert again.config == result.config
    arrays = [name for name, value in own.items() if isinstance(value, np.ndarray)]
    assert all(f"# {name}: " in text for name in arrays)
    assert "checkpoint" not in text and "Frames" not in text


PRESETS = {
    "recipe of color images": lambda model: {"input_range": (0, 1)},
    "lucid": lambda model: actmax.presets.lucid(model, (0, 1)),
    "yosinski": lambda model: actmax.presets.yosinski(model, (0, 1)),
    "mahendran_vedaldi": lambda model: actmax.presets.mahendran_vedaldi(model, (0, 1)),
    "mei": lambda model: actmax.presets.mei(model, (0, 1)),
    "maco": lambda model: actmax.presets.maco(model, (0, 1), crops=1),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_printed_preset_repeats_the_bytes(color, preset):
    arguments = {"compile": False, **PRESETS[preset](color), "steps": 2}
    result = actmax.maximize(color, targets=[3], **arguments)
    again, _ = repeated(result, model=color, **_arrays(arguments))
    assert_same(result.images, again.images)


def _arrays(arguments):
    """What a reader takes from the preset: its arrays, by the names that the call gives them."""
    found = {}

    def walk(value, name):
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            for field in dataclasses.fields(value):
                part = getattr(value, field.name)
                if isinstance(part, actmax.types.FixedArray):
                    found[f"{name}_{field.name}"] = part.values
                walk(part, f"{name}_{field.name}")

    for name, value in arguments.items():
        walk(value, name)
    return found


def test_a_printed_pen_repeats_the_bytes():
    model = zoo.load("mnist")
    preset = actmax.presets.drawn(model, (0, 1), steps=2)
    result = actmax.maximize(model, targets=[3], **preset)
    assert_same(result.images, repeated(result, model=model)[0].images)


def test_a_printed_sweep_repeats_the_bytes_and_has_its_weights(gray):
    maximizer = actmax.Maximizer(gray, compile=False, **NOISE)
    sweep = maximizer.sweep(
        [0, 2],
        weights={"l2": [0.1, 1.0]},
        learning_rate=[0.02, 0.05],
        seeds=3,
        steps=2,
        batch_size=4,
    )
    again, text = repeated(sweep.result, model=gray)
    assert_same(sweep.result.images, again.images)
    assert "weights={'l2': [0.1, 1.0]}" in text and "learning_rate=[0.02, 0.05]" in text


def test_printed_calls_of_several_inputs_and_of_an_ensemble_repeat_the_bytes(two_inputs, gray):
    fixed = {"age": np.array([[0.3]], "float32")}
    eager = {"regularizers": [], "steps": 2, "compile": False}
    result = actmax.maximize(
        two_inputs,
        targets=[0],
        input_range={"image": (0, 1)},
        fixed=fixed,
        **eager,
    )
    assert_same(result.images, repeated(result, model=two_inputs)[0].images)
    both = actmax.maximize(
        two_inputs,
        targets=[0],
        input_range={"image": (0, 1), "age": (0, 9)},
        **eager,
    )
    assert_same(both.images, repeated(both, model=two_inputs)[0].images)
    members = actmax.maximize([gray, gray], targets=[0], steps=2, compile=False, **NOISE)
    again, text = repeated(members, model=[gray, gray])
    assert_same(members.images, again.images)
    assert "# model: a list of " in text


def test_what_is_no_code_is_named_with_how_to_hand_it_in(gray):
    ours = actmax.maximize(
        gray, lambda outputs: outputs[:, 0], input_range=(0, 1), regularizers=[], steps=1
    )
    assert "# objective: a function of yours; define it above" in ours.config["python"]
    large = actmax.maximize(
        gray, targets=[0], canvas=(20, 20), initial_images=LARGE, steps=1, **NOISE
    ).config["python"]
    assert "# initial_images: an array of shape (1, 20, 20, 1), float32, SHA-256 " in large


def test_a_list_that_its_owner_changes_later_is_written_as_it_was_given(gray):
    mine = [L2(0.5)]
    maximizer = actmax.Maximizer(gray, input_range=(0, 1), regularizers=mine)
    mine.append(Jitter(1))
    text = maximizer([0], steps=1).config["python"]
    assert "L2(weight=0.5)" in text and "Jitter" not in text


def test_a_record_without_the_call_is_written_from_its_parts(gray):
    result = actmax.maximize(gray, targets=[0], steps=1, **NOISE)
    config = {name: value for name, value in result.config.items() if name != "python"}
    text = python_call(config, result.targets, result.labels)
    assert "Noise(" in text and "steps=1" in text
