"""The eight laws of the design, over every part of the catalogue."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
import regularizers
from actmax import testing
from actmax.objectives import LOGITS
from tests.conformance.catalogue import ENTRIES, TARGETS
from tests.conformance.models import UNEVEN, uneven

RUNS = {
    name: entry for name, entry in ENTRIES.items() if entry.kind not in ("schedule", "callback")
}


class Case:
    """A Maximizer with one part of the catalogue in it, compiled once for all laws."""

    def __init__(self, name, **options):
        self.name = name
        self.entry = RUNS[name]
        arguments = {
            "input_range": (0, 1),
            "regularizers": [],
            "optimizer": actmax.SGD(1.0),
            **options,
        }
        part, kind = self.entry.make(), self.entry.kind
        objective = actmax.Logit()
        if kind in ("objective", "parameterization"):
            # So that the laws meet random draws; elsewhere it would only cost tracing time.
            arguments["regularizers"] = [regularizers.Jitter(1)]
        if kind == "objective":
            objective = part
        elif kind == "constraint":
            arguments["input_range"] = part
        elif kind == "gradient":
            arguments["gradients"] = [part]
        elif kind == "regularizer":
            arguments["regularizers"] = [part, regularizers.Jitter(1)]
        else:
            arguments[kind] = part
        self.model = self.entry.model()
        self.before = fingerprint(self.model)
        self.maximizer = actmax.Maximizer(self.model, objective, **arguments)

    @property
    def coupled(self):
        """Whether images depend on one another on purpose."""
        return self.maximizer.problem.couples_images

    @functools.cached_property
    def result(self):
        """The plain run, which many laws compare with."""
        return self()

    def __call__(self, rows=(0, 1, 2), **arguments):
        """A run of the rows of the entry's targets, each with its own seed."""
        targets = self.entry.targets
        given = {"images": len(rows)} if targets is None else {}
        chosen = None if targets is None else [targets[row] for row in rows]
        seed = [100 + row for row in rows]
        return self.maximizer(chosen, **{"steps": 6, "seed": seed, **given, **arguments})


@pytest.fixture(scope="module", params=list(RUNS))
def case(request):
    return Case(request.param)


