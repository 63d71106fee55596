"""What one call does to its callbacks, beside another thread, and with scores that are no numbers."""

from __future__ import annotations

import threading
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax.maximizer.running import Best, Run

L = keras.layers


def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6,)), L.Dense(5, activation="tanh"), L.Dense(3)])


def test_a_callback_whose_beginning_failed_is_not_told_the_end():
    told = []

    class Told(actmax.Callback):
        def __init__(self, fails):
            self.fails = fails

        def on_begin(self, snapshot):
            if self.fails:
                raise OSError("no disk")

        def on_end(self, snapshot):
            told.append(self.fails)

    with pytest.raises(OSError, match="no disk"):
        actmax.maximize(
            small(), targets=[0], input_range=(0, 1), regularizers=[], steps=2,
            callbacks=[Told(False), Told(True), Told(False)],
        )  # fmt: skip
    assert told == [False]


def test_what_was_no_number_is_not_the_best():
    first = Best(tf.zeros([3, 1]), np.array([np.nan, 1.0, np.nan]))
    loop = types.SimpleNamespace(
        images=lambda params, arguments: params,
        robust_scores=lambda *_: tf.constant([-5.0, 0.5, np.nan]),
    )
    run = Run(
        loop, types.SimpleNamespace(seeds=tf.zeros([3, 2], tf.int32)), None, None, 9, 3, [], True
    )
    best = run._judge(types.SimpleNamespace(params=tf.ones([3, 1])), first)
    np.testing.assert_array_equal(best.params, [[1.0], [0.0], [0.0]])
    np.testing.assert_array_equal(best.scores, [-5.0, 1.0, np.nan])


def test_two_threads_with_a_keras_optimizer_find_what_each_finds_alone():
    maximizer = actmax.Maximizer(
        small(), input_range=(0, 1), regularizers=[], optimizer=keras.optimizers.Adam(0.05)
    )
    alone = {target: maximizer([target], steps=60, seed=target).images for target in (0, 2)}
    found = {}

    def go(target):
        found[target] = maximizer([target], steps=60, seed=target).images

    for _ in range(2):
        threads = [threading.Thread(target=go, args=(target,)) for target in alone]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for target, images in alone.items():
            np.testing.assert_array_equal(found[target], images)
