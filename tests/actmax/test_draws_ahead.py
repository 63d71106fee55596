"""Draws worked out ahead for a block of steps are those that each step would draw."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import zoo
from actmax.loop import draws_ahead
from actmax.loop.engine import Loop
from actmax.maximizer import fastest_way
from actmax.problem import Draws
from regularizers import Jitter, Noise, RandomCrop, Rotate, TotalVariation

SHAPES = {
    "one": [Jitter(3)],
    "among others": [Noise(0.1), Jitter(2), Rotate(10.0), Jitter(1)],
    "behind a change of size": [Jitter(1), RandomCrop((20, 20)), Jitter(4)],
    "a schedule": [Jitter(lambda step: 1.0 + tf.cast(step, tf.float32) / 4.0), Jitter(1)],
    "none": [Noise(0.1)],
}


@pytest.fixture(scope="module")
def model():
    return zoo.load("mnist")


def maximizer(model, regularizers, **settings):
    settings = {"parameterization": actmax.Pixels(), "copies": 1, **settings}
    return actmax.Maximizer(model, input_range=(0.0, 1.0), regularizers=regularizers, **settings)


@pytest.mark.parametrize("listed", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("settings", [{}, {"copies": 4, "antithetic": True}], ids=["", "pairs"])
def test_what_is_drawn_ahead_is_what_each_step_draws(model, listed, settings):
    problem = maximizer(model, listed, **settings).problem
    name = problem.inputs[0].name
    images = {name: tf.random.stateless_uniform([3, 28, 28, 1], [1, 2])}
    seeds = problem.part_seeds(tf.constant([[1, 2], [3, 4], [5, 6]]))
    steps = tf.constant([0, 5, 6])
    many = problem.ahead(seeds, steps)
    ahead = sum(isinstance(part, Jitter) and not callable(part.pixels) for part in listed)
    changed = any(isinstance(part, RandomCrop) for part in listed)
    assert len(many.ahead[name]) == (1 if changed else ahead)
    for place, step in enumerate(steps):
        draws = Draws(*tf.nest.map_structure(lambda values, at=place: values[at], tuple(many)))
        found = problem.transform(images, draws, step)[name]
        np.testing.assert_array_equal(found, problem.transform(images, seeds, step)[name])


@pytest.mark.parametrize("size", [1, 5, 16, 64])
def test_blocks_of_any_size_give_the_same_bytes(model, size, monkeypatch):
    listed = [Jitter(2), Noise(0.05)]
    whole = maximizer(model, listed)([0, 1], steps=23)
    monkeypatch.setattr(draws_ahead, "BLOCK", size)
    cut = maximizer(model, listed)([0, 1], steps=23)
    assert whole.images.tobytes() == cut.images.tobytes()
    assert whole.history["score"].tobytes() == cut.history["score"].tobytes()


def noinline(loop):
    """Names of the functions of the run's graph that are called and not inlined."""
    (run,) = (function for (name, _), function in loop._functions.items() if name == "run")
    library = run.graph.as_graph_def().library.function
    return [one.signature.name for one in library if one.attr["_noinline"].b]


@pytest.mark.parametrize(
    ("settings", "count"),
    [({}, 1), ({"copies": 2}, 1), ({"compile": "fold"}, 3), ({"precision": "float16"}, 1)],
    ids=str,
)
def test_the_scale_of_the_weights_the_loop_and_the_end_share_a_trace(monkeypatch, settings, count):
    """Steps of the loop tell the pull and the look at the end. The two looks at folds have one each."""
    # Without oneDNN every way is a variant.
    monkeypatch.setattr(fastest_way, "onednn", lambda: True)
    traced = []
    once = Loop._ascend_once
    monkeypatch.setattr(Loop, "_ascend_once", lambda *given: traced.append(0) or once(*given))
    settings = {"copies": 1, **settings}
    listed = [Rotate(8.0), Noise(0.05), TotalVariation(0.2)]
    run = actmax.Maximizer(
        zoo.load("mnist"), input_range=(0, 1), regularizers=listed, balance=True, **settings
    )
    first = run([0, 1], steps=2)
    assert len(traced) == count
    assert run([0, 1], steps=2).images.tobytes() == first.images.tobytes()
    assert len(traced) == count


@pytest.mark.parametrize("onednn", [True, False, None])
def test_the_pass_is_a_function_of_its_own_only_where_onednn_pairs_operations(
    model, monkeypatch, onednn
):
    monkeypatch.setattr(fastest_way, "onednn", lambda: onednn)
    plain = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    )
    for network, paired in ((model, onednn is not False), (plain, False)):
        apart = maximizer(network, [Jitter(1)])
        first = apart([0, 1], steps=5)
        assert len(noinline(apart._loop)) == int(paired)
        inside = maximizer(network, [Jitter(1)])
        way = dataclasses.replace(inside._loop.way, apart=False)
        inside._loop._called = way.called(inside._loop._ascend_once, inside._loop.models)
        second = inside([0, 1], steps=5)
        assert noinline(inside._loop) == []
        np.testing.assert_allclose(first.images, second.images, atol=1e-4)
