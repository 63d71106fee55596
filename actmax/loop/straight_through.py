"""Maps that hand the gradient on as it is, found by one gradient."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from actmax.constraints import Constraint


def is_straight_through(constraint: Constraint, shape: tuple[int, ...]) -> bool:
    """Whether `apply` maps but hands the gradient on as it is.

    It is measured: the gradient of `apply` at one random image, for a random gradient of its output.

    Args:
        constraint: a set.
        shape: of one image.
    """
    if constraint.projects or constraint.needs_start or constraint.rows is not None:
        return False
    draws = np.random.default_rng(0)
    raw, given = (tf.constant(draws.normal(size=(1, *shape)), tf.float32) for _ in range(2))
    try:
        with tf.GradientTape() as tape:
            tape.watch(raw)
            mapped = constraint.apply(raw)
        found = tape.gradient(mapped, raw, output_gradients=given)
    except (TypeError, ValueError, tf.errors.OpError):
        return False  # the run itself says what is wrong, in its own type and shape
    if found is None or mapped.shape != raw.shape:
        return False
    same = np.allclose(found, given, rtol=1e-5, atol=1e-6)
    return bool(same and not np.allclose(mapped, raw))
