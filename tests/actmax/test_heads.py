"""Heads of models: what objectives make of them, wherever they stand, against NumPy.

Every cell is one output of a model that has all of them, so that a form of writing a head is traced once.
"""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special

import actmax
from actmax import models
from actmax.objectives import GROUPS, LOGARITHMS, LOGITS, PROBABILITIES

L, K = keras.layers, keras.ops
UNITS = 6
X = np.random.default_rng(0).normal(size=[3, 4]).astype("float32")
KERNEL = np.random.default_rng(1).normal(size=[4, UNITS]).astype("float32")
Z = X @ KERNEL
TARGETS = np.array([1, 0, 2])


def log_softmax(z, axis=-1):
    return special.log_softmax(z.astype(np.float64), axis)


def log_sigmoid(z):
    return -np.logaddexp(0, -z.astype(np.float64))


# What a head computes; logits, logarithms of probabilities and probabilities of its units, or None.
HEADS = {
    "softmax": ("softmax", log_softmax),
    "log_softmax": ("logsoftmax", log_softmax),
    "sigmoid": ("sigmoid", log_sigmoid),
    "log_sigmoid": ("logsigmoid", log_sigmoid),
    "tanh": ("tanh", None),
    "softplus": ("softplus", None),
    "hard_sigmoid": ("bounded", None),
    "linear": ("linear", None),
    "written out": ("softmax", log_softmax),
    "written out, less the maximum": ("softmax", log_softmax),
    "written out, logarithm": ("logsoftmax", log_softmax),
    "written out, logarithm less the maximum": ("logsoftmax", log_softmax),
}


def of_shifted(z):
    shifted = z - K.max(z, -1, keepdims=True)
    return shifted - K.log(K.sum(K.exp(shifted), -1, keepdims=True))


def of_raised(raised):
    return raised / K.sum(raised, -1, keepdims=True)


# Heads that people write by hand.
WRITTEN = {
    "written out": lambda z: of_raised(K.exp(z)),
    "written out, less the maximum": lambda z: of_raised(K.exp(z - K.max(z, -1, keepdims=True))),
    "written out, logarithm": lambda z: z - K.logsumexp(z, -1, keepdims=True),
    "written out, logarithm less the maximum": of_shifted,
}
# What stands behind a head, and the same for arrays, classes last.
WRAPS = {
    "nothing": (lambda y: y, lambda z: z),
    "clip": (lambda y: K.clip(y, 1e-9, 1.0), lambda z: z),
    "cast": (lambda y: K.cast(y, "float64"), lambda z: z),
    "reshape": (lambda y: K.reshape(y, (-1, 2, 3)), lambda z: z.reshape(-1, 2, 3)),
    "squeeze": (lambda y: K.squeeze(K.expand_dims(y, 2), 2), lambda z: z),
    "slice": (lambda y: y[:, 1:4], lambda z: z[:, 1:4]),
    "permute": (lambda y: K.transpose(K.reshape(y, (-1, 1, UNITS)), (0, 2, 1)), lambda z: z[:, None]),
    "reverse": (lambda y: y[:, ::-1], lambda z: z[:, ::-1]),
    "flip": (lambda y: K.flip(y, 1), lambda z: z[:, ::-1]),
    "nan_to_num": (K.nan_to_num, lambda z: z),
}  # fmt: skip
CELLS = [
    (head, wrap)
    for head in HEADS
    for wrap in WRAPS
    if wrap != "clip" or head in ("softmax", "sigmoid")
]


def activation(head):
    if head in WRITTEN:
        return WRITTEN[head]
    return (lambda z: z) if head == "linear" else getattr(keras.activations, head)


def as_layer(head):
    if head in ("softmax", "linear"):
        return L.Softmax() if head == "softmax" else L.Identity()
    return L.Activation(activation(head))


def product(z):
    layer = L.Dense(UNITS, use_bias=False)
    layer(z)
    layer.set_weights([KERNEL])
    return layer(z)


