"""The methods that make pictures: ours, the controls, and the peers in their own environments."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import actmax
from actmax.evaluation.networks import LOGITS
from actmax.images import to_uint8
from actmax.problem import Problem
from actmax.recipes.drawings import best_seeds
from benchmarks.quality.data import Data
from regularizers import LogSum, Noise, Pad, Rotate, Scale, Shift, TotalVariation

HERE = Path(__file__).parent
# Consecutive images of one class have the seeds 0, 1, 2, ...
PEERS = {
    "tf-keras-vis": HERE / "run_tf_keras_vis.py",
    "xplique": HERE / "run_xplique.py",
}

# Offset between the seeds of two tasks. It is larger than the number of pictures per class.
APART = 2**16


@dataclasses.dataclass(frozen=True)
class Made:
    """Pictures of one method.

    Attributes:
        images: uint8 `[N, H, W, C]`.
        classes: `[N]`, the class of each picture.
        seconds: time of the optimization without imports. None if nothing is optimized.
        passes: forward and backward passes per image.
        reported: scores reported by the method, `[N]`.
        kind: "control", "ours" or "peer". "data" for methods that use natural images.
        result: our `Result`, which also has the images before rounding.
    """

    images: np.ndarray
    classes: np.ndarray
    seconds: float | None = None
    passes: int | None = None
    reported: np.ndarray | None = None
    kind: str = "ours"
    result: actmax.Result | None = None


@dataclasses.dataclass(frozen=True)
class Task:
    """The task, which is the same for all methods: classes, pictures per class, and subject.

    Attributes:
        subject: the network.
        file: file of the network, for other processes.
        classes: numbers of the classes.
        seeds: number of pictures of each class.
        seed: seed of the whole task. Another seed gives another sample of the same methods.
    """

    subject: keras.Model
    file: Path
    classes: tuple[int, ...]
    seeds: int
    seed: int = 0

    @property
    def targets(self) -> list[int]:
        """Class of every image: all classes for seed 0, then for seed 1, ..."""
        return list(self.classes) * self.seeds

    @property
    def rows(self) -> list[int]:
        """Seed of every image. Two tasks have no seed in common."""
        first = self.seed * APART
        return [first + number for number in range(self.seeds) for _ in self.classes]


def ours(task: Task, passes: int, settings: Mapping[str, Any] | None = None) -> Made:
    """`actmax.maximize` at its defaults, or with settings of `recipe`."""
    arguments = {} if settings is None else recipe(settings, task.subject.input_shape[1:])
    # Building and tracing count, as for peers.
    start = time.perf_counter()
    maximizer = actmax.Maximizer(task.subject, input_range=(0, 1), **arguments)
    problem = maximizer.problem
    fitting = (s for s in range(passes, 1, -1) if passes_of(problem, s) <= passes)
    steps = next(fitting, 1)
    result = maximizer(task.targets, steps=steps, seed=task.seed)
    seconds = time.perf_counter() - start
    return Made(
        result.to_uint8(),
        np.array(task.targets),
        seconds,
        passes_of(problem, steps),
        result.scores,
        "ours",
        result,
    )


def passes_of(problem: Problem, steps: int) -> int:
    """Passes through the network: every copy in every step, and every penalty that uses it."""
    looks = [p.every for _, _, p in problem.penalties if isinstance(p, actmax.BatchNormPenalty)]
    return steps * problem.copies + sum(-(-steps // every) for every in looks)


DRAWS = 8


def drawn(task: Task, starts: int) -> Made:
    """Drawings with a pen: `starts` runs per picture. Only the subject chooses the best one."""
    start = time.perf_counter()
    preset = actmax.presets.drawn(task.subject, (0, 1))
    steps = preset.pop("steps")
    maximizer = actmax.Maximizer(task.subject, **preset)
    seeds = best_seeds(
        maximizer, task.classes, starts=starts * task.seeds, keep=task.seeds, steps=steps,
        draws=DRAWS,
    )  # fmt: skip
    # Runs the chosen ones again, all in one result. Its scores are those of its own objective, but the table
    # has logits.
    result = maximizer(task.targets, steps=steps, seed=[int(one) for one in seeds.T.ravel()])
    return Made(
        result.to_uint8(),
        np.array(task.targets),
        time.perf_counter() - start,
        (starts + 1) * steps * maximizer.problem.copies + starts * DRAWS,
    )


# Number of images whose statistics are averaged.
TOGETHER = 250


def natural(task: Task, prior: float, passes: int) -> Made:
    """`actmax.presets.natural` with a limited log-probability, so that image statistics dominate.

    Args:
        task: a task whose subject has batch-norm layers.
        prior: weight of the statistics.
        passes: passes per image. There is one copy, so this is the number of steps.
    """
    start = time.perf_counter()
    preset = actmax.presets.natural(task.subject, (0, 1), prior=prior, evidence=0.0, steps=passes)
    steps = preset.pop("steps")
    maximizer = actmax.Maximizer(task.subject, **preset)
    parts = [
        maximizer(
            task.targets[first : first + TOGETHER],
            steps=steps,
            seed=list(range(first, min(first + TOGETHER, len(task.targets)))),
        ).to_uint8()
        for first in range(0, len(task.targets), TOGETHER)
    ]
    # It reports the objective with the prior, but the table has logits.
    seconds = time.perf_counter() - start
    return Made(np.concatenate(parts), np.array(task.targets), seconds, steps)


def recipe(settings: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """The gray recipe of `actmax.defaults` with other numbers, for tuning."""
    border = settings["shift"] * min(shape[:2])
    zoom = 1.0 + 2.0 * round(border) / min(shape[:2])
    return {
        "regularizers": [
            Pad(max(round(border), 1), 0.0),
            Rotate(settings["rotate"]),
            Scale((1 - settings["scale"]) * zoom, (1 + settings["scale"]) * zoom),
            Shift(border * zoom),
            Noise(settings["noise"]),
            TotalVariation(settings["total_variation"]),
            LogSum(actmax.Linear(0.0, settings["log_sum"]), epsilon=0.1),
        ],
        "parameterization": actmax.Blurred(sigma=settings["sigma"], mean=settings["mean"]),
        "optimizer": actmax.Adam(actmax.Linear(settings["rate"], 0.25 * settings["rate"])),
        "copies": 1,
        "balance": True,
    }


def controls(task: Task, data: Data, passes: int) -> dict[str, Made]:
    """Pictures with a known order of quality: noise, unregularized pixels, class means, natural images.

    It also has the natural images that excite the subject most, one per seed. They show how far such
    photographs are from average photographs.
    """
    shape = data.test.images.shape[1:]
    classes = np.array(task.targets)
    noise = np.random.default_rng(0).integers(0, 256, (len(classes), *shape), np.uint8)
    plain = actmax.maximize(
        task.subject, targets=task.targets, input_range=(0, 1), regularizers=[], steps=passes
    )
    logits = actmax.Judge(task.subject).look(data.test.floats())[LOGITS]
    means, natural, strongest = [], [], []
    for row, c in enumerate(task.targets):
        number = row // len(task.classes)  # the same images, whatever the task's seed
        members = data.test.images[data.test.classes == c]
        natural.append(members[number % len(members)])
        order = np.argsort(-logits[data.test.classes == c, c], kind="stable")
        strongest.append(members[order[number % len(members)]])
        seen = data.subject.floats()[data.subject.classes == c]
        means.append(to_uint8(seen.mean(axis=0), 0, 1))
    return {
        "noise": Made(noise, classes, kind="control"),
        "pixels, no regularizers": Made(
            plain.to_uint8(), classes, passes=passes, reported=plain.scores, kind="control",
            result=plain,
        ),
        "class mean": Made(np.stack(means), classes, kind="data"),
        "natural images": Made(np.stack(natural), classes, kind="data"),
        "strongest natural images": Made(np.stack(strongest), classes, kind="data"),
    }  # fmt: skip


def photographs(task: Task, data: Data) -> Made:
    """Training images of the subject: the first ones of every class, one per seed."""
    of_class = [np.flatnonzero(data.subject.classes == c)[: task.seeds] for c in task.classes]
    rows = np.stack(of_class, axis=1).ravel()
    return Made(data.subject.images[rows], np.array(task.targets), kind="data")


def peer(
    name: str,
    python: Path,
    task: Task,
    settings: Sequence[Mapping[str, Any]],
    *,
    passes: int | None = None,
    seconds: float | None = None,
) -> list[Made]:
    """Pictures of a peer from a separate process, one set for each of the settings.

    Raises:
        RuntimeError: if the process fails. The message has the end of its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = {
            "model": str(task.file),
            "classes": task.targets,
            "seeds": task.rows,
            "settings": [dict(one) for one in settings],
            "out": folder,
        }
        job |= {"passes": passes} if passes is not None else {"seconds": seconds}
        file = Path(folder) / "job.json"
        file.write_text(json.dumps(job), encoding="utf-8")
        ran = subprocess.run(
            [str(python), str(PEERS[name]), str(file)], capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise RuntimeError(f"{name} failed:\n{ran.stderr[-2000:]}")
        made = []
        for number in range(len(settings)):
            with np.load(Path(folder) / f"{number}.npz") as arrays:
                finite = np.nan_to_num(arrays["images"], nan=0.5)
                made.append(
                    Made(
                        to_uint8(finite, 0, 1),
                        np.array(task.targets),
                        float(arrays["seconds"]),
                        int(arrays["passes"]),
                        arrays["reported"] if "reported" in arrays else None,
                        "peer",
                    )
                )
        return made
