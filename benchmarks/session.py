"""The variants of a study in this process: floors, loops that people write, and our loop."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import actmax
from benchmarks import baselines, flops, memory, parts
from benchmarks.cases import EAGER, FLOOR, OURS, OVERHEAD, STRICT, Case, Study
from benchmarks.measure import StartUp, start_up, timed
from benchmarks.models import MODELS, Subject

# An eager step takes several times as long as a compiled one, and its calls need no averaging.
EAGER_SHARE = 16
# Tolerance for another order of summation in float32. Scores of the cases are between 1e-3 and 1e2.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


@dataclasses.dataclass
class Session:
    """The variants that can be measured, by key.

    Attributes:
        runs: does a number of steps.
        steps: in one sample, by key.
        bases: the key of the bare floor of each key's case.
        starts: the first two calls.
        missing: the reason why a variant is missing.
        info: operations per pass by floor key, traces, seconds of building, memory.
    """

    runs: dict[str, Callable[[int], Any]]
    steps: dict[str, int]
    bases: dict[str, str]
    starts: dict[str, StartUp]
    missing: dict[str, str]
    info: dict[str, Any]


def key(variant: str, case: Case) -> str:
    return f"{variant}, {case.label}" if case.label else variant


def prepare(study: Study, device: str | None, counted: bool = True) -> Session:
    """Builds, starts and checks every variant of a study in this process."""
    session = Session({}, {}, {}, {}, {}, {"flops": {}, "traces": {}, "construction": {}})
    subjects: dict[tuple[str, int], Subject] = {}
    floors: dict[tuple[Any, ...], dict[str, str]] = {}
    with tf.device(device):
        for case in study.cases:
            if device is not None and device.startswith("GPU"):
                tf.config.experimental.enable_tensor_float_32_execution(case.precision == "tf32")
            where = (case.model, case.size)
            if where not in subjects:
                subjects[where] = MODELS[case.model](case.size)
            subject = subjects[where]
            work = (*where, case.batch, case.targets)
            if work not in floors:
                floors[work] = _baselines(session, study, subject, case)
                if counted:
                    session.info["flops"][floors[work][FLOOR]] = operations(subject, case)
            _ours(session, study, subject, case, floors[work], device)
    return session


def operations(subject: Subject, case: Case) -> float:
    """Operations of one pass over the case's batch, forward and back to the images."""
    images, targets = baselines.start(subject, case)
    return flops.count(
        baselines.forward_and_gradient_of(subject),
        tf.TensorSpec(images.shape, images.dtype),
        tf.TensorSpec(targets.shape, targets.dtype),
    )


def _baselines(session: Session, study: Study, subject: Subject, case: Case) -> dict[str, str]:
    names = {variant: key(variant, case) for variant in study.baselines}
    for variant, name in names.items():
        run = baselines.BUILDERS[variant](subject, case)
        session.runs[name] = run
        session.bases[name] = names[FLOOR]
        session.steps[name] = max(case.steps // EAGER_SHARE, 2) if variant == EAGER else case.steps
        session.starts[name] = start_up(functools.partial(run, 1))
    return names


def _ours(
    session: Session,
    study: Study,
    subject: Subject,
    case: Case,
    floors: dict[str, str],
    device: str | None,
) -> None:
    """Our loop for a case, and for each further way to compile it."""
    targets = case.classes(subject.classes)
    for compile in (case.compile, *study.compiles):
        given = dataclasses.replace(case, compile=compile)
        special = compile != case.compile
        name = key(f"{OURS} {compile}" if special else OURS, case)
        made: list[actmax.Maximizer] = []
        try:
            construction = timed(
                lambda given=given, made=made: made.append(parts.maximizer(subject, given, device))
            )()
            maximizer = made[0]

            def run(steps: int, maximizer: actmax.Maximizer = maximizer) -> Any:
                return maximizer(targets, steps=steps)

            # `compile="auto"` measures and chooses in the first run of the sample's length.
            start = start_up(functools.partial(run, case.steps if special else 1))
        except (ValueError, TypeError, NotImplementedError) as error:
            # This version does not have the setting, or refuses it for this model.
            session.missing[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            continue
        session.starts[name] = start
        session.info["construction"][name] = construction
        session.runs[name], session.bases[name] = run, floors[FLOOR]
        session.steps[name] = case.steps
        _check(session, subject, given, maximizer, floors)
        session.info["traces"][name] = maximizer.traces
        if len(study.cases) == 1 and not special:
            session.runs[OVERHEAD] = lambda steps, run=run: run(0)
            session.steps[OVERHEAD], session.bases[OVERHEAD] = 1, floors[FLOOR]


def _check(
    session: Session,
    subject: Subject,
    case: Case,
    maximizer: actmax.Maximizer,
    floors: dict[str, str],
) -> None:
    """Raises an error if the variants do not compute the same."""
    images, targets = baselines.start(subject, case)
    floor, _ = session.runs[floors[FLOOR]](1)
    if STRICT in floors:
        strict, _ = session.runs[floors[STRICT]](2)
        np.testing.assert_allclose(strict, floor, **TOLERANCE)
    if case.precision in (None, "float32") and case.parameterization == "pixels":
        ours = maximizer(targets.numpy(), steps=0, initial_images=images.numpy()).scores
        np.testing.assert_allclose(ours, floor, **TOLERANCE)


def peak_memory(study: Study, index: int, variant: str, device: str | None) -> dict[str, Any]:
    """Bytes that one variant of one case needs besides its model. Call it in a separate process."""
    case = study.cases[index]
    subject = MODELS[case.model](case.size)
    with tf.device(device):
        before = memory.resident()
        memory.reset()
        if variant == OURS:
            maximizer = parts.maximizer(subject, case, device)
            maximizer(case.classes(subject.classes), steps=case.steps)
        else:
            baselines.BUILDERS[variant](subject, case)(case.steps)
        after = memory.peak()
        host = None if before is None or after is None else after - before
        return {"host": host, "device": memory.device_peak()}
