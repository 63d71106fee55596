"""Tests of actmax.images: against naive NumPy, by properties, and of every message."""

from __future__ import annotations

import doctest
import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from actmax import images as im
from actmax.images import from_uint8, grid, safe_name, save_gif, save_png, to_uint8, write_atomic

RANGES = [(0.0, 1.0), (-1.0, 1.0), (0, 255), (-117.5, 137.25), (0.1, 0.3), (-3e-5, 2e-5)]
ALL_LEVELS = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)

ranges = st.tuples(
    st.floats(-1e3, 1e3, allow_subnormal=False), st.floats(1e-2, 1e3, allow_subnormal=False)
).map(lambda pair: (pair[0], pair[0] + pair[1]))
fractions = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8)


def reference_to_uint8(images, low, high):
    """One value at a time, with Python's round, which is half to even."""
    flat = [
        round(255 * (min(max(x, low), high) - low) / (high - low))
        for x in np.ravel(images).tolist()
    ]
    return np.array(flat, np.uint8).reshape(np.shape(images))


def random_images(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


# 8 bits


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_to_uint8_is_the_rounded_fraction_of_the_range(low, high):
    width = high - low
    values = np.random.default_rng(0).uniform(low - width, high + width, [3, 5, 4, 3])
    np.testing.assert_array_equal(
        to_uint8(values, low, high), reference_to_uint8(values, low, high)
    )


def test_to_uint8_rounds_half_to_even():
    # In (0, 510) every odd number lies half way between two levels, exactly.
    odd = np.arange(1.0, 510.0, 2.0)
    expected = [level + level % 2 for level in range(255)]
    assert to_uint8(odd, 0, 510).tolist() == expected


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_levels_survive_the_round_trip(low, high, dtype):
    values = from_uint8(ALL_LEVELS, low, high, dtype)
    assert values.dtype == dtype
    assert values.shape == ALL_LEVELS.shape
    np.testing.assert_array_equal(to_uint8(values, low, high), ALL_LEVELS)


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_the_ends_are_exact_and_nothing_leaves_the_range(low, high):
    values = from_uint8(ALL_LEVELS, low, high)
    assert values.min() == np.float32(low)
    assert values.max() == np.float32(high)


@given(ranges, fractions)
def test_values_survive_the_round_trip_within_half_a_level(limits, steps):
    low, high = limits
    values = np.clip(low + (high - low) * np.array(steps), low, high)
    back = from_uint8(to_uint8(values, low, high), low, high, np.float64)
    rounding = 4 * np.spacing(max(abs(low), abs(high)))
    assert np.abs(back - values).max() <= (high - low) / 510 + rounding


@given(ranges, fractions)
def test_to_uint8_keeps_the_order(limits, steps):
    low, high = limits
    values = np.sort(low + (high - low) * np.array(steps))
    assert np.all(np.diff(to_uint8(values, low, high).astype(int)) >= 0)


def test_to_uint8_leaves_its_argument_alone():
    values = np.array([-1.0, 0.5, 2.0])
    to_uint8(values, 0, 1)
    np.testing.assert_array_equal(values, [-1.0, 0.5, 2.0])


def test_to_uint8_takes_integers_and_float16():
    np.testing.assert_array_equal(to_uint8(np.array([0, 128, 300]), 0, 255), [0, 128, 255])
    np.testing.assert_array_equal(to_uint8(np.array([0, 0.5, 1], np.float16), 0, 1), [0, 128, 255])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_their_images(bad):
    values = np.zeros([4, 2, 2, 1])
    values[[1, 3], 0, 1] = bad
    message = (
        "Expected finite images. Received: NaN or infinity in images 1, 3 of an array of shape "
        "(4, 2, 2, 1). Leave those images out, and look at why they diverged."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        to_uint8(values, 0, 1)


def test_a_long_list_of_bad_images_is_cut():
    with pytest.raises(
        ValueError, match="in images 0, 1, 2, 3, 4, 5, 6, 7 and 12 more of an array"
    ):
        to_uint8(np.full([20, 2, 2, 1], np.nan), 0, 1)
    with pytest.raises(ValueError, match="in images 0 of an array"):
        to_uint8(np.nan, 0, 1)


@pytest.mark.parametrize(
    ("low", "high"),
    [(1, 0), (1, 1), (np.nan, 1), (0, np.nan), (-np.inf, 0), (0, np.inf), (-1e308, 1e308)],
)
def test_an_empty_or_infinite_range_is_refused(low, high):
    message = (
        f"Expected finite low < high. Received: low={low!r}, high={high!r}. "
        "Pass the range that the images are in, e.g. low=0, high=255."
    )
    for function in (to_uint8, from_uint8):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            function(np.zeros([1, 2, 2, 1], np.uint8), low, high)


def test_from_uint8_refuses_other_dtypes():
    message = (
        "Expected images of dtype uint8. Received: float32. Convert: to_uint8(images, low, high)."
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        from_uint8(np.zeros([1, 2, 2, 1], np.float32), 0, 1)


# Grids


def reference_grid(images, columns, padding, scale):
    """One pixel at a time."""
    count, height, width, channels = images.shape
    cell_height, cell_width = height * scale + padding, width * scale + padding
    rows = -(-count // columns)
    picture = np.full(
        [rows * cell_height + padding, columns * cell_width + padding, 3], 255, np.uint8
    )
    for n in range(count):
        for y in range(height * scale):
            for x in range(width * scale):
                for c in range(3):
                    value = images[n, y // scale, x // scale, c if channels == 3 else 0]
                    top, left = n // columns * cell_height, n % columns * cell_width
                    picture[top + padding + y, left + padding + x, c] = value
    return picture


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("count", "columns", "padding", "scale"),
    [(1, 1, 0, 1), (5, 2, 1, 3), (6, 3, 2, 1), (3, 7, 0, 2)],
)
def test_grid_places_every_pixel(channels, count, columns, padding, scale):
    images = random_images(count, 3, 2, channels)
    picture = grid(images, columns=columns, padding=padding, scale=scale)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, reference_grid(images, columns, padding, scale))


@pytest.mark.parametrize(
    ("count", "columns"),
    [(1, 1), (2, 2), (3, 3), (4, 2), (7, 4), (10, 5), (12, 4), (16, 4), (100, 10)],
)
def test_grid_is_nearly_square_with_few_places_empty(count, columns):
    assert grid(np.zeros([count, 1, 1, 1], np.uint8), padding=0, scale=1).shape[1] == columns


@given(st.integers(1, 500))
def test_default_columns_leave_no_row_empty(count):
    columns = im._default_columns(count)
    assert 1 <= columns <= count
    assert -count % columns < columns


@pytest.mark.parametrize(
    ("size", "scale"), [(1, 96), (28, 4), (32, 3), (95, 2), (96, 1), (97, 1), (299, 1)]
)
def test_small_images_become_tiles_of_at_least_96_pixels(size, scale):
    picture = grid(np.zeros([1, size, size + 1, 1], np.uint8), padding=0)
    assert picture.shape == (size * scale, (size + 1) * scale, 3)
    assert min(picture.shape[:2]) >= 96


def test_a_long_thin_image_stops_growing():
    assert grid(np.zeros([1, 1, 784, 1], np.uint8), padding=0).shape == (1, 784, 3)
    assert grid(np.zeros([1, 4, 400, 1], np.uint8), padding=0).shape == (8, 800, 3)
    assert grid(np.zeros([1, 1, 4000, 1], np.uint8), padding=0).shape == (1, 4000, 3)


def test_labels_stand_in_a_band_above_their_tile():
    images = random_images(4, 28, 28, 3)
    plain, labeled = grid(images), grid(images, labels=["0", "", 2, "a very long label, too long"])
    tile, band = 112, 16
    assert labeled.shape == (plain.shape[0] + 2 * band, plain.shape[1], 3)
    for index, has_ink in enumerate([True, False, True, True]):
        top, left = 2 + index // 2 * (tile + band + 2), 2 + index % 2 * (tile + 2)
        above = labeled[top : top + band, left : left + tile]
        assert (above.min() < 128) == has_ink
        expected = images[index].repeat(4, axis=0).repeat(4, axis=1)
        np.testing.assert_array_equal(
            labeled[top + band : top + band + tile, left : left + tile], expected
        )
    # What is too long for its tile is cut, and does not run into the padding.
    assert np.all(labeled[:, -2:] == 255)


@pytest.mark.parametrize("label", ["0\n1\t2", "猫", "\x00", "é" * 1000, "😀", ""])
def test_any_label_can_be_drawn(label):
    assert grid(np.zeros([1, 8, 8, 1], np.uint8), labels=[label]).shape == (96 + 16 + 4, 96 + 4, 3)


def test_a_label_too_long_for_any_letter_is_left_out():
    picture = grid(np.zeros([1, 2, 2, 1], np.uint8), labels=["long"], padding=0, scale=1)
    assert np.all(picture[:16] == 255)


def test_grid_of_one_gray_image_in_three_channels_is_the_same():
    gray = random_images(3, 4, 4, 1)
    np.testing.assert_array_equal(grid(gray), grid(np.repeat(gray, 3, axis=-1)))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (2, 8, 8, 4),
            "Expected 1 or 3 channels, [N, H, W, C]. Received: 4 channels, the shape (2, 8, 8, 4). "
            "Choose what to show: images[..., :3], or one channel at a time, images[..., :1].",
        ),
        (
            (8, 8, 3),
            "Expected the shape [N, H, W, C]. Received: (8, 8, 3). "
            "Add an axis of length 1 where one is missing, e.g. images[np.newaxis].",
        ),
        (
            (0, 8, 8, 3),
            "Expected at least one image and one pixel, [N, H, W, C]. "
            "Received: the shape (0, 8, 8, 3). Skip the picture when there is nothing to show.",
        ),
    ],
)
def test_grid_refuses_what_is_no_batch_of_pictures(shape, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        grid(np.zeros(shape, np.uint8))


def test_grid_refuses_labels_that_do_not_fit():
    message = (
        "Expected one label per image, 3 labels. Received: 2 labels. "
        "Give each image one, '' for none, or pass labels=None."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        grid(np.zeros([3, 8, 8, 1], np.uint8), labels=["a", "b"])


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"columns": 0}, ValueError),
        ({"padding": -1}, ValueError),
        ({"scale": 0}, ValueError),
        ({"scale": 1.5}, TypeError),
    ],
)
def test_grid_refuses_numbers_out_of_range(setting, error):
    ((name, value),) = setting.items()
    with pytest.raises(error, match=rf"Expected {name} to be .* Received: {value}"):
        grid(np.zeros([1, 8, 8, 1], np.uint8), **setting)


