"""Nearest points of a sphere, a contrast or linear equations within bounds, exactly.

Each is a search for one or a few numbers per row, in as many passes over the images as needed. A row
does not change after its numbers are found, so it does not depend on the other rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from actmax.constraints.interior import nearest_inside

# Upper limits on the number of rounds, so that no search is endless. Most searches end much sooner.
_PASSES = 60
_NEWTON = 100
# If the error of an equation is above this fraction of its terms, Newton's steps have not solved
# it.
_MISSED = 1e-8
# Step lengths that are tried together. Long steps cross regions without curvature.
_LENGTHS = (2.0**20, 2.0**14, 2.0**7, 8.0, 1.0, 0.5, 0.125, 2.0**-6, 2.0**-12, 2.0**-24)
_LARGEST = 1e12


def clipped(x: tf.Tensor, low: tf.Tensor | None, high: tf.Tensor | None) -> tf.Tensor:
    """X clipped to bounds. Each bound may be None."""
    x = x if low is None else tf.maximum(x, low)
    return x if high is None else tf.minimum(x, high)


def scaled_to_radius(
    offset: tf.Tensor,
    radius: tf.Tensor,
    low: tf.Tensor | None,
    high: tf.Tensor | None,
    axes: tuple[int, ...],
) -> tf.Tensor:
    """`clip(a offset)` of norm `radius` over `axes`: the nearest point to `offset` of a sphere in a box.

    The norm grows with a. For a fixed set of clipped values, a has a closed form. The search repeats
    this step, and a bracket limits its steps.

    Args:
        offset: `[N, ...]`, from the centre.
        radius: radius that broadcasts against norms.
        low: lower bound minus the centre, or None.
        high: likewise.
        axes: of one norm.
    """
    size = tf.sqrt(tf.reduce_sum(tf.square(offset), axes, keepdims=True))
    first = tf.math.divide_no_nan(radius * tf.ones_like(size), size)
    zero = tf.zeros_like(first)

    def again(number: tf.Tensor, *rest: tf.Tensor) -> tf.Tensor:
        return (number < _PASSES) & tf.reduce_any(rest[-1])

    def once(
        number: tf.Tensor, a: tf.Tensor, least: tf.Tensor, most: tf.Tensor, busy: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        free = a * offset
        x = clipped(free, low, high)
        inside = tf.cast(tf.equal(free, x), x.dtype)
        square = tf.reduce_sum(tf.square(x), axes, keepdims=True)
        held = tf.reduce_sum((1.0 - inside) * tf.square(x), axes, keepdims=True)
        moving = tf.reduce_sum(inside * tf.square(offset), axes, keepdims=True)
        short = square < tf.square(radius)
        new_least = tf.where(short, a, least)
        new_most = tf.where(short, most, a)
        wanted = tf.sqrt(tf.math.divide_no_nan(tf.maximum(tf.square(radius) - held, 0.0), moving))
        middle = tf.where(new_most < _LARGEST, (new_least + new_most) / 2, 4.0 * a)
        good = (wanted > new_least) & (wanted < new_most)
        new = tf.where(good, wanted, middle)
        tolerance = 4.0 * _epsilon(x.dtype)
        near = tf.abs(tf.sqrt(square) - radius) <= tolerance * radius
        tight = new_most - new_least <= tolerance * new_most
        still = busy & ~(near | tight) & (new < _LARGEST)
        new_least, new_most = tf.where(still, new_least, least), tf.where(still, new_most, most)
        return number + 1, tf.where(still, new, a), new_least, new_most, still

    busy = tf.fill(tf.shape(first), True)
    if low is None and high is None:
        a = first
    else:
        far = tf.fill(tf.shape(first), tf.constant(2 * _LARGEST, first.dtype))
        a = tf.while_loop(again, once, (tf.constant(0), first, zero, far, busy))[1]
    return clipped(a * offset, low, high)


def contrast_within(
    centered: tf.Tensor,
    own_mean: tf.Tensor,
    mean: tf.Tensor | None,
    std: tf.Tensor,
    low: tf.Tensor | None,
    high: tf.Tensor | None,
    axes: tuple[int, ...],
    weights: tf.Tensor,
) -> tf.Tensor:
    """`clip(a u + b)` with a given mean and standard deviation. u is an image minus its mean.

    It is the nearest image with this mean and standard deviation within bounds (the conditions of
    Karush, Kuhn and Tucker). If the mean is free, `b = a own_mean + (1 - a) m`, where m is the
    resulting mean. For a fixed set of clipped values, a and b have a closed form. Then the values are
    clipped again.

    Args:
        centered: `[N, ...]`, u.
        own_mean: the mean that was subtracted.
        mean: the target mean. None if it is free.
        std: the target standard deviation.
        low: bounds, None for none.
        high: likewise.
        axes: over which mean and standard deviation are taken.
        weights: 1 where a value counts, else 0.
    """
    total = tf.reduce_sum(weights * tf.ones_like(centered), axes, keepdims=True)
    if mean is None and not (low is None and high is None):
        # Relative to its own mean, an image has no mean that cancels digits of its contrast. A mean
        # far outside the bounds would cancel them.
        origin = own_mean
        if low is not None:
            origin = tf.maximum(origin, _of_row(tf.reduce_min, low, centered))
        if high is not None:
            origin = tf.minimum(origin, _of_row(tf.reduce_max, high, centered))
        ends = [None if end is None else end - origin for end in (low, high)]
        own = own_mean - origin
        found = _within(centered, own, mean, std, ends[0], ends[1], axes, weights, total)
        return clipped(found + origin, low, high)
    return _within(centered, own_mean, mean, std, low, high, axes, weights, total)


def _within(
    centered: tf.Tensor,
    own_mean: tf.Tensor,
    mean: tf.Tensor | None,
    std: tf.Tensor,
    low: tf.Tensor | None,
    high: tf.Tensor | None,
    axes: tuple[int, ...],
    weights: tf.Tensor,
    total: tf.Tensor,
) -> tf.Tensor:
    """The solution of `contrast_within`. Each round updates the set of clipped values."""

    def summed(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(weights * x, axes, keepdims=True)

    square = summed(tf.square(centered)) / total
    a = tf.math.divide_no_nan(std * tf.ones_like(square), tf.sqrt(square))
    b = (own_mean if mean is None else mean) * tf.ones_like(square)
    if low is None and high is None:
        return a * centered + b

    def again(number: tf.Tensor, a: tf.Tensor, b: tf.Tensor, busy: tf.Tensor) -> tf.Tensor:
        del a, b
        return (number < _PASSES) & tf.reduce_any(busy)

    def once(
        number: tf.Tensor, a: tf.Tensor, b: tf.Tensor, busy: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        free = a * centered + b
        x = clipped(free, low, high)
        inside = tf.cast(tf.equal(free, x), x.dtype)
        # For clipped values and then for the others: their number, the sum of u and the sum of u^2.
        ends, ends_2 = summed((1 - inside) * x), summed((1 - inside) * tf.square(x))
        n, s, q = summed(inside), summed(inside * centered), summed(inside * tf.square(centered))
        new_a, new_b = _line(a, b, own_mean, mean, std, total, ends, ends_2, n, s, q)
        fine = (n > 0) & tf.math.is_finite(new_a) & (new_a > 0)
        # More values are clipped than the contrast allows: change a.
        got = tf.sqrt(summed(tf.square(x - summed(x) / total)) / total)
        new_a = tf.where(
            fine, tf.clip_by_value(new_a, a / 8.0, a * 8.0), tf.where(got > std, a / 2, a * 2)
        )
        new_b = tf.where(fine, new_b, b)
        # If the same values are clipped, the remaining change is rounding.
        tolerance = 16.0 * _epsilon(x.dtype)
        moved = tf.abs(new_a - a) > tolerance * a
        moved |= tf.abs(new_b - b) > tolerance * (tf.abs(b) + std)
        still = busy & (new_a < _LARGEST)
        a, b = tf.where(still, new_a, a), tf.where(still, new_b, b)
        return number + 1, a, b, still & moved

    rows = tf.fill(tf.shape(a), True)
    _, new_a, new_b, _ = tf.while_loop(again, once, (tf.constant(0), a, b, rows))
    x = clipped(new_a * centered + new_b, low, high)
    center = summed(x) / total
    spread = tf.sqrt(summed(tf.square(x - center)) / total)
    missed = tf.abs(spread - std) > 1e-5 * std
    if mean is None:
        mean = _feasible_mean(own_mean * tf.ones_like(a), std, low, high, total)
    else:
        missed |= tf.abs(center - mean) > 1e-5 * (tf.abs(mean) + std)
    missed &= a > 0  # a constant image has no contrast to scale
    b = mean * tf.ones_like(a)
    low = tf.constant(-_LARGEST, x.dtype) if low is None else low
    high = tf.constant(_LARGEST, x.dtype) if high is None else high
    a, b = _search(centered, a, b, std, low, high, axes, summed, total, missed)
    return tf.where(missed, clipped(a * centered + b, low, high), x)


def _feasible_mean(
    own: tf.Tensor,
    std: tf.Tensor,
    low: tf.Tensor | None,
    high: tf.Tensor | None,
    total: tf.Tensor,
) -> tf.Tensor:
    """The mean that is nearest to the image's own and allows the contrast between two bounds.

    A mean near a bound needs most values at this bound and a few at the other one. The number of
    values is whole. So the outermost mean has a whole number of values at the other bound.
    """
    if low is None or high is None:
        return own
    least, most = (_of_row(tf.reduce_mean, end, own) for end in (low, high))
    half = (most - least) / 2
    room = tf.sqrt(tf.maximum(tf.square(half) - tf.square(1.02 * std), 0.0))
    share = 2.0 * half / total
    inward = tf.minimum(tf.math.ceil((half - room) / share) * share, half)
    return tf.clip_by_value(own, least + inward, most - inward)


def _search(
    centered: tf.Tensor,
    first: tf.Tensor,
    mean: tf.Tensor,
    std: tf.Tensor,
    low: tf.Tensor,
    high: tf.Tensor,
    axes: tuple[int, ...],
    summed: Callable[[tf.Tensor], tf.Tensor],
    total: tf.Tensor,
    missed: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """A and b by bisection, for rows with most or all values at the bounds.

    For every a there is a b that gives the target mean. The standard deviation grows with a.
    """
    furthest = tf.reduce_max(tf.abs(centered), axes, keepdims=True)

    def shift(a: tf.Tensor) -> tf.Tensor:
        least = _of_row(tf.reduce_min, low, centered) - a * furthest
        most = _of_row(tf.reduce_max, high, centered) + a * furthest

        def halve(number: tf.Tensor, least: tf.Tensor, most: tf.Tensor) -> tuple[tf.Tensor, ...]:
            b = (least + most) / 2
            short = summed(clipped(a * centered + b, low, high)) / total < mean
            return number + 1, tf.where(short, b, least), tf.where(short, most, b)

        many = lambda number, least, most: number < _PASSES  # noqa: E731
        _, least, most = tf.while_loop(many, halve, (tf.constant(0), least, most))
        return (least + most) / 2

    def again(number: tf.Tensor, least: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
        del least, most
        return (number < _PASSES) & tf.reduce_any(missed)

    def once(number: tf.Tensor, least: tf.Tensor, most: tf.Tensor) -> tuple[tf.Tensor, ...]:
        a = tf.sqrt(least * most)
        x = clipped(a * centered + shift(a), low, high)
        short = tf.sqrt(summed(tf.square(x - summed(x) / total)) / total) < std
        return number + 1, tf.where(short, a, least), tf.where(short, most, a)

    ends = (tf.constant(0), 1e-3 * first, 1e9 * first)
    _, least, most = tf.while_loop(again, once, ends)
    a = tf.sqrt(least * most)
    b = tf.cond(tf.reduce_any(missed), lambda: shift(a), lambda: mean)
    return a, b


def _line(
    a: tf.Tensor,
    b: tf.Tensor,
    own: tf.Tensor,
    mean: tf.Tensor | None,
    std: tf.Tensor,
    total: tf.Tensor,
    ends: tf.Tensor,
    ends_2: tf.Tensor,
    n: tf.Tensor,
    s: tf.Tensor,
    q: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """A and b that give the target mean and standard deviation, if the same values are clipped."""
    if mean is not None:
        rest = total * mean - ends
        numerator = total * (tf.square(std) + tf.square(mean)) - ends_2
        numerator -= tf.math.divide_no_nan(tf.square(rest), n)
        new = tf.sqrt(tf.math.divide_no_nan(numerator, q - tf.math.divide_no_nan(tf.square(s), n)))
        return new, tf.math.divide_no_nan(rest - new * s, n)

    def at(a: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        m = tf.math.divide_no_nan(ends + a * (s + n * own), total - n * (1.0 - a))
        b = a * own + (1.0 - a) * m
        square = ends_2 + tf.square(a) * q + 2.0 * a * b * s + tf.square(b) * n
        return m, b, square / total - tf.square(m) - tf.square(std)

    del b
    new = a
    for _ in range(3):  # Newton's method on one number per row, with the slope from differences
        step = 1e-3 * new
        value, near = at(new)[2], at(new + step)[2]
        move = tf.math.divide_no_nan(value * step, near - value)
        new = tf.clip_by_value(new - move, new / 4.0, new * 4.0)
    return new, at(new)[1]


def on_equations(
    images: tf.Tensor,
    matrix: np.ndarray,
    values: np.ndarray,
    low: tf.Tensor | None,
    high: tf.Tensor | None,
) -> tf.Tensor:
    """The nearest `[N, D]` with `x @ matrix.T = values` within bounds.

    Without bounds there is a closed form. With bounds `x = clip(z + y A)`, where y `[N, m]` is the
    minimum of a convex function whose gradient is `x A^T - values`. It is found by Newton's method with a
    line search. If this does not solve a row, because its columns have very different widths, an
    interior-point method does. The computation is in float64, because multipliers add up differences.
    """
    given = tf.cast(images, tf.float64)
    # A row that is not finite stays so, and does not stop the others.
    fine = tf.reduce_all(tf.math.is_finite(given), -1, keepdims=True)
    z = tf.where(fine, given, tf.zeros_like(given))
    a = tf.constant(matrix, tf.float64)
    b = tf.constant(values, tf.float64)
    solve = tf.constant(np.linalg.pinv(matrix @ matrix.T), tf.float64)
    off = tf.matmul(tf.matmul(z, a, transpose_b=True) - b, solve)
    z -= tf.matmul(off, a)
    if low is None and high is None:
        return tf.cast(tf.where(fine, z, given), images.dtype)
    low = None if low is None else tf.cast(low, tf.float64)
    high = None if high is None else tf.cast(high, tf.float64)
    count, size = matrix.shape
    norms = tf.constant(np.sqrt(np.sum(matrix**2, 1)), tf.float64)
    widest = tf.reduce_max(norms)

    def cost(y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        free = z + tf.matmul(y, a)
        x = clipped(free, low, high)
        inner = x * free - 0.5 * tf.square(
            x
        )  # the half square minus the half square of the clipped part
        return tf.reduce_sum(inner, -1) - tf.reduce_sum(y * b, -1), x, tf.cast(free == x, x.dtype)

    def again(number: tf.Tensor, y: tf.Tensor, busy: tf.Tensor) -> tf.Tensor:
        del y
        return (number < _NEWTON) & tf.reduce_any(busy)

    def once(number: tf.Tensor, y: tf.Tensor, busy: tf.Tensor) -> tuple[tf.Tensor, ...]:
        now, x, inside = cost(y)
        off = tf.matmul(x, a, transpose_b=True) - b
        tolerance = 1e-10 * (tf.abs(b) + tf.matmul(tf.abs(x), tf.abs(a), transpose_b=True))
        held = tf.reduce_all(tf.abs(off) <= tolerance, -1)
        free_a = tf.reshape(a[None] * inside[:, None, :], [-1, size])
        curve = tf.reshape(tf.matmul(free_a, a, transpose_b=True), [-1, count, count])
        # A direction without free values has no curvature, so it gets a plain gradient step.
        flat = tf.linalg.diag_part(curve) <= 0
        # If few values are free, the curvature is singular. The ridge term decreases with the error.
        miss = tf.norm(off, axis=-1) / (tf.norm(b) + widest)
        ridge = (1e-12 + 1e-3 * tf.minimum(miss, 1.0)) * tf.square(widest)
        steep = tf.where(flat, tf.square(norms), tf.zeros([], tf.float64))
        curve += ridge[:, None, None] * tf.eye(count, dtype=tf.float64) + tf.linalg.diag(steep)
        whole = tf.reduce_all(tf.math.is_finite(curve), [1, 2], keepdims=True)
        curve = tf.where(whole, curve, tf.eye(count, dtype=tf.float64)[None])
        step = -off / curve[:, 0] if count == 1 else -tf.linalg.solve(curve, off[..., None])[..., 0]
        tried = tf.stack([cost(y + length * step)[0] for length in _LENGTHS])
        best = tf.argmin(tried, 0)
        moved = y + tf.gather(tf.constant(_LENGTHS, tf.float64), best)[:, None] * step
        better = tf.reduce_min(tried, 0) < now + 1e-14 * tf.abs(now)
        better &= tf.reduce_all(tf.math.is_finite(moved), -1)
        still = busy & ~held
        go = (still & better)[:, None]
        return number + 1, tf.where(go, moved, y), still & better

    rows = tf.shape(z)[:1]
    start = tf.zeros(tf.concat([rows, [count]], 0), tf.float64)
    y = tf.while_loop(again, once, (tf.constant(0), start, tf.fill(rows, True)))[1]
    x = _solved(z, cost(y)[1], a, b, low, high)
    return tf.cast(tf.where(fine, x, given), images.dtype)


def _solved(
    z: tf.Tensor,
    x: tf.Tensor,
    a: tf.Tensor,
    b: tf.Tensor,
    low: tf.Tensor | None,
    high: tf.Tensor | None,
) -> tf.Tensor:
    """X if it fulfils the equations. Otherwise the result of an interior-point method."""
    infinity = tf.constant(np.inf, z.dtype) * tf.ones_like(z)
    low, high = -infinity if low is None else low, infinity if high is None else high

    def off(x: tf.Tensor) -> tf.Tensor:
        miss = tf.abs(tf.matmul(x, a, transpose_b=True) - b)
        size = tf.abs(b) + tf.matmul(tf.abs(x), tf.abs(a), transpose_b=True)
        return tf.reduce_max(tf.math.divide_no_nan(miss, size), -1, keepdims=True)

    missed = off(x)

    def inside() -> tf.Tensor:
        found = nearest_inside(z, a, b, low, high)
        return tf.where((missed > _MISSED) & (off(found) < missed), found, x)

    return tf.cond(tf.reduce_any(missed > _MISSED), inside, lambda: x)


def _of_row(reduce: Callable[..., tf.Tensor], end: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """One bound as a number per row. It never depends on another row."""
    if end.shape.rank < images.shape.rank:
        return reduce(end)  # the same for all rows
    return reduce(end, list(range(1, end.shape.rank)), keepdims=True)


def _epsilon(dtype: tf.DType) -> float:
    return float(np.finfo(dtype.as_numpy_dtype).eps)
