"""The nearest point of linear equations within bounds, if Newton's method on the dual does not converge.

If the widths of columns differ by many powers of ten, so do the curvatures of the dual problem. An
interior-point method does not depend on them: a barrier that falls to 0 keeps every value away from its
bounds.

Source: Mehrotra, On the implementation of a primal-dual interior point method, SIAM Journal on
Optimization 1992, https://doi.org/10.1137/0802028, here for `|x - z|^2 / 2`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

# It usually ends after 10 to 40 rounds.
_ROUNDS = 80
# Equations hold up to this fraction of their terms, bounds up to this fraction of their width.
_MET = 1e-11
# Steps end this far before a bound, as a fraction of the distance to it.
_SHORT = 0.995
_RIDGE = 1e-13


class _State(NamedTuple):
    """X, the multipliers of the equations and of both bounds, and the distances to both bounds."""

    x: tf.Tensor
    y: tf.Tensor
    u: tf.Tensor
    v: tf.Tensor
    s: tf.Tensor
    t: tf.Tensor


class _Move(NamedTuple):
    x: tf.Tensor
    y: tf.Tensor
    u: tf.Tensor
    v: tf.Tensor


class _Problem(NamedTuple):
    """`min |x - z|^2 / 2` with `x a^T = b` and bounds. It also says which values have bounds or are fixed."""

    z: tf.Tensor
    a: tf.Tensor
    b: tf.Tensor
    below: tf.Tensor  # 1 where there is a lower bound of a value that may move
    above: tf.Tensor
    free: tf.Tensor
    width: tf.Tensor

    def misses(self, x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(x, self.a, transpose_b=True) - self.b

    def gap(self, state: _State) -> tf.Tensor:
        """Mean product of a multiplier and the distance to its bound. `[N, 1]`."""
        products = self.below * state.s * state.u + self.above * state.t * state.v
        return _sum(products) / tf.maximum(_sum(self.below + self.above), 1.0)

    def met(self, state: _State) -> tf.Tensor:
        """Whether each row is solved. `[N]`."""
        size = tf.matmul(tf.abs(state.x), tf.abs(self.a), transpose_b=True) + tf.abs(self.b)
        equal = tf.reduce_all(tf.abs(self.misses(state.x)) <= _MET * size, -1)
        near = self.below * tf.minimum(state.s, state.u) <= _MET * self.width
        near &= self.above * tf.minimum(state.t, state.v) <= _MET * self.width
        return equal & tf.reduce_all(near, -1)

    def move(self, state: _State, lower: tf.Tensor, upper: tf.Tensor) -> _Move:
        """Newton's step to products that change by `lower` and `upper`."""
        stiff = 1.0 + state.u / state.s + state.v / state.t
        give = self.free / stiff
        pull = self.z - state.x + tf.matmul(state.y, self.a) + state.u - state.v
        pull += self.below * lower / state.s - self.above * upper / state.t
        weighted = give[:, None, :] * self.a
        matrix = tf.matmul(weighted, tf.broadcast_to(self.a, tf.shape(weighted)), transpose_b=True)
        diagonal = tf.linalg.diag_part(matrix)
        matrix += tf.linalg.diag(_RIDGE * diagonal + tf.where(diagonal > 0, 0.0 * diagonal, 1.0))
        fine = tf.reduce_all(tf.math.is_finite(matrix), [1, 2], keepdims=True)
        matrix = tf.where(fine, matrix, tf.eye(int(self.a.shape[0]), dtype=matrix.dtype)[None])
        right = -self.misses(state.x) - tf.matmul(give * pull, self.a, transpose_b=True)
        y = tf.linalg.solve(matrix, right[..., None])[..., 0]
        x = give * (pull + tf.matmul(y, self.a))
        u = self.below * (lower - state.u * x) / state.s
        v = self.above * (upper + state.v * x) / state.t
        return _Move(x, y, u, v)

    def length(self, state: _State, move: _Move) -> tf.Tensor:
        """Allowed length of a step, at most 1. `[N, 1]`."""
        longest = tf.ones_like(state.x[:, :1])
        for has, at, by in (
            (self.below, state.s, move.x),
            (self.above, state.t, -move.x),
            (self.below, state.u, move.u),
            (self.above, state.v, move.v),
        ):
            far = tf.where((has > 0) & (by < 0), -at / tf.where(by < 0, by, -1.0), np.inf)
            longest = tf.minimum(longest, tf.reduce_min(far, -1, keepdims=True))
        return longest

    def moved(self, state: _State, move: _Move, length: tf.Tensor) -> _State:
        s = tf.where(self.below > 0, state.s + length * move.x, state.s)
        t = tf.where(self.above > 0, state.t - length * move.x, state.t)
        x, y = state.x + length * move.x, state.y + length * move.y
        return _State(x, y, state.u + length * move.u, state.v + length * move.v, s, t)


