"""Defects that were found and mended, each with the test that would have caught it."""

from __future__ import annotations

import hashlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import actmax
import regularizers
from actmax import Maximizer, maximize, zoo
from actmax.testing import differences
from regularizers import L2


@pytest.fixture(scope="module")
def colors():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((6, 6, 3)), layers.Flatten(), layers.Dense(5, activation="softmax")]
    )


def sigmoid(units):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(units, activation="sigmoid")]
    )


def test_an_absent_device_is_refused(colors):
    with pytest.raises(ValueError, match="one of the devices"):
        Maximizer(colors, input_range=(0, 1), device="GPU:63")
    placed = Maximizer(colors, input_range=(0, 1), regularizers=[], device="/cpu:0")
    assert placed([0], steps=1).config["device"] == "CPU:0"


def test_labels_in_a_dict_are_refused(colors):
    with pytest.raises(TypeError, match="labels to be a list of names"):
        Maximizer(colors, input_range=(0, 1), labels={"cat": 3})


def test_an_objective_that_loses_the_images_is_refused(colors):
    with pytest.raises(ValueError, match="Keep the first axis: it counts images"):
        maximize(colors, lambda output: output[0], images=5, input_range=(0, 1), regularizers=[])


def test_a_penalty_over_the_batch_is_refused(colors):
    over_batch = regularizers.penalty(lambda images: tf.reduce_mean(images, (0, 1, 2)))
    with pytest.raises(ValueError, match=r"shape \(3,\), whatever N is"):
        maximize(colors, targets=[0, 1, 2], input_range=(0, 1), regularizers=[over_batch])


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.1, clipnorm=1000.0),
        lambda: keras.optimizers.SGD(0.1, global_clipnorm=1000.0),
        lambda: keras.optimizers.Lamb(0.1),
        lambda: keras.optimizers.Adafactor(0.1),
    ],
)
def test_optimizers_that_couple_images_are_refused(colors, optimizer):
    with pytest.raises(ValueError, match="whose update of one image depends on the others"):
        Maximizer(colors, input_range=(0, 1), regularizers=[], optimizer=optimizer())


@pytest.mark.parametrize("objective", [actmax.LogProbability(), actmax.Margin()])
def test_sigmoid_units_are_no_classes(objective):
    with pytest.raises(ValueError, match="an output of sigmoid units"):
        maximize(sigmoid(3), objective, [1], input_range=(0, 1), regularizers=[], steps=1)


def test_penalties_may_not_take_the_name_of_the_score(colors):
    @regularizers.penalty
    def score(images):
        return tf.reduce_mean(images, axis=(1, 2, 3))

    with pytest.raises(ValueError, match="names of their own"):
        Maximizer(colors, input_range=(0, 1), regularizers=[score])


def test_an_empty_intersection_is_refused():
    with pytest.raises(ValueError, match="low < high"):
        actmax.Box(0, 1) & actmax.Box(2, 3)


@pytest.mark.parametrize("scale", [1e-22, 1e22])
def test_a_normalized_step_does_not_depend_on_the_scale_of_the_objective(colors, scale):
    parts = {"input_range": (0, 1), "regularizers": [], "steps": 3}
    parts["optimizer"] = actmax.SGD(0.1, normalize=True)
    plain = maximize(colors, actmax.Logit(), [0], **parts)
    scaled = maximize(colors, scale * actmax.Logit(), [0], **parts)
    np.testing.assert_allclose(scaled.images, plain.images, atol=1e-6)


def test_a_callback_may_not_answer_with_a_string(colors):
    with pytest.raises(TypeError, match=r"return None or actmax\.STOP"):
        maximize(colors, targets=[0], input_range=(0, 1), callbacks=[lambda snapshot: "stop"])


def test_a_callback_cannot_change_the_targets(colors):
    def spoil(snapshot):
        snapshot.targets[...] = 4

    result = maximize(
        colors, targets=[1], input_range=(0, 1), regularizers=[], callbacks=[spoil], steps=2
    )
    assert result.targets.tolist() == [1]


def test_a_scaled_schedule_spans_the_run(colors):
    def run(penalty):
        parts = {"targets": [0], "input_range": (0, 1), "steps": 5}
        return maximize(colors, regularizers=[penalty], **parts)

    scaled = run(5.0 * L2(actmax.Linear(0.0, 1.0)))
    np.testing.assert_array_equal(scaled.images, run(L2(actmax.Linear(0.0, 5.0))).images)


def test_a_fixed_input_of_one_row_serves_all_images():
    keras.utils.set_random_seed(0)
    image, age = keras.Input((4, 4, 1), name="image"), keras.Input((2,), name="age")
    flat = layers.Concatenate()([layers.Flatten()(image), age])
    model = keras.Model([image, age], layers.Dense(5)(flat))
    result = maximize(
        model,
        targets=[0, 1],
        input_range={"image": (0, 1)},
        fixed={"age": np.ones((1, 2))},
        steps=2,
    )
    outputs = model([result.images["image"], np.ones((2, 2))]).numpy()
    np.testing.assert_allclose(result.scores, outputs[[0, 1], [0, 1]], atol=1e-6)


