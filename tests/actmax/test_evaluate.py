"""`actmax.evaluate` and `actmax evaluate`: what is measured, and what is said to be absent."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import actmax
from actmax import zoo
from actmax.cli import main
from actmax.evaluation import sources
from actmax.images import from_uint8, save_png

CLASSES = 3
SHAPE = (12, 12, 1)


def linear_model(seed=0, name="judge"):
    """A softmax of a dense layer of a dense layer: features and logits known."""
    draws = np.random.default_rng(seed)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu", name="hidden"),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ],
        name=name,
    )
    weights = [draws.normal(0, 0.3, w.shape) for w in model.get_weights()]
    # The mean gray level says nothing, so that random pictures are of every class.
    weights[0] -= weights[0].mean(axis=0)
    model.set_weights(weights)
    return model


def natural_images(model, count=300):
    """Random pictures, each of the class that the model sees in it."""
    draws = np.random.default_rng(5)
    blocks = np.kron(draws.integers(0, 200, (count, 3, 3)), np.ones((4, 4)))
    images = (blocks[..., None] + draws.integers(0, 56, (count, *SHAPE))).astype(np.uint8)
    return images, model(images / np.float32(255)).numpy().argmax(axis=1)


@pytest.fixture(scope="module")
def model():
    return linear_model()


@pytest.fixture(scope="module")
def natural(model):
    return natural_images(model)


@pytest.fixture(scope="module")
def result(model):
    return actmax.maximize(
        model, targets=[0, 0, 1, 2, 2], input_range=(0, 1), regularizers=[], steps=20
    )


@pytest.fixture(scope="module")
def found(model, natural, result):
    return actmax.evaluate(
        result,
        judges={"itself": model, "other": linear_model(1)},
        natural=natural,
        model=model,
        path_layers=["hidden"],
    )


def test_scores_that_our_own_run_reports_are_those_of_its_images(found):
    assert found["honesty_gap_float"] <= 1e-6
    assert 0 < found["honesty_gap"] < 0.01
    assert found["range_violation"] == 0.0


def test_a_lie_is_found(model, result):
    levels = result.to_uint8()
    lying = actmax.evaluate(
        levels,
        model=model,
        classes=result.targets,
        input_range=(0, 1),
        reported=np.asarray(result.scores) + 100.0,
    )
    assert lying["honesty_gap"] > 1
    assert "only 8-bit images" in lying.absent["honesty_gap_float"]


def test_the_eight_bit_images_are_what_is_measured(model, result, natural):
    levels = result.to_uint8()
    same = actmax.evaluate(levels, judges=model, natural=natural, classes=result.targets)
    whole = actmax.evaluate(result, judges=model, natural=natural)
    assert same.measurements == whole.measurements
    logits = tf.math.log(model(from_uint8(levels, 0, 1))).numpy()
    expected = (logits.argmax(axis=1) == result.targets).mean()
    assert same["transfer"] == expected


def test_a_perfect_judge_gives_one_and_the_worst_judge_counts(found):
    itself, other = found.find("transfer", "itself"), found.find("transfer", "other")
    assert itself.natural == 1.0
    assert itself.value > other.value == found["transfer_min"]
    assert found["transfer"] == pytest.approx((itself.value + other.value) / 2)
    assert found["judge_z_min"] <= found["judge_z"]


def test_the_activation_is_compared_with_natural_images_of_the_same_range(found, model, natural):
    assert found["activation_ratio"] > 1
    assert found["activation_z"] > 3
    inside = actmax.evaluate(
        natural[0][:50], natural=natural, classes=natural[1][:50], model=model, input_range=(0, 1)
    )
    assert inside["activation_ratio"] <= 1
    assert inside["activation_z"] < found["activation_z"]


def test_natural_images_look_natural(natural, model):
    rows = slice(0, 300, 3)
    found = actmax.evaluate(
        natural[0][rows], natural=natural, classes=natural[1][rows], judges=model
    )
    assert found["transfer"] == 1.0
    assert found["judge_percentile"] == pytest.approx(0.5, abs=0.1)
    assert found["diversity"] == pytest.approx(1.0, abs=0.15)
    assert found["spectrum_slope"] == pytest.approx(found.find("spectrum_slope").natural, abs=0.05)
    assert found["high_frequency_ratio"] == pytest.approx(1.0, abs=0.05)


def test_what_was_not_given_is_named_and_never_nan(result):
    bare = actmax.evaluate(result)
    assert {m.metric for m in bare.measurements} == {
        "spectrum_slope", "saturation", "total_variation", "repetition",
    }  # fmt: skip
    assert bare.absent["transfer_min"] == "no judges were given"
    assert bare.absent["activation_ratio"] == "no model was given"
    assert bare.absent["spectrum_distance"] == "no natural images were given"
    assert bare.absent["train_on_synthetic"] == "training_seeds is 0"
    with pytest.raises(KeyError, match="no judges were given"):
        bare["transfer_min"]
    with pytest.raises(KeyError, match="Expected one of the metrics"):
        bare["beauty"]
    assert "not measured: " in str(bare)


def test_the_record_is_json_and_a_table(found):
    record = json.loads(found.to_json())
    assert record["config"]["judges"]["itself"]["features"] == "hidden"
    assert len(record["measurements"]) == len(found.to_records()) == len(found.measurements)
    assert all(np.isfinite(one["value"]) for one in found.to_records())
    assert "transfer_min" in str(found)


def test_a_judge_that_is_a_callable_has_opinions_and_no_features(model, result, natural):
    found = actmax.evaluate(result, judges=model.call, natural=natural)
    assert found["transfer"] == actmax.evaluate(result, judges=model)["transfer"]
    assert "no layer of features" in found.absent["plausibility"]


def test_a_judge_with_another_range_and_size_sees_the_same_picture(model, result):
    wide = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Rescaling(1 / 255.0), *model.layers], name="wide"
    )
    doubled = np.repeat(np.repeat(result.to_uint8(), 2, axis=1), 2, axis=2)
    found = actmax.evaluate(
        doubled,
        classes=result.targets,
        judges={"wide": actmax.Judge(wide, input_range=(0.0, 255.0)), "narrow": model},
    )
    assert found.find("transfer", "wide").images == found.find("transfer", "narrow").images
    assert found["transfer"] > 0.5


def test_a_network_is_trained_on_the_images_when_asked(result, natural):
    found = actmax.evaluate(result, natural=natural, training_seeds=1)
    assert 0 <= found["train_on_synthetic"] <= 1


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"classes": [0, 1]}, ValueError, "classes as 5 integers"),
        ({"judges": 3}, TypeError, "a Keras model, a callable, or a Judge"),
        ({"natural": np.zeros(3)}, ValueError, "natural images as"),
        ({"natural": (np.zeros((2, 12, 12, 1)), [0, 1])}, ValueError, "uint8 images"),
        ({"training_seeds": -1}, ValueError, "training_seeds"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(result, given, error, text):
    with pytest.raises(error, match=text):
        actmax.evaluate(result, **given)


def test_images_that_are_not_eight_bit_are_refused(result):
    with pytest.raises(TypeError, match="uint8 images"):
        actmax.evaluate(result.images)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"objective": actmax.Channel("hidden")}, r"Pass objective="),
        ({"preprocess": lambda images: 2 * images}, r"Pass preprocess="),
    ],
)
def test_scores_of_something_else_than_the_run_are_refused(model, arguments, text):
    run = actmax.maximize(
        model, targets=[0, 1], input_range=(0, 1), regularizers=[], steps=2, **arguments
    )
    with pytest.raises(ValueError, match=text):
        actmax.evaluate(run, model=model)
    found = actmax.evaluate(run, model=model, **arguments)
    assert found["honesty_gap_float"] <= 1e-6


def test_distances_do_not_depend_on_the_scale_of_a_judges_features(model, result, natural):
    louder = keras.models.clone_model(model)
    kernel, offset, *rest = model.get_weights()
    louder.set_weights([50 * kernel, 50 * offset, rest[0] / 50, rest[1]])
    judges = {"quiet": model, "loud": louder}
    found = actmax.evaluate(result, judges=judges, natural=natural)
    for metric in ("kernel_distance", "frechet_distance"):
        quiet, loud = found.find(metric, "quiet"), found.find(metric, "loud")
        assert quiet.value == pytest.approx(loud.value, rel=1e-3)
        assert quiet.natural == pytest.approx(loud.natural, rel=1e-2, abs=1e-3)


def test_an_objective_that_couples_images_is_refused(model, result, natural):
    """Its scores in batches of 250, the last one padded, were those of other batches than the run's."""
    for objective in (actmax.Logit() + actmax.Diversity("hidden"), actmax.BatchNormPrior("batch")):
        with pytest.raises(ValueError, match=r"scores every image by itself.*depend on what else"):
            actmax.evaluate(result, model=model, natural=natural, objective=objective)
        with pytest.raises(ValueError, match="scores every image by itself, for natural images"):
            result.strongest(model, natural[0] / 255.0, objective=objective)


