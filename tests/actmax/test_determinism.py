"""The same bytes in other processes: alone, under deterministic operations, after other work."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import hashlib, sys
    import numpy as np
    import tensorflow as tf

    if "ops" in sys.argv:
        tf.config.experimental.enable_op_determinism()
    if "other work" in sys.argv:
        import keras

        keras.utils.set_random_seed(99)
        tf.random.normal([7])
        np.random.normal(size=7)
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    import actmax
    from actmax import zoo

    # Everything that draws: the default recipes of both zoo networks, with copies and all transforms.
    found = hashlib.sha256()
    for name in ("mnist", "cifar10"):
        result = actmax.maximize(zoo.load(name), targets=[2, 7], input_range=(0, 1), steps=6, seed=5)
        for part in (result.images, result.scores, *result.history.values()):
            found.update(np.ascontiguousarray(part).tobytes())
    print("sha", found.hexdigest())
"""


def digest(*words: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), *words],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return ran.stdout.split("sha ")[1].strip()


@pytest.mark.slow
def test_the_same_bytes_in_two_processes():
    """In the second under `enable_op_determinism()` and after other use of the random state."""
    assert digest() == digest("ops", "other work")
