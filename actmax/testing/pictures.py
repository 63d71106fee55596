"""`check_parameterization` and `check_constraint`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax.constraints import Constraint, Rows
from actmax.parameterizations import Parameterization
from actmax.testing.common import COUNT, SHAPES, check_fields, sample_images
from actmax.testing.rows import (
    FLOAT32_ROUNDING,
    Part,
    all_finite,
    check_gradient,
    check_graph,
    check_independent,
    check_repeat,
    difference,
    draw,
    gradient_of,
    pick,
    seeds,
)
from regularizers.testing.sizes import arrays_held, sizes_held


def check_parameterization(
    parameterization: Parameterization, *, shapes: Sequence[Sequence[int]] = SHAPES
) -> None:
    """Checks a parameterization: `init`, `decode`, and `encode` where it exists.

    Laws: fields; every leaf of params leads with N and has the dtype asked for; the same seed gives
    the same params, another seed others, and a row depends on its own seed alone; decoded images have
    shape `[N, *shape]` and are finite; the gradient of `decode` equals central differences in float64,
    and is 0 for `constants`; a graph of unknown N agrees; rows are independent unless `couples_images`;
    `decode(encode(x))` is x for x in (0, 1).

    Args:
        parameterization: the part.
        shapes: of images without N.

    Raises:
        ContractError: at the first law that breaks.

    Example:
        >>> import actmax
        >>> from actmax import testing
        >>> testing.check_parameterization(actmax.Fourier(), shapes=[(6, 6, 1)])
    """
    part = Part(type(parameterization).__name__)
    check_fields(part, parameterization)
    for sizes in shapes:
        shape = tuple(int(size) for size in sizes)
        for dtype in (tf.float32, tf.float64):
            part.place = f"on {dtype.name} images of shape {shape}"
            params = _check_init(part, parameterization, shape, dtype)
            with part.trying("shape", "Make it run there."):
                images = parameterization.decode(params, shape)
            expected, received = (COUNT, *shape), tuple(images.shape)
            part.require("shape", received == expected, f"images {expected}", received, "")
            do = "Follow the dtype of the params."
            part.require("dtype", images.dtype == dtype, dtype.name, images.dtype.name, do)
            part.require("finite", all_finite(images), "finite images", "NaN or infinity", "")
            _check_round_trip(part, parameterization, shape, dtype)

        def decode(values: Any, others: Any, shape: tuple[int, ...] = shape) -> tf.Tensor:
            del others
            return parameterization.decode(values, shape)

        check_repeat(part, decode, params, [])
        coupled = parameterization.couples_images
        free = _check_constants(part, parameterization, decode, params)

        def decode_free(values: Any, others: Any, constants: Any = params) -> tf.Tensor:
            return decode({**constants, **values} if parameterization.constants else values, others)

        check_gradient(part, decode_free, free, [], coupled=coupled)
        check_graph(part, decode, params, [])
        if not coupled:
            check_independent(part, decode, params, [])


def _check_init(
    part: Part, parameterization: Parameterization, shape: tuple[int, ...], dtype: tf.DType
) -> Any:
    def init(chosen: tf.Tensor) -> Any:
        return parameterization.init(shape, chosen, dtype)

    with part.trying("init", "Make it run there."):
        params = init(seeds(COUNT))
    leaves = tf.nest.flatten(params)
    led = all(leaf.shape[0] == COUNT for leaf in leaves)
    received = [tuple(leaf.shape) for leaf in leaves]
    do = "Every row has params of its own."
    part.require("init", led, f"params that lead with N = {COUNT}", received, do)
    kinds = {leaf.dtype.name for leaf in leaves}
    part.require("dtype", kinds == {dtype.name}, dtype.name, kinds, "Draw in the dtype given.")
    do = "Draw with regularizers.random, from the seeds given and from nothing else."
    same = difference(init(seeds(COUNT)), params) == 0
    part.require("seed", same, "the same params from the same seed", "others", do)
    changes = difference(init(seeds(COUNT, 9)), params) > 0
    constant = all(float(tf.reduce_max(tf.abs(leaf))) == 0 for leaf in leaves)
    part.require("seed", changes or constant, "others from another seed", "the same", do)
    if not parameterization.couples_images:
        # Not to the last bit: at another batch shape, vectorized kernels round differently.
        alone = difference(init(seeds(COUNT)[1:2]), pick(params, [1])) <= FLOAT32_ROUNDING
        part.require("seed", alone, "a row to depend on its own seed", "another row", do)
    return params


def _check_constants(
    part: Part, parameterization: Parameterization, decode: Any, params: Any
) -> Any:
    """Params without the constants, which no gradient moves."""
    names = parameterization.constants
    if not names:
        return params
    known = isinstance(params, dict) and set(names) < set(params)
    received = sorted(params) if isinstance(params, dict) else type(params).__name__
    do = "Name leaves of a dict of params, not all of them."
    part.require("constants", known, f"params with {names} and others", received, do)
    gradient = gradient_of(decode, params, [])
    for name in names:
        leaves = tf.nest.flatten(gradient[name])
        held = all(leaf is not None and bool(tf.reduce_all(leaf == 0)) for leaf in leaves)
        do = "Give it a gradient of zeros, with tf.custom_gradient, or leave it out of constants."
        part.require("constants", held, f"a gradient of 0 for {name!r}", "another, or None", do)
    return {name: leaf for name, leaf in params.items() if name not in names}


def _check_round_trip(
    part: Part, parameterization: Parameterization, shape: tuple[int, ...], dtype: tf.DType
) -> None:
    if not parameterization.invertible:
        return
    images = sample_images(shape, dtype)
    with part.trying("round trip", "Leave encode out if there is no inverse."):
        back = parameterization.decode(parameterization.encode(images), shape)
    gap = difference(back, images)
    limit = FLOAT32_ROUNDING if dtype == tf.float32 else 1e-9
    do = "Leave encode out if there is no inverse."
    received = f"a difference of {gap:.1e}"
    part.require("round trip", gap <= limit, "decode(encode(x)) to be x", received, do)


def check_constraint(
    constraint: Constraint,
    *,
    shape: Sequence[int] | None = None,
    convex: bool = False,
    tolerance: float = FLOAT32_ROUNDING,
) -> None:
    """Checks a constraint: `apply`, `invert`, `project`, `start` and `clip`.

    A set that asks for the step is checked at steps 0 and 100.

    Laws: fields; shapes and dtypes kept; an array that the set holds is used with its own axes; `apply`
    differentiable, equal to central differences, finite with a finite gradient at large inputs;
    `project(apply(x))` in `[low, high]`; `project` idempotent; for a convex set `project` gives the
    nearest point, so it is non-expansive, it does not move points between two points of the set, and
    `<x - project(x), z - project(x)> <= 0` for every z in the set; `apply(invert(x))` is x inside the
    set; the start is in the set; a graph of unknown N agrees; rows are independent, also next to a row
    of NaN. For a discrete set (`discrete = True`): `apply` gives images of the set and does not change
    such images. Its gradient is that of `relax`; if `relax` is not given, it is finite and not zero.

    Args:
        constraint: the part.
        shape: of one image; None for `(8, 8, 3)`, or for that of an array that the constraint holds.
        convex: True to test that it is the projection on a convex set.
        tolerance: how far a second projection may move, relative to the largest value; for iterative
            projections.

    Raises:
        ContractError: at the first law that breaks.

    Example:
        >>> import actmax
        >>> from actmax import testing
        >>> testing.check_constraint(actmax.Box(0, 1), convex=True)
    """
    part = Part(type(constraint).__name__)
    check_fields(part, constraint)
    sizes = tuple(int(size) for size in shape or next(sizes_held(constraint), (8, 8, 3)))
    do = "Make it run on any images of that shape, whatever N is."
    with part.trying("runs", do):
        _check_constraint(part, constraint, sizes, convex, tolerance)
        if constraint.asks == ("step",):
            later = constraint.at_step(tf.zeros([1, 2], tf.int32), tf.constant(100))
            _check_constraint(part, later, sizes, convex, tolerance)


def _check_constraint(
    part: Part, constraint: Constraint, sizes: tuple[int, ...], convex: bool, tolerance: float
) -> None:
    for dtype in (tf.float32, tf.float64):
        for size in (0.0, 1.0, 1e3, 1e6):
            part.place = f"on {dtype.name} images of size {size:g}, shape {sizes}"
            images = sample_images(sizes, dtype, -size, size + 1e-3)
            _check_inside(part, constraint, images, tolerance)
        part.place = f"on {dtype.name} noise of shape {sizes}"
        start = constraint.start(sample_images(sizes, dtype, -0.1, 0.1))
        _check_range(part, constraint, constraint.apply(start), exact=False)
    part.place = "in float64"
    images = sample_images(sizes, tf.float64, -2.0, 2.0)

    def apply(values: Any, others: Any) -> tf.Tensor:
        del others
        return constraint.apply(values)

    def project(values: Any, others: Any) -> tf.Tensor:
        del others
        return constraint.project(values)

    if constraint.discrete:
        _check_discrete(part, constraint, images)
    else:
        check_gradient(part, apply, images, [])
    for function in (apply, project):
        check_repeat(part, function, images, [])
        check_graph(part, function, images, [])
        check_independent(part, function, images, [])
    if not constraint.discrete:
        inside = constraint.project(constraint.apply(images))
        gap = difference(constraint.apply(constraint.invert(inside)), inside)
        do = "Invert apply, or leave both out."
        fine = gap <= FLOAT32_ROUNDING
        part.require("invert", fine, "apply(invert(x)) to be x", f"{gap:.1e} off", do)
    if constraint.projects and len(sizes) == 3 and sizes[0] == sizes[1]:
        for array in arrays_held(constraint, sizes):
            _check_array(part, constraint, array)
    if convex:
        _check_non_expansive(part, constraint, images)
        _check_nearest(part, constraint, images)


def _check_array(part: Part, constraint: Constraint, array: np.ndarray) -> None:
    """An array that the set holds is not used with rows for columns."""

    def moves(values: np.ndarray) -> bool:
        images = constraint.clip(tf.constant(values[None], tf.float64))
        return difference(constraint.project(images), images) > FLOAT32_ROUNDING

    turned = moves(array) and not moves(array.transpose(1, 0, 2))
    part.require(
        "axes",
        not turned,
        "the array that it holds to be used as it stands, [H, W, C]",
        "a projection that leaves the transposed array and moves the array itself",
        "Rows are axis 1 of images, columns axis 2.",
    )


def _check_discrete(part: Part, constraint: Constraint, images: tf.Tensor) -> None:
    """A set without a path from one image to another, as letters are."""
    own = constraint.apply(images)
    final = constraint.finish(own) if isinstance(constraint, Rows) else own
    do = "Add nothing but an exact zero: hard + (soft - stop_gradient(soft))."
    again = constraint.apply(constraint.invert(final))
    again = constraint.finish(again) if isinstance(constraint, Rows) else again
    fine = difference(again, final) == 0
    part.require("discrete", fine, "images of the set to stay as they are", "others", do)
    if isinstance(constraint, Rows):
        try:
            constraint.check_start(final.numpy(), None)
        except ValueError as error:
            part.require("discrete", False, "apply to give images of the set", str(error), do)

    def weighed(function: Any) -> Any:
        weights = tf.cos(tf.cast(tf.range(tf.size(images)), images.dtype))
        return lambda values, _: function(values) * tf.reshape(weights, tf.shape(images))

    found = gradient_of(weighed(constraint.apply), images, [])
    moved = found is not None and all_finite(found) and bool(tf.reduce_any(found != 0))
    do = "Pass the gradient on, as a straight-through estimator does."
    part.require("gradient", moved, "a finite gradient of apply that is not zero", "none", do)
    smooth = constraint.relax(images)
    if smooth is not None:
        check_gradient(part, lambda values, _: constraint.relax(values), images, [])
        expected = gradient_of(weighed(constraint.relax), images, [])
        gap = difference(found, expected)
        do = "Let relax be the map whose gradient apply has, or leave it out."
        part.require(
            "gradient", gap <= FLOAT32_ROUNDING, "the gradient of relax", f"{gap:.1e} off", do
        )


def _check_inside(part: Part, constraint: Constraint, images: tf.Tensor, tolerance: float) -> None:
    with part.trying("shape", "Make it run there."):
        applied = constraint.apply(images)
        projected = constraint.project(applied)
    for values in (applied, projected):
        kept = values.shape == images.shape and values.dtype == images.dtype
        received = f"{tuple(values.shape)} {values.dtype.name}"
        part.require("shape", kept, "shape and dtype kept", received, "")
        part.require("finite", all_finite(values), "finite images", "NaN or infinity", "")
    gradient = gradient_of(lambda values, _: constraint.apply(values), images, [])
    do = "Guard roots and divisions; a map may be flat, but not cut."
    fine = gradient is not None and all_finite(gradient)
    part.require("finite", fine, "a finite gradient of apply", "none, NaN or infinity", do)
    _check_range(part, constraint, projected, exact=not constraint.projects)
    _check_range(part, constraint, constraint.clip(projected), exact=True)
    gap = difference(constraint.project(projected), projected)
    do = "A second projection must find nothing left to do."
    received = f"a move of {gap:.1e} of the largest value"
    part.require(
        "idempotent", gap <= tolerance, "project(project(x)) to be project(x)", received, do
    )


def _check_range(part: Part, constraint: Constraint, images: tf.Tensor, *, exact: bool) -> None:
    for bound, beyond, word in (
        (constraint.low, tf.less, "below"),
        (constraint.high, tf.greater, "above"),
    ):
        if bound is None:
            continue
        # A map may round over its bound by one unit in the last place; `clip` may not.
        slack = 0.0 if exact and constraint.projects else 1e-6 * (1.0 + np.max(np.abs(bound)))
        limit = np.asarray(bound) + (-slack if word == "below" else slack)
        outside = bool(tf.reduce_any(beyond(images, tf.constant(limit, images.dtype))))
        expected = f"values in {constraint.low} .. {constraint.high}"
        part.require("range", not outside, expected, f"values {word} it", "Project on the range.")


def _check_non_expansive(part: Part, constraint: Constraint, images: tf.Tensor) -> None:
    for stream in (5, 6, 7):
        other = images + draw(images, stream, -1.0, 1.0)
        axes = list(range(1, images.shape.rank))
        apart = tf.norm(tf.reshape(images - other, [COUNT, -1]), axis=1)
        moved = constraint.project(images) - constraint.project(other)
        after = tf.sqrt(tf.reduce_sum(tf.square(moved), axes))
        fine = tf.reduce_all(after <= apart * (1.0 + 1e-9))
        do = "A projection on a convex set is the nearest point of it; else give convex=False."
        expected = "two images to be no further apart after project than before"
        part.require("non-expansive", fine, expected, f"{after.numpy()} > {apart.numpy()}", do)


def _check_nearest(part: Part, constraint: Constraint, images: tf.Tensor) -> None:
    """The variational inequality, which of all points of a convex set the nearest alone satisfies."""

    def inner(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(first * second, list(range(1, images.shape.rank)))

    for scale in (1.0, 3.0):
        outside = scale * images
        nearest = constraint.project(outside)
        away = outside - nearest
        for stream, step in ((5, 1.0), (6, 0.1), (7, 0.01), (8, 0.01)):
            other = constraint.project(nearest + step * draw(images, stream, -1.0, 1.0))
            along = other - nearest
            size = tf.sqrt(inner(away, away) * inner(along, along))
            do = (
                "Move to the nearest point, not to any point of the set: a scaled image is the nearest "
                "of an L2 ball alone. Else give convex=False."
            )
            part.require(
                "nearest",
                tf.reduce_all(inner(away, along) <= 1e-6 * size + 1e-12),
                "no point of the set to be nearer than the projection",
                "one that is nearer",
                do,
            )
            between = (nearest + other) / 2
            gap = difference(constraint.project(between), between)
            part.require(
                "rest",
                gap <= FLOAT32_ROUNDING,
                "a point between two of a convex set to stay",
                f"a move of {gap:.1e} of the largest value",
                "Leave what is inside alone. Else give convex=False.",
            )
