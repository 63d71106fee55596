"""The throughput of the user's model, and the time that each regularizer costs."""

from __future__ import annotations

import datetime
import functools
import os
import platform
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.loop.bare_pass import bare_floor, strict_floor
from actmax.maximizer import Maximizer
from actmax.maximizer.statuses import unnamed
from actmax.models import onednn
from actmax.problem import Problem
from actmax.throughput.records import Measurement, Throughput
from actmax.throughput.samples import interleaved, timed
from actmax.types import IMAGES
from regularizers.base import Regularizer

# A sample of a few of these is long against a clock's tick and a call's overhead.
_SAMPLE = 0.2  # seconds
_MOST = 4096  # steps
_TRIED = 8  # steps by which the time of one is estimated


def benchmark(
    model: Any,
    objective: Any = None,
    *,
    batch_sizes: Sequence[int] = (1, 4, 16),
    target: Any = 0,
    classes: Sequence[int] | None = None,
    rounds: int = 9,
    steps: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Throughput:
    """Throughput of a loop against its floor, and what each of its regularizers costs.

    The bare floor is the model's own forward pass and the gradient with respect to its input, in one
    `tf.function`. Every method needs this. The strict floor is the same inside one compiled loop.
    Rounds are interleaved, so ratios and prices are reliable on a busy machine. Milliseconds are valid
    only for this machine. oneDNN and threads are not changed.

    Args:
        model: as of `Maximizer`.
        objective: as of `Maximizer`.
        batch_sizes: numbers of images to try, each at least 1.
        target: the target of every image; the time does not depend on it. A float vector `[C]` for
            `Direction`; not used if the objective takes no targets.
        classes: numbers of different targets in a batch to try, for every batch size: 10 gives the
            images the targets 0, 1, ..., 9, 0, 1, ... None for the one `target`.
        rounds: samples of every variant, at least 1; use nine or more to get useful intervals.
        steps: updates in a sample; None for a number that takes about 0.2 s, at least 4 and at most
            4096.
        progress: called after every round with the number of rounds so far and of all.
        settings: every other argument of `Maximizer`: `input_range`, `regularizers`, `device`, ...
            Without `regularizers` the default recipe is measured.

    Returns:
        A `Throughput`, one record per batch size and number of classes. The time of a step is that of
        a call of n + 1 steps less that of the shortest call of one step, divided by n.

    Raises:
        TypeError, ValueError: for arguments that cannot be right, as `Maximizer` does.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> from regularizers import L2, TotalVariation
        >>> found = actmax.benchmark(
        ...     zoo.load("mnist"),
        ...     input_range=(0, 1),
        ...     regularizers=[TotalVariation(0.1), L2(0.1)],
        ...     batch_sizes=[2],
        ...     rounds=2,
        ...     steps=2,
        ... )
        >>> sorted(found.records[0].without)
        ['l2', 'total_variation']
    """
    rounds = checks.integer(rounds, "rounds", low=1)
    if steps is not None:
        steps = checks.integer(steps, "steps", low=1)
    if not isinstance(batch_sizes, (list, tuple)) or not batch_sizes:
        raise TypeError(
            checks.message("batch_sizes to be a list such as [1, 4, 16]", repr(batch_sizes))
        )
    sizes = [checks.integer(size, "every batch size", low=1) for size in batch_sizes]
    full = Maximizer(model, objective, **settings)
    spelled = _spelled_out(full.problem, settings)
    others = {
        name: Maximizer(model, objective, **{**spelled, "regularizers": rest})
        for name, rest in _each_left_out(spelled["regularizers"]).items()
    }
    cases = [
        (size, number, _call(full.problem, target, number, size))
        for size in sizes
        for number in _numbers(full.problem, classes)
    ]
    done = 0

    def after() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, rounds * len(cases))

    with unnamed():  # pictures of a few steps, which nobody looks at
        records = [
            _measure(full, others, size, number, call, rounds, steps, settings, after)
            for size, number, call in cases
        ]
    return Throughput(tuple(records), _environment(full, rounds, settings))


def _numbers(problem: Problem, classes: Any) -> list[int | None]:
    """Numbers of classes to try; None for the one target."""
    if classes is None:
        return [None]
    if problem.objective.kind != "index":
        raise ValueError(
            checks.message(
                "an objective whose targets are numbers, for classes=",
                problem.objective.title,
                "Leave classes= out.",
            )
        )
    if not isinstance(classes, (list, tuple)) or not classes:
        raise TypeError(checks.message("classes to be a list such as [1, 10]", repr(classes)))
    return [checks.integer(number, "every number of classes", low=1) for number in classes]


