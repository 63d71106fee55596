"""Quality of the end of a run: how much could still be gained, and the distance to the set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax.constraints.base import Constraint, euclidean
from actmax.loop import Arguments, Loop
from actmax.maximizer import running
from actmax.problem import Input, Problem
from actmax.types import Images, Params

# Gains below this fraction of the score are rounding errors.
_ROUNDING = {tf.float64: 1e-12}
# A distance from a set above this fraction of an image's size is more than rounding.
_OUTSIDE = 1e-5
# From here on a message says that the end is no optimum: of values on their own, and of sets that bind
# them, whose rate falls to 0, so that a step which gains is no jitter.
_FAR, _FAR_BOUND = 0.05, 0.01
# A remaining gain below this fraction of the run's gain counts as none.
_NOTHING = 1e-3


@dataclasses.dataclass(frozen=True)
class EndOfRun:
    """For each image `[N]`: remaining gain, distance to the set, and if that is more than rounding.

    For an ensemble, also the score of each member, `[N, models]`.
    """

    optimality: np.ndarray
    duality_gap: np.ndarray
    distance: np.ndarray
    outside: np.ndarray
    members: np.ndarray | None

    def fields(self, problem: Problem, params: Params) -> dict[str, Any]:
        """The fields of a result about the sets of its inputs, and the params of its images."""
        return {
            "low": {entry.name: entry.constraint.low for entry in problem.inputs},
            "high": {entry.name: entry.constraint.high for entry in problem.inputs},
            "optimality": self.optimality,
            "duality_gap": self.duality_gap,
            "distance": self.distance,
            "member_scores": self.members,
            "params": running.decoded_from(problem, params),
        }

    def rests(self, problem: Problem, row: int) -> bool:
        """Whether an image stopped moving because nothing remains to be gained."""
        plain = not problem.transformed and problem.copies == 1
        return plain and bool(self.optimality[row] < _NOTHING)

    def say(self, problem: Problem, row: int) -> str:
        """The text for the message of an image, or an empty text."""
        text = ""
        if self.outside[row]:
            kinds = ", ".join(type(entry.constraint).__name__ for entry in problem.inputs)
            text += (
                f" The image is {self.distance[row]:.3g} outside of its set ({kinds}): the sets may have "
                "no common point, or project moves no further."
            )
        plain = not problem.transformed and problem.copies == 1
        bound = [e for e in problem.inputs if e.constraint.projects and not e.constraint.by_value]
        maps = [type(entry.constraint) for entry in problem.inputs if _is_own_map(entry)]
        far = _NOTHING if maps else _FAR_BOUND if bound else _FAR
        if plain and self.optimality[row] > far:
            do = _past(maps[0]) if maps else "Give more steps, or another learning rate."
            text += (
                f" This is no optimum: one more step gains {_percent(self.optimality[row])} % of what the "
                f"run gained. {do}"
            )
        if not plain and bound and self.optimality[row] > _FAR:
            text += (
                f" Of the score without transforms this is no optimum: one more step gains "
                f"{_percent(self.optimality[row])} % of what the run gained. For the best score in "
                f"{type(bound[0].constraint).__name__} give regularizers=[]."
            )
        return text


# From here on two digits would be a power of ten.
_WHOLE = 0.99


def _percent(share: float) -> str:
    """A share as percent with two digits, and never as a power of ten."""
    return f"{100 * share:.2g}" if share < _WHOLE else f"{100 * share:.0f}"


def _is_own_map(entry: Input) -> bool:
    """Whether params are images, and their set is a map of the user's own that binds values."""
    constraint = entry.constraint
    own = not type(constraint).__module__.startswith("actmax.")
    own = own and entry.parameterization.are_images
    return own and not (constraint.projects or constraint.by_value)


def _past(kind: type[Constraint]) -> str:
    """What to do where a map of one's own keeps a run from the optimum."""
    return (
        f"Give more steps, or several seeds. If the gradient through {kind.__name__}.apply vanishes where "
        "the map is sure of its values, let apply hand it on: images + tf.stop_gradient(mapped - images)."
    )


def measure(
    loop: Loop,
    params: Params,
    pictures: Images,
    scores: tf.Tensor,
    arguments: Arguments,
    history: Mapping[str, np.ndarray],
) -> EndOfRun:
    """Measures the end of a run with one gradient and three scores, and one more score for an ensemble.

    Args:
        loop: of the run.
        params: the params of the images.
        pictures: the images.
        scores: scores of the images, `[N]`.
        arguments: of the run.
        history: of the run.
    """
    problem = loop.problem
    distance, outside = _distances(problem, pictures, arguments.kept)
    own = loop.members(pictures, arguments)
    members = None if own is None else own.numpy()
    steps = len(history["score"])
    if steps == 0:
        unknown = np.full(len(distance), np.nan)
        return EndOfRun(unknown, unknown, distance, outside, members)
    found = loop.remaining_gain(params, pictures, scores, arguments, steps - 1)
    here, gain, most = (np.asarray(value, np.float64) for value in found)
    with np.errstate(all="ignore"):
        first = history["score"][0].astype(np.float64)
        weights = np.asarray(arguments.weights)[:, -1:]
        for weight, (name, _, _) in zip(weights, problem.penalties, strict=True):
            first = first - np.asarray(weight[0], np.float64) * history[name][0]
        noise = _ROUNDING.get(problem.dtype, 3e-7) * (np.abs(here) + np.abs(first))
        gain = np.where(gain > noise, gain, 0.0)
        gained = np.maximum(here - first, 0.0)
        share = gain / np.maximum(np.maximum(gained, gain), 1e-300)
        # If a run gained nothing, there is no relative value.
        gap = np.where(most > noise, most, 0.0) / np.where(gained > noise, gained, np.nan)
    live = np.isfinite(here) & np.isfinite(share)
    return EndOfRun(
        np.where(live, share, np.nan),
        np.where(live & np.isfinite(gap), np.maximum(gap, share), np.nan),
        distance,
        outside,
        members,
    )


def _distances(problem: Problem, pictures: Images, kept: Images) -> tuple[np.ndarray, np.ndarray]:
    found: Any = []
    outside: Any = []
    for entry in problem.inputs:
        images = pictures[entry.name]
        off = np.asarray(entry.distance(images, kept), np.float64)
        size = np.asarray(euclidean(images), np.float64)
        found.append(off)
        outside.append(
            off > _OUTSIDE * np.maximum(size, float(np.mean(entry.constraint.units(entry.shape))))
        )
    return np.max(found, axis=0), np.any(outside, axis=0)
