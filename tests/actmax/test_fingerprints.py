"""Two calls are the same if they compute the same, and differ if they do not."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
import regularizers
from actmax import fingerprints
from regularizers import L2, TotalVariation

ROOT = Path(__file__).resolve().parents[2]
L = keras.layers
S = keras.optimizers.schedules


def scaled(x, by):
    return x * by


def helper(x, by):
    return x + by


def closing(k):
    def fade(x, g, step):
        return x * k

    return fade


def calling(k):
    inner = closing(k)
    return lambda x: inner(x, x, 0)


def penalty(k):
    @regularizers.penalty
    def mean_level(images):
        return k * tf.reduce_mean(images, axis=(1, 2, 3))

    return mean_level


def constraint(k):
    @dataclasses.dataclass(frozen=True)
    class Mine(actmax.Constraint):
        low = 0.0
        high = 1.0

        def project(self, x):
            return tf.clip_by_value(x, 0.0, k)

    return Mine()


def prior(seed):
    keras.utils.set_random_seed(seed)
    network = keras.Sequential([keras.Input((8, 8, 1)), L.Conv2D(4, 3), L.BatchNormalization()])
    network.layers[1].moving_mean.assign(np.random.default_rng(seed).normal(size=4))
    return network


def subclass(activation):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = L.Dense(3, activation=activation, kernel_initializer="ones")

        def call(self, x):
            return self.inner(x)

    net = Net()
    net(np.zeros((1, 2), "float32"))
    return net


def with_method(k):
    class Part:
        def __call__(self, x):
            return x + k

    return Part()


def variable(value):
    held = tf.Variable(value)
    return lambda x: x * held


def with_layer(function):
    return keras.Sequential([keras.Input((2,)), L.Dense(2, function, kernel_initializer="ones")])


def of_module(value):
    """A function that reads a constant of a module of the user."""
    module = types.ModuleType("a_module_of_the_user")
    module.STRENGTH = value
    names = {"module": module}
    exec("def made(x): return x * module.STRENGTH", names)  # noqa: S102
    return names["made"]


# Twice the same part, made anew, and another one that computes otherwise.
KINDS = {
    "number": lambda k: 0.1 * (k + 1),
    "array": lambda k: np.arange(3.0) + k,
    "large array": lambda k: np.zeros(100) + k,
    "tensor": lambda k: tf.constant([1.0, k]),
    "closure": closing,
    "closure of a closure": calling,
    "default": lambda k: lambda x, by=k: x * by,
    "code": lambda k: (lambda x: x + 1) if k else (lambda x: x - 1),
    "called global": lambda k: (lambda x: helper(x, 1)) if k else (lambda x: scaled(x, 1)),
    "module of the user": of_module,
    "partial": lambda k: functools.partial(scaled, by=k),
    "method": lambda k: with_method(k).__call__,
    "object": with_method,
    "variable": lambda k: variable(float(k)),
    "tf.function": lambda k: tf.function(closing(k)),
    "penalty": lambda k: L2(1.0 + k),
    "penalty of the user": penalty,
    "scaled penalty": lambda k: (2.0 + k) * penalty(1),
    "schedule": lambda k: TotalVariation(actmax.Linear(1.0, float(k))),
    "constraint of the user": constraint,
    "objective": lambda k: actmax.Channel("conv", k) - 0.5 * actmax.Logit(1),
    "Keras optimizer": lambda k: keras.optimizers.SGD(0.1 * (k + 1)),
    "Keras schedule": lambda k: S.ExponentialDecay(0.1, 3, 0.5 + 0.1 * k),
    "Keras rate": lambda k: keras.optimizers.Adam(S.CosineDecay(0.1, 4 + k)),
    "wrapped Keras optimizer": lambda k: actmax.optimizers.KerasOptimizer(
        keras.optimizers.SGD(0.1 * (k + 1))
    ),
    "network": prior,
    "network of a prior": lambda k: actmax.BatchNormPenalty(1.0, model=prior(k)),
    "activation": lambda k: with_layer("tanh" if k else "relu"),
    "activation of the user": lambda k: with_layer(calling(k)),
    "Lambda": lambda k: keras.Sequential([keras.Input((2,)), L.Lambda(calling(k))]),
    "subclass": lambda k: subclass("tanh" if k else "relu"),
    "path": lambda k: Path(f"/a/{k}"),
    "bytes": lambda k: bytes([k]),
    "set": lambda k: {"a", "b", str(k)},
    "sums": lambda k: functools.reduce(lambda a, b: a + b, [actmax.Logit(k)] * 30),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_part_made_anew_is_the_same_and_another_is_not(kind):
    make = KINDS[kind]
    one = json.loads(json.dumps(fingerprints.of(make(0)), allow_nan=False))
    assert fingerprints.differences(one, fingerprints.of(make(0))) == []
    assert fingerprints.differences(one, fingerprints.of(make(1)))


def test_a_fingerprint_holds_in_another_process_that_made_other_layers_before(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import sys, json
sys.path[:0] = [{str(ROOT)!r}]
import keras
L = keras.layers
[(L.Dense(1), L.Conv2D(1, 1), L.Softmax(), keras.optimizers.SGD()) for _ in range(int(sys.argv[1]))]
from actmax import fingerprints
import regularizers, tensorflow as tf
NAMES = {{"one", "two", "three", "four"}}
@regularizers.penalty
def level(images):
    return tf.reduce_mean(images, axis=(1, 2, 3)) * (len(NAMES) if "a" in {{"a", "b", "c"}} else 2.0)
i = keras.Input((8, 8, 1))
x = L.Conv2D(2, 3, kernel_initializer="ones")(i)
x = L.Softmax()(x + L.Conv2D(2, 3, kernel_initializer="ones")(i))
inner = keras.Sequential([L.Dense(2, kernel_initializer="ones"), L.Dense(2, kernel_initializer="ones")])
parts = [keras.Model(i, inner(x)), keras.optimizers.SGD(0.1), level, NAMES, lambda x: x in ("a", 1.5)]
print(json.dumps(fingerprints.of(parts)))
"""
    )
    texts = [
        subprocess.run(
            [sys.executable, program, str(count)], capture_output=True, text=True, check=True
        ).stdout
        for count in (0, 3)
    ]
    assert texts[0] == texts[1] and len(texts[0]) > 500


