"""Start images as people have them: refused with the line that makes them right."""

import keras
import numpy as np
import pytest

import actmax

layers = keras.layers


def maximizer(shape, high=1):
    model = keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(2)])
    return actmax.Maximizer(model, input_range=(0, high), regularizers=[])


U8 = np.random.default_rng(0).integers(0, 256, (1, 8, 9, 3)).astype("uint8")
PHOTO = U8 / 255.0


@pytest.mark.parametrize(
    ("shape", "photo", "remedy"),
    [
        ((8, 9, 3), PHOTO[0], "images\\[None\\]"),
        ((8, 9, 3), np.moveaxis(PHOTO, -1, 1), r"np\.moveaxis\(images, 1, 3\)"),
        ((8, 9, 3), np.concatenate([PHOTO, PHOTO[..., :1]], -1), r"images\[\.\.\., :3\]"),
        ((8, 9, 3), PHOTO[..., :1], r"np\.repeat\(images, 3, 3\)"),
        ((8, 9, 3), PHOTO[..., 0], r"np\.repeat\(np\.expand_dims\(images, 3\), 3, 3\)"),
        ((8, 9, 1), PHOTO, "Make it gray"),
        ((8, 9, 3), np.zeros((1, 4, 4, 3)), "Resize them first"),
    ],
)
def test_a_photo_of_another_shape_gets_the_line_that_mends_it(shape, photo, remedy):
    with pytest.raises(ValueError, match=remedy):
        maximizer(shape)([0], steps=0, initial_images=photo)


def test_a_photo_of_0_to_1_does_not_start_a_model_of_gray_levels():
    with pytest.raises(ValueError, match=r"images \* 255"):
        maximizer((8, 9, 3), 255)([0], steps=0, initial_images=PHOTO)
    for start in (U8, np.zeros_like(PHOTO), np.rint(PHOTO)):
        maximizer((8, 9, 3), 255)([0], steps=0, initial_images=start)


def test_a_path_is_no_image():
    with pytest.raises(TypeError, match="Read the file first"):
        maximizer((8, 9, 3))([0], steps=0, initial_images="photo.jpg")
