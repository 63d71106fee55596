"""How good the end of a run is: what one more projected step would gain, and how far the set is off."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import records
from actmax.constraints.base import euclidean
from actmax.loop import Arguments, Loop
from actmax.optimizers import Adam, InUnits
from actmax.problem import Problem
from actmax.types import Images, Params

# Root mean squares of the steps that are tried, in units of the set: half the width of a ball is its radius.
_LENGTHS = (0.02, 0.1, 0.5)
# Gains below this part of the score are rounding.
_ROUNDING = {tf.float64: 1e-12}
# Outside of a set by more than this part of an image's size is more than rounding.
_OUTSIDE = 1e-5
# From here on a message says that the end is no optimum.
_FAR = 0.05


@dataclasses.dataclass(frozen=True)
class Standing:
    """Of every image `[N]`: optimality, distance to the set, and whether that is more than rounding."""

    optimality: np.ndarray
    distance: np.ndarray
    outside: np.ndarray

    def fields(self, problem: Problem, params: Params) -> dict[str, Any]:
        """What a result says of the sets of its inputs, and what its images were decoded from."""
        kept = {
            entry.name: records.each(params[entry.name], lambda leaf: leaf.numpy())
            for entry in problem.inputs
            if not entry.parameterization.are_images
        }
        return {
            "low": {entry.name: entry.constraint.low for entry in problem.inputs},
            "high": {entry.name: entry.constraint.high for entry in problem.inputs},
            "optimality": self.optimality,
            "distance": self.distance,
            "params": kept[next(iter(kept))] if len(problem.inputs) == 1 and kept else kept or None,
        }

    def say(self, problem: Problem, row: int) -> str:
        """What belongs into the message of an image; empty if nothing does."""
        text = ""
        if self.outside[row]:
            kinds = ", ".join(type(entry.constraint).__name__ for entry in problem.inputs)
            text += (
                f" The image is {self.distance[row]:.3g} outside of its set ({kinds}): the sets may have "
                "no common point, or project moves no further."
            )
        plain = not problem.transformed and problem.copies == 1
        if plain and self.optimality[row] > _FAR:
            text += (
                f" This is no optimum: one more step gains {100 * self.optimality[row]:.2g} % of what the "
                "run gained. Give more steps, or another learning rate."
            )
        return text


def look(
    loop: Loop,
    params: Params,
    pictures: Images,
    scores: tf.Tensor,
    arguments: Arguments,
    history: Mapping[str, np.ndarray],
) -> Standing:
    """How the images of a run stand, in one step of the loop and three scores.

    The step is along the gradient in units of the set, projected on it. Scores at three lengths,
    and a parabola through them, search how long. What it gains in score less weighted penalties,
    without transforms, is divided by what the run gained.

    Args:
        loop: of the run; nothing is traced anew.
        params: that the images were made of.
        pictures: the images.
        scores: of them, `[N]`.
        arguments: of the run.
        history: of the run.
    """
    problem = loop.problem
    distance, outside = _distances(problem, pictures, arguments.kept)
    steps = len(history["score"])
    if steps == 0:
        return Standing(np.full(len(distance), np.nan), distance, outside)
    ascent = _gradient(loop, params, arguments, steps - 1)
    step = _sized(problem, ascent)
    reached = problem.project(tf.nest.map_structure(tf.add, params, step), arguments.kept)
    move = _lengthened(problem, tf.nest.map_structure(tf.subtract, reached, params))
    weights = np.asarray(arguments.weights)[:, -1:]

    def objective(images: Images, scores: tf.Tensor) -> np.ndarray:
        value = np.asarray(scores, np.float64)
        found = problem.penalize(images, arguments.seeds, tf.constant(steps - 1))
        for weight, penalty in zip(weights, found, strict=True):
            value = value - np.asarray(weight[0], np.float64) * np.asarray(penalty, np.float64)
        return value

    def at(length: float) -> np.ndarray:
        moved = tf.nest.map_structure(lambda p, m: p + tf.cast(length, p.dtype) * m, params, move)
        images = loop.images(problem.project(moved, arguments.kept), arguments)
        return objective(images, loop.judge(images, arguments)[0])

    here = objective(pictures, scores)
    with np.errstate(all="ignore"):
        gain = _most(*(at(length) - here for length in _LENGTHS))
        first = history["score"][0].astype(np.float64)
        for weight, (name, _, _) in zip(weights, problem.penalties, strict=True):
            first = first - np.asarray(weight[0], np.float64) * history[name][0]
        noise = _ROUNDING.get(problem.dtype, 3e-7) * (np.abs(here) + np.abs(first))
        gain = np.where(gain > noise, gain, np.where(np.isnan(gain), np.nan, 0.0))
        share = gain / np.maximum(np.maximum(here - first, gain), 1e-300)
    live = np.isfinite(here) & np.isfinite(share)
    return Standing(np.where(live, share, np.nan), distance, outside)


def _gradient(loop: Loop, params: Params, arguments: Arguments, step: int) -> Params:
    """The gradient of J with respect to params, by a function that is compiled already where there is one.

    After one step from a fresh state, Adam's first moment is the gradient times 1 - beta_1.
    """
    optimizer = loop.problem.optimizer
    inner = optimizer.inner if isinstance(optimizer, InUnits) else optimizer
    if type(inner) is not Adam or loop.problem.gradients:
        return loop.value_and_gradient(params, arguments, step)[1]
    carry, _ = loop.run(loop.begin(params), arguments, step, step + 1)
    share = inner.beta_1 - 1.0
    found = tf.nest.map_structure(lambda m: m / tf.cast(share, m.dtype), carry.state["mean"])
    return optimizer.in_units(found) if isinstance(optimizer, InUnits) else found


def _units(problem: Problem, name: str, leaf: tf.Tensor) -> tf.Tensor:
    entry = next(entry for entry in problem.inputs if entry.name == name)
    unit = entry.constraint.units(entry.shape)
    unit = unit if entry.parameterization.are_images else float(np.mean(unit))
    return tf.constant(unit, leaf.dtype)


def _sized(problem: Problem, ascent: Params) -> Params:
    """A step along the gradient in units of the sets, as long as a set is wide."""
    scaled = {
        name: tf.nest.map_structure(lambda g, name=name: g * _units(problem, name, g), part)
        for name, part in ascent.items()
    }
    largest = tf.reduce_max(
        [tf.reduce_max(tf.abs(_flat(leaf)), 1) for leaf in tf.nest.flatten(scaled)], axis=0
    )
    scaled = tf.nest.map_structure(lambda g: tf.math.divide_no_nan(g, _rows(largest, g)), scaled)
    size = _size(scaled)
    return {
        name: tf.nest.map_structure(
            lambda g, name=name: (
                tf.math.divide_no_nan(g, _rows(size, g)) * _units(problem, name, g)
            ),
            part,
        )
        for name, part in scaled.items()
    }


def _flat(leaf: tf.Tensor) -> tf.Tensor:
    return tf.reshape(leaf, [tf.shape(leaf)[0], -1])


def _rows(values: tf.Tensor, leaf: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.cast(values, leaf.dtype), [-1] + [1] * (leaf.shape.rank - 1))


def _size(scaled: Params) -> tf.Tensor:
    """Root mean square over all leaves. `[N]`."""
    leaves = [_flat(leaf) for leaf in tf.nest.flatten(scaled)]
    total = tf.add_n([tf.reduce_sum(tf.square(leaf), 1) for leaf in leaves])
    return tf.sqrt(total / float(max(sum(int(leaf.shape[1]) for leaf in leaves), 1)))


def _most(short: np.ndarray, middle: np.ndarray, long: np.ndarray) -> np.ndarray:
    """The most of three gains, and of the parabola through 0 and the first two."""
    first, second, _ = _LENGTHS
    bend = (middle / second - short / first) / (second - first)
    slope = short / first - bend * first
    peak = np.where(bend < 0, -slope / (2.0 * bend), 0.0)
    top = np.where((slope > 0) & (peak < second), slope * peak / 2.0, 0.0)
    return np.maximum.reduce([short, middle, long, top])


def _lengthened(problem: Problem, move: Params) -> Params:
    """A move of root mean square 1, per row, over all inputs in units of their sets."""
    length = _size(
        {
            name: tf.nest.map_structure(lambda m, name=name: m / _units(problem, name, m), part)
            for name, part in move.items()
        }
    )
    factor = tf.math.divide_no_nan(tf.ones_like(length), length)
    return tf.nest.map_structure(lambda leaf: leaf * _rows(factor, leaf), move)


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