def test_damaged_pictures_and_natural_images_are_one_message(tmp_path, capsys):
    """zipfile.BadZipFile and Pillow's SyntaxError came through as tracebacks."""
    whole = tmp_path / "whole.png"
    save_png(whole, np.zeros((28, 28, 1), np.uint8))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 no zip")
    assert main(["evaluate", str(tmp_path), "--natural", str(tmp_path / "bad.npz")]) == 2
    assert "actmax evaluate: Expected an NPZ file with `images`" in capsys.readouterr().err
    data = bytearray(whole.read_bytes())
    data[20] ^= 0xFF  # the width, whose checksum then does not fit
    whole.write_bytes(data)
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "actmax evaluate: Expected a PNG file of 8 bits. Received: " in capsys.readouterr().err


# The command


def test_the_command_reads_the_pictures_from_their_files(tmp_path, capsys, result, natural):
    folder = result.save(tmp_path / "run")
    # A picture that someone painted over is what is judged.
    first = sorted(folder.glob("000_*.png"))[0]
    save_png(first, np.zeros(SHAPE, np.uint8))
    files = []
    for seed in (0, 1):
        files += ["--judge", str(tmp_path / f"judge_{seed}.keras")]
        linear_model(seed).save(files[-1])
    np.savez(tmp_path / "natural.npz", images=natural[0], classes=natural[1])
    arguments = ["evaluate", str(folder), *files, "--natural", str(tmp_path / "natural.npz")]
    record = tmp_path / "deep" / "evaluation.json"
    assert main([*arguments, "--model", files[1], "--out", str(record)]) == 0
    printed = capsys.readouterr().out
    assert "transfer_min" in printed and "judge_1" in printed
    found = {
        (m["metric"], m["judge"]): m for m in json.loads(record.read_text())["measurements"]
    }  # fmt: skip
    black = linear_model(0)(np.zeros((1, *SHAPE), np.float32)).numpy().argmax()
    assert found["transfer", "judge_0"]["images"][0] == float(black == 0)
    assert found["honesty_gap", None]["images"][0] > 0.01
    assert found["honesty_gap_float", None]["images"][0] < 1e-6


