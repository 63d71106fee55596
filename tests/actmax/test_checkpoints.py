"""A run with `checkpoint=` ends as if nothing had happened, or says why it cannot go on."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import checkpoints, fingerprints
from regularizers import L2, Jitter

ROOT = Path(__file__).resolve().parents[2]
STEPS = 6


class Dies(Exception):
    """The end of a process, as far as a test can play it inside one."""


def waves(images):
    return tf.reduce_sum(tf.sin(3.0 * images), axis=[1, 2])


def maximizer(**changes):
    arguments = {
        "input_range": (0, 1),
        "input_shape": (4, 4, 2),
        "regularizers": [L2(0.1), Jitter(1)],
        "optimizer": actmax.Adam(0.05),
    }
    return actmax.Maximizer(waves, **{**arguments, **changes})


def power(exponent):
    return lambda output: tf.reduce_sum(output**exponent, -1)


def closing(factor):
    return lambda gradients: gradients * factor


def below(ceiling):
    @dataclasses.dataclass(frozen=True)
    class Below(actmax.Constraint):
        low = 0.0
        high = 1.0

        def project(self, images):
            return tf.clip_by_value(images, 0.0, ceiling)

    return Below()


def dies_at(step):
    def callback(snapshot):
        if snapshot.step == step:
            raise Dies

    return callback


def content(result):
    arrays = [result.images, result.scores, *result.history.values(), result.status, result.steps]
    return [np.ascontiguousarray(array).tobytes() for array in arrays] + [result.messages]


KINDS = {
    "Adam": ({}, {}),
    "SGD, no state": ({"optimizer": actmax.SGD(0.1)}, {}),
    "Keras": ({"optimizer": keras.optimizers.Adam(0.05)}, {}),
    "Fourier": ({"parameterization": actmax.Fourier()}, {}),
    "keep best": ({}, {"keep": "best"}),
    "schedules": ({}, {"learning_rate": actmax.Cosine(0.1, 0.0), "weights": {"l2": [0.1, 3.0]}}),
    "a row fails": (
        {"regularizers": [], "optimizer": actmax.SGD(), "input_range": actmax.Unbounded()},
        {"learning_rate": [0.05, 3e38]},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_died_ends_as_if_it_had_not(tmp_path, kind):
    build, changes = KINDS[kind]
    call = {"targets": [0, 1], "steps": STEPS, "callback_every": 2, **changes}
    whole = maximizer(**build)(**call)
    seen = []
    for step in (2, 4):
        with pytest.raises(Dies):
            maximizer(**build)(**call, checkpoint=tmp_path, callbacks=[dies_at(step)])
    result = maximizer(**build)(
        **call, checkpoint=tmp_path, callbacks=[lambda snapshot: seen.append(snapshot.step)]
    )
    assert content(result) == content(whole)
    assert seen == [4, 6]  # step 4 is told again: its checkpoint waits for the callbacks' answer


def test_a_finished_run_returns_its_result_without_a_step(tmp_path):
    call = {"targets": [0], "steps": STEPS, "checkpoint": tmp_path}
    first = maximizer()(**call)
    files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    told = []
    again = maximizer()(**call, callbacks=[told.append], callback_every=1)
    assert content(again) == content(first)
    assert told == []
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == files


LONGER = {
    "Adam": ({}, {}),
    "Keras, Fourier": (
        {"optimizer": keras.optimizers.Adam(0.05), "parameterization": actmax.Fourier()},
        {},
    ),
    "keep best": ({}, {"keep": "best", "callback_every": 2}),
    "schedules with steps of their own": (
        {},
        {"learning_rate": actmax.Cosine(0.1, 0.01, steps=6), "weights": {"l2": [0.1, 3.0]}},
    ),
    "a row stopped at the last step": (
        {},
        {"callback_every": 2, "callbacks": [lambda s: np.array([s.step == 4, False])]},
    ),
    "all stopped at the last step": (
        {},
        {"callback_every": 2, "callbacks": [lambda s: actmax.STOP if s.step == 4 else None]},
    ),
    "a row fails": (
        {"regularizers": [], "optimizer": actmax.SGD(), "input_range": actmax.Unbounded()},
        {"learning_rate": [0.05, 3e38]},
    ),
}


@pytest.mark.parametrize("kind", LONGER)
def test_more_steps_after_a_run_are_those_of_one_run(tmp_path, kind):
    build, changes = LONGER[kind]
    call = {"targets": [0, 1], **changes}
    subject = maximizer(**build)
    whole = subject(**call, steps=9)
    first = subject(**call, steps=4, checkpoint=tmp_path)
    assert first.steps.max() == 4
    assert content(subject(**call, steps=9, checkpoint=tmp_path)) == content(whole)
    assert content(subject(**call, steps=9, checkpoint=tmp_path)) == content(whole)


@pytest.mark.parametrize(
    ("changes", "more", "shown"),
    [
        ({"learning_rate": actmax.Cosine(0.1, 0.0)}, {}, "the learning rate in the first 4 steps"),
        (
            {"weights": {"l2": actmax.Linear(1.0, 0.0)}},
            {},
            "weights of penalties in the first 4 steps",
        ),
        ({}, {"learning_rate": 0.1}, "the learning rate in the first 4 steps"),
        ({}, {"seed": 5}, "call/seed: 0 -> 5"),
        ({"keep": "best", "callback_every": 3}, {}, "a multiple of callback_every, 3"),
        ({"keep": "best", "callback_every": 2}, {"callback_every": 1}, "callback_every: 2 -> 1"),
    ],
)
def test_more_steps_of_another_run_are_refused(tmp_path, changes, more, shown):
    call = {"targets": [0], "checkpoint": tmp_path, **changes}
    subject = maximizer(compile=False)
    subject(**call, steps=4)
    with pytest.raises(ValueError, match=shown):
        subject(**{**call, **more}, steps=9)


def test_what_a_callback_stopped_stays_stopped(tmp_path):
    def first_row(snapshot):
        return np.array([snapshot.step == 2, False])

    call = {"targets": [0, 1], "steps": STEPS, "callback_every": 1}
    whole = maximizer()(**call, callbacks=[first_row])
    with pytest.raises(Dies):
        maximizer()(**call, checkpoint=tmp_path, callbacks=[first_row, dies_at(4)])
    result = maximizer()(**call, checkpoint=tmp_path, callbacks=[first_row])
    assert content(result) == content(whole)
    assert [actmax.Status(status).name for status in result.status] == ["STOPPED", "OK"]


@pytest.mark.parametrize(
    ("build", "changes", "shown"),
    [
        ({}, {"steps": 4}, "call/steps: 6 -> 4"),
        ({}, {"seed": 5}, "call/seed: 0 -> 5"),
        ({}, {"targets": [1, 2]}, "arguments/targets/sha256"),
        ({}, {"weights": {"l2": 0.2}}, "arguments/weights/sha256"),
        ({}, {"callback_every": 3}, "callback_every: 2 -> 3"),
        ({}, {"keep": "best"}, 'call/keep: "last" -> "best"'),
        ({}, {"initial_images": np.full([1, 4, 4, 2], 0.5)}, "start/0/sha256"),
        ({"optimizer": actmax.Adam(0.05, beta_1=0.5)}, {}, "optimizer/beta_1"),
        ({"regularizers": [L2(0.1), Jitter(2)]}, {}, "transforms/0/pixels: 1 -> 2"),
        ({"objective": power(2)}, {}, "objective/function/closure/exponent: 1 -> 2"),
        ({"gradients": [closing(2.0)]}, {}, "gradients/0/closure/factor: 1.0 -> 2.0"),
        ({"preprocess": functools.partial(tf.multiply, 2.0)}, {}, "preprocess"),
        ({"optimizer": keras.optimizers.Adam(0.1)}, {}, "optimizer"),
        ({}, {"callbacks": [actmax.StopOnPlateau(3)]}, "callbacks"),
        ({"input_range": below(0.9)}, {}, "inputs/images/constraint"),
    ],
)
def test_the_checkpoint_of_another_call_is_refused(tmp_path, build, changes, shown):
    base = {"objective": power(1), "gradients": [closing(1.0)], "compile": False}
    call = {"images": 2, "steps": STEPS, "callback_every": 2, "checkpoint": tmp_path}
    if "input_range" in build:
        pixels = {"parameterization": actmax.Pixels(), "optimizer": actmax.SGD(0.05)}
        base |= {"input_range": below(1.0), **pixels}
    if "targets" in changes:
        base = {"compile": False}
        call = {**{k: v for k, v in call.items() if k != "images"}, "targets": [0, 1]}
        changes = {"targets": [1, 1]}
    maximizer(**base)(**call)
    with pytest.raises(ValueError, match=f"of the same call.*{shown}"):
        maximizer(**{**base, **build})(**{**call, **changes})


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"objective": power(1)}, {"objective": power(2)}),
        ({}, {"optimizer": actmax.Adam(0.05, beta_1=0.5)}),
        ({"gradients": [closing(1.0)], "optimizer": actmax.SGD()}, {"gradients": [closing(2.0)]}),
        (
            {"input_range": below(1.0), "optimizer": actmax.SGD(1.0)},
            {"input_range": below(0.52)},
        ),
    ],
)
def test_what_has_no_fingerprint_is_refused_by_what_it_does(tmp_path, monkeypatch, one, two):
    call = {"images": 2, "steps": STEPS, "callback_every": 2, "checkpoint": tmp_path}
    base = {"objective": power(1), "parameterization": actmax.Pixels(), "compile": False, **one}
    monkeypatch.setattr(fingerprints, "of", lambda part: {})
    maximizer(**base)(**call)
    maximizer(**base)(**call)
    with pytest.raises(ValueError, match=r"another '.*' at step [123].*Did a function of yours"):
        maximizer(**{**base, **two})(**call)


def test_the_same_call_with_a_keras_optimizer_goes_on(tmp_path):
    """Keras counts the optimizer's name up."""
    call = {"targets": [0], "steps": 4, "callback_every": 2, "checkpoint": tmp_path}
    with pytest.raises(Dies):
        maximizer(optimizer=keras.optimizers.Adam(0.05))(**call, callbacks=[dies_at(4)])
    again = maximizer(optimizer=keras.optimizers.Adam(0.05))(**call)
    assert again.steps.tolist() == [4]


