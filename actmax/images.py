"""Pictures as files: 8 bits, grids, PNG, GIF, file names. NumPy and Pillow only.

Shapes: N images, T frames, H rows, W columns, C channels (1: gray, 3: red, green, blue).
"""

from __future__ import annotations

import io
import math
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from actmax import checks
from actmax.files import write_atomic

__all__ = [
    "file_names",
    "from_uint8",
    "grid",
    "png",
    "safe_name",
    "save_gif",
    "save_png",
    "tiles",
    "to_uint8",
    "write_atomic",
]

LEVELS = 255
WHITE = 255
MIN_TILE = 96  # pixels: an inch on a screen of 96 dots per inch, and a label of about 14 letters
MAX_UPSCALED_TILE = 1024  # pixels: where a long thin image stops growing
FONT_SIZE = 12
LABEL_BAND = 16  # pixels: FONT_SIZE and two above and below it
_CROSS = 0.75  # pixels: less than to the next one
MAX_GIF_FPS = 50  # browsers slow a delay of under 2/100 s down to 10/100 s
MAX_NAME = 100
# learn.microsoft.com/windows/win32/fileio/naming-a-file (2024): reserved also with any extension.
RESERVED_NAMES = frozenset(
    {"con", "prn", "aux", "nul"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
)


def to_uint8(
    images: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike
) -> npt.NDArray[np.uint8]:
    """Images in (low, high) as 8-bit levels, `[N, H, W, C]` float `-> [N, H, W, C]` uint8.

    `round(255 (x - low) / (high - low))`, half to even, clipped to 0..255, in float64. For x in the
    range, `from_uint8(to_uint8(x))` is within half a level of x, `(high - low) / 510`, up to the
    rounding of its dtype. Elementwise: other shapes are as good.

    Args:
        images: finite numbers; those outside the range are clipped.
        low: the value that becomes 0; a number, or one per channel.
        high: the value that becomes 255, more than `low`; likewise.

    Raises:
        ValueError: a value is not finite, or the range is empty or not finite.

    Example:
        >>> to_uint8([-1.0, 0.0, 0.5, 1.0, 7.0], low=-1, high=1)
        array([  0, 128, 191, 255, 255], dtype=uint8)
    """
    _check_range(low, high)
    values = np.asarray(images).astype(np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        rows = np.unique(np.nonzero(~finite)[0]) if values.ndim else np.zeros(1, int)
        do = "Leave those images out, and look at why they diverged."
        received = f"NaN or infinity in {_rows(rows)} of an array of shape {values.shape}"
        raise ValueError(checks.message("finite images", received, do))
    bottom, top = np.asarray(low, np.float64), np.asarray(high, np.float64)
    levels = (np.clip(values, bottom, top) - bottom) / (top - bottom) * LEVELS
    return np.rint(levels).astype(np.uint8)


def tiles(
    images: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """`to_uint8` and which `[N]` are finite; the others are white, crossed out."""
    values = np.asarray(images)
    fine = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if values.ndim != 4 or fine.all():
        return to_uint8(values, low, high), fine
    levels = to_uint8(np.where(fine[:, None, None, None], values, low), low, high)
    y, x = ((np.arange(size) + 0.5) / size for size in values.shape[1:3])
    far = np.minimum(abs(y[:, None] - x), abs(y[:, None] + x - 1)) * min(values.shape[1:3])
    levels[~fine] = np.where(far < _CROSS, 0, WHITE)[..., np.newaxis]
    return levels, fine


def from_uint8(
    images: npt.ArrayLike, low: float, high: float, dtype: npt.DTypeLike = np.float32
) -> npt.NDArray[Any]:
    """8-bit levels as images in (low, high), `[N, H, W, C]` uint8 `-> [N, H, W, C]` float.

    `low + (high - low) u / 255`: 0 becomes `low` and 255 becomes `high` exactly, and
    `to_uint8(from_uint8(u))` is u wherever `dtype` tells the 256 levels apart. Elementwise.

    Args:
        images: uint8.
        low: what 0 becomes.
        high: what 255 becomes, more than `low`.
        dtype: a floating-point type, of the result; the computation is in float64.

    Raises:
        TypeError: `images` are not uint8.
        ValueError: the range is empty or not finite.

    Example:
        >>> from_uint8(np.array([0, 51, 255], np.uint8), low=0, high=1)
        array([0. , 0.2, 1. ], dtype=float32)
    """
    _check_range(low, high)
    fraction = _uint8(images, "images") / LEVELS
    # Not low + (high - low) * fraction, which can miss `high` by one unit in the last place.
    return np.asarray(low * (1.0 - fraction) + high * fraction, dtype=dtype)


def grid(
    images: npt.ArrayLike,
    labels: Iterable[object] | None = None,
    columns: int | None = None,
    padding: int = 2,
    scale: int | None = None,
) -> npt.NDArray[np.uint8]:
    """One picture of all images in rows, `[N, H, W, C]` uint8 `-> [H', W', 3]` uint8.

    Images keep their values: each pixel becomes `scale x scale` equal ones. White between the tiles
    and under the labels.

    Args:
        images: uint8, at least one, C = 1 or 3.
        labels: one per image, written in one line above it and cut to the width of the tile; None
            for no labels.
        columns: tiles per row. None: the nearest to a square that leaves the fewest places empty.
        padding: white pixels around every tile.
        scale: pixels per pixel. None: the least that makes tiles at least 96 pixels high and wide.

    Raises:
        TypeError: `images` are not uint8, or a number is not whole.
        ValueError: C is neither 1 nor 3, there are no images or not as many labels as images, or a
            number is out of range.

    Example:
        >>> images = np.zeros([10, 28, 28, 1], np.uint8)
        >>> grid(images, labels=range(10)).shape  # 2 rows of 5 tiles of 4 * 28 = 112 pixels
        (262, 572, 3)
    """
    tiles = _uint8(images, "images")
    _check_layout(tiles, "[N, H, W, C]")
    count, height, width, _ = tiles.shape
    labels = None if labels is None else list(labels)
    if labels is not None and len(labels) != count:
        do = "Give each image one, '' for none, or pass labels=None."
        expected = f"one label per image, {count} labels"
        raise ValueError(checks.message(expected, f"{len(labels)} labels", do))
    columns = _default_columns(count) if columns is None else columns
    columns = checks.integer(columns, "columns", low=1)
    scale = _default_scale(height, width) if scale is None else scale
    scale = checks.integer(scale, "scale", low=1)
    padding = checks.integer(padding, "padding", low=0)

    tiles = _rgb(tiles).repeat(scale, axis=1).repeat(scale, axis=2)
    if labels is not None:
        bands = np.stack([_label_band(str(label), width * scale) for label in labels])
        tiles = np.concatenate([bands, tiles], axis=1)
    rows = math.ceil(count / columns)
    cell_height, cell_width = tiles.shape[1] + padding, tiles.shape[2] + padding
    shape = (rows * cell_height + padding, columns * cell_width + padding, 3)
    picture = np.full(shape, WHITE, np.uint8)
    for index, tile in enumerate(tiles):
        top = index // columns * cell_height + padding
        left = index % columns * cell_width + padding
        picture[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return picture


def save_png(path: str | os.PathLike[str], image: npt.ArrayLike) -> None:
    """Writes one picture, `[H, W, C]` or `[H, W]` uint8, as PNG: no value changes.

    The file is written completely or not at all, and replaces an existing one.

    Args:
        path: ends in `.png`; its folder exists.
        image: uint8, C = 1 or 3.

    Raises:
        TypeError: `image` is not uint8.
        ValueError: the shape is not that of one picture, or the path has another ending.
        FileNotFoundError: there is no such folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_png(Path(folder) / "black.png", np.zeros([28, 28, 1], np.uint8))
    """
    file = _with_suffix(path, ".png")
    write_atomic(file, png(image))


def png(image: npt.ArrayLike) -> bytes:
    """One picture, `[H, W, C]` or `[H, W]` uint8, as the bytes of a PNG file; see `save_png`."""
    pixels = _uint8(image, "image")
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    _check_layout(pixels, "[H, W, C]")
    buffer = io.BytesIO()
    # Pillow knows gray by its missing axis.
    picture = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def save_gif(path: str | os.PathLike[str], frames: npt.ArrayLike, fps: float = 10.0) -> None:
    """Writes frames, `[T, H, W, C]` uint8, as a GIF that repeats forever.

    A GIF has at most 256 colors per frame, chosen for each frame. Its times are in 1/100 s. Delays
    are rounded so that the total time is `T / fps`. Equal frames in a row become one longer frame.
    The file is written completely or not at all, and replaces an existing one.

    Args:
        path: ends in `.gif`; its folder exists.
        frames: uint8, at least one, C = 1 or 3.
        fps: frames per second, more than 0 and at most 50, the fastest that browsers show.

    Raises:
        TypeError: `frames` are not uint8.
        ValueError: the shape is not that of frames, the path has another ending, or `fps` is out of
            range.
        FileNotFoundError: there is no such folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_gif(Path(folder) / "run.gif", np.zeros([3, 28, 28, 1], np.uint8), fps=10)
    """
    file = _with_suffix(path, ".gif")
    pixels = _uint8(frames, "frames")
    _check_layout(pixels, "[T, H, W, C]")
    if not 0.0 < checks.number(fps, "fps") <= MAX_GIF_FPS:
        do = f"If {MAX_GIF_FPS} is too slow, leave out frames: frames[::2]."
        expected = f"fps to be more than 0 and at most {MAX_GIF_FPS}"
        raise ValueError(checks.message(expected, repr(fps), do))
    ends = np.rint(np.arange(len(pixels) + 1) * 100.0 / fps).astype(int)
    first, *others = [Image.fromarray(frame) for frame in _rgb(pixels)]
    buffer = io.BytesIO()
    first.save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=[int(delay) * 10 for delay in np.diff(ends)],  # Pillow takes milliseconds
        loop=0,
    )
    write_atomic(file, buffer.getvalue())


def safe_name(text: str) -> str:
    """A label or layer name as one file name, `str -> str`, that every file system takes.

    1 to 100 of the characters `A-Z a-z 0-9 . _ -`. Accents are dropped, letters of other scripts
    become their code points, and runs of anything else become `_`. It begins with a letter or a
    digit, ends with no dot, has no `..` and is no name that Windows reserves. Idempotent.

    Different labels can give the same name: `"a/b"` and `"a b"` are both `a_b`, and some file
    systems do not distinguish `A` from `a`. So number the files if you name many.

    Args:
        text: any string, also an empty one.

    Raises:
        TypeError: `text` is not a string.

    Example:
        >>> safe_name("mixed4a/conv 1x1"), safe_name("../../etc/passwd"), safe_name("Äpfel 猫")
        ('mixed4a_conv_1x1', 'etc_passwd', 'Apfel_u732b')
    """
    if not isinstance(text, str):
        received = f"{text!r} ({type(text).__name__})"
        raise TypeError(checks.message("a string", received, "Pass str(...) of it."))
    ascii_text = "".join(map(_ascii, unicodedata.normalize("NFKD", text)))
    name = re.sub(r"\.{2,}", ".", "_".join(ascii_text.split()))
    name = name.lstrip("._-")[:MAX_NAME].rstrip(".")
    if not name:
        return "unnamed"
    if name.split(".")[0].lower() in RESERVED_NAMES:
        return f"x_{name}"[:MAX_NAME].rstrip(".")
    return name


def file_names(labels: Iterable[str]) -> list[str]:
    """The PNG file name of every label, `000_cat.png`, ...: numbered, so that all are different.

    Example:
        >>> file_names(["cat", "a/b", "a b"])
        ['000_cat.png', '001_a_b.png', '002_a_b.png']
    """
    return [f"{number:03d}_{safe_name(label)}.png" for number, label in enumerate(labels)]


def _check_range(low: npt.ArrayLike, high: npt.ArrayLike) -> None:
    # The width must be finite as well: (-1e308, 1e308) overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        width = np.subtract(high, low, dtype=np.float64)
    if not (np.all(width > 0) and np.all(np.isfinite(width))):
        do = "Pass the range that the images are in, e.g. low=0, high=255."
        raise ValueError(checks.message("finite low < high", f"low={low!r}, high={high!r}", do))


def _uint8(images: npt.ArrayLike, name: str) -> npt.NDArray[np.uint8]:
    array = np.asarray(images)
    if array.dtype != np.uint8:
        do = f"Convert: to_uint8({name}, low, high)."
        raise TypeError(checks.message(f"{name} of dtype uint8", str(array.dtype), do))
    return array


def _check_layout(images: npt.NDArray[np.uint8], layout: str) -> None:
    """Raises unless the shape is like `layout`, e.g. `"[N, H, W, C]"`, no size 0 and C = 1 or 3."""
    shape = images.shape
    if len(shape) != len(layout.split(",")):
        do = "Add an axis of length 1 where one is missing, e.g. images[np.newaxis]."
        raise ValueError(checks.message(f"the shape {layout}", str(shape), do))
    if 0 in shape:
        do = "Skip the picture when there is nothing to show."
        expected = f"at least one image and one pixel, {layout}"
        raise ValueError(checks.message(expected, f"the shape {shape}", do))
    if shape[-1] not in (1, 3):
        do = "Choose what to show: images[..., :3], or one channel at a time, images[..., :1]."
        received = f"{shape[-1]} channels, the shape {shape}"
        raise ValueError(checks.message(f"1 or 3 channels, {layout}", received, do))


def _rgb(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """`[N, H, W, 1 or 3] -> [N, H, W, 3]`."""
    return np.broadcast_to(images, (*images.shape[:-1], 3))


def _default_columns(count: int) -> int:
    square = math.ceil(math.sqrt(count))
    return min(range(square, 2 * square), key=lambda columns: (-count % columns, columns))


def _default_scale(height: int, width: int) -> int:
    wanted = math.ceil(MIN_TILE / min(height, width))
    return max(1, min(wanted, MAX_UPSCALED_TILE // max(height, width)))


def _label_band(label: str, width: int) -> npt.NDArray[np.uint8]:
    """The label, black on white, as `[LABEL_BAND, width, 3]`."""
    font = ImageFont.load_default(FONT_SIZE)
    band = Image.new("RGB", (width, LABEL_BAND), "white")
    text = _fit(" ".join(label.split()), font, width)
    ImageDraw.Draw(band).text((0, 0), text, fill="black", font=font)
    return np.asarray(band)


def _fit(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """The text if it fits in `width` pixels, else its beginning and three dots."""
    if len(text) <= width and font.getlength(text) <= width:
        return text
    text = text[:width]  # a letter is at least a pixel wide
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..." if text else ""


def _with_suffix(path: str | os.PathLike[str], suffix: str) -> Path:
    file = Path(path)
    if file.suffix.lower() != suffix:
        do = f"Let the name say it: pictures{suffix}."
        raise ValueError(checks.message(f"a path that ends in {suffix}", repr(str(path)), do))
    return file


def _ascii(character: str) -> str:
    """What stands for one character in a file name; a space for what separates."""
    if character.isascii():
        return character if character.isalnum() or character in "._-" else " "
    if unicodedata.combining(character):
        return ""
    return f"u{ord(character):x}" if character.isalnum() else " "


def _rows(rows: npt.NDArray[np.intp]) -> str:
    shown = ", ".join(str(row) for row in rows[:8])
    return f"images {shown}" + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
