"""What models return and take, in every structure, and every way to name it, against Keras' own values."""

import collections
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import models
from actmax.objectives import LOGITS, OUTPUT

L, K = keras.layers, keras.ops
X = np.random.default_rng(0).uniform(size=[2, 4, 4, 2]).astype("float32")
KW = {"input_range": (0, 1), "regularizers": [], "steps": 1}


def network(kind):
    """A model, and for every output the keys that name it, in the order of Keras' flattened outputs."""
    keras.utils.set_random_seed(0)
    images = keras.Input((4, 4, 2))
    flat, conv = L.Flatten()(images), L.Conv2D(3, 2, name="conv")(images)
    units = [L.Dense(n, name=f"units{n}")(flat) for n in (2, 3, 4)]
    made, keys = {
        "single": (units[0], [["0"]]),
        "[N]": (L.Reshape(())(L.Dense(1)(flat)), [["0"]]),
        "[N, T, C]": (L.Reshape((9, 3))(conv), [["0"]]),
        "[N, H, W, C]": (conv, [["0", "conv"]]),
        "list": (units, [["0", "units2"], ["1", "units3"], ["2", "units4"]]),
        "tuple": (tuple(units[:2]), [["0", "units2"], ["1", "units3"]]),
        "list of one": (units[:1], [["0", "units2"]]),
        "dict": ({"b": units[0], "a": units[1]}, [["a", "0"], ["b", "1"]]),
        "dict of one": ({"b": units[0]}, [["b", "0"]]),
        "nested": (
            {"x": [units[0], units[1]], "w": {"z": units[2]}},
            [["w/z", "0"], ["x/0", "1"], ["x/1", "2"]],
        ),
        "one tensor twice": ([units[0], units[0]], [["0"], ["1"]]),
        "one layer twice": (shared(flat), [["0"], ["1"]]),
    }[kind]
    return keras.Model(images, made), keys


def shared(flat):
    head = L.Dense(3, name="head")
    return [head(flat), head(2.0 * flat)]


KINDS = [
    "single", "[N]", "[N, T, C]", "[N, H, W, C]", "list", "tuple", "list of one", "dict", "dict of one",
    "nested", "one tensor twice", "one layer twice",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_output_by_every_name(kind):
    model, keys = network(kind)
    wanted = keras.tree.flatten(model(X))
    assert len(wanted) == len(keys)
    names = [f"{what}/{key}" for own in keys for key in own for what in (OUTPUT, LOGITS)]
    found = models.Taps(model, names)({"images": tf.constant(X)})
    for value, own in zip(wanted, keys, strict=True):
        for key in own:
            np.testing.assert_allclose(found[f"{OUTPUT}/{key}"], value, rtol=1e-5)
            units = value[:, None] if len(value.shape) == 1 else value
            np.testing.assert_allclose(found[f"{LOGITS}/{key}"], units, rtol=1e-5)


@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "nested", "one tensor twice"])
def test_a_function_gets_what_the_model_returns(kind):
    """A dict of names where every output has one of its own, as ever."""
    model, _ = network(kind)
    found = models.Taps(model, [OUTPUT])({"images": tf.constant(X)})[OUTPUT]
    wanted = model(X)
    if kind in ("list", "tuple", "nested"):
        wanted = dict(zip(model.output_names, keras.tree.flatten(wanted), strict=True))
    keras.tree.assert_same_structure(found, wanted)
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


class Arguments(keras.Model):
    """Two inputs, each an argument."""

    def __init__(self):
        super().__init__()
        self.last = L.Dense(2)

    def call(self, left, right, training=False):
        return self.last(K.concatenate([left, right], -1))


class Listed(Arguments):
    """Two inputs in one list."""

    def call(self, both):
        return super().call(*both)


class Named(Arguments):
    """Two inputs in one dict."""

    def call(self, both):
        return super().call(both["left"], both["right"])


