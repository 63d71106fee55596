"""MP4 films, by the encoder of the extra `video`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from actmax import checks
from actmax.files import write_atomic

# Of libx264, 0 .. 10: 8 keeps the grain of noise, at a quarter of the frames' own size.
_QUALITY = 8


def save_mp4(path: str | Path, frames: np.ndarray, fps: float) -> Path:
    """Writes frames, `[T, H, W, 3]` uint8, as an H.264 video that browsers play.

    Colors are stored at half resolution, so sizes are even: a last odd row or column is repeated. The
    compression changes values; save pictures if you need exact values. The file is written completely
    or not at all.

    Args:
        path: ends in `.mp4`; its folder exists.
        frames: uint8, at least one.
        fps: frames per second, more than 0.

    Raises:
        ImportError: without the extra `video`.
        ValueError: the path has another ending, or `fps` is out of range.
    """
    encoder = _encoder()
    file = Path(path)
    if file.suffix != ".mp4":
        raise ValueError(checks.message("a path that ends in .mp4", repr(str(path))))
    if checks.number(fps, "fps") <= 0:
        raise ValueError(checks.message("fps to be more than 0", repr(fps)))
    even = np.pad(
        frames, [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)], mode="edge"
    )
    with tempfile.TemporaryDirectory(prefix="actmax_") as folder:
        film = Path(folder) / "film.mp4"
        writer = encoder.write_frames(
            str(film), (even.shape[2], even.shape[1]), fps=fps, quality=_QUALITY,
            macro_block_size=2, ffmpeg_log_level="error",
        )  # fmt: skip
        writer.send(None)
        try:
            for frame in even:
                writer.send(np.ascontiguousarray(frame))
        finally:
            writer.close()
        write_atomic(file, film.read_bytes())
    return file


def _encoder() -> Any:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ImportError(
            checks.message(
                "imageio-ffmpeg, for MP4", "none", "pip install 'actmax[video]', or use save_gif."
            )
        ) from error
    return imageio_ffmpeg
