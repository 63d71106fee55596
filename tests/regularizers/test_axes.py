"""Parts that act along some axes of an image: of a film, along space and not along time."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from regularizers import (
    Affine,
    Blur,
    Jitter,
    Pad,
    RandomBox,
    Rotate,
    Scale,
    Shift,
    TotalVariation,
    compose,
)

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


VOLUME = np.random.default_rng(1).uniform(size=(2, 5, 6, 7, 2))
OWN = tf.constant([[0, 1], [0, 2]])


def by_scipy(image, matrix):
    """One image `[..., C]` moved by a map `[K, K + 1]`, channel by channel."""
    size = image.shape[:-1]
    centre = (np.array(size) - 1) / 2
    offset = centre - matrix[:, :-1] @ centre + matrix[:, -1]
    moved = [
        ndimage.affine_transform(image[..., c], matrix[:, :-1], offset, order=1, mode="nearest")
        for c in range(image.shape[-1])
    ]
    return np.stack(moved, axis=-1)


def turn(angle, plane):
    """The map of a rotation in a plane of a volume, by hand."""
    full = np.eye(3, 4)
    first, second = plane
    full[first, [first, second]] = np.cos(angle), -np.sin(angle)
    full[second, [first, second]] = np.sin(angle), np.cos(angle)
    return full


@pytest.mark.parametrize("axes", [(1, 2), (1, 3), (2, 3)])
def test_a_volume_is_rotated_in_the_plane_told(axes):
    part = Rotate(40.0, axes=axes)
    own = part.matrix(OWN, STEP, tf.float64).numpy()
    moved = part(tf.constant(VOLUME), OWN, STEP).numpy()
    for row, image in enumerate(VOLUME):
        angle = np.arctan2(own[row, 1, 0], own[row, 0, 0])
        plane = [axis - 1 for axis in axes]
        expected = by_scipy(image, turn(angle, plane))
        np.testing.assert_allclose(moved[row], expected, atol=1e-12)
    assert np.abs(moved - VOLUME).max() > 0.1


@pytest.mark.parametrize(
    "part",
    [
        Scale(0.7, 1.4, axes=(1, 2, 3)),
        Shift(1.5, axes=(1, 2, 3)),
        RandomBox(0.4, 0.8, axes=(1, 2, 3)),
        Scale(0.7, 1.4, axes=(2,)),
        Shift(2.0, axes=(1, 3)),
    ],
    ids=repr,
)
def test_a_volume_is_moved_along_the_axes_told(part):
    places = [axis - 1 for axis in part.along]
    sizes = tuple(VOLUME.shape[axis] for axis in part.along)
    own = part.matrix_at(sizes, OWN, STEP, tf.float64).numpy()
    moved = part(tf.constant(VOLUME), OWN, STEP).numpy()
    for row, image in enumerate(VOLUME):
        full = np.eye(3, 4)
        full[np.ix_(places, [*places, 3])] = own[row]
        np.testing.assert_allclose(moved[row], by_scipy(image, full), atol=1e-12)


def test_maps_of_several_planes_are_resampled_once_and_differentiated_exactly():
    parts = [Rotate(30.0, axes=(1, 2)), Rotate(20.0, axes=(1, 3)), Scale(0.8, 1.2, axes=(1, 2, 3))]
    own = tf.stack([OWN, OWN + 5, OWN + 9])
    apply = compose(parts)
    first = turn(np.arctan2(*parts[0].matrix(own[0], STEP, tf.float64)[0, ::-1, 0].numpy()), (0, 1))
    second = turn(
        np.arctan2(*parts[1].matrix(own[1], STEP, tf.float64)[0, ::-1, 0].numpy()), (0, 2)
    )
    third = parts[2].matrix(own[2], STEP, tf.float64)[0].numpy()
    full = [np.vstack([m, [0, 0, 0, 1]]) for m in (first, second, third)]
    images = tf.constant(VOLUME)
    with tf.GradientTape() as tape:
        tape.watch(images)
        moved = apply(images, own, STEP)
    expected = by_scipy(VOLUME[0], (full[0] @ full[1] @ full[2])[:3])
    np.testing.assert_allclose(moved[0], expected, atol=1e-12)
    # The adjoint: <A x, y> = <x, A' y> for a linear A.
    upstream = np.random.default_rng(2).normal(size=VOLUME.shape)
    back = tape.gradient(moved, images, output_gradients=tf.constant(upstream))
    other = np.random.default_rng(3).normal(size=VOLUME.shape)
    left = np.sum(apply(tf.constant(other), own, STEP).numpy() * upstream)
    np.testing.assert_allclose(left, np.sum(other * back.numpy()), rtol=1e-12)


def test_films_and_sequences_move_along_their_own_axes():
    """Every frame of a film moves as a picture does; a sequence is stretched along time."""
    film = tf.constant(FILM)
    for make in (lambda axes: Rotate(30.0, axes=axes), lambda axes: Scale(0.8, 1.2, axes=axes)):
        moved = make((2, 3))(film, SEEDS, STEP).numpy()
        for frame in range(FILM.shape[1]):
            expected = make(None)(film[:, frame], SEEDS, STEP)
            np.testing.assert_array_equal(moved[:, frame], expected)
    part = Shift(1.5, axes=(1,))
    sequence = VOLUME[:, :, 0, 0]
    own = part.matrix(OWN, STEP, tf.float64).numpy()
    moved = part(tf.constant(sequence), OWN, STEP).numpy()
    for row in range(2):
        where = np.clip(np.arange(5) + own[row, 0, 1], 0, 4)
        expected = [np.interp(where, np.arange(5), sequence[row, :, c]) for c in range(2)]
        np.testing.assert_allclose(moved[row], np.stack(expected, -1), atol=1e-12)


def test_affine_parts_refuse_what_they_cannot_move():
    for part in (Rotate(5), Scale(0.9, 1.1), Shift(1.0), RandomBox(0.5, 0.8)):
        with pytest.raises(ValueError, match=r"Do give axes, counted as in a batch"):
            part(tf.constant(VOLUME), OWN, STEP)
    with pytest.raises(ValueError, match="those between the first and the last"):
        Rotate(5, axes=(3, 4))(tf.constant(VOLUME), OWN, STEP)
    for axes in ((1,), (1, 2, 3)):
        with pytest.raises(ValueError, match="two axes, the plane it turns in"):
            Rotate(5, axes=axes)
    with pytest.raises(ValueError, match="one to three axes"):
        Scale(0.9, 1.1, axes=(1, 2, 3, 4))

    @dataclasses.dataclass(frozen=True)
    class Flat(Affine):
        def matrix(self, seeds, step, dtype):
            return tf.zeros([2, 2, 3], dtype)

    with pytest.raises(ValueError, match=r"Expected a map \[N, 3, 4\] of flat"):
        Flat(axes=(1, 2, 3))(tf.constant(VOLUME), OWN, STEP)