def test_other_versions_kernels_and_threads_are_refused_with_both(tmp_path, monkeypatch):
    call = {"targets": [0], "steps": 2, "checkpoint": tmp_path}
    subject = maximizer()
    subject(**call)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "77")
    with pytest.raises(ValueError, match=r"threads: \d+ -> 77.*set_intra_op_parallelism_threads"):
        subject(**call)
    monkeypatch.setattr(tf, "__version__", "1.0")
    with pytest.raises(ValueError, match=r'another one: versions/tensorflow: "[\d.]+" -> "1.0"\. '):
        subject(**call)


def test_the_checkpoint_of_another_model_is_refused(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="out")], name="of_one_name"
    )
    call = {"targets": [0], "steps": 2, "checkpoint": tmp_path, "callback_every": 1}
    build = {"input_range": (0, 1), "regularizers": []}
    actmax.maximize(model, **build, **call)
    weights = model.get_weights()
    model.set_weights([weights[0], weights[1] + 1e-6])
    with pytest.raises(ValueError, match="model/0/weights"):
        actmax.maximize(model, **build, **call)


@pytest.fixture
def half_done(tmp_path):
    call = {"targets": [0], "steps": STEPS, "callback_every": 2, "checkpoint": tmp_path}
    with pytest.raises(Dies):
        maximizer()(**call, callbacks=[dies_at(4)])
    return tmp_path, call