def _measure(
    full: Maximizer,
    others: dict[str, Maximizer],
    size: int,
    classes: int | None,
    call: dict[str, Any],
    rounds: int,
    steps: int | None,
    settings: dict[str, Any],
    after: Callable[[], None],
) -> Measurement:
    first_call = timed(lambda: full(steps=1, **call))()
    count = _steps_of_a_sample(lambda n: full(steps=n, **call)) if steps is None else steps
    for other in others.values():
        other(steps=1, **call)
    runs: dict[str, Callable[[int], Any]] = {
        "": lambda n: full(steps=n, **call),
        **{
            name: functools.partial(lambda other, n: other(steps=n, **call), other)
            for name, other in others.items()
        },
    }
    bare, strict = _floors(full, call, settings)
    # A regularizer may be called anything; the floors' keys are no names.
    samplers: dict[Any, Any] = {
        0: timed(functools.partial(bare, count), count),
        1: timed(functools.partial(strict, count), count),
    }
    for name, run in runs.items():
        samplers[name, "many"] = timed(functools.partial(run, count + 1))
        samplers[name, "one"] = timed(functools.partial(run, 1))
    samples: dict[Any, np.ndarray] = interleaved(samplers, rounds, after=after)
    # What a call costs beside its steps is the same in both. Its shortest time is the one without noise.
    loops = {name: (samples[name, "many"] - samples[name, "one"].min()) / count for name in runs}
    return Measurement(
        batch=size,
        steps=count,
        loop=loops[""],
        bare_floor=samples[0],
        strict_floor=samples[1],
        without={name: loops[name] for name in others},
        first_call=first_call,
        per_call=float(np.median(samples["", "one"]) - np.median(loops[""])),
        classes=classes,
    )


def _steps_of_a_sample(run: Callable[[int], Any]) -> int:
    """The number of steps that take about as long as a sample is to take."""
    one = timed(lambda: run(1))()
    if one > _TRIED * _SAMPLE:
        return 4
    step = (timed(lambda: run(1 + _TRIED))() - one) / _TRIED
    return int(np.clip(_SAMPLE / max(step, 1e-6), 4, _MOST))


def _call(problem: Problem, target: Any, classes: int | None, size: int) -> dict[str, Any]:
    """Arguments of a call for `size` images."""
    if problem.objective.kind is None:
        return {"images": size}
    if problem.objective.kind == "vector":
        return {"targets": np.repeat(np.atleast_2d(target), size, axis=0)}
    if classes is not None:
        return {"targets": [place % classes for place in range(size)]}
    return {"targets": [target] * size}


def _floors(
    full: Maximizer, call: dict[str, Any], settings: dict[str, Any]
) -> tuple[Callable[[int], None], Callable[[int], None]]:
    """Both floors, on the images at which a run starts, as many as there are copies of them."""
    problem, copies = full.problem, full.problem.copies
    begun = full(steps=0, **call)
    started = begun.images if isinstance(begun.images, dict) else {IMAGES: begun.images}
    names = [entry.name for entry in problem.inputs]
    if len(names) == 1:
        started = {names[0]: next(iter(started.values()))}
    tiled = {name: np.concatenate([np.asarray(started[name])] * copies, axis=0) for name in names}
    targets: np.ndarray = np.zeros(len(begun), np.int32)
    if begun.targets is not None:
        targets = np.asarray(begun.targets)
    device = settings.get("device")
    with tf.device(device):
        images = {name: tf.constant(value, problem.dtype) for name, value in tiled.items()}
        kind = problem.dtype if problem.objective.kind == "vector" else tf.int32
        given = tf.constant(np.concatenate([targets] * copies, axis=0), kind)
        fixed = {name: tf.constant(value) for name, value in (settings.get("fixed") or {}).items()}
        floors = [make(problem, images, fixed, given) for make in (bare_floor, strict_floor)]

    def placed(floor: Callable[[int], None]) -> Callable[[int], None]:
        def run(steps: int) -> None:
            with tf.device(device):
                floor(steps)

        return run

    bare, strict = (placed(floor) for floor in floors)
    return bare, strict


def _spelled_out(problem: Problem, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with what a recipe has filled in, so that one part can be left out of it."""
    if settings.get("regularizers") is not None:
        return settings
    transforms = [part for entry in problem.inputs for _, part in entry.transforms]
    filled: dict[str, Any] = {
        "regularizers": [*transforms, *(penalty for _, _, penalty in problem.penalties)],
        "parameterization": {entry.name: entry.parameterization for entry in problem.inputs},
        "copies": problem.copies,
        "balance": problem.balance,
    }
    if settings.get("optimizer") is None:
        filled["optimizer"] = problem.optimizer
    if len(problem.inputs) == 1:
        filled["parameterization"] = problem.inputs[0].parameterization
    return {**settings, **filled}


def _each_left_out(parts: Sequence[Regularizer]) -> dict[str, list[Regularizer]]:
    """By the name of each regularizer, the list without it; two of one name are suffixed."""
    left_out: dict[str, list[Regularizer]] = {}
    for position, part in enumerate(parts):
        number = sum(other.name == part.name for other in parts[: position + 1])
        name = part.name if number == 1 else f"{part.name}_{number}"
        left_out[name] = [*parts[:position], *parts[position + 1 :]]
    return left_out


def _environment(full: Maximizer, rounds: int, settings: dict[str, Any]) -> dict[str, Any]:
    names = ("actmax", "tensorflow", "keras")
    # A checkout that is not installed has no metadata; TensorFlow's name differs between builds.
    versions = {name: version for name in names if (version := _version(name)) is not None}
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "model": ", ".join(str(getattr(t.model, "name", t.model)) for t in full.problem.models),
        **versions,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        "load": load,
        "device": settings.get("device") or "TensorFlow's choice",
        "oneDNN": {True: "on", False: "off", None: "unknown"}[onednn()],
        "compile": settings.get("compile", "plain"),
        "copies": full.problem.copies,
        "rounds": rounds,
    }


def _version(name: str) -> str | None:
    if name == "tensorflow":
        return str(tf.__version__)
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