def test_callbacks_count_if_they_can_stop_by_their_settings_alone():
    seen = []

    class Watches(actmax.Callback):
        def __init__(self, patience):
            self.patience, self.count, self.told = patience, 0, []

        def on_step(self, snapshot):
            self.count += 1
            self.told.append(snapshot.step)
            return actmax.STOP if self.count > self.patience else None

    def says_nothing(snapshot):
        if snapshot.step > 3:
            raise KeyboardInterrupt

    def stops(snapshot):
        seen.append(snapshot.step)
        return actmax.STOP if snapshot.step > 3 else None

    silent = [says_nothing, seen.append, lambda s: seen.append(s.step), print]
    silent += [lambda s: print(s.step), actmax.Frames(), actmax.callbacks.Progress()]
    assert fingerprints.listeners(silent) == []
    for answering in (lambda s: actmax.STOP if s.step else None, lambda s: s.step and actmax.STOP):
        assert len(fingerprints.listeners([answering])) == 1
    used = Watches(2)
    before = fingerprints.listeners([used, stops])
    used.on_step(types.SimpleNamespace(step=1))
    seen.append(1)
    assert len(before) == 2 and fingerprints.listeners([used, stops]) == before
    assert fingerprints.listeners([Watches(3), stops]) != before
    plateaus = [fingerprints.listeners([actmax.StopOnPlateau(n)]) for n in (2, 2, 3)]
    assert plateaus[0] == plateaus[1] != plateaus[2]


def test_a_difference_of_versions_is_told_with_both_and_alone():
    now = {**fingerprints.environment(), "steps": 3}
    then = {**now, "steps": 4, "versions": {**now["versions"], "keras": "3.0.0"}}
    assert fingerprints.differences(then, now) == [
        f'versions/keras: "3.0.0" -> "{keras.__version__}"'
    ]
    assert "versions" in fingerprints.advice(fingerprints.differences(then, now))


def test_the_environment_has_kernels_and_threads(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    found = fingerprints.environment()
    assert found["onednn"] == "0" and found["threads"] == 3
    assert fingerprints.environment(7)["threads"] == 7