def fingerprint(model):
    """Hash of all that a run must leave alone in a model."""
    digest = hashlib.sha256(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    for weight in model.weights:
        digest.update(np.asarray(weight).tobytes())
    state = [(layer.name, layer.trainable, "call" in vars(layer)) for layer in model.layers]
    digest.update(repr((model.trainable, state)).encode())
    digest.update(
        repr([layer.activation for layer in model.layers if hasattr(layer, "activation")]).encode()
    )
    return digest.hexdigest()


def numpy_state():
    return np.random.get_state()[1].tobytes()  # noqa: NPY002 - that it does not change


def same_bytes(first, second):
    return first.tobytes() == second.tobytes()


# 1. Honest.


def test_scores_are_the_objective_of_the_returned_images(case):
    result = case.result
    # Straight from the model, where the objective is the logit of its last layer.
    if case.maximizer.problem.objective == actmax.Logit():
        features = case.model.layers[:-1]
        values = tf.constant(result.images)
        for layer in features:
            values = layer(values)
        logits = tf.matmul(values, case.model.layers[-1].kernel) + case.model.layers[-1].bias
        expected = tf.gather(logits, TARGETS, batch_dims=1).numpy()
        np.testing.assert_allclose(result.scores, expected, rtol=1e-6, atol=1e-6)
    else:
        again = case(initial_images=result.images, steps=0)
        np.testing.assert_allclose(again.scores, result.scores, rtol=1e-4, atol=1e-5)


def test_images_never_leave_the_range_at_any_step(case):
    frames = actmax.Frames()
    result = case(steps=4, learning_rate=30.0, callbacks=[frames], callback_every=1)
    low, high = result.low["images"], result.high["images"]
    assert len(frames.frames) == 5
    for images in frames.frames:
        assert low is None or np.all(images >= np.float32(low))
        assert high is None or np.all(images <= np.float32(high))


# 2. Independent.


@functools.cache
def kernels_round_by_place():
    """Whether the bare pass, without us, rounds a row by its place in the batch.

    TensorFlow's own kernels do so on some processors (AMD without oneDNN): a block of rows is summed in one
    order, the rows that are left over in another.
    """
    model = RUNS["L2"].model()
    pictures = np.random.default_rng(0).uniform(size=(3, *model.input_shape[1:])).astype("float32")

    @tf.function(autograph=False)
    def gradient(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(tf.math.log(model(images, training=False)[:, 1]))
        return tape.gradient(total, images)

    def differs(rows):
        found = gradient(tf.constant(pictures[list(rows)])).numpy()
        return any(not same_bytes(found[rows.index(row)], found[n]) for n, row in enumerate(rows))

    forth, back = (gradient(tf.constant(p)).numpy() for p in (pictures, pictures[::-1].copy()))
    return differs((0, 1, 2) * 6 + (0,)) or not same_bytes(forth, back[::-1])


def same_rows(first, second):
    """The same bytes, or where the kernels themselves round by place, the same values."""
    close = np.allclose(first, second, rtol=0, atol=1e-5 * max(np.abs(first).max(), 1.0))
    return same_bytes(first, second) or (kernels_round_by_place() and close)


def test_rows_are_the_same_bytes_in_any_order(case):
    forward, backward = case.result, case(rows=(2, 1, 0))
    # Of coupled images, sums over the others are rounded in their order.
    if case.coupled:
        np.testing.assert_allclose(forward.images, backward.images[::-1], rtol=0, atol=1e-6)
        return
    assert same_rows(forward.images, backward.images[::-1])
    assert same_rows(forward.scores, backward.scores[::-1])


def test_a_row_is_the_same_bytes_in_every_place(case):
    skip_coupled(case)
    if case.entry.fixed_rows:
        pytest.skip("a Keras optimizer is traced for three rows here, and must not be for more")
    # More rows than a vector has lanes, so that what is one number per image meets its tail, too.
    rows = (0, 1, 2) * 6 + (0,)
    many = case(rows=rows)
    for row in range(3):
        places = [place for place, other in enumerate(rows) if other == row]
        for values in (many.images, many.scores):
            assert all(same_rows(values[places[0]], values[place]) for place in places)


def skip_coupled(case):
    if case.coupled:
        pytest.skip("it couples images on purpose, and says so")


def test_rows_are_the_same_bytes_beside_other_rows(case):
    skip_coupled(case)
    alone, beside = case(rows=(1, 2, 0)), case(rows=(1, 1, 1))
    assert same_bytes(alone.images[0], beside.images[0])
    assert same_bytes(alone.scores[0], beside.scores[0])


def test_a_row_beside_a_failed_row_is_the_same_bytes(case):
    skip_coupled(case)
    if case.entry.fixed_rows:
        pytest.skip("a Keras optimizer has one learning rate for all images")
    # A rate beyond all numbers makes the second row's update infinite, or leaves it at its bounds.
    fine = case(learning_rate=[1.0, 1.0, 1.0])
    beside = case(learning_rate=[1.0, 3e38, 1.0])
    assert same_bytes(fine.images[[0, 2]], beside.images[[0, 2]])
    assert same_bytes(fine.scores[[0, 2]], beside.scores[[0, 2]])


def test_a_row_alone_agrees_to_1e_5_after_20_steps(case):
    skip_coupled(case)
    if case.entry.kind == "optimizer":
        pytest.skip("the law is for plain SGD: adaptive steps carry the sign of rounding")
    rate = 0.1
    together = case(steps=20, learning_rate=rate)
    alone = case(rows=(1,), steps=20, learning_rate=rate)
    largest = max(1.0, np.abs(together.images).max())
    np.testing.assert_allclose(alone.images[0], together.images[1], rtol=0, atol=1e-5 * largest)


def test_chunks_between_callbacks_are_the_same_bytes(case):
    whole = case(steps=5)
    chunked = case(steps=5, callbacks=[lambda snapshot: None], callback_every=2)
    assert same_bytes(whole.images, chunked.images)
    for name in whole.history:
        assert same_bytes(whole.history[name], chunked.history[name])


def test_steps_0_returns_the_start(case):
    begun = []

    class Beginning(actmax.Callback):
        def on_begin(self, snapshot):
            begun.append(snapshot.images)

    start = case(steps=0)
    case(steps=1, callbacks=[Beginning()])
    assert same_bytes(start.images, begun[0])
    assert start.history["score"].shape == (0, 3)
    assert start.steps.tolist() == [0, 0, 0]


# 4. Deterministic.


def test_the_same_call_gives_the_same_bytes(case):
    first, second = case.result, case()
    assert same_bytes(first.images, second.images)
    assert same_bytes(first.scores, second.scores)
    assert all(same_bytes(first.history[name], second.history[name]) for name in first.history)


def test_another_seed_gives_another_image(case):
    assert not same_bytes(case.result.images, case(seed=[4, 5, 6]).images)


# 5. Never silent.


def test_every_row_has_a_status_and_a_message(case):
    result = case.result
    assert len(result.messages) == len(result.status) == 3
    assert all(result.messages)
    assert np.all(np.isfinite(result.images)) and np.all(np.isfinite(result.scores))
    assert set(result.status) <= {actmax.Status.OK, actmax.Status.CONVERGED}


# 6. In the graph.


def test_with_rate_0_images_stay_put_because_transforms_act_on_a_copy(case):
    start, end = case(steps=0), case(steps=3, learning_rate=0.0)
    if case.maximizer.problem.inputs[0].constraint.projects:
        # Projecting again may round.
        np.testing.assert_allclose(end.images, start.images, rtol=1e-5, atol=1e-6)
    else:
        assert same_bytes(start.images, end.images)


def test_the_gradient_reaches_through(case):
    assert not same_bytes(case(steps=0).images, case.result.images)


# 3 and 8, after all of the above have been run with one Maximizer.


def test_one_trace_served_every_run(case):
    case(rows=(0, 1), steps=3, learning_rate=0.2, seed=[8, 9])
    case(rows=(0,), steps=2, seed=0)
    penalties = [name for name, _, _ in case.maximizer.problem.penalties]
    case(weights={name: actmax.Linear(0.1, 0.2, 3) for name in penalties}, steps=3)
    testing.assert_traces(case.maximizer, 3 if case.entry.fixed_rows else 1)
    assert case.maximizer.traces == (3 if case.entry.fixed_rows else 1)


def test_the_model_is_as_it_was(case):
    case()
    assert fingerprint(case.model) == case.before


# Laws of the whole.


@pytest.fixture(scope="module")
def plain():
    return actmax.Maximizer(
        uneven(),
        input_range=(0, 1),
        regularizers=[regularizers.TotalVariation(0.1), regularizers.Jitter(1)],
        optimizer=actmax.Adam(0.02),
    )


def test_final_scores_at_another_batch_shape_agree_to_1_percent_after_256_steps(plain):
    together = plain([0, 1, 2], steps=256, seed=[5, 6, 7])
    alone = [plain(t, steps=256, seed=5 + t).scores[0] for t in range(3)]
    np.testing.assert_allclose(alone, together.scores, rtol=0.01)


def test_random_state_and_policy_are_neither_read_nor_changed(plain):
    results = []
    for global_seed in (1, 2):
        keras.utils.set_random_seed(global_seed)
        state = numpy_state()
        policy, floatx = keras.config.dtype_policy().name, keras.config.floatx()
        results.append(plain([0, 1], steps=3).images)
        assert numpy_state() == state
        assert (keras.config.dtype_policy().name, keras.config.floatx()) == (policy, floatx)
        following = tf.random.uniform([3]).numpy()
        keras.utils.set_random_seed(global_seed)
        assert same_bytes(tf.random.uniform([3]).numpy(), following)
    assert same_bytes(*results)


def test_an_image_of_another_size_has_penalties_of_the_same_size(plain):
    images = np.random.default_rng(0).uniform(size=(1, *UNEVEN)).astype(np.float32)
    large = np.tile(images, (1, 4, 4, 1))
    for penalty in (regularizers.L1(), regularizers.L2(), regularizers.TotalVariation()):
        np.testing.assert_allclose(penalty(large), penalty(images), rtol=0.25)


# Keras imports matplotlib where it is installed; here it is not, for all that this program can tell.
PROGRAM = """
import sys, hashlib
sys.modules["matplotlib"] = None
from tests.conformance.models import uneven
import actmax, regularizers
result = actmax.maximize(uneven(), targets=[0, 1, 2], input_range=(0, 1), steps=6, seed=3,
                         regularizers=[regularizers.TotalVariation(0.1), regularizers.Jitter(1)])
print(hashlib.sha256(result.images.tobytes() + result.scores.tobytes()).hexdigest())
"""


def test_another_process_gives_the_same_bytes_and_leaves_nothing_behind(tmp_path):
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    result = actmax.maximize(
        uneven(),
        targets=TARGETS,
        input_range=(0, 1),
        steps=6,
        seed=3,
        regularizers=[regularizers.TotalVariation(0.1), regularizers.Jitter(1)],
    )
    here = hashlib.sha256(result.images.tobytes() + result.scores.tobytes()).hexdigest()
    # Only our own line: the library itself prints nothing.
    assert run.stdout.split() == [here]
    assert list(tmp_path.iterdir()) == []


def test_a_run_prints_nothing_and_writes_nothing(plain, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain([0, 1], steps=3)
    assert capfd.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_assert_traces_says_what_to_do(plain):
    with pytest.raises(AssertionError, match=r"^Maximizer breaks the law of compiled once"):
        testing.assert_traces(plain, plain.traces + 1)


def test_the_softmax_in_front_of_the_logits_is_found(plain):
    plain([0], steps=0)
    assert plain.problem.objective.layers == (LOGITS,)
    assert plain.problem.models[0].heads == {"": "softmax"}
