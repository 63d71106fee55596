"""How good the end of a run is: what one more projected step would gain, and how far the set is off."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax.constraints.base import euclidean
from actmax.loop import Arguments, Loop
from actmax.problem import Problem
from actmax.types import Images, Params

# Root mean square of the longest step that is tried, in units of the set.
_REACH = 0.03
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

    def fields(self, problem: Problem) -> dict[str, Any]:
        """What a result says of the sets of its inputs."""
        return {
            "low": {entry.name: entry.constraint.low for entry in problem.inputs},
            "high": {entry.name: entry.constraint.high for entry in problem.inputs},
            "optimality": self.optimality,
            "distance": self.distance,
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
    """How the images of a run stand, in one step of the loop and two scores.

    The step is one of the run's own optimizer, from a fresh state, projected on the set; for plain
    gradient descent and Adam per image it is along the gradient. Scores at its end and half of it, and
    a parabola through them, search its length. What it gains in score less weighted penalties, without
    transforms, is divided by what the run gained.

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
    rates = tf.ones_like(arguments.rates) * _first_rate(arguments.rates)
    carry, _ = loop.run(loop.begin(params), arguments._replace(rates=rates), steps - 1, steps)
    move = tf.nest.map_structure(tf.subtract, carry.params, params)
    move = _lengthened(problem, params, move)
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
        gain = _most(at(0.5) - here, at(1.0) - here)
        first = history["score"][0].astype(np.float64)
        for weight, (name, _, _) in zip(weights, problem.penalties, strict=True):
            first = first - np.asarray(weight[0], np.float64) * history[name][0]
        noise = _ROUNDING.get(problem.dtype, 3e-7) * (np.abs(here) + np.abs(first))
        gain = np.where(gain > noise, gain, np.where(np.isnan(gain), np.nan, 0.0))
        share = gain / np.maximum(np.maximum(here - first, gain), 1e-300)
    live = np.isfinite(here) & np.isfinite(share)
    return Standing(np.where(live, share, np.nan), distance, outside)


def _first_rate(rates: tf.Tensor) -> tf.Tensor:
    return tf.reduce_max(rates, axis=0, keepdims=True)


def _most(half: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The most that a parabola through 0 and gains at half and at the whole length has there."""
    slope, bend = 4.0 * half - whole, 2.0 * whole - 4.0 * half
    peak = np.where(bend < 0, -slope / (2.0 * bend), 1.0)
    inside = (peak > 0) & (peak < 1)
    top = np.where(inside & (slope > 0), slope * peak / 2.0, 0.0)
    return np.maximum(np.maximum(half, whole), top)


def _lengthened(problem: Problem, params: Params, move: Params) -> Params:
    """A move with the length that is tried, per row, over all inputs in units of their sets."""
    squares, count = [], 0
    for entry in problem.inputs:
        unit = entry.constraint.units(entry.shape)
        for leaf, of in zip(
            tf.nest.flatten(move[entry.name]), tf.nest.flatten(params[entry.name]), strict=True
        ):
            own = entry.parameterization.are_images
            size = tf.constant(unit if own else float(np.mean(unit)), of.dtype)
            scaled = tf.reshape(leaf / size, [tf.shape(leaf)[0], -1])
            squares.append(tf.reduce_sum(tf.square(scaled), 1))
            count += int(np.prod(leaf.shape[1:]))
    length = tf.sqrt(tf.add_n(squares) / float(max(count, 1)))
    factor = tf.math.divide_no_nan(tf.constant(_REACH, length.dtype), length)
    return tf.nest.map_structure(
        lambda leaf: leaf * tf.reshape(factor, [-1] + [1] * (leaf.shape.rank - 1)), move
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