def test_grid_refuses_floats():
    with pytest.raises(TypeError, match=r"Expected images of dtype uint8\. Received: float64\."):
        grid(np.zeros([1, 8, 8, 1]))


# Files


@pytest.mark.parametrize(("shape", "mode"), [((5, 4, 3), "RGB"), ((5, 4, 1), "L"), ((5, 4), "L")])
def test_png_keeps_every_value(tmp_path, shape, mode):
    image = random_images(*shape)
    save_png(tmp_path / "image.png", image)
    with Image.open(tmp_path / "image.png") as file:
        assert file.format == "PNG"
        assert file.mode == mode
        np.testing.assert_array_equal(
            np.asarray(file), image.reshape(shape[:2] if mode == "L" else shape)
        )


def test_the_same_picture_is_the_same_file(tmp_path):
    for name in ("a.png", "b.PNG"):
        save_png(str(tmp_path / name), random_images(9, 9, 3))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.PNG").read_bytes()


@pytest.mark.parametrize("fps", [1, 3, 7.5, 24, 30, 50])
def test_gif_has_all_frames_in_their_time(tmp_path, fps):
    frames = np.stack([np.full([6, 5, 1], 10 * t, np.uint8) for t in range(12)])
    save_gif(tmp_path / "run.gif", frames, fps)
    with Image.open(tmp_path / "run.gif") as file:
        assert file.format == "GIF"
        assert file.info["loop"] == 0
        assert file.n_frames == 12
        duration = 0
        for index, frame in enumerate(frames):
            file.seek(index)
            duration += file.info["duration"]
            np.testing.assert_array_equal(
                np.asarray(file.convert("RGB")), np.repeat(frame, 3, axis=-1)
            )
    assert duration == pytest.approx(12 * 1000 / fps, abs=10)