WAYS = {
    "arguments": (Arguments, ("left", "right"), lambda model, a, b: model(a, b)),
    "arguments by place": (Arguments, ("0", "1"), lambda model, a, b: model(a, b)),
    "a list": (Listed, ("0", "1"), lambda model, a, b: model([a, b])),
    "a dict": (Named, ("left", "right"), lambda model, a, b: model({"left": a, "right": b})),
}


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_several_inputs_go_by_argument_or_place(way, built):
    kind, names, call = WAYS[way]
    model = kind()
    if built:
        call(model, np.zeros([1, 3], "float32"), np.zeros([1, 2], "float32"))
    given = {name: np.full([2, n], n, "float32") for name, n in zip(names, (3, 2), strict=True)}
    found = models.Taps(model, [OUTPUT])({name: tf.constant(v) for name, v in given.items()})
    np.testing.assert_allclose(found[OUTPUT], call(model, *given.values()), rtol=1e-5)


def test_a_function_of_two_arguments_is_run():
    result = actmax.maximize(
        lambda left, right: tf.concat([left, -right], -1), targets=[0, 2],
        input_shape={"left": (2,), "right": (1,)}, **{**KW, "input_range": {"left": (0, 1), "right": (0, 1)}},
    )  # fmt: skip
    np.testing.assert_allclose(
        result.scores, [result.images["left"][0, 0], -result.images["right"][1, 0]], rtol=1e-5
    )


Pair = collections.namedtuple("Pair", "logits value")


@dataclasses.dataclass(frozen=True)
class Answer:
    logits: object
    value: object
    note: str = "as it is"


class Attributes(collections.OrderedDict):
    """A dict whose values are attributes too, as in other libraries."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        object.__setattr__(self, key, value)


def attributes(logits, value):
    made = Attributes(loss=None)
    made["logits"], made["value"] = logits, value
    return made


STRUCTURES = {
    "named tuple": (Pair, "logits", lambda output: output.value),
    "dataclass": (Answer, "logits", lambda output: output.value),
    "dict with attributes": (attributes, "logits", lambda output: output.value),
    "None beside": (lambda a, b: {"p": a, "loss": None, "v": b}, "p", lambda output: output["v"]),
    "number beside": (lambda a, b: (a, 0.5, b), "0", lambda output: output[2] + 0.0 * output[1]),
    "dataclass in a dict": (lambda a, b: {"x": Answer(a, b)}, "x/logits", lambda o: o["x"].value),
    "None in a list": (lambda a, b: [None, a, {"y": b}], "1", lambda output: output[2]["y"]),
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_structures_of_python_are_outputs(kind):
    """Fields are names, and what is no tensor stays where it is."""
    build, key, value = STRUCTURES[kind]

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = L.Dense(3), L.Dense(2)

        def call(self, images):
            flat = K.reshape(images, (-1, 32))
            return build(K.softmax(self.a(flat)), self.b(flat))

    model = Model()
    model(X)
    flat = X.reshape(2, 32)
    logits, other = (flat @ layer.get_weights()[0] for layer in (model.a, model.b))
    found = models.Taps(model, [f"{LOGITS}/{key}", f"{LOGITS}/0", OUTPUT])(
        {"images": tf.constant(X)}
    )
    np.testing.assert_allclose(found[f"{LOGITS}/{key}"], logits, rtol=1e-4, atol=1e-5)
    if kind != "None in a list":
        np.testing.assert_allclose(found[f"{LOGITS}/0"], logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(value(found[OUTPUT]), other, rtol=1e-4, atol=1e-5)


def test_no_tensor_at_all_is_refused():
    for nothing in (None, {"x": None}, [0.5]):
        with pytest.raises(TypeError, match="a model that returns tensors"):
            actmax.maximize(lambda images, n=nothing: n, input_shape=(4,), targets=[0], **KW)


def test_text_and_nothing_are_refused():
    images = keras.Input((3,))
    units = L.Dense(2)(images)
    text = L.Lambda(tf.strings.as_string, output_shape=(2,))(units)
    with pytest.raises(ValueError, match=r"numbers from 'logits'(?s:.*)text"):
        actmax.maximize(keras.Model(images, text), targets=[0], **KW)
    with pytest.raises(ValueError, match="at least one unit"):
        actmax.maximize(keras.Model(images, units[:, :0]), targets=[0], **KW)


def test_activations_are_those_of_the_names_alone():
    model, _ = network("single")
    taps = models.Taps(model, ["units2", OUTPUT])
    assert set(taps({"images": tf.constant(X)})) == {*taps.names}
    found, outputs = taps.with_outputs({"images": tf.constant(X)})
    assert set(found) == {*taps.names}
    np.testing.assert_array_equal(outputs["0"], found[OUTPUT])