def nearest_inside(
    z: tf.Tensor, a: tf.Tensor, b: tf.Tensor, low: tf.Tensor, high: tf.Tensor
) -> tf.Tensor:
    """The nearest `[N, D]` to z with `x a^T = b` and `low <= x <= high`, to rounding.

    Rows without a solution are returned with their last values.

    Args:
        z: float64 `[N, D]`, finite.
        a: `[m, D]`.
        b: `[m]`.
        low: `[N, D]`, minus infinity where open.
        high: likewise; values with `high == low` are held.
    """
    free = tf.cast(high > low, z.dtype)
    below = free * tf.cast(tf.math.is_finite(low), z.dtype)
    above = free * tf.cast(tf.math.is_finite(high), z.dtype)
    x = tf.minimum(tf.maximum(z, low), high)
    both = below * above > 0
    width = tf.where(both, high - low, 1.0 + tf.abs(x))
    x = tf.where(below > 0, tf.maximum(x, low + 0.1 * width), x)
    x = tf.where(above > 0, tf.minimum(x, high - 0.1 * width), x)
    problem = _Problem(z, a, b, below, above, free, width)
    force, one = tf.abs(x - z) + width, tf.ones_like(x)
    ways = tf.where(below > 0, x - low, one), tf.where(above > 0, high - x, one)
    start = _State(x, tf.zeros_like(problem.misses(x)), below * force, above * force, *ways)

    def again(number: tf.Tensor, busy: tf.Tensor, *state: tf.Tensor) -> tf.Tensor:
        del state
        return (number < _ROUNDS) & tf.reduce_any(busy)

    def once(number: tf.Tensor, busy: tf.Tensor, *values: tf.Tensor) -> tuple[tf.Tensor, ...]:
        state = _State(*values)
        lower, upper = -state.s * state.u, -state.t * state.v
        ahead = problem.move(state, lower, upper)
        gap = problem.gap(state)
        # The decrease of the products in a full step sets their next target.
        reached = problem.gap(problem.moved(state, ahead, problem.length(state, ahead)))
        aim = gap * tf.math.divide_no_nan(reached, gap) ** 3
        move = problem.move(state, aim + lower - ahead.x * ahead.u, aim + upper + ahead.x * ahead.v)
        length = tf.minimum(_SHORT * problem.length(state, move), 1.0)
        new = problem.moved(state, move, length)
        fine = tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(k), -1) for k in new]), 0)
        go = (busy & fine)[:, None]
        state = _State(*(tf.where(go, k, old) for k, old in zip(new, state, strict=True)))
        return number + 1, busy & fine & ~problem.met(state), *state

    busy = tf.fill(tf.shape(z)[:1], True)
    x = tf.while_loop(again, once, (tf.constant(0), busy, *start))[2]
    return tf.minimum(tf.maximum(x, low), high)


def _sum(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(x, -1, keepdims=True)