def test_gif_merges_equal_frames_and_keeps_the_time(tmp_path):
    save_gif(tmp_path / "run.gif", np.zeros([5, 8, 8, 3], np.uint8), fps=10)
    with Image.open(tmp_path / "run.gif") as file:
        assert file.size == (8, 8)
        assert file.n_frames == 1


def test_gif_colors_are_near(tmp_path):
    row = np.linspace(0, 255, 64).astype(np.uint8)
    ramp = np.stack(np.broadcast_arrays(row[:, None], row[None, :], np.uint8(128)), axis=-1)
    save_gif(tmp_path / "ramp.gif", ramp[np.newaxis])
    with Image.open(tmp_path / "ramp.gif") as file:
        difference = np.abs(np.asarray(file.convert("RGB")).astype(int) - ramp)
    assert difference.mean() < 8  # 4096 colors through 256: a 16th of the range between neighbors


@pytest.mark.parametrize("fps", [0, -1, 50.1])
def test_gif_refuses_other_speeds(tmp_path, fps):
    message = (
        f"Expected fps to be more than 0 and at most 50. Received: {fps!r}. "
        "If 50 is too slow, leave out frames: frames[::2]."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        save_gif(tmp_path / "run.gif", np.zeros([2, 8, 8, 3], np.uint8), fps)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("save", [save_png, save_gif])
def test_other_endings_are_refused(tmp_path, save):
    ending = {save_png: ".png", save_gif: ".gif"}[save]
    path = tmp_path / "picture.jpg"
    message = (
        f"Expected a path that ends in {ending}. Received: {str(path)!r}. "
        f"Let the name say it: pictures{ending}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        save(path, np.zeros([2, 8, 8, 3], np.uint8))


def test_png_refuses_a_batch(tmp_path):
    with pytest.raises(
        ValueError, match=r"Expected the shape \[H, W, C\]\. Received: \(2, 8, 8, 3\)\."
    ):
        save_png(tmp_path / "a.png", np.zeros([2, 8, 8, 3], np.uint8))


def test_gif_refuses_one_picture(tmp_path):
    with pytest.raises(
        ValueError, match=r"Expected the shape \[T, H, W, C\]\. Received: \(8, 8, 3\)\."
    ):
        save_gif(tmp_path / "a.gif", np.zeros([8, 8, 3], np.uint8))


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "none" / "a.png"
    message = (
        f"Expected a path in an existing folder. Received: {str(path)!r}. "
        f"Create the folder: pathlib.Path({str(path.parent)!r}).mkdir(parents=True)."
    )
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(message)}$"):
        save_png(path, np.zeros([8, 8, 3], np.uint8))


def test_write_atomic_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "config.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_write_atomic_gives_a_file_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    write_atomic(tmp_path / "ours", b"")
    usual, ours = ((tmp_path / name).stat().st_mode for name in ("usual", "ours"))
    assert stat.S_IMODE(ours) == stat.S_IMODE(usual)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "config.json"
    write_atomic(path, b"old")

    def fail(*arguments):
        raise OSError("disk full")

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# Names


@given(st.one_of(st.text(), st.text(alphabet="./\\:~ -_conCON1é\u0301\0"), st.text(min_size=200)))
@example("..")
@example("../../etc/passwd")
@example("C:\\Windows\\system.ini")
@example("con")
@example("NUL.txt")
@example("COM\u00b9")
@example("nul\u00e9.b")
@example("a" * 99 + "..b")
@example("\ud800")
@example("\u202egnp.exe")
def test_every_text_becomes_one_file_in_the_folder(text):
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name)
    assert ".." not in name
    assert not name.endswith(".")
    assert name.split(".")[0].lower() not in im.RESERVED_NAMES
    assert safe_name(name) == name
    folder = Path("folder").resolve()
    assert (folder / name).resolve().parent == folder


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mixed4a", "mixed4a"),
        ("backbone/block3_conv1", "backbone_block3_conv1"),
        ("path:1", "path_1"),
        ("great white shark, white shark", "great_white_shark_white_shark"),
        ("7", "7"),
        ("-rf", "rf"),
        (".hidden", "hidden"),
        ("a..b", "a.b"),
        ("crème brûlée", "creme_brulee"),
        ("\ufb01n", "fin"),
        ("aux", "x_aux"),
        ("Con.v2", "x_Con.v2"),
        ("console", "console"),
        ("", "unnamed"),
        ("...", "unnamed"),
        ("💥", "unnamed"),
        ("猫", "u732b"),
        ("x" * 300, "x" * 100),
    ],
)
def test_names_stay_readable(text, name):
    assert safe_name(text) == name


def test_names_are_made_of_strings():
    message = "Expected a string. Received: 7 (int). Pass str(...) of it."
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        safe_name(7)


def test_every_example_runs():
    failed, attempted = doctest.testmod(im)
    assert failed == 0
    assert attempted >= len(im.__all__)