def test_a_function_of_the_output_gets_all_outputs_by_name():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    outputs = {"up": layers.Dense(2)(inputs), "down": layers.Dense(3)(inputs)}
    model = keras.Model(inputs, outputs)
    maximizer = Maximizer(model, lambda output: output["up"][:, 1], input_range=(0, 1))
    result = maximizer(images=2, steps=3)
    np.testing.assert_allclose(result.scores, model(result.images)["up"][:, 1], atol=1e-6)
    assert (maximizer.traces, maximizer.compilations) == (1, 1)


def test_one_layer_can_be_tapped_under_two_paths():
    keras.utils.set_random_seed(0)
    shared = layers.Dense(4, name="dense")
    first = keras.Sequential([keras.Input((6,)), shared], name="a")
    second = keras.Sequential([keras.Input((6,)), shared], name="b")
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Add()([first(inputs), second(inputs)]))
    objective = actmax.Channel("a/dense:0", 1) + actmax.Channel("b/dense:1", 2)
    result = maximize(model, objective, images=1, input_range=(0, 1), steps=2)
    hidden = shared(result.images).numpy()[0]
    np.testing.assert_allclose(result.scores, [hidden[1] + hidden[2]], rtol=1e-6)
    assert "call" not in vars(shared)


def test_value_and_gradient_is_the_objective_of_the_run(colors):
    maximizer = Maximizer(colors, input_range=(0, 1), regularizers=[L2(1.0)], balance=True)
    images = np.full((2, 6, 6, 3), 0.25)
    value, _ = maximizer.value_and_gradient(images, [1, 2])
    run = maximizer([1, 2], initial_images=images, steps=1)
    np.testing.assert_allclose(value, run.history["objective"][0], rtol=1e-6)
    with pytest.raises(ValueError, match=r"targets of Logit in 0\.\.4"):
        maximizer.value_and_gradient(images, [1, 5])


def test_saving_again_leaves_nothing_of_the_older_result(colors, tmp_path):
    maximizer = Maximizer(colors, input_range=(0, 1), regularizers=[])
    maximizer(range(4), steps=1).save(tmp_path)
    maximizer([1], steps=1).save(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("0*.png")) == ["000_1.png"]


def test_the_default_recipe_starts_from_given_images(colors):
    start = np.full((1, 6, 6, 3), 0.25)
    result = maximize(colors, targets=[0], input_range=(0, 1), initial_images=start, steps=0)
    np.testing.assert_allclose(result.images, start, atol=1e-5)


def test_a_record_tells_a_keras_optimizer_and_the_weights_of_a_sweep(colors):
    maximizer = Maximizer(
        colors, input_range=(0, 1), regularizers=[L2()], optimizer=keras.optimizers.SGD(0.25)
    )
    config = maximizer([0, 1], weights={"l2": np.array([0.5, 2.0])}, steps=1).config
    assert config["optimizer"]["class"] == "SGD"
    assert config["optimizer"]["learning_rate"] == 0.25
    assert config["call"]["weights"] == {"l2": [0.5, 2.0]}


@pytest.mark.parametrize("value", ["0.1", True, [0.1, "0.2"], [True, 0.5], b"1", 1j])
@pytest.mark.parametrize("argument", ["weights", "learning_rate"])
def test_texts_and_booleans_are_no_weights_and_no_rates(colors, argument, value):
    call = {argument: {"l2": value} if argument == "weights" else value}
    with pytest.raises(TypeError, match="to be a number"):
        maximize(colors, targets=[0, 1], input_range=(0, 1), regularizers=[L2()], steps=1, **call)


@pytest.mark.parametrize("kind", [actmax.Adam, actmax.SGD, actmax.RMSprop])
def test_a_negative_rate_fails_where_it_is_written(kind):
    with pytest.raises(ValueError, match="a learning rate of at least 0"):
        kind(-1.0)
    with pytest.raises(ValueError, match="a learning rate of at least 0"):
        kind([0.1, -0.1])


def test_balance_is_true_or_false(colors):
    with pytest.raises(ValueError, match="balance to be one of"):
        Maximizer(colors, input_range=(0, 1), regularizers=[], balance="no")


def test_labels_are_as_many_as_units(colors):
    call = {"targets": [0], "input_range": (0, 1), "regularizers": [], "steps": 0}
    assert maximize(colors, labels=list("abcde"), **call).labels == ("a",)
    with pytest.raises(ValueError, match=r"one label per unit, 5\. Received: 4 labels"):
        maximize(colors, labels=list("abcd"), **call)
    assert maximize(sigmoid(1), labels=["no", "yes"], **call).labels == ("no",)


