"""Resizing by matrices is TensorFlow's antialiased resize, in every dtype and for XLA."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import actmax
from actmax.resizing import resize, resize_matrix
from regularizers import Pad, Rotate

SIZES = st.integers(1, 40)


@given(SIZES, SIZES, SIZES, SIZES)
def test_as_tensorflow_resizes(height, width, rows, columns):
    images = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
    expected = tf.image.resize(images, (rows, columns), antialias=True)
    ours = resize(tf.constant(images), (rows, columns, 3))
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def naive(line, after):
    """Every output as a sum over cells, by the formula."""
    ratio = len(line) / after
    out = []
    for i in range(after):
        center, reach = (i + 0.5) * ratio, max(1.0, ratio)
        weights = [max(0.0, 1 - abs(j + 0.5 - center) / reach) for j in range(len(line))]
        out.append(sum(w * v for w, v in zip(weights, line, strict=True)) / sum(weights))
    return out


@given(SIZES, SIZES)
def test_float64_is_exact_and_a_constant_stays(before, after):
    line = np.random.default_rng(before).normal(size=before)
    images = tf.constant(line[None, :, None, None])
    got = resize(images, (after, 1, 1))
    assert got.dtype == tf.float64
    np.testing.assert_allclose(got[0, :, 0, 0], naive(line, after), atol=1e-12)
    np.testing.assert_allclose(resize_matrix(before, after).sum(axis=1), 1.0, atol=1e-12)


def test_its_gradient_is_the_adjoint():
    draws = np.random.default_rng(0)
    images, cotangent = draws.normal(size=(1, 9, 7, 2)), draws.normal(size=(1, 4, 12, 2))
    with tf.GradientTape() as tape:
        x = tf.constant(images)
        tape.watch(x)
        product = tf.reduce_sum(resize(x, (4, 12, 2)) * cotangent)
    back = tape.gradient(product, x).numpy()
    np.testing.assert_allclose((back * images).sum(), product, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5, 1)], ids=str)
def test_other_inputs_are_refused(shape):
    with pytest.raises(ValueError, match=r"Only images \[N, H, W, C\]"):
        resize(tf.zeros([2, *shape]), (2, 2, 1))


def test_xla_compiles_a_canvas_and_a_border_of_another_size():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential(layers)

    def images(way):
        maximizer = actmax.Maximizer(
            model,
            input_range=(0, 1),
            canvas=(15, 18),
            regularizers=[Pad(2, 0.0), Rotate(10.0)],
            compile=way,
        )
        return maximizer([0, 1, 2], steps=3).images

    np.testing.assert_allclose(images("xla"), images("plain"), atol=1e-5)


def test_what_preprocess_returns_must_fit_the_model():
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(images)))
    call = {"targets": [0], "input_range": (0, 1), "regularizers": [], "steps": 1}
    for preprocess, shape in (
        (lambda x: x[..., :1], r"\(8, 8, 1\)"),
        (lambda x: x[0], r"\(8, 3\)"),
        (lambda x: tf.image.resize(x, (4, 4)), r"\(4, 4, 3\)"),
    ):
        with pytest.raises(ValueError, match=rf"shape \(8, 8, 3\).*{shape}.*preprocess="):
            actmax.maximize(model, preprocess=preprocess, **call)
    with pytest.raises(TypeError, match="preprocess to return images"):
        actmax.maximize(model, preprocess=lambda x: None, **call)
