"""The same bytes in two processes: in this one, after other tests, and alone under other settings."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np

import actmax
from actmax import zoo

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
    import keras
    import numpy as np
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(99)
    tf.random.normal([7])
    np.random.normal(size=7)
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    from tests.actmax import test_determinism

    print("sha", test_determinism.digest())
"""


def digest() -> str:
    """Of everything that draws: the default recipes of both zoo networks, with copies and all transforms."""
    found = hashlib.sha256()
    for name in ("mnist", "cifar10"):
        model = zoo.load(name)
        result = actmax.maximize(model, targets=[2, 7], input_range=(0, 1), steps=6, seed=5)
        for part in (result.images, result.scores, *result.history.values()):
            found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


def test_the_same_bytes_in_two_processes():
    """In the second under `enable_op_determinism()` and after other use of the random state."""
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        capture_output=True, text=True, check=True, timeout=300, cwd=ROOT,
    )  # fmt: skip
    assert ran.stdout.split("sha ")[1].strip() == digest()
