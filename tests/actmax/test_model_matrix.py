"""Every kind of model with every kind of target: a gradient, and a score that anyone can compute again.

Each kind comes with the same computation written out, layer by layer and without `actmax`; a cell of the
matrix runs two steps and compares its scores with NumPy on that. What cannot be asked of a kind is an
error with a name, and stands in the table.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import actmax

SHAPE = (6, 6, 2)
UNITS = 5


@dataclasses.dataclass(frozen=True)
class Kind:
    """A model, the path of a layer in it, and what that layer and the logits are, written out."""

    model: Any
    path: str
    see: Callable[[Any], tuple[Any, Any]]
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    output: str | None = None
    tolerance: float = 1e-4
    refused: str = ""


def seeded(model):
    draw = np.random.default_rng(0)
    for weight in model.weights:
        fan_in = max(int(np.prod(weight.shape[:-1])), 1)
        weight.assign(draw.normal(size=weight.shape) / np.sqrt(fan_in))
    return model


def features():
    return layers.Conv2D(3, 3, activation="tanh", name="features")


def chain(*parts):
    """The computation of layers one after another."""

    def see(images):
        found = {}
        for part in parts:
            images = part(images)
            found[part.name] = images
        return found["features"], found["logits"]

    return see


def body():
    return [features(), layers.Flatten(), layers.Dense(UNITS, name="logits"), layers.Softmax()]


def sequential():
    parts = body()
    return Kind(seeded(keras.Sequential([keras.Input(SHAPE), *parts])), "features", chain(*parts))


def unbuilt():
    parts = body()
    model = keras.Sequential(parts)

    def see(images):  # built at the first run: the weights are random, and those that the run saw
        return chain(*parts)(images)

    return Kind(model, "features", see, {"input_shape": SHAPE})


def functional():
    parts = body()
    inputs = x = keras.Input(SHAPE)
    for part in parts:
        x = part(x)
    return Kind(seeded(keras.Model(inputs, x)), "features", chain(*parts))


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.flat, self.last, self.soft = body()

    def call(self, inputs):
        return self.soft(self.last(self.flat(self.first(inputs))))


def subclassed():
    model = Own()
    model(np.zeros((1, *SHAPE), np.float32))
    see = chain(model.first, model.flat, model.last)
    return Kind(seeded(model), "features", see, {"input_shape": SHAPE})


def nested(depth):
    parts = body()
    model = keras.Sequential([keras.Input(SHAPE), *parts], name="level0")
    for level in range(1, depth + 1):
        inputs = keras.Input(SHAPE)
        model = keras.Model(inputs, model(inputs), name=f"level{level}")
    path = "".join(f"level{level}/" for level in range(depth - 1, -1, -1)) + "features"
    return Kind(seeded(model), path, chain(*parts))


def shared():
    twice = layers.Conv2D(2, 3, padding="same", activation="tanh", name="twice")
    flat, last = layers.Flatten(), layers.Dense(UNITS, name="logits")
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, layers.Softmax()(last(flat(twice(twice(inputs))))))

    def see(images):
        second = twice(twice(images))
        return second, last(flat(second))

    return Kind(seeded(model), "twice:1", see)


def several_inputs():
    conv, flat, last = features(), layers.Flatten(), layers.Dense(UNITS, name="logits")
    image, gain = keras.Input(SHAPE, name="image"), keras.Input((1,), name="gain")
    scaled = layers.Concatenate()([flat(conv(image)), gain])
    model = keras.Model([image, gain], layers.Softmax()(last(scaled)))
    held = np.array([[0.7]], np.float32)

    def see(images):
        seen = conv(images["image"])
        rows = len(images["image"])
        return seen, last(keras.ops.concatenate([flat(seen), np.repeat(held, rows, 0)], -1))

    given = {"input_range": {"image": (-1, 1)}, "fixed": {"gain": held}}
    return Kind(seeded(model), "features", see, given)


def dict_inputs():
    conv, flat, last = features(), layers.Flatten(), layers.Dense(UNITS, name="logits")
    inputs = {name: keras.Input(SHAPE, name=name) for name in ("left", "right")}
    both = layers.Add()([inputs["left"], inputs["right"]])
    model = keras.Model(inputs, layers.Softmax()(last(flat(conv(both)))))

    def see(images):
        seen = conv(images["left"] + images["right"])
        return seen, last(flat(seen))

    given = {"input_range": {"left": (-1, 1), "right": (-1, 1)}}
    return Kind(seeded(model), "features", see, given)


def several_outputs():
    conv, flat, last = features(), layers.Flatten(), layers.Dense(UNITS, name="logits")
    inputs = keras.Input(SHAPE)
    seen = conv(inputs)
    outputs = {
        "kind": layers.Softmax(name="kind")(last(flat(seen))),
        "size": layers.GlobalAveragePooling2D(name="size")(seen),
    }
    model = keras.Model(inputs, outputs)
    return Kind(seeded(model), "features", chain(conv, flat, last), output="kind")


def preprocessing():
    scale = layers.Rescaling(1 / 255.0)
    normal = layers.Normalization(mean=[0.4, 0.5], variance=[0.04, 0.09])
    parts = [scale, normal, *body()]
    model = seeded(keras.Sequential([keras.Input(SHAPE), *parts]))
    # The normalization has numbers of its own, which are no weights to draw.
    return Kind(model, "features", chain(*parts), {"input_range": (0, 255)})


def recurrent():
    parts = [
        layers.LSTM(4, return_sequences=True, name="features"),
        layers.GRU(3),
        layers.Dense(UNITS, name="logits"),
        layers.Softmax(),
    ]
    return Kind(seeded(keras.Sequential([keras.Input((7, 3)), *parts])), "features", chain(*parts))


def conv(axes):
    layer = {1: layers.Conv1D, 3: layers.Conv3D}[axes]
    parts = [layer(3, 3, activation="tanh", name="features"), *body()[1:]]
    model = keras.Sequential([keras.Input((6,) * axes + (2,)), *parts])
    return Kind(seeded(model), "features", chain(*parts))


class Positions(layers.Layer):
    """Adds a place's own vector."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="normal")

    def call(self, inputs):
        return inputs + self.table