def outputs(z, make):
    return [WRAPS[wrap][0](make(head)(z)) for head, wrap in CELLS]


def by_activation():
    given = keras.Input((4,))
    made = []
    for head, wrap in CELLS:
        dense = L.Dense(UNITS, use_bias=False, activation=activation(head))
        made.append(WRAPS[wrap][0](dense(given)))
        dense.set_weights([KERNEL])
    return keras.Model(given, made)


def by_layer():
    given = keras.Input((4,))
    return keras.Model(given, outputs(product(given), as_layer))


def by_operation():
    given = keras.Input((4,))
    return keras.Model(given, outputs(product(given), activation))


def by_lambda():
    given = keras.Input((4,))
    z = product(given)
    made = []
    for head, wrap in CELLS:

        def both(y, h=head, w=wrap):
            return WRAPS[w][0](activation(h)(y))

        shape = tuple(K.shape(WRAPS[wrap][0](z)))[1:]
        made.append(L.Lambda(both, output_shape=shape)(z))
    return keras.Model(given, made)


def by_nested_models():
    given, inner = keras.Input((4,)), keras.Input((UNITS,))
    made = []
    z = product(given)
    for head, wrap in CELLS:
        made.append(WRAPS[wrap][0](keras.Model(inner, as_layer(head)(inner))(z)))
    return keras.Model(given, made)


def by_function():
    """A callable of tf.function around the model."""
    model = by_operation()
    return tf.function(lambda images: model(images, training=False))


def by_saved_model(folder):
    module = tf.Module()
    module.model = by_operation()
    spec = tf.TensorSpec([None, 4], tf.float32)
    module.call = tf.function(lambda images: module.model(images, training=False), [spec])
    tf.saved_model.save(module, str(folder))
    loaded = tf.saved_model.load(str(folder))

    def run(images):
        return loaded.call(images)  # holds what was loaded, and with it the variables

    return run


