"""Penalties of the model's own layers, fed from the pass of a step; and arrays per image in the call."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
import regularizers
from regularizers import Jitter
from regularizers.testing import broken_laws, check_regularizer

AXES = (1, 2, 3)
SHAPE = (6, 6, 1)


@regularizers.penalty(layers=("conv",))
def energy(images, activations):
    return tf.reduce_mean(activations["conv"] ** 2, AXES)


@dataclasses.dataclass(frozen=True)
class Statistics(regularizers.Penalty):
    """Squared distance of the channel means of a layer to those that each image is given."""

    layers: tuple[str, ...] = ("conv",)
    arrays: ClassVar[tuple[str, ...]] = ("means",)

    def __call__(self, images, activations, means):
        found = tf.reduce_mean(activations[self.layers[0]], (1, 2))
        return tf.reduce_mean((found - means) ** 2, 1)


@regularizers.penalty(arrays=("reference",))
def near(images, reference):
    return tf.reduce_mean((images - reference) ** 2, AXES)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(3)
    inputs = keras.Input(SHAPE, dtype="float64")
    conv = keras.layers.Conv2D(3, 3, name="conv", activation="softplus", dtype="float64")(inputs)
    return keras.Model(inputs, keras.layers.Dense(4, name="logits", dtype="float64")(
        keras.layers.Flatten(dtype="float64")(conv)))  # fmt: skip


def forward(network, x):
    """Convolution and logits by hand, in float64. `[N, 6, 6, 1] -> [N, 4, 4, 3], [N, 4]`."""
    kernel, bias, dense, offset = (np.asarray(w, np.float64) for w in network.get_weights())
    patches = np.lib.stride_tricks.sliding_window_view(x[..., 0], (3, 3), axis=(1, 2))
    conv = np.logaddexp(0, np.einsum("nijab,abk->nijk", patches, kernel[:, :, 0]) + bias)
    return conv, conv.reshape(len(x), -1) @ dense + offset


def slope(function, x, h=1e-5):
    """Central differences. `[N, ...] -> [N, ...]`."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape[1:]):
        at = (slice(None), *index)
        step = np.zeros_like(x)
        step[at] = h
        gradient[at] = (function(x + step) - function(x - step)) / (2 * h)
    return gradient


def maximizer(network, *parts, **settings):
    given = {"precision": "float64", "optimizer": actmax.SGD(0.1), **settings}
    return actmax.Maximizer(
        network, input_range=(0, 1), regularizers=list(parts),
        parameterization=actmax.Pixels(), **given,
    )  # fmt: skip


@pytest.fixture(scope="module")
def start():
    return np.random.default_rng(0).uniform(0.3, 0.7, (3, *SHAPE))


@pytest.fixture(scope="module")
def run(network):
    return maximizer(network, 2.0 * energy, Statistics(3.0), 5.0 * near)


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(1)
    return {
        "statistics": rng.uniform(0, 1, (3, 3)),
        "near": {"reference": rng.uniform(0, 1, (3, *SHAPE))},
    }


def terms(network, x, arrays):
    conv, logits = forward(network, x)
    means = ((conv.mean((1, 2)) - arrays["statistics"]) ** 2).mean(1)
    close = ((x - arrays["near"]["reference"]) ** 2).mean(AXES)
    return logits[np.arange(len(x)), [0, 1, 2]], (conv**2).mean(AXES), means, close


def test_value_and_gradient_are_those_by_hand(run, network, start, arrays):
    def objective(x):
        score, first, second, third = terms(network, x, arrays)
        return score - 2 * first - 3 * second - 5 * third

    value, gradient = run.value_and_gradient(start, [0, 1, 2], arrays=arrays)
    np.testing.assert_allclose(value, objective(start), rtol=1e-9)
    np.testing.assert_allclose(gradient, slope(objective, start), atol=1e-8)


def test_history_has_a_row_and_weights_a_name(run, network, start, arrays):
    given = {"initial_images": start, "arrays": arrays, "steps": 2}
    found = run([0, 1, 2], weights={"energy": [0.0, 2.0, 20.0]}, **given)
    score, *expected = terms(network, start, arrays)
    for name, value in zip(
        ("score", "energy", "statistics", "near"), (score, *expected), strict=True
    ):
        np.testing.assert_allclose(found.history[name][0], value, rtol=1e-9)
    weights = np.array([0.0, 2.0, 20.0])
    burden = weights * expected[0] + 3 * expected[1] + 5 * expected[2]
    np.testing.assert_allclose(found.history["objective"][0], score - burden, rtol=1e-9)
    back = {"statistics": arrays["statistics"][::-1], "near": arrays["near"]["reference"][::-1]}
    turned = run([2, 1, 0], weights={"energy": weights[::-1]}, initial_images=start[::-1],
                 arrays=back, steps=2)  # fmt: skip
    np.testing.assert_array_equal(turned.images[::-1], found.images)
    assert run.traces == 1
    assert (
        found.config["call"]["arrays"]["near/reference"]
        != turned.config["call"]["arrays"]["near/reference"]
    )


def test_a_sweep_gives_each_target_its_row(run, arrays):
    own = {"statistics": arrays["statistics"][:2], "near": arrays["near"]["reference"][:1]}
    found = run.sweep([0, 1], weights={"energy": [0.0, 4.0]}, steps=2, batch_size=3, arrays=own)
    for row, (target, weight) in enumerate([(0, 0.0), (0, 4.0), (1, 0.0), (1, 4.0)]):
        each = {"statistics": own["statistics"][target : target + 1], "near": own["near"]}
        alone = run([target] * 3, seed=[0] * 3, weights={"energy": weight}, steps=2, arrays=each)
        np.testing.assert_array_equal(found.result.images[row], alone.images[0])
    assert run.traces == 1


