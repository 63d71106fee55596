"""How much an image can still gain: by one more projected step, and at most anywhere in its set.

The second is the Frank-Wolfe gap, `max over y in the set of <gradient, y - x>`. For a concave objective,
no image of the set is better by more than this gap. It is found by one projection of `x + t g`, a point
far along the gradient g. Let y be the nearest image of a convex set. Then no image z of the set is
further along g than y by more than `|y - x| |z - y| / t`.

Source: Jaggi, Revisiting Frank-Wolfe: projection-free sparse convex optimization, ICML 2013,
https://proceedings.mlr.press/v28/jaggi13.html.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from actmax.constraints.bounds import widths
from actmax.constraints.linear import MappedMixture
from actmax.constraints.mapped import Mapped
from actmax.loop.records import Arguments
from actmax.problem import Input, Problem
from actmax.types import Images, Params

# Root mean square of the first tried step, in units of the set (for a ball, half the unit is its
# radius). Then the number of further steps, and the largest factor between two steps.
_FIRST = 0.1
_MORE = 2
_LONGER, _SHORTER = 10.0, 1e-3
# How many times as far as raw images a step past a map goes.
_PAST = 1e4
# Distance of the point whose projection gives the end of the set along the gradient, in units of the set.
# If the projection is farther than `_OPEN`, the set has no end in this direction.
_FAR, _OPEN = 1e4, 100.0


# Score at the end of steps of given lengths along a way, and how much the gradient says that is gained
# there. `[N], way -> [N], [N]`.
End: TypeAlias = Callable[[np.ndarray, Params], tuple[np.ndarray, np.ndarray]]


def most_gained(here: np.ndarray, params: Params, ways: tuple[Params, ...], end: End) -> np.ndarray:
    """The most that one of three projected steps along the gradient gains, or of two past a map. `[N]`.

    The length of the first is fixed. A parabola through its gain and the gradient at the start says how
    long the next one is. Steps past a map are as long as raw images, and far.

    Args:
        here: J where the steps start, without transforms. `[N]`.
        params: where they start.
        ways: as `ways_up` gives them.
        end: J at the end of a step.
    """
    length, most = np.full_like(here, _FIRST), np.zeros_like(here)
    with np.errstate(all="ignore"):
        for number in range(_MORE + 1):
            value, line = end(length, ways[0])
            gain = value - here
            # Values that are not finite are no gain. A row whose start is not finite is reported
            # later.
            finite = np.isfinite(gain)
            most = np.maximum(most, np.where(finite, gain, 0))
            if number < _MORE:
                best = np.where(finite, 0.5 * line / np.maximum(line - gain, 1e-30), 0)
                length = length * np.clip(best, _SHORTER, _LONGER)
        for way in ways[1:]:
            size = np.asarray(_size(tf.nest.flatten(params)))
            size = np.where(size > 0, size, 1.0).astype(size.dtype)
            for length in (size, _PAST * size):
                gain = end(length, way)[0] - here
                most = np.maximum(most, np.where(np.isfinite(gain), gain, 0))
    return most


def ways_up(problem: Problem, descent: Params, slope: Images) -> tuple[Params, ...]:
    """The gradient, and if there are sets that map, `x = apply(raw)`, that of x for raw too.

    Where a map is flat, as a softmax is that is sure of its letters, the gradient of raw says nothing.
    A step of raw along the gradient of x says more: far along g, a softmax, a normalization or the
    user's own choice of letters gives the image of the set that g asks for.

    Args:
        problem: whose sets.
        descent: gradient of -J with respect to params.
        slope: gradient of -J with respect to images.
    """
    maps = [
        entry.name
        for entry in problem.inputs
        if entry.parameterization.are_images
        and not (entry.constraint.projects or entry.constraint.by_value)
    ]
    ways = [of_size_one(problem, descent)]
    if maps:
        ways.append(of_size_one(problem, {**descent, **{name: slope[name] for name in maps}}))
    return tuple(ways)


def end_of_step(
    problem: Problem,
    params: Params,
    descent: Params,
    step: Params,
    length: tf.Tensor,
    arguments: Arguments,
) -> tuple[Params, tf.Tensor]:
    """Params after a projected step, and the gain predicted by the gradient, `[N]`.

    Args:
        problem: the problem with the sets.
        params: params at the start of the step.
        descent: gradient of -J with respect to params.
        step: the direction of ascent from `of_size_one`.
        length: length of the step, `[N]`, in units of the sets.
        arguments: of the run.
    """
    moved = tf.nest.map_structure(lambda p, s: p + _rows(length, p) * s, params, step)
    end = problem.project(moved, arguments.kept)
    return end, -_inner(descent, tf.nest.map_structure(tf.subtract, end, params), length.dtype)


def at_most(
    problem: Problem,
    params: Params,
    descent: Params,
    images: Images,
    slope: Images,
    arguments: Arguments,
) -> tf.Tensor:
    """The Frank-Wolfe gap: `<gradient, y - x>` at the image y of the set furthest along it. `[N]`.

    Infinite if a set has no end in this direction, or no projection.

    Args:
        problem: the problem with the sets.
        params: x, if params are images.
        descent: gradient of -J with respect to params.
        images: x, if params are not images.
        slope: gradient of -J with respect to images.
        arguments: of the run.
    """
    total: Any = 0.0
    for entry in problem.inputs:
        constraint = entry.constraint
        if entry.parameterization.are_images and constraint.projects:
            project: Any = functools.partial(entry.project, kept=arguments.kept)
            unit, at, down = constraint.units(entry.shape), params, descent
        else:
            project, unit = _onto(entry, arguments)
            at, down = images, slope
        total = total + _gap(at[entry.name], down[entry.name], project, unit)
    return total


def _onto(
    entry: Input, arguments: Arguments
) -> tuple[Callable[[tf.Tensor], tf.Tensor] | None, Any]:
    """The projection on the images of a set that maps (None if unknown), and its units."""
    constraint, fixed = entry.own_set(arguments.kept), entry.constraint
    if entry.mask is not None:
        return None, 1.0
    if isinstance(constraint, Mapped) and isinstance(fixed, Mapped):
        return constraint.inner.project, fixed.inner.units(entry.shape)
    if isinstance(constraint, MappedMixture):
        return constraint.inner.project, constraint.inner.units(entry.shape)
    ends = (constraint.low, constraint.high)
    closed = all(end is not None and bool(np.all(np.isfinite(end))) for end in ends)
    return (constraint.clip, widths(*ends)) if closed else (None, 1.0)


def _gap(
    x: tf.Tensor,
    descent: tf.Tensor,
    project: Callable[[tf.Tensor], tf.Tensor] | None,
    units: Any,
) -> tf.Tensor:
    """The gap of one input; infinite if there is no projection, or if the set is unbounded."""
    unknown = tf.fill(tf.shape(x)[:1], tf.constant(np.inf, x.dtype))
    if project is None:
        return unknown
    unit = tf.constant(units, x.dtype)
    slope = -descent * unit
    size = _size([slope])
    step = tf.math.divide_no_nan(slope, _rows(size, slope)) * unit
    move = project(x + _FAR * step) - x
    own = _size([move / unit])
    # Adds the error of a finite distance of the far point.
    rest = size * own * tf.constant(np.prod(x.shape[1:], dtype=np.float64) / _FAR, x.dtype)
    gap = tf.maximum(-_inner(descent, move, x.dtype), 0.0) + rest
    return tf.where(own < _OPEN, gap, unknown)


def of_size_one(problem: Problem, descent: Params) -> Params:
    """The direction of ascent in units of the sets. Its root mean square per row over all inputs is 1."""
    units = {entry.name: entry for entry in problem.inputs}
    scaled = {
        name: tf.nest.map_structure(lambda g, name=name: -g * _step_unit(units[name], g), part)
        for name, part in descent.items()
    }
    leaves = tf.nest.flatten(scaled)
    largest = tf.reduce_max([tf.reduce_max(tf.abs(_flat(leaf)), 1) for leaf in leaves], axis=0)
    scaled = tf.nest.map_structure(lambda g: tf.math.divide_no_nan(g, _rows(largest, g)), scaled)
    size = _size(tf.nest.flatten(scaled))
    return {
        name: tf.nest.map_structure(
            lambda g, name=name: (
                tf.math.divide_no_nan(g, _rows(size, g)) * _step_unit(units[name], g)
            ),
            part,
        )
        for name, part in scaled.items()
    }


def _step_unit(entry: Input, leaf: tf.Tensor) -> tf.Tensor:
    unit = entry.constraint.units(entry.shape)
    unit = unit if entry.parameterization.are_images else float(np.mean(unit))
    return tf.constant(unit, leaf.dtype)


def _flat(leaf: tf.Tensor) -> tf.Tensor:
    return tf.reshape(leaf, [tf.shape(leaf)[0], -1])


def _rows(values: tf.Tensor, leaf: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.cast(values, leaf.dtype), [-1] + [1] * (leaf.shape.rank - 1))


def _size(leaves: list[tf.Tensor]) -> tf.Tensor:
    """Root mean square over all leaves. `[N]`."""
    flat = [_flat(leaf) for leaf in leaves]
    largest = functools.reduce(tf.maximum, [tf.reduce_max(tf.abs(leaf), 1) for leaf in flat])
    squares = [
        tf.reduce_sum(tf.square(tf.math.divide_no_nan(leaf, largest[:, None])), 1) for leaf in flat
    ]
    # Use dynamic shapes, because gradients of recurrent layers have no static shape.
    count = tf.add_n([tf.shape(leaf)[1] for leaf in flat])
    return largest * tf.sqrt(tf.add_n(squares) / tf.cast(tf.maximum(count, 1), largest.dtype))


def _inner(first: Any, second: Any, dtype: tf.DType) -> tf.Tensor:
    """Sum of products over all leaves, per row. `[N]`."""
    pairs = zip(tf.nest.flatten(first), tf.nest.flatten(second), strict=True)
    return tf.add_n([tf.cast(tf.reduce_sum(_flat(a * b), 1), dtype) for a, b in pairs])
