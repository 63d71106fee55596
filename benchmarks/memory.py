"""Peak memory of the host's process and of the GPU."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset() -> None:
    """Resets the peaks, on Linux and on the GPU."""
    for device in _gpus():
        tf.config.experimental.reset_memory_stats(device)
    if _CLEAR.exists():
        _CLEAR.write_text("5")  # resets VmHWM, see proc(5)


def resident() -> int | None:
    """Bytes of this process in memory now. None if the system does not provide it."""
    return _field("VmRSS")


def peak() -> int | None:
    """Peak bytes of this process in memory since `reset`."""
    return _field("VmHWM")


def device_peak() -> int | None:
    """Peak bytes on the first GPU since `reset`. None without a GPU."""
    found = _gpus()
    return int(tf.config.experimental.get_memory_info(found[0])["peak"]) if found else None


def _gpus() -> list[str]:
    return [f"GPU:{n}" for n, _ in enumerate(tf.config.list_logical_devices("GPU"))]


def _field(name: str) -> int | None:
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None
