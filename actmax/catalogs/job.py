"""The work of one process. It is the same in this process, in a local worker and on a cluster."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from actmax import checks, models
from actmax.catalogs import store
from actmax.catalogs.plan import Chunk, Plan
from actmax.maximizer import Maximizer
from actmax.maximizer.statuses import unnamed
from actmax.objectives import CHANNELS_LAST, Objective
from actmax.result import Result
from actmax.types import Status


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything that is needed to run a chunk, except the chunk.

    Attributes:
        model: the model object; None in a worker, which loads it from `saved`.
        saved: the bytes of a .keras file that the first process wrote.
        objectives: in the order of the plan.
        plan: the tasks.
        build: arguments of `Maximizer`.
        call: arguments of its call, except targets and seed.
        labels: names of the units of the model's output.
        hashes: of the configuration and of the model.
        sent: paths of the layers and digest of the weights of the saved model; None if none was saved.
    """

    model: Any
    saved: bytes | None
    objectives: tuple[Objective, ...]
    plan: Plan
    build: Mapping[str, Any]
    call: Mapping[str, Any]
    labels: tuple[str, ...] | None
    hashes: tuple[str, str]
    sent: tuple[tuple[str, ...], str | None] | None = None


def known_by(model: Any) -> tuple[tuple[str, ...], str | None]:
    """What must be equal in another process: paths of layers, and weights in order."""
    return models.layer_paths(model), models.weights_digest(model)


def digest(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class Worker:
    """Runs chunks; holds the compiled loop of one objective at a time."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._model = job.model
        self._current: tuple[int, Maximizer] | None = None

    def run(self, chunk: Chunk) -> list[dict[str, Any]]:
        """Rows of the store, one per task of a chunk."""
        tasks = self._job.plan.tasks(chunk.start, chunk.stop)
        maximizer = self._maximizer(tasks[0].objective)
        # Every chunk has the same batch shape, so that a task's bytes do not depend on its chunk.
        padded = [*tasks, *[tasks[-1]] * (chunk.batch_size - len(tasks))]
        rows: dict[str, Any] = {"seed": [task.seed for task in padded]}
        if tasks[0].target is None:
            rows["images"] = len(padded)
        else:
            rows["targets"] = [task.target for task in padded]
        with unnamed():  # the catalog has it in its rows
            result = maximizer(**rows, **self._job.call)
        if Status.INTERRUPTED in result.status:
            # An interrupted run returns its present images. The store must not take them for
            # finished.
            raise KeyboardInterrupt
        return [self._row(task, result, number) for number, task in enumerate(tasks)]

    def _maximizer(self, objective: int) -> Maximizer:
        if self._model is None and self._job.saved is not None:
            self._model = _load(self._job.saved)
            _compare(self._job.sent, known_by(self._model))
        if self._current is None or self._current[0] != objective:
            self._current = (
                None  # The graphs of the last objective are freed before the next ones are made.
            )
            made = Maximizer(self._model, self._job.objectives[objective], **self._job.build)
            self._current = (objective, made)
        return self._current[1]

    def _row(self, task: Any, result: Result, number: int) -> dict[str, Any]:
        image = np.asarray(result.images)[number]
        low, high = next(iter(result.low.values())), next(iter(result.high.values()))
        channels = result.channels(next(iter(result.low)))
        last = image if channels is None else np.moveaxis(image, channels - 1, -1)
        drawn = store.picture(last, low, high)
        objective = self._job.objectives[task.objective]
        layer = next(iter((*objective.targeted, *objective.layers))).removesuffix(CHANNELS_LAST)
        label, named = None, result.named
        if self._job.labels is not None and layer.startswith(":") and task.target is not None:
            label = self._job.labels[task.target]
        return {
            "task": task.number,
            "image": drawn,
            "values": None if drawn else image.astype(np.float32).ravel(),
            "shape": list((last if drawn else image).shape),
            "objective": type(objective).__name__,
            "layer": layer,
            "target": task.target,
            "label": label,
            "seed": task.seed,
            "score": float(result.scores[number]),
            "status": Status(result.status[number]).name,
            "message": result.messages[number],
            "steps": int(result.steps[number]),
            "optimality": None if result.optimality is None else float(result.optimality[number]),
            "distance": None if result.distance is None else float(result.distance[number]),
            "named": None if named is None else named.names[number],
            "named_probability": None if named is None else float(named.probabilities[number]),
            "named_as_asked": None if named is None else bool(named.agrees[number]),
            "config_hash": self._job.hashes[0],
            "model_hash": self._job.hashes[1],
        }


def save(model: Any) -> bytes:
    """A Keras model as the bytes of a .keras file."""
    with tempfile.TemporaryDirectory(prefix="actmax_") as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        return file.read_bytes()


def _load(saved: bytes) -> Any:
    """The model of `save`. It belongs to this job, so the user's code in it may be loaded, too."""
    import keras

    with tempfile.TemporaryDirectory(prefix="actmax_") as folder:
        file = Path(folder) / "model.keras"
        file.write_bytes(saved)
        return keras.models.load_model(file, compile=False, safe_mode=False)


def _compare(sent: Any, found: tuple[tuple[str, ...], str | None]) -> None:
    """Raises ValueError if the model that a worker loaded is not the one that was saved."""
    if sent is None or sent == found:
        return
    asked, loaded = (
        " ".join(sorted(set(a[0]) - set(b[0]))) for a, b in ((sent, found), (found, sent))
    )
    received = (
        f"layers {loaded or 'none'} for {asked or 'none'}" if asked or loaded else "other weights"
    )
    raise ValueError(
        checks.message(
            "the model in the worker to be the one that was asked for, after saving and loading",
            received,
            "Give its layers names, and let its configuration hold all that makes it; or leave workers= out.",
        )
    )