def state_file(folder):
    (found,) = folder.glob("state-*.npz")
    return found


@pytest.mark.parametrize("where", [0.0, 0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("which", ["checkpoint.json", "state"])
def test_one_wrong_byte_is_a_record_error(half_done, which, where):
    folder, call = half_done
    file = folder / which if which.endswith("json") else state_file(folder)
    data = bytearray(file.read_bytes())
    data[int(where * len(data))] ^= 1
    file.write_bytes(data)
    with pytest.raises(actmax.RecordError, match=r"a whole checkpoint|format"):
        maximizer()(**call)


def test_missing_and_cut_files_are_record_errors(half_done):
    folder, call = half_done
    state = state_file(folder)
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(actmax.RecordError, match="the checksum of its arrays"):
        maximizer()(**call)
    state.unlink()
    with pytest.raises(actmax.RecordError, match="FileNotFoundError"):
        maximizer()(**call)
    record = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps({**record, "format": 2}))
    with pytest.raises(actmax.RecordError, match="a checkpoint of format 1"):
        maximizer()(**call)


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path):
    def second(snapshot):
        with pytest.raises(BlockingIOError, match=f"held by process {os.getpid()}"):
            maximizer()([0], steps=1, checkpoint=tmp_path)

    maximizer()([0], steps=2, callbacks=[second], checkpoint=tmp_path)
    maximizer()([0], steps=2, checkpoint=tmp_path)  # free again


