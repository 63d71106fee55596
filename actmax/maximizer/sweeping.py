"""A grid of settings as the rows of one batch."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actmax import checks
from actmax.feeding import array_key
from actmax.maximizer import batches, rows, statuses
from actmax.maximizer.batches import Rows
from actmax.maximizer.misnamed import refuse
from actmax.maximizer.runner import Runner
from actmax.result import Result
from actmax.sweeps import Sweep
from actmax.types import Status, describe

_TARGET, _RATE, _SEED = "target", "learning_rate", "seed"
_WORD = 2**64 - 1
# Arguments of a sweep, and those of a run that it passes on.
_OWN = ("targets", "weights", "learning_rate", "seeds", "restarts", "batch_size", "steps")
_PASSED_ON = (
    "callbacks",
    "callback_every",
    "initial_images",
    "keep",
    "on_failure",
    "verbose",
)


def sweep(
    maximizer: Runner,
    targets: Any,
    weights: Mapping[str, Any] | None,
    learning_rate: Any,
    seeds: Any,
    restarts: int,
    batch_size: int | None,
    *,
    steps: int,
    checkpoint: str | os.PathLike[str] | None,
    arrays: Any,
    call: Mapping[str, Any],
) -> Sweep:
    """See `Maximizer.sweep`."""
    refuse(set(call) - set(_PASSED_ON), [*_OWN, *_PASSED_ON], "sweep")
    restarts = checks.integer(restarts, "restarts", low=1)
    batches.check_fixed(maximizer.fixed)
    if maximizer.problem.couples_images:
        raise ValueError(
            checks.message(
                "parts that leave every image to itself, because points of a sweep are compared",
                "one that couples the images of a batch",
                'Use scope="image", or run every point by itself.',
            )
        )
    _check_start(call)
    if weights is not None and not isinstance(weights, Mapping):
        raise TypeError(
            checks.message("weights to be a dict by the name of the penalty", repr(weights))
        )
    found, axes = _targets(maximizer, targets)
    for name, value in dict(weights or {}).items():
        if name in (_TARGET, _RATE, _SEED):
            raise ValueError(checks.message("penalties not called as another axis", repr(name)))
        if _is_list(value):
            axes[name] = _axis(value, f"the weights of {name}")
    if _is_list(learning_rate):
        axes[_RATE] = _axis(learning_rate, "learning_rate")
    if _is_list(seeds):
        axes[_SEED] = _distinct(_axis(seeds, "seeds"), "seeds")
    points = list(itertools.product(*axes.values()))
    numbers = list(itertools.product(*(range(len(values)) for values in axes.values())))
    names = list(axes)

    def column(name: str, constant: Any) -> Any:
        if name not in axes:
            return constant
        at = names.index(name)
        return [point[at] for point in points for _ in range(restarts)]

    base = column(_SEED, None) or [seeds] * (len(points) * restarts)
    own = [
        restart_seed(checks.integer(seed, "seeds", low=0, high=_WORD), n % restarts)
        for n, seed in enumerate(base)
    ]
    places = [
        0 if found is None else index[names.index(_TARGET)]
        for index in numbers
        for _ in range(restarts)
    ]
    table = Rows(
        targets=None if found is None else found[places],
        seeds=own,
        weights={name: column(name, value) for name, value in dict(weights or {}).items()},
        learning_rate=column(_RATE, learning_rate),
        arrays=_arrays(maximizer, arrays, 1 if found is None else len(found), places),
    )
    size = checks.integer(len(table) if batch_size is None else batch_size, "batch_size", low=1)
    result, seeds_, robust = _run(
        maximizer, table, size, restarts, steps=steps, checkpoint=checkpoint, call=call
    )
    config = {
        **result.config,
        "call": {
            **result.config["call"],
            "axes": [[name, describe(list(values))] for name, values in axes.items()],
            "seed": describe(list(axes.get(_SEED, (seeds,)))),
            "weights": {
                name: describe(value)
                for name, value in dict(weights or {}).items()
                if name not in axes
            },
            "learning_rate": None if _RATE in axes else describe(learning_rate),
            "images": len(points),
            "restarts": restarts,
            "batch_size": size,
        },
    }
    statuses.warn_of_names(result)
    return Sweep(dataclasses.replace(result, config=config), axes, tuple(seeds_), robust)


def restart_seed(seed: int, number: int) -> int:
    """The seed of a restart: first the seed itself, then 64 bits of SplitMix64 for each restart.

    Source: Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014,
    https://doi.org/10.1145/2660193.2660195.
    """
    if number == 0:
        return seed
    word = (seed + number * 0x9E3779B97F4A7C15) & _WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return word ^ (word >> 31)


def _run(
    maximizer: Runner,
    table: Rows,
    size: int,
    restarts: int,
    *,
    steps: int,
    checkpoint: Any,
    call: Mapping[str, Any],
) -> tuple[Result, list[int], np.ndarray | None]:
    """Result, seeds and robust scores of every point, from the best of its restarts."""
    kept = _Kept(restarts)
    judged = restarts > 1
    with_interrupts = batches.stream(
        maximizer, table, size, steps=steps, robust=judged, checkpoint=checkpoint, **call
    )
    try:
        for own, result, robust in with_interrupts:
            kept.add(own, result, robust)
    except KeyboardInterrupt:
        pass
    done = kept.done
    if done < len(table):
        # After Ctrl-C, rows that did not begin are their start images, so the table is complete.
        rest = _from(table, done)
        quiet = {name: call[name] for name in ("initial_images", "keep") if name in call}
        for own, result, robust in batches.stream(
            maximizer, rest, size, steps=0, robust=judged, **quiet
        ):
            kept.add(range(done + own.start, done + own.stop), _not_begun(result), robust)
    parts, numbers, scores = kept.parts()
    joined = batches.join(parts, parts[0].config)
    return joined, [table.seeds[n] for n in numbers], np.array(scores) if judged else None


def _from(table: Rows, start: int) -> Rows:
    def cut(value: Any) -> Any:
        return value[start:] if isinstance(value, list) else value

    return Rows(
        None if table.targets is None else table.targets[start:],
        table.seeds[start:],
        {name: cut(value) for name, value in table.weights.items()},
        cut(table.learning_rate),
        {
            name: {key: value[start:] if len(value) > 1 else value for key, value in each.items()}
            for name, each in table.arrays.items()
        },
    )


def _not_begun(result: Result) -> Result:
    return dataclasses.replace(
        result,
        status=np.full_like(result.status, Status.INTERRUPTED),
        messages=("Interrupted before its batch began; the image is the start.",) * len(result),
    )


class _Kept:
    """The rows that are kept from every batch: all rows, or the best restart of every point so far."""

    def __init__(self, restarts: int) -> None:
        self._restarts = restarts
        self._parts: list[tuple[range, Result]] = []
        self._judged = 0
        self._best: dict[int, tuple[float, int, float, Result]] = {}

    def add(self, own: range, result: Result, robust: np.ndarray | None) -> None:
        if robust is None:
            # One assignment: Ctrl-C comes before or after it, so no row is there twice.
            self._parts.append((own, result))
            return
        for at, number in enumerate(own):
            score = float(robust[at])
            fine = math.isfinite(score) and result.status[at] != Status.NON_FINITE
            rank = score if fine else -math.inf
            point = number // self._restarts
            if point not in self._best or rank > self._best[point][0]:
                self._best[point] = (rank, number, score, result.take([at]))
        self._judged = own.stop

    @property
    def done(self) -> int:
        """The kept rows, from the first one."""
        return self._parts[-1][0].stop if self._parts else self._judged

    def parts(self) -> tuple[list[Result], list[int], list[float]]:
        if self._parts:
            numbers = [number for own, _ in self._parts for number in own]
            return [result for _, result in self._parts], numbers, []
        best = [self._best[point] for point in sorted(self._best)]
        return [b[3] for b in best], [b[1] for b in best], [b[2] for b in best]


def _targets(
    maximizer: Runner, targets: Any
) -> tuple[np.ndarray | None, dict[str, tuple[Any, ...]]]:
    kind = maximizer.problem.objective.kind
    found, _ = rows.as_targets(targets, maximizer.problem.objective, maximizer.labels, None, None)
    if found is None:
        return None, {}
    values = [int(t) for t in found] if kind == "index" else list(range(len(found)))
    return found, {_TARGET: _distinct(tuple(values), "targets")}


def _arrays(
    maximizer: Runner, given: Any, count: int, places: list[int]
) -> dict[str, dict[str, np.ndarray]]:
    """Expands arrays with one row for all, or one per target, to the rows, by penalty and parameter."""
    found = rows.arrays(maximizer.problem, given, count)
    spread = {key: value if len(value) == 1 else value[places] for key, value in found.items()}
    return {
        name: {key: spread[array_key(name, key)] for key in part.array_names}
        for name, _, part in maximizer.problem.penalties
        if part.array_names
    }


def _check_start(call: Mapping[str, Any]) -> None:
    given = call.get("initial_images")
    for images in given.values() if isinstance(given, Mapping) else [given]:
        if images is not None and len(np.asarray(images)) != 1:
            raise ValueError(
                checks.message(
                    "one start image for all points of a sweep", f"{len(np.asarray(images))}"
                )
            )


def _is_list(value: Any) -> bool:
    listed = isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (str, bytes))
    return listed and np.ndim(value) > 0


def _axis(values: Any, name: str) -> tuple[Any, ...]:
    listed = tuple(value.item() if isinstance(value, np.generic) else value for value in values)
    if not listed or any(_is_list(value) for value in listed):
        raise ValueError(checks.message(f"{name} as a list of values to try", repr(values)))
    return listed


def _distinct(values: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError(
            checks.message(
                f"{name} of a sweep to differ",
                repr(values),
                "For several images of one, sweep seeds.",
            )
        )
    return values