def test_a_stopped_run_goes_on_only_with_the_same_arrays(run, arrays, tmp_path):
    given = {"steps": 6, "seed": [1, 2, 3], "callback_every": 2}
    kept = {**given, "checkpoint": tmp_path / "c"}

    def stop(snapshot):
        if snapshot.step >= 4:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        run([0, 1, 2], arrays=arrays, callbacks=[stop], **kept)
    other = {**arrays, "statistics": arrays["statistics"] + 0.1}
    with pytest.raises(ValueError, match="statistics/means"):
        run([0, 1, 2], arrays=other, **kept)
    again = run([0, 1, 2], arrays=arrays, **kept)
    np.testing.assert_array_equal(again.images, run([0, 1, 2], arrays=arrays, **given).images)


@pytest.fixture(scope="module")
def plain(network, start):
    return maximizer(network, energy, Jitter(1))([0, 1, 2], steps=2, initial_images=start)


@pytest.mark.parametrize("compile", ["recompute", "xla", False])
def test_every_way_gives_the_same(network, start, plain, compile):
    way = maximizer(network, energy, Jitter(1), compile=compile)
    other = way([0, 1, 2], steps=2, initial_images=start)
    np.testing.assert_allclose(other.images, plain.images, atol=1e-7)
    np.testing.assert_allclose(other.history["energy"], plain.history["energy"], rtol=1e-6)


def test_copies_count_by_their_mean(network, start):
    @regularizers.penalty(layers=("conv",))
    def seen(images, activations):
        return tf.reduce_mean(images, AXES) + 0.0 * tf.reduce_mean(activations["conv"], AXES)

    @regularizers.transform
    def brighter(images, seeds, step):
        return images + regularizers.random.uniform(seeds, [1, 1, 1], 0.0, 1.0, images.dtype)

    found = maximizer(network, seen, brighter, copies=256)([0, 1, 2], steps=1, initial_images=start)
    np.testing.assert_allclose(found.history["seen"][0], start.mean(AXES) + 0.5, atol=0.08)


def test_half_precision_hears_them_in_the_same_pass():
    network = actmax.zoo.load("mnist")
    given = {"optimizer": actmax.SGD(0.1), "precision": "float16"}
    half, full = (
        actmax.maximize(
            network, targets=[3], input_range=(0, 1), regularizers=[energy], steps=2, **each
        )
        for each in (given, {**given, "precision": None})
    )
    np.testing.assert_allclose(half.history["energy"], full.history["energy"], rtol=0.02)
    np.testing.assert_allclose(half.images, full.images, atol=0.05)


def test_one_pass_is_made(network):
    def convolutions(*parts):
        made = maximizer(network, *parts)
        made([0], steps=1, arrays=None)
        function = next(f for (name, _), f in made._loop._functions.items() if name == "run")
        graph = function.graph.as_graph_def()
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        return sum(node.op == "Conv2D" for node in nodes)

    assert convolutions(energy) == convolutions()


def test_what_is_wrong_is_said_before_the_run(network, run, arrays):
    @regularizers.penalty(layers=("cnv",))
    def lost(images, activations):
        return tf.reduce_mean(activations["cnv"], AXES)

    with pytest.raises(ValueError, match=r"the penalty 'lost' to name layers of the model.*'conv'"):
        maximizer(network, lost)
    with pytest.raises(TypeError, match="to name layers of the model"):
        regularizers.penalty(lambda images, activations: images)
    with pytest.raises(ValueError, match="every=1"):
        dataclasses.replace(energy, every=2)
    with pytest.raises(ValueError, match=r"arrays=\{'statistics': ...\}.*none"):
        run([0])
    with pytest.raises(ValueError, match=r"\[1 or 2, ...\].*\(3, 3\)"):
        run([0, 1], arrays=arrays)
    with pytest.raises(ValueError, match="names of penalties that take arrays"):
        run([0], arrays={"energy": [1.0]})
    with pytest.raises(ValueError, match="the penalty 'near' to run"):
        run([0], arrays={"statistics": np.zeros((1, 3)), "near": np.zeros((1, 5, 5, 1))})


def test_old_parts_with_a_field_called_layers_are_left_alone():
    @dataclasses.dataclass(frozen=True)
    class Perceptual(regularizers.Penalty):
        layers: tuple[str, ...] = ("conv",)
        arrays: tuple[np.ndarray, ...] = dataclasses.field(default=(), compare=False)

        def __call__(self, images):
            return tf.reduce_mean(images**2, AXES)

    part = Perceptual(arrays=(np.zeros(3),))
    assert part.inner_layers == () and part.array_names == ()
    check_regularizer(part, shapes=[SHAPE])


def test_the_checker_takes_them_and_names_their_faults():
    check_regularizer(energy, shapes=[SHAPE])
    check_regularizer(near, shapes=[SHAPE])
    check_regularizer(Statistics(), shapes=[SHAPE], arrays={"means": (8,)})

    @regularizers.penalty(layers=("conv",))
    def mixed(images, activations):
        return tf.reduce_mean(activations["conv"], AXES) / tf.reduce_max(activations["conv"])

    @regularizers.penalty(arrays=("reference",))
    def first(images, reference):
        return tf.reduce_mean((images - reference[:1]) ** 2, AXES)

    assert "independent" in [error.law for error in broken_laws(mixed, shapes=[SHAPE])]
    assert "independent" in [error.law for error in broken_laws(first, shapes=[SHAPE])]
