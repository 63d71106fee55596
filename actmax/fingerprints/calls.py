"""What a call depends on besides its parts, and the differences of two calls."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax._version import __version__

_SHOWN = 8  # differences in a message


def environment(threads: int | None = None) -> dict[str, Any]:
    """Other things that the bytes of a run depend on: versions, kernels and threads.

    Args:
        threads: numbers of threads of the process that runs, if it is another process.
    """
    import keras

    return {
        "versions": {
            "actmax": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            # The code of functions depends on the Python version that compiles it.
            "python": ".".join(platform.python_version_tuple()[:2]),
        },
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "threads": threads or _threads(),
    }


def differences(old: Any, new: Any) -> list[str]:
    """Differences of two fingerprints, as texts `path: old -> new`. If versions differ, only those.

    Args:
        old: the stored fingerprint, as JSON.
        new: the present fingerprint.
    """
    # The old fingerprint was read from JSON, which has lists instead of tuples.
    new = json.loads(json.dumps(new))
    if isinstance(old, Mapping) and "versions" in old and "versions" in new:
        found = list(_differences(old["versions"], new["versions"], "versions"))
        if found:
            return found
    return list(_differences(old, new, ""))


def shown(texts: list[str]) -> str:
    """Differences as one text. If there are many, only the first ones."""
    more = [f"and {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return "; ".join([*texts[:_SHOWN], *more])


def advice(texts: list[str]) -> str:
    """Advice about differences of versions, kernels or threads. Empty for other differences."""
    remedies = {
        "versions/": "Go on with the versions that it was begun with. ",
        "onednn:": "Set TF_ENABLE_ONEDNN_OPTS to what it was. ",
        "threads:": "Call tf.config.threading.set_intra_op_parallelism_threads with the number of then. ",
    }
    return "".join(
        remedy
        for start, remedy in remedies.items()
        if any(text.startswith(start) for text in texts)
    )


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(name for name in new if name not in old)]:
            pair = (old.get(name, "nothing"), new.get(name, "nothing"))
            yield from _differences(*pair, f"{path}/{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, pair in enumerate(zip(old, new, strict=True)):
            yield from _differences(*pair, f"{path}/{place}")
    elif json.dumps(old) != json.dumps(new):  # here NaN equals NaN
        yield f"{path.lstrip('/')}: {_brief(old)} -> {_brief(new)}"


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _threads() -> int:
    given = tf.config.threading.get_intra_op_parallelism_threads()
    if given:
        return int(given)
    text = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    if text.isdigit() and int(text):
        return int(text)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not available on every system.
        return os.cpu_count() or 1
