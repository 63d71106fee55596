"""One case: the floors, the loops that people write, and ours, in interleaved rounds."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

import actmax
from benchmarks import baselines, measure
from benchmarks.cases import Case
from benchmarks.measure import StartUp, Variant
from benchmarks.models import MODELS, Subject
from regularizers import L2, Jitter, TotalVariation

FLOOR = "bare floor"
STRICT = "strict floor"
OURS = "actmax"
OVERHEAD = "actmax, call of no steps"
BUILDERS = {
    FLOOR: baselines.bare_floor,
    STRICT: baselines.strict_floor,
    "step in a tf.function": baselines.compiled_step,
    "eager loop": baselines.eager_loop,
}
# An eager step is several times as long as a compiled one and has no call to amortize.
EAGER_SHARE = 16
# Two orders of summation in float32; the scores of the cases are between 1e-3 and 1e2.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def make_maximizer(subject: Subject, case: Case, device: str | None) -> actmax.Maximizer:
    """Our loop: two penalties, a transform, Adam and the box, with history and guards, always on."""
    return actmax.Maximizer(
        subject.model,
        input_range=(subject.low, subject.high),
        regularizers=[
            TotalVariation(baselines.TOTAL_VARIATION),
            L2(baselines.L2),
            Jitter(case.jitter),
        ],
        parameterization=actmax.Pixels(),
        optimizer=actmax.Adam(baselines.LEARNING_RATE * (subject.high - subject.low)),
        copies=1,
        device=device,
    )


def run_case(case: Case, rounds: int, device: str | None = None) -> dict[str, Any]:
    """Measures one case.

    Args:
        case: what to do.
        rounds: number of samples of every variant.
        device: a TensorFlow device name; None for TensorFlow's choice.

    Returns:
        A record, as JSON: seconds of the start, seconds per step of every round.
    """
    subject = MODELS[case.model](case.size)
    targets = case.targets(subject.classes)
    with tf.device(device):
        runs = {name: build(subject, case) for name, build in BUILDERS.items()}
        made: list[actmax.Maximizer] = []
        construction = measure.seconds(lambda: made.append(make_maximizer(subject, case, device)))
        maximizer = made[0]
        starts = {name: measure.start_up(functools.partial(run, 1)) for name, run in runs.items()}
        starts[OURS] = measure.start_up(lambda: maximizer(targets, steps=1))
        _check(subject, case, maximizer, runs)
        variants = {
            name: _variant(
                run, max(case.steps // EAGER_SHARE, 2) if "eager" in name else case.steps
            )
            for name, run in runs.items()
        }
        variants[OURS] = Variant(lambda: maximizer(targets, steps=case.steps), case.steps)
        variants[OVERHEAD] = Variant(lambda: maximizer(targets, steps=0), 1)
        samples = measure.interleaved(variants, rounds)
    assert maximizer.traces == 1, f"Expected one trace of the loop. Received {maximizer.traces}."
    return {
        "case": {"name": case.name, **dataclasses.asdict(case)},
        "construction": construction,
        "start_up": {name: _plain(start) for name, start in starts.items()},
        "traces": maximizer.traces,
        "seconds_per_step": {name: values.tolist() for name, values in samples.items()},
    }


def _variant(run: baselines.Run, steps: int) -> Variant:
    return Variant(functools.partial(run, steps), steps)


def _plain(start: StartUp) -> dict[str, float]:
    return {**dataclasses.asdict(start), "trace": start.trace}


def _check(
    subject: Subject,
    case: Case,
    maximizer: actmax.Maximizer,
    runs: dict[str, baselines.Run],
) -> None:
    """Stops where the variants do not do the same: a fast wrong answer is no answer."""
    images, targets = baselines.start(subject, case)
    floor, _ = runs[FLOOR](1)
    strict, _ = runs[STRICT](2)
    ours = maximizer(targets.numpy(), steps=0, initial_images=images.numpy()).scores
    np.testing.assert_allclose(strict, floor, **TOLERANCE)
    np.testing.assert_allclose(ours, floor, **TOLERANCE)