def test_a_folder_of_anything_needs_classes(tmp_path, capsys):
    save_png(tmp_path / "one.png", np.zeros((28, 28, 1), np.uint8))
    judge = str(zoo.path("mnist"))
    assert main(["evaluate", str(tmp_path), "--judge", judge]) == 0
    assert "pass classes=" in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path), "--judge", judge, "--classes", "3"]) == 0
    assert "transfer_min" in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path / "none")]) == 2
    assert "a folder with PNG files" in capsys.readouterr().err


def test_pictures_of_a_result_are_read_in_its_order_and_nothing_else(tmp_path):
    """Of a thousand images, `1000_x.png` came before `101_x.png`: scores and classes of other pictures."""
    levels = np.arange(1002, dtype=np.float32) % 256
    images = np.broadcast_to(levels[:, None, None, None] / 255.0, (1002, 1, 1, 1))
    made = actmax.maximize(
        lambda images: images[:, 0, 0, :], targets=[0] * 1002, initial_images=images, steps=0,
        input_range=(0, 1), regularizers=[], parameterization=actmax.Pixels(),
    )  # fmt: skip
    folder = made.save(tmp_path)
    save_png(folder / "sweep.png", np.zeros((7, 9, 3), np.uint8))
    found = sources.pictures(folder)
    np.testing.assert_array_equal(found.levels.ravel(), levels)
    (folder / "007_0.png").unlink()
    with pytest.raises(ValueError, match=r"without 007_0\.png"):
        sources.pictures(folder)


def test_pictures_of_two_sizes_and_of_16_bits_are_refused(tmp_path):
    """NumPy's own words for the first; of the second, values above 255 were cut off."""
    save_png(tmp_path / "a.png", np.zeros((4, 4, 1), np.uint8))
    save_png(tmp_path / "b.png", np.zeros((4, 5, 1), np.uint8))
    with pytest.raises(ValueError, match="Expected pictures of one size"):
        sources.pictures(tmp_path)
    Image.fromarray(np.full((4, 4), 700, np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"Expected a PNG file of 8 bits.*more than 8 bits"):
        sources.pictures(tmp_path)