FORMS = {
    "activation": by_activation, "layer": by_layer, "operation": by_operation, "Lambda": by_lambda,
    "nested model": by_nested_models, "function": by_function, "SavedModel": by_saved_model,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_head_in_every_wrapping(form, tmp_path):
    """44 or more cells each: kind, logits, logarithms and probabilities, and the score of Logit."""
    model = FORMS[form](tmp_path) if form == "SavedModel" else FORMS[form]()
    taps = models.Taps(model, [f"{LOGITS}/{place}" for place in range(len(CELLS))])
    found = {name: np.asarray(v) for name, v in taps({"images": tf.constant(X)}).items()}
    values = model(tf.constant(X))
    for place, (head, wrap) in enumerate(CELLS):
        kind, log = HEADS[head]
        moved = WRAPS[wrap][1]
        said = f"{form}, {head}, {wrap}"
        assert taps.heads[str(place)] == kind, said
        if log is None:
            output = np.asarray(values[place])
            wanted = {LOGITS: np.moveaxis(output, 1, 2) if wrap == "permute" else output}
        else:
            wanted = {
                LOGITS: moved(Z),
                LOGARITHMS: moved(log(Z)),
                PROBABILITIES: moved(np.exp(log(Z))),
            }
        for name, value in wanted.items():
            got = found[f"{name}/{place}"]
            if got.shape[-1] == 2 and value.shape[-1] == 1:
                got = got[..., 1:]  # one sigmoid unit is two classes
            np.testing.assert_allclose(got, value, rtol=2e-4, atol=2e-5, err_msg=f"{said}, {name}")


# Like a softmax written out, and none.
NO_SOFTMAX = {
    "sums of other values": lambda z: K.exp(z) / K.sum(K.exp(2.0 * z), -1, keepdims=True),
    "sums over the batch": lambda z: K.exp(z) / K.sum(K.exp(z), 0, keepdims=True),
    "sums that are no column": lambda z: K.exp(z) / K.sum(K.exp(z), -1)[None, :],
    "weights of units": lambda z: (
        K.exp(z) * KERNEL[0] / K.sum(K.exp(z) * KERNEL[0], -1, keepdims=True)
    ),
    "the logarithm for other values": lambda z: z - K.logsumexp(2.0 * z, -1, keepdims=True),
    "a maximum of others": lambda z: (
        K.exp(z - K.max(2.0 * z, -1, keepdims=True)) / K.sum(K.exp(z), -1, keepdims=True)
    ),
}


@pytest.mark.parametrize("name", NO_SOFTMAX)
def test_what_only_looks_like_a_softmax_is_the_output_itself(name):
    kernel = tf.constant(KERNEL)
    images = tf.constant(np.concatenate([X, X]))  # as many rows as units

    def model(images):
        return NO_SOFTMAX[name](images @ kernel)

    taps = models.Taps(model, [LOGITS])
    found = taps({"images": images})
    assert taps.heads[""] == "linear"
    np.testing.assert_allclose(found[LOGITS], model(images), rtol=1e-5)


# Classes elsewhere than along the last axis, and several softmaxes: (z of shape [N, 6]) -> output.
GROUPED = {
    "two groups": (lambda z: L.Softmax()(L.Reshape((2, 3))(z)), None),
    "flattened": (lambda z: L.Flatten()(L.Softmax()(L.Reshape((2, 3))(z))), [0, 0, 0, 1, 1, 1]),
    "folded into rows": (
        lambda z: K.reshape(K.softmax(K.reshape(z, (-1, 2))), (-1, 6)), [0, 0, 1, 1, 2, 2],
    ),
    "over the first axis, flattened": (
        lambda z: L.Flatten()(L.Softmax(axis=1)(L.Reshape((2, 3))(z))), [0, 1, 2, 0, 1, 2],
    ),
    "side by side": (
        lambda z: L.Concatenate()([L.Softmax()(z[:, :2]), L.Softmax()(z[:, 2:])]), [0, 0, 1, 1, 1, 1],
    ),
    "logarithms side by side": (
        lambda z: K.concatenate([K.log_softmax(z[:, :4]), K.log_softmax(z[:, 4:])], 1),
        [0, 0, 0, 0, 1, 1],
    ),
    "over two axes, flattened": (
        lambda z: L.Flatten()(L.Softmax(axis=(1, 2))(L.Reshape((3, 1, 2))(z))), [0, 1, 0, 1, 0, 1],
    ),
    "over all axes, flattened": (
        lambda z: K.reshape(L.Softmax(axis=(1, -1))(L.Reshape((3, 2))(z)), (-1, 6)), [0] * 6,
    ),
    "cut": (lambda z: L.Softmax()(z)[:, 1:4], [0, 0, 0]),
    "taken": (lambda z: K.take(L.Softmax()(z), [4, 0, 2], axis=1), [0, 0, 0]),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in GROUPED if GROUPED[name][1] is not None])