def transformer():
    patches = layers.Conv2D(8, 3, strides=3)
    tokens, places = layers.Reshape((4, 8)), Positions()
    attend = layers.MultiHeadAttention(2, 4, name="attend")
    norm = layers.LayerNormalization(name="features")
    mean, last = layers.GlobalAveragePooling1D(), layers.Dense(UNITS, name="logits")
    inputs = keras.Input(SHAPE)
    x = places(tokens(patches(inputs)))
    model = keras.Model(inputs, layers.Softmax()(last(mean(norm(x + attend(x, x))))))

    def see(images):
        x = places(tokens(patches(images)))
        seen = norm(x + attend(x, x))
        return seen, last(mean(seen))

    return Kind(seeded(model), "features", see, {"regularizers": []})


def saved_model(folder):
    """A SavedModel as a layer: what is inside cannot be reached, its output can."""
    first, flat, last = features(), layers.Flatten(), layers.Dense(UNITS, name="logits")
    inner = seeded(keras.Sequential([keras.Input(SHAPE), first]))
    quiet = {"verbose": False} if "verbose" in inspect.signature(inner.export).parameters else {}
    inner.export(folder, **quiet)  # Keras 3.5 has no such argument
    outer = layers.TFSMLayer(folder, call_endpoint="serve", name="features")
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, layers.Softmax()(last(flat(outer(inputs)))))
    draw = np.random.default_rng(1)
    last.set_weights([draw.normal(size=w.shape) for w in last.get_weights()])
    return Kind(model, "features", chain(first, flat, last))


def plain_callable():
    weights = np.random.default_rng(0).normal(size=(72, UNITS)).astype(np.float32)

    def function(images):
        return tf.reshape(images, [-1, 72]) @ tf.constant(weights)

    def see(images):
        return None, images.reshape(-1, 72) @ weights

    given = {"input_shape": SHAPE}
    return Kind(function, "features", see, given, refused="A plain callable has no layers")


def mixed_precision():
    kept = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        parts = body()
        model = seeded(keras.Sequential([keras.Input(SHAPE), *parts]))
    finally:
        keras.config.set_dtype_policy(kept)
    # Ten bits of mantissa, and sums of 48 and of 18 products.
    return Kind(model, "features", chain(*parts), tolerance=2e-2)


def legacy_file(folder):
    parts = body()
    model = seeded(keras.Sequential([keras.Input(SHAPE), *parts]))
    file = f"{folder}.h5"
    model.save(file)
    return Kind(actmax.load_model(file), "features", chain(*parts))


