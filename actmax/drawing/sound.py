"""Waves as WAV files: 16-bit PCM, of the standard library."""

from __future__ import annotations

import io
import wave
from typing import Any

import numpy as np

from actmax import checks

_MOST = 8  # channels


def wav(values: np.ndarray, rate: float, low: Any = None, high: Any = None) -> bytes:
    """One wave as the bytes of a WAV file. `[T]` or `[T, C]`.

    If the range `(low, high)` has two ends, it becomes full scale; else the largest value does.
    Silence is the middle of the range.

    Args:
        values: finite numbers, time first.
        rate: of samples, a second.
        low: least value of the range, or None.
        high: largest value of the range, or None.

    Raises:
        ValueError: if the shape is no wave's, or the rate is none of a sound.
    """
    hertz = round(checks.number(rate, "rate", low=1.0, high=2.0**31))
    given = np.asarray(values, np.float64)
    wide = given[:, None] if given.ndim == 1 else given
    if wide.ndim != 2 or not wide.size or wide.shape[1] > _MOST:
        raise ValueError(
            checks.message(
                f"a wave of shape [T] or [T, C], C at most {_MOST}", f"shape {given.shape}"
            )
        )
    bottom, top = None if low is None else np.min(low), None if high is None else np.max(high)
    if bottom is None or top is None:
        middle, half = 0.0, float(np.abs(wide).max()) or 1.0
    else:
        middle, half = float(bottom + top) / 2, float(top - bottom) / 2
    scaled = np.clip((checks.finite(wide, "the wave") - middle) / half, -1, 1)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(wide.shape[1])
        file.setsampwidth(2)
        file.setframerate(hertz)
        file.writeframes(np.rint(scaled * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