def test_softmaxes_side_by_side(name):
    """`LogProbability` and probabilities are what the model says; `Margin` asks for the target's softmax."""
    wrap, groups = GROUPED[name]
    given = keras.Input((4,))
    model = keras.Model(given, wrap(product(given)))
    output = np.asarray(model(X), np.float64)
    logs = output if "logarithms" in name else np.log(output)
    z = {"cut": Z[:, 1:4], "taken": Z[:, [4, 0, 2]]}.get(name, Z)
    groups = np.array(groups)
    taps = models.Taps(model, [LOGITS])
    found = taps({"images": tf.constant(X)})
    np.testing.assert_array_equal(found.get(GROUPS, np.zeros(6)), groups)  # none: all in one
    rows = np.arange(3)

    def score(objective):
        return objective(found, tf.constant(TARGETS))

    np.testing.assert_allclose(score(actmax.Logit()), z[rows, TARGETS], rtol=1e-4)
    np.testing.assert_allclose(
        score(actmax.LogProbability()), logs[rows, TARGETS], rtol=1e-4, atol=1e-5
    )
    sure = actmax.Logit().probability(found, tf.constant(TARGETS), taps.heads)
    np.testing.assert_allclose(sure, np.exp(logs)[rows, TARGETS], rtol=1e-4)
    others = np.where(groups[None] == groups[TARGETS][:, None], z, -np.inf)
    others[rows, TARGETS] = -np.inf
    wanted = z[rows, TARGETS] - others.max(1)
    np.testing.assert_allclose(score(actmax.Margin()), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_classes_lie_along_the_axis_of_the_softmax(axis):
    given = keras.Input((4,))
    model = keras.Model(given, L.Softmax(axis=axis)(L.Reshape((2, 3))(product(given))))
    taps = models.Taps(model, [LOGITS])
    found = taps({"images": tf.constant(X)})
    z = np.moveaxis(Z.reshape(3, 2, 3), axis, -1)
    np.testing.assert_allclose(found[LOGITS], z, rtol=1e-5)
    targets = TARGETS % z.shape[-1]
    score = actmax.LogProbability()(found, tf.constant(targets))
    np.testing.assert_allclose(score, log_softmax(z.mean(1))[np.arange(3), targets], rtol=1e-4)


def test_one_unit_of_a_softmax_alone_has_no_margin():
    given = keras.Input((4,))
    model = keras.Model(given, L.Softmax()(product(given))[:, 2])
    found = models.Taps(model, [LOGITS])({"images": tf.constant(X)})
    none = tf.zeros([3], tf.int32)
    np.testing.assert_allclose(
        actmax.LogProbability()(found, none), log_softmax(Z)[:, 2], rtol=1e-4
    )
    with pytest.raises(ValueError, match="at least two units of every softmax"):
        actmax.Margin()(found, none)


@pytest.mark.parametrize(
    ("head", "objective", "match"),
    [
        ("log_sigmoid", actmax.LogProbability(), "sigmoid units"),
        ("tanh", actmax.LogProbability(), "ends with tanh"),
        ("hard_sigmoid", actmax.LogProbability(), "ends with a clipped"),
        ("sigmoid", actmax.Margin(), "sigmoid units"),
    ],
)
def test_what_makes_no_sense_for_a_head_is_refused(head, objective, match):
    with pytest.raises(ValueError, match=match):
        objective.check_heads({"": HEADS[head][0]})


# What saturates.


def said(model, objective=None, **settings):
    settings = {"input_range": (-1, 1), "regularizers": [], "steps": 0, "targets": [0]} | settings
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        actmax.maximize(model, objective, **settings)
    return " ".join(str(w.message) for w in seen if w.category is actmax.ProbabilityWarning)


def small(activation, bias):
    last = L.Dense(
        3, activation=activation, name="last", bias_initializer=keras.initializers.Constant(bias)
    )
    return keras.Sequential([keras.Input((4,)), last])


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("objective", [actmax.Channel("last"), actmax.Neuron("last")])
def test_a_layer_that_returns_probabilities_warns(kind, objective):
    model = small(kind, 0.0)
    assert f"a layer that ends with its {kind}" in said(model, objective)
    assert not said(model)
    assert not said(
        model, actmax.objective(layers=["last"])(lambda a: a["last"][:, 0]), targets=None, images=1
    )


@pytest.mark.parametrize("kind", ["tanh", "softplus", "hard_sigmoid"])
def test_other_heads_warn_where_they_are_saturated(kind):
    flat = {"tanh": 8.0, "softplus": -9.0, "hard_sigmoid": 9.0}[kind]
    assert "flat at the start" in said(small(kind, flat))
    assert not said(small(kind, 0.5))


def test_a_sigmoid_that_is_not_found_warns_where_it_is_saturated():
    class Hidden(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = L.Dense(1, bias_initializer=keras.initializers.Constant(9.0))

        def call(self, images):
            z = self.last(images)
            return K.exp(z) / (1.0 + K.exp(z))

    model = Hidden()
    model(np.zeros([1, 4], "float32"))
    assert "whose sigmoid could not be found" in said(model, input_shape=(4,))
