"""Parts that act along some axes of an image: of a film, along space and not along time."""

import numpy as np
import pytest
import tensorflow as tf

from regularizers import Blur, Jitter, Pad, TotalVariation

FILM = np.random.default_rng(0).uniform(size=(4, 5, 6, 7, 2)).astype("float32")
SEEDS = tf.constant([[0, row] for row in range(4)])
STEP = tf.constant(0)


def test_a_jitter_leaves_frames_in_their_places():
    part = Jitter(2, axes=(2, 3))
    moved = np.asarray(part(tf.constant(FILM), SEEDS, STEP))
    assert not np.array_equal(moved, FILM)
    np.testing.assert_allclose(np.sort(moved, axis=None), np.sort(FILM, axis=None))
    np.testing.assert_allclose(moved.mean((2, 3)), FILM.mean((2, 3)), atol=1e-6)
    ahead = part.ahead(FILM.shape[1:], SEEDS, tf.constant(4))
    np.testing.assert_array_equal(part.apply(tf.constant(FILM), ahead), moved)


@pytest.mark.parametrize("value", ["edge", "reflect", 0.0])
def test_a_border_stands_along_the_axes_told(value):
    padded = np.asarray(Pad(1, value, axes=(2, 3))(tf.constant(FILM), SEEDS, STEP))
    mode = {"mode": value} if isinstance(value, str) else {"constant_values": value}
    border = [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0)]
    np.testing.assert_array_equal(padded, np.pad(FILM, border, **mode))


def test_a_blur_and_a_variation_do_not_look_along_time():
    blurred = np.asarray(Blur(1.0, axes=(2, 3))(tf.constant(FILM), SEEDS, STEP))
    frames = np.asarray(Blur(1.0)(tf.constant(FILM.reshape(20, 6, 7, 2)), SEEDS, STEP))
    np.testing.assert_allclose(blurred, frames.reshape(FILM.shape), atol=1e-6)
    found = TotalVariation(axes=(2, 3))(tf.constant(FILM))
    sums = [np.abs(np.diff(FILM, axis=axis)).sum((1, 2, 3, 4)) for axis in (2, 3)]
    np.testing.assert_allclose(found, sum(sums) / FILM[0].size, rtol=1e-5)


@pytest.mark.parametrize(
    ("axes", "error"), [(2, TypeError), ((0,), ValueError), ((1, 1), ValueError)]
)
def test_axes_that_cannot_be_are_refused(axes, error):
    with pytest.raises(error, match="axes of jitter"):
        Jitter(1, axes=axes)


def test_an_axis_that_images_lack_is_refused():
    with pytest.raises(ValueError, match="those between the first and the last"):
        Jitter(1, axes=(4,))(tf.constant(FILM), SEEDS, STEP)