def test_a_lock_is_held_against_another_process(tmp_path):
    program = f"""
from actmax import checkpoints
try:
    with checkpoints.opened({str(tmp_path)!r}):
        print("mine")
except BlockingIOError:
    print("held")
"""

    def other():
        run = [sys.executable, "-c", program]
        return subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=True).stdout

    with checkpoints.opened(tmp_path):
        assert other().strip() == "held"


def test_an_error_at_any_write_leaves_what_can_be_resumed(tmp_path, monkeypatch):
    call = {"targets": [0], "steps": 3, "callback_every": 1}
    subject = maximizer()
    whole = subject(**call)
    count = itertools.count()
    fail_at = -1
    real = {(os, "fsync"): os.fsync, (Path, "replace"): Path.replace, (Path, "open"): Path.open}

    def failing(function):
        def call_it(*arguments, **keywords):
            mode = [*arguments[1:2], keywords.get("mode", "")][0]
            writes = function is not real[Path, "open"] or "x" in mode
            if writes and next(count) == fail_at:
                raise OSError(28, "No space left on device")
            return function(*arguments, **keywords)

        return call_it

    for (owner, name), function in real.items():
        monkeypatch.setattr(owner, name, failing(function))
    tried = 0
    for number in itertools.count():
        folder = tmp_path / str(number)
        count, fail_at = itertools.count(), number
        try:
            subject(**call, checkpoint=folder)
            break
        except OSError as error:
            assert error.errno == 28
        tried += 1
        named = [file.name for file in folder.iterdir()]
        assert not [name for name in named if name.endswith(".tmp")]
        count, fail_at = itertools.count(), -1
        assert content(subject(**call, checkpoint=folder)) == content(whole)
    # Open, fsync, replace and fsync of the folder, for two files, at three checkpoints.
    assert tried == 24


def test_ctrl_c_keeps_the_images_and_says_where(tmp_path):
    def interrupt(snapshot):
        if snapshot.step == 4:
            raise KeyboardInterrupt

    call = {"targets": [0], "steps": STEPS, "callback_every": 2}
    result = maximizer()(**call, checkpoint=tmp_path, callbacks=[interrupt])
    assert result.status.tolist() == [actmax.Status.INTERRUPTED]
    assert result.steps.tolist() == [4]
    # The checkpoint of step 4 waited for the callback's answer.
    kept = re.escape(f"the run is kept in {str(tmp_path)!r}: the same call goes on from step 2.")
    where = f"Interrupted after 4 of 6 steps; .*; {kept}$"
    assert re.match(where, result.messages[0])
    assert content(maximizer()(**call, checkpoint=tmp_path)) == content(maximizer()(**call))


def test_an_interrupt_before_the_first_checkpoint_says_that_nothing_is_kept(tmp_path):
    """It said that the run was kept in a folder that held nothing but the lock."""

    def interrupt(snapshot):
        raise KeyboardInterrupt

    call = {"targets": [0], "steps": STEPS, "callback_every": 2}
    result = maximizer()(**call, checkpoint=tmp_path, callbacks=[interrupt])
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]
    where = f"; nothing is kept in {str(tmp_path)!r} yet: the same call begins again."
    assert result.messages[0].endswith(where)
    assert content(maximizer()(**call, checkpoint=tmp_path)) == content(maximizer()(**call))


@pytest.mark.skipif(os.name != "posix", reason="fork and SIGKILL")
def test_five_kills_at_random_instants():
    run = [sys.executable, "-m", "tests.soak.kills", "--kills", "5", "--seed", "1"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "5 of 5 identical" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="fork and signals of POSIX")
def test_signals_between_two_bytes_in_a_step_and_in_a_callback():
    run = [sys.executable, "-m", "tests.soak.signals", "--count", "3"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "3 of 3 identical" in done.stdout
