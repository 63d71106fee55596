"""Resumed runs: saves the state of a run as a checkpoint, loads it, and refuses that of another call."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checkpoints, checks, fingerprints
from actmax.checkpoints import Folder
from actmax.loop import Arguments, Carry, Loop
from actmax.maximizer import lengthening
from actmax.maximizer.running import Best, Run, State
from actmax.result import RecordError
from actmax.types import digest

# Allowed difference between the first step and the recorded one. On a CPU they are equal to the
# bit. Another device or another build of the kernels rounds differently. Another problem differs
# much more.
_NEAR = 1e-3
# Number of steps that run again. The second comes after an update and a projection, the third after
# a state of both.
_REPLAYED = 3
# Entries of an input's record and of a run's record that affect the bytes.
_OF_INPUTS = (
    "shape",
    "model_shape",
    "parameterization",
    "constraint",
    "preprocess",
    "mask",
    "channels",
)
_OF_RECORDS = (
    "positions",
    "copies",
    "antithetic",
    "balance",
    "precision",
    "compile",
    "device",
    "call",
)


def fingerprint(config: Mapping[str, Any], run: Run, start: Any) -> dict[str, Any]:
    """The fingerprint of a call, as JSON: parts, models with their weights, tables and start.

    Args:
        config: the record of the run.
        run: the run.
        start: params before the first step.
    """
    arguments, problem = run.arguments, run.loop.problem
    members = [taps.model for taps in problem.models]
    parts = {
        "objective": problem.objective,
        "inputs": {
            entry.name: {name: getattr(entry, name) for name in _OF_INPUTS}
            for entry in problem.inputs
        },
        "penalties": {name: (on, part) for name, on, part in problem.penalties},
        "transforms": [part for entry in problem.inputs for _, part in entry.transforms],
        "gradients": problem.gradients,
        "metrics": dict(problem.metrics),
        "optimizer": problem.optimizer,
    }
    return {
        **fingerprints.environment(),
        **fingerprints.of(parts),
        **{name: config[name] for name in _OF_RECORDS},
        "callback_every": run.every,
        "callbacks": fingerprints.listeners(run.listeners),
        "model": [fingerprints.of(member) for member in members],
        "layers": [sorted(taps.paths.values()) for taps in problem.models],
        "arguments": {
            "targets": digest(arguments.targets.numpy()),
            "weights": digest(arguments.weights.numpy()),
            "rates": digest(arguments.rates.numpy()),
            "seeds": digest(arguments.seeds.numpy()),
            "fixed": {name: digest(value.numpy()) for name, value in arguments.fixed.items()},
            "arrays": {name: digest(value.numpy()) for name, value in arguments.arrays.items()},
        },
        "start": [digest(leaf.numpy()) for leaf in tf.nest.flatten(start)],
    }


@contextlib.contextmanager
def resumed(
    path: str | os.PathLike[str] | None, run: Run, carry: Carry, config: Mapping[str, Any]
) -> Iterator[State]:
    """The state to continue from: that of the checkpoint or the beginning. Later states are saved.

    Args:
        path: folder of the checkpoint; None to keep none.
        run: the run. It saves from now on.
        carry: before the first step.
        config: the record of the run.

    Raises:
        RecordError: if the checkpoint is damaged.
        ValueError: if it is of another call.
        BlockingIOError: if another run holds the folder.
    """
    if path is None:
        yield run.begin(carry)
        return
    with checkpoints.opened(path) as folder:
        found = folder.load()
        if run.interrupted:  # before its first step
            run.kept = None if found is None else int(found[0]["step"])
            yield run.begin(carry)
            return
        mine = fingerprint(config, run, carry.params)
        state = run.begin(carry) if found is None else _restore(folder, found, run, carry, mine)
        run.save = lambda state: folder.save(*_stored(state, run, mine))
        yield state
        if run.interrupted:
            # Read the file, because the interrupt may have come before the first checkpoint or just after
            # a complete one.
            left = folder.load()
            run.kept = None if left is None else int(left[0]["step"])


def _stored(state: State, run: Run, mine: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    arrays = {f"carry/{n}": leaf.numpy() for n, leaf in enumerate(tf.nest.flatten(state.carry))}
    arrays["history"] = np.concatenate(state.recorded)
    if state.best is not None:
        leaves = enumerate(tf.nest.flatten(state.best.params))
        arrays |= {f"best/{n}": leaf.numpy() for n, leaf in leaves}
        arrays["best_scores"] = state.best.scores
    record = {
        "call": mine,
        "step": state.done,
        "steps": run.steps,
        "halted": list(state.halted),
        "ended": state.ended,
        "over": run.is_over(state),
        "late": {"stop": state.late_stop, "halted": list(state.late)},
    }
    return record, arrays


def _restore(
    folder: Folder,
    found: tuple[dict[str, Any], dict[str, np.ndarray]],
    run: Run,
    carry: Carry,
    mine: Any,
) -> State:
    record, arrays = found
    longer = lengthening.is_longer(record, run)
    if longer:
        lengthening.refuse_other(folder.path, record, run, mine)
    else:
        checkpoints.refuse_other(folder.path, record.get("call"), mine)
    try:
        history = arrays["history"]
        done = int(record["step"])
        halted = tuple(map(str, record["halted"]))
        series, count = len(run.loop.problem.series), int(carry.live.shape[0])
        kind = run.loop.problem.dtype.as_numpy_dtype
        if history.shape != (done, series, count) or history.dtype != kind:
            raise ValueError(f"history {history.dtype} {history.shape}")
        if not 0 < done <= run.steps or len(halted) != count:
            raise ValueError(f"step {done} of {run.steps}, {len(halted)} images")
        best = None
        if run.judged:
            best = Best(_filled(carry.params, arrays, "best"), arrays["best_scores"])
            if best.scores.shape != (count,) or best.scores.dtype != history.dtype:
                raise ValueError(f"best scores {best.scores.dtype} {best.scores.shape}")
        restored = _filled(carry, arrays, "carry")
        state = State(restored, (history,), done, best, halted, bool(record["ended"]))
        if longer and any(record["late"]["halted"]):
            late = tuple(map(str, record["late"]["halted"]))
            state = run.halted(state, bool(record["late"]["stop"]), late)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(
            checks.message(
                "a checkpoint that holds the state of this run",
                f"{str(folder.path)!r} ({type(error).__name__}: {error})",
                "Delete the folder to begin again.",
            )
        ) from error
    stopped = np.array([bool(name) for name in halted])
    _replay(folder, run.loop, run.arguments, carry, history[:_REPLAYED], stopped)
    return state


def _filled(structure: Any, arrays: Mapping[str, np.ndarray], kind: str) -> Any:
    """A structure of tensors with the values of a checkpoint."""
    leaves = []
    for number, leaf in enumerate(tf.nest.flatten(structure)):
        value = arrays[f"{kind}/{number}"]
        dtype = leaf.dtype.as_numpy_dtype
        if value.dtype.kind == "V":  # bfloat16, of which NPZ stores only the size
            value = value.view(dtype)
        if value.shape != tuple(leaf.shape) or value.dtype != dtype:
            raise ValueError(f"{kind} {number} is {value.dtype} {value.shape}")
        leaves.append(tf.constant(value))
    return tf.nest.pack_sequence_as(structure, leaves)


def _replay(
    folder: Folder,
    loop: Loop,
    arguments: Arguments,
    carry: Carry,
    first: np.ndarray,
    stopped: np.ndarray,
) -> None:
    """Runs the first steps again and compares their history.

    Parts without a fingerprint, such as code outside Python, are compared by their effect. The
    effect of an optimizer or a projection is the score of the next image.
    """
    again = loop.run(carry, arguments, 0, len(first))[1].numpy()
    if again.shape == first.shape:
        scale = np.nan_to_num(np.abs(first)).max(axis=2, initial=0.0, keepdims=True)
        near = np.isclose(again, first, rtol=0.0, atol=_NEAR * (scale + 1e-9), equal_nan=True)
        near |= np.isnan(first) & stopped  # after a callback stopped a row, it has no history
        if near.all():
            return
        step, place, _ = np.argwhere(~near)[0]
        bad, when = loop.problem.series[int(place)], f"at step {step + 1}"
    else:
        bad, when = "history", "at the first steps"
    raise ValueError(
        checks.message(
            f"the checkpoint in {str(folder.path)!r} to be of the same call",
            f"another {bad!r} {when}, with the same settings",
            "Did a function of yours change since? Give another folder, or delete this one to begin "
            "again.",
        )
    )
