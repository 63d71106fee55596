"""Loops and conditions inside of models, whose gradient TensorFlow makes by writing them anew.

Right values and gradients are Keras' and TensorFlow's own, of `model(x)`.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax

L = keras.layers


class Nested(L.Layer):
    """A condition in a loop in a loop, around a variable."""

    def build(self, shape):
        self.weight = self.add_weight(shape=(shape[-1], shape[-1]), initializer="orthogonal")

    def call(self, x):
        def product(y):
            return tf.tanh(tf.einsum("btc,cd->btd", y, self.weight))

        def inner(count, y):
            return count + 1, tf.cond(count > 0, lambda: product(y), lambda: 1.5 * y)

        def outer(count, y):
            return count + 1, tf.while_loop(lambda k, _: k < 2, inner, [0, y])[1]

        return tf.while_loop(lambda k, _: k < 3, outer, [0, x])[1]


class Switched(L.Layer):
    """One of three functions."""

    def build(self, shape):
        self.weight = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        branches = [lambda: x, lambda: x * self.weight, lambda: tf.sin(x * self.weight)]
        return tf.switch_case(tf.shape(x)[1] - 4, branches)


KINDS = {
    "masked": lambda x: L.LSTM(4)(L.Masking()(x)),
    "gated": L.GRU(4, reset_after=False, go_backwards=True),
    "nested": lambda x: L.Flatten()(Nested()(x)),
    "switched": lambda x: L.Flatten()(Switched()(x)),
}


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    keras.utils.set_random_seed(1)
    values = keras.Input((6, 3))
    return keras.Model(values, L.Dense(2)(KINDS[request.param](values)))


def test_score_and_gradient_are_the_models_own(model):
    values = tf.constant(np.random.default_rng(0).uniform(size=(2, 6, 3)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(values)
        score = tf.gather(model(values), [0, 1], batch_dims=1)
    wanted = tape.gradient(score, values)
    found = actmax.Maximizer(model, input_range=(0, 1), regularizers=[])
    scores, gradients = found.value_and_gradient(np.asarray(values), [0, 1])
    np.testing.assert_allclose(scores, score, rtol=1e-5)
    np.testing.assert_allclose(gradients, wanted, rtol=1e-4, atol=1e-6)


def test_it_is_made_twice_in_one_graph(model):
    """As where the start may be dead: the score's gradient, and the redirected one."""
    start = np.zeros((3, 6, 3))
    result = actmax.maximize(
        model, targets=[0, 1, 0], input_range=(0, 1), regularizers=[], steps=2, initial_images=start
    )
    by_hand = np.asarray(model(result.images))[[0, 1, 2], [0, 1, 0]]
    np.testing.assert_allclose(result.scores, by_hand, rtol=1e-4, atol=1e-6)
