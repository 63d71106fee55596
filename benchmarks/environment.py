"""The environment of a record, which is needed to compare two records."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import actmax
from actmax.throughput.measuring import onednn


def describe() -> dict[str, Any]:
    """Commit, versions, processor, threads, oneDNN, GPUs, load, as JSON."""
    return {
        "commit": commit(),
        "versions": {
            "actmax": actmax.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        # 0 is TensorFlow's own choice, one thread per core.
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
        "onednn": onednn(),
        "gpus": gpu_names(),
        "load": load(),
    }


def save(file: Path, record: dict[str, Any]) -> None:
    """Writes a record with its environment as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = {"environment": describe(), **record}
    file.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def load() -> float | None:
    """Mean number of runnable processes in the last minute. None if the system does not provide it."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def commit() -> str | None:
    """The commit that is checked out, with a plus if files differ from it; None outside git."""
    root = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        found = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        )
        return found.stdout.strip()

    try:
        changed = bool(git("status", "--porcelain"))
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def cpu_name() -> str:
    """The processor's name as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def gpu_names() -> list[str]:
    """Names of the GPUs that TensorFlow sees."""
    return [
        str(tf.config.experimental.get_device_details(device).get("device_name", device.name))
        for device in tf.config.list_physical_devices("GPU")
    ]