KINDS = {
    "sequential": sequential, "sequential, not built": unbuilt, "functional": functional,
    "subclassed": subclassed, "nested once": lambda: nested(1), "nested twice": lambda: nested(2),
    "nested three times": lambda: nested(3), "shared layer": shared, "several inputs": several_inputs,
    "dict of inputs": dict_inputs, "several outputs": several_outputs, "preprocessing": preprocessing,
    "recurrent": recurrent, "one axis": lambda: conv(1), "three axes": lambda: conv(3),
    "vision transformer": transformer, "SavedModel": saved_model, "callable": plain_callable,
    "mixed precision": mixed_precision, "legacy .h5": legacy_file,
}  # fmt: skip
TARGETS = ("logit", "channel", "neuron", "layer", "direction")


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Each kind, made when it is first asked for."""
    made: dict[str, Kind] = {}

    def get(name: str) -> Kind:
        if name not in made:
            with_file = name in ("SavedModel", "legacy .h5")
            arguments = [str(tmp_path_factory.mktemp("model") / "file")] if with_file else []
            made[name] = KINDS[name](*arguments)
        return made[name]

    return get


def asked(target: str, kind: Kind) -> tuple[Any, dict[str, Any]]:
    """The objective, and the arguments that it needs of the call."""
    path = kind.path
    vectors = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 1.0]], np.float32)
    if path == "twice:1":
        vectors = vectors[:, :2]
    if path == "features" and _channels(kind) > 3:
        vectors = np.random.default_rng(5).normal(size=(2, _channels(kind))).astype(np.float32)
    return {
        "logit": (actmax.Logit(output=kind.output), {"targets": [1, 4]}),
        "channel": (actmax.Channel(path), {"targets": [0, 1]}),
        "neuron": (actmax.Neuron(path), {"targets": [0, 1]}),
        "layer": (actmax.Layer(path), {"images": 2}),
        "direction": (actmax.Direction(path), {"targets": vectors}),
    }[target]


def _channels(kind: Kind) -> int:
    if kind.refused or "input_shape" in kind.arguments:  # Keras 3.5 raises where there is none yet
        return 3
    shape = getattr(kind.model, "input_shape", None)
    if not isinstance(shape, tuple):
        return 3
    seen, _ = kind.see(np.zeros((1, *shape[1:]), np.float32))
    return int(seen.shape[-1])


def expected(target: str, call: dict[str, Any], seen: Any, logits: Any) -> np.ndarray:
    """What the score is, in NumPy, of a layer's activations `[N, ..., C]` and the logits `[N, C]`."""
    rows = np.arange(2)
    if target == "logit":
        return logits[rows, call["targets"]]
    space = tuple(range(1, seen.ndim - 1))
    if target == "layer":
        return (seen**2).mean(axis=(*space, seen.ndim - 1))
    if target == "channel":
        return seen.mean(axis=space)[rows, call["targets"]]
    if target == "neuron":
        centre = tuple(size // 2 for size in seen.shape[1:-1])
        return seen[(slice(None), *centre)][rows, call["targets"]]
    directions = call["targets"] / np.linalg.norm(call["targets"], axis=1, keepdims=True)
    return (seen * directions.reshape(2, *[1] * len(space), -1)).sum(-1).mean(axis=space)


def as_numpy(value: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(value), np.float64)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_with_every_kind_of_target(kinds, name, target):
    kind = kinds(name)
    objective, call = asked(target, kind)
    arguments = {"input_range": (-1, 1), "regularizers": [], **kind.arguments}
    if kind.refused and target != "logit":
        with pytest.raises((TypeError, ValueError), match=kind.refused):
            actmax.maximize(kind.model, objective, steps=2, **call, **arguments)
        return
    maximizer = actmax.Maximizer(kind.model, objective, **arguments)
    result = maximizer(steps=2, **call)
    assert result.status.tolist() == [actmax.Status.OK] * 2, result.messages
    seen, logits = kind.see(result.images)
    seen = None if seen is None else as_numpy(seen)
    found = expected(target, call, seen, as_numpy(logits))
    np.testing.assert_allclose(result.scores, found, rtol=kind.tolerance, atol=kind.tolerance)
    start = maximizer(steps=0, **call)
    moved = [
        np.any(np.asarray(a) != np.asarray(b))
        for a, b in zip(_leaves(result.images), _leaves(start.images), strict=True)
    ]
    assert all(moved)


def _leaves(images: Any) -> list[Any]:
    return list(images.values()) if isinstance(images, Mapping) else [images]
