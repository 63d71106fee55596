"""Do the fast ways compute what the model computes? `python -m benchmarks agree`.

It tests the model of every case with the jitter of the case. `compile="plain"` and "fold" are
compared with `compile=False`, which runs every operation of the unchanged model. Two things are
compared: the gradient of the score at random images, in float32 and, if it differs, in float64; and
the scores after 64 steps from the same start. Near a tie, the last bit of the input of a ReLU or a
max pooling changes the gradient. So a difference in float32 that is not there in float64 is a tie or
rounding. Batch norm has statistics and scales as after training, so that no fold is the identity.
There are no penalties, because their gradient is larger than that of a network with random weights.
The rate is so small that 64 steps do not move every pixel to a bound. Gradients are computed as
forward passes only without oneDNN: `TF_ENABLE_ONEDNN_OPTS=0`.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import keras
import numpy as np

import actmax
from benchmarks import environment
from benchmarks.cases import FULL, Case
from benchmarks.models import MODELS, Subject
from regularizers import Jitter

COSINE = 0.999999
RELATIVE = 1e-5
SCORES = 0.01
RATE = 0.005  # of the width of the range


WAYS = ("plain", "fold")


@dataclasses.dataclass(frozen=True)
class Row:
    """The difference between a fast way and the unchanged model.

    Attributes:
        model: its name.
        way: value of `compile`.
        cosine: cosine of the gradients in float32, the minimum over the images.
        relative: largest difference of gradient values divided by the largest value, in float32.
        exact_cosine: the same in float64; None where float32 already agrees.
        exact_relative: the same in float64; None where float32 already agrees.
        scores: largest difference of the scores after the run, divided by the largest score.
    """

    model: str
    way: str
    cosine: float
    relative: float
    exact_cosine: float | None
    exact_relative: float | None
    scores: float

    @property
    def holds(self) -> bool:
        """Whether gradients agree (in float64 if float32 differs) and scores agree within 1 %."""
        near = self.cosine >= COSINE and self.relative <= RELATIVE
        if self.exact_cosine is not None and self.exact_relative is not None:
            near = self.exact_cosine >= COSINE and self.exact_relative <= RELATIVE
        return near and self.scores <= SCORES


def unsettle(model: keras.Model, seed: int = 0) -> None:
    """Gives every batch norm scales and statistics as after training, in place."""
    draws = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(
                [w + np.abs(draws.normal(0.0, 0.3, w.shape)) for w in layer.get_weights()]
            )


def in_float64(case: Case, weights: list[np.ndarray]) -> Subject:
    """The model of a case with these weights. Every layer computes in float64.

    Raises:
        ValueError: if it was loaded from a file, because the file sets the dtype of its layers.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        subject = MODELS[case.model](case.size)
    finally:
        keras.config.set_dtype_policy(before)
    if any(layer.compute_dtype != "float64" for layer in subject.model.layers):
        raise ValueError(f"Expected a model that is built, not loaded. Received: {case.model}.")
    subject.model.set_weights(weights)
    return subject


def nearness(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Least cosine and largest relative difference of two gradients, over the images. `[N, ...] x 2`."""
    cosines, gaps = [], []
    for a, b in zip(ours.astype(np.float64), theirs.astype(np.float64), strict=True):
        scale = max(np.abs(a).max(), np.abs(b).max())
        one, two = a.ravel() / scale, b.ravel() / scale
        cosines.append(float(one @ two / (np.linalg.norm(one) * np.linalg.norm(two))))
        gaps.append(float(np.abs(one - two).max()))
    return min(cosines), max(gaps)


def compare(
    case: Case, subject: Subject, exact: Callable[[], Subject], steps: int, seed: int = 0
) -> list[Row]:
    """A row for every fast way of one case.

    Args:
        case: size, batch, targets and jitter.
        subject: its model.
        exact: makes the same model in float64. Called only if float32 differs.
        steps: of the run.
        seed: of the images and of the run.
    """
    targets = case.classes(subject.classes)
    draws = np.random.default_rng(seed)
    shape = [case.batch, *subject.model.input_shape[1:]]
    images = draws.uniform(subject.low, subject.high, shape)

    def made(
        subject: Subject, way: str | bool, precision: Literal["float64"] | None = None
    ) -> actmax.Maximizer:
        return actmax.Maximizer(
            subject.model,
            input_range=(subject.low, subject.high),
            regularizers=[Jitter(case.jitter)],
            parameterization=actmax.Pixels(),
            optimizer=actmax.Adam(RATE * (subject.high - subject.low)),
            copies=1,
            compile=way,
            precision=precision,
        )

    def gradient(
        subject: Subject, way: str | bool, precision: Literal["float64"] | None = None
    ) -> np.ndarray:
        return made(subject, way, precision).value_and_gradient(images, targets)[1]

    def scores(way: str | bool) -> np.ndarray:
        return made(subject, way)(targets, steps=steps, seed=seed).scores

    reference, reached = gradient(subject, False), scores(False)
    in_full = functools.cache(exact)
    # Of the model in float64: computed once, and only if a way needs it.
    full_reference = functools.cache(lambda: gradient(in_full(), False, "float64"))
    rows = []
    for way in WAYS:
        cosine, relative = nearness(gradient(subject, way), reference)
        told: tuple[float | None, float | None] = (None, None)
        if cosine < COSINE or relative > RELATIVE:
            told = nearness(gradient(in_full(), way, "float64"), full_reference())
        gap = float(np.abs(scores(way) - reached).max() / np.abs(reached).max())
        rows.append(Row(case.model, way, cosine, relative, *told, gap))
    return rows


def line(row: Row) -> str:
    """A row of the table."""
    exact = "as float32"
    if row.exact_cosine is not None:
        exact = f"{1 - row.exact_cosine:.1e}, {row.exact_relative:.1e}"
    verdict = "agrees" if row.holds else "DIFFERS"
    return (
        f"{row.model:16} {row.way:6} {1 - row.cosine:9.1e} {row.relative:9.1e}   "
        f"{exact:20} {row.scores:9.1e}  {verdict}"
    )


def cases() -> dict[str, Case]:
    """The first case of every model of the full suite, at most two images."""
    found: dict[str, Case] = {}
    for study in FULL:
        for case in study.cases:
            found.setdefault(
                case.model, dataclasses.replace(case, batch=min(case.batch, 2), compile="plain")
            )
    return found


def main(argv: Sequence[str]) -> int:
    """Prints the table. Returns 1 if a way differs."""
    known = cases()
    parser = argparse.ArgumentParser(prog="python -m benchmarks agree", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(known), default=list(known))
    parser.add_argument("--steps", type=int, default=64, metavar="N", help="of the run")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args(argv)
    print("model            way    1 - cosine  largest   in float64            scores", flush=True)
    rows: list[Row] = []
    for name in arguments.models:
        subject = MODELS[name](known[name].size)
        unsettle(subject.model)
        exact = functools.partial(in_float64, known[name], subject.model.get_weights())
        found = compare(known[name], subject, exact, arguments.steps)
        print("\n".join(line(row) for row in found), flush=True)
        rows += found
    if arguments.out is not None:
        environment.save(
            arguments.out,
            {"steps": arguments.steps, "rows": [dataclasses.asdict(row) for row in rows]},
        )
    return 0 if all(row.holds for row in rows) else 1