def test_the_record_says_which_arrays_were_used(colors):
    call = {"targets": [0], "input_range": (0, 1), "regularizers": [], "steps": 0}
    start = np.full([1, 6, 6, 3], 0.25)
    first = maximize(colors, initial_images=start, **call).config["call"]["initial_images"]
    other = maximize(colors, initial_images=start + 0.1, **call).config["call"]["initial_images"]
    assert first["images"]["array"] == other["images"]["array"] == [1, 6, 6, 3]
    assert first["images"]["sha256"] == hashlib.sha256(start.tobytes()).hexdigest()
    assert first["images"]["sha256"] != other["images"]["sha256"]
    held = keras.Model(
        [a := keras.Input((2,), name="a"), b := keras.Input((2,), name="b")], layers.Add()([a, b])
    )
    fixed = np.float32([[1.0, 2.0]])
    record = maximize(held, fixed={"b": fixed}, **call).config["fixed"]["b"]
    assert record["sha256"] == hashlib.sha256(fixed.tobytes()).hexdigest()
    assert record["array"] == [1, 2]


def test_many_maximizers_in_one_program_draw_no_warning_of_retracing(caplog):
    # TensorFlow warns from the fifth trace of one piece of code on, and every Maximizer has its own trace.
    for _ in range(7):
        maximizer = actmax.Maximizer(
            lambda images: images, input_shape=(2,), input_range=(0, 1), regularizers=[]
        )
        maximizer([0], steps=1)
        assert maximizer.traces == 1
    assert "retracing" not in caplog.text


def test_checking_many_layers_draws_no_warning_of_retracing(caplog):
    for _ in range(7):
        slope = differences.Slope(zoo.load("mnist"), "predictions", None)
        slope(tf.zeros([1, 28, 28, 1]))
    assert "retracing" not in caplog.text


class Dies(Exception):
    """The end of a process, as far as a test can play it inside one."""


def sums(images):
    return tf.reduce_sum(tf.sin(images), axis=(1, 2))


def sums_named(*labels):
    return Maximizer(
        sums, input_range=(0, 1), input_shape=(2, 2, 2), regularizers=[], labels=labels
    )


def dies_at(step):
    def callback(snapshot):
        if snapshot.step == step:
            raise Dies

    return callback


@pytest.mark.parametrize("log", [actmax.CSVLog, actmax.JSONLines])
@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\r\nb", "a\x0bb", "a\u2028b", 'a"\n"b', "a,b"])
def test_a_resumed_log_keeps_names_with_line_ends(tmp_path, log, name):
    """Lines were cut inside such a name, taken for torn ones, and lost."""
    call = {"targets": [0, 1], "steps": 6, "callback_every": 2}
    maximizer = sums_named(name, "plain")
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    maximizer(**call, callbacks=[log(whole)])
    with pytest.raises(Dies):
        maximizer(**call, checkpoint=tmp_path / "run", callbacks=[log(resumed), dies_at(4)])
    with resumed.open("a", newline="") as stream:
        stream.write('4,0,"a\n')  # and half a line, as a full disk leaves it
    maximizer(**call, checkpoint=tmp_path / "run", callbacks=[log(resumed)])
    assert resumed.read_bytes() == whole.read_bytes()


def test_a_full_disk_at_the_resumption_leaves_the_log(tmp_path):
    """The log was emptied first and written again afterwards."""
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    call = {"targets": [0, 1] * 8, "steps": 6, "callback_every": 2, "checkpoint": tmp_path / "run"}
    log = tmp_path / "log.csv"
    maximizer = sums_named("a", "b")
    with pytest.raises(Dies):
        maximizer(**call, callbacks=[actmax.CSVLog(log), dies_at(4)])
    before = log.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            maximizer(**call, callbacks=[actmax.CSVLog(log)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.read_bytes() == before
    assert [file.name for file in tmp_path.glob(".*.tmp")] == []


def test_terms_of_layers_that_compute_in_different_types_add_up():
    """In mixed precision a logit of float32 less a channel of float16 was an error of TensorFlow."""
    images = keras.Input((6, 6, 1))
    half = layers.Conv2D(3, 3, name="half", dtype="mixed_float16")(images)
    outputs = layers.Dense(2, name="out")(layers.Flatten()(half))
    model = keras.Model(images, outputs)
    arguments = {"input_range": (0, 1), "regularizers": [], "steps": 2, "targets": [0, 1]}
    both = maximize(model, actmax.Logit() - 2.0 * actmax.Channel("half", 1), **arguments)
    parts = [
        Maximizer(model, objective, input_range=(0, 1), regularizers=[])(
            initial_images=both.images, steps=0, **call
        ).scores
        for objective, call in (
            (actmax.Logit(), {"targets": [0, 1]}),
            (actmax.Channel("half", 1), {}),
        )
    ]
    np.testing.assert_allclose(both.scores, parts[0] - 2.0 * parts[1], rtol=2e-3, atol=2e-3)
    assert (both.status == actmax.Status.OK).all()
