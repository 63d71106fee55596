"""Makes parts of a Maximizer from the settings of a case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

import actmax
from benchmarks import baselines
from benchmarks.cases import Case
from benchmarks.models import Subject
from regularizers import L1, L2, AlphaNorm, Bound, Jitter, LogSum, TotalVariation

PENALTIES: dict[str, Callable[[Subject], Any]] = {
    "total_variation": lambda subject: TotalVariation(baselines.TOTAL_VARIATION),
    "l2": lambda subject: L2(baselines.L2),
    "l1": lambda subject: L1(0.1),
    "alpha_norm": lambda subject: AlphaNorm(0.1),
    "log_sum": lambda subject: LogSum(0.1),
    "bound": lambda subject: Bound(0.1, low=subject.low, high=subject.high),
}
PARAMETERIZATIONS: dict[str, Callable[[], Any]] = {
    "pixels": actmax.Pixels,
    "fourier": actmax.Fourier,
}


def contrast(images: tf.Tensor) -> tf.Tensor:
    """Standard deviation of an image's values. `[N, ...] -> [N]`."""
    return tf.math.reduce_std(images, axis=list(range(1, images.shape.rank)))


def maximizer(subject: Subject, case: Case, device: str | None) -> actmax.Maximizer:
    """Our loop: Adam and the box. History and checks are always on.

    Raises:
        ValueError: if this version has no such `precision` or `compile`.
    """
    listed = [PENALTIES[name](subject) for name in case.penalties]
    listed += [Jitter(case.jitter)] if case.jitter else []
    return actmax.Maximizer(
        subject.model,
        input_range=(subject.low, subject.high),
        regularizers=listed,
        parameterization=PARAMETERIZATIONS[case.parameterization](),
        optimizer=actmax.Adam(baselines.LEARNING_RATE * (subject.high - subject.low)),
        metrics={f"metric_{n}": contrast for n in range(case.metrics)},
        copies=1,
        compile=case.compile,
        # TensorFloat-32 is a setting of TensorFlow, not of a loop.
        precision=None if case.precision == "tf32" else case.precision,
        device=device,
    )
