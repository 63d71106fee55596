"""Gradient descent, Adam and similar rules."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar, Literal

import tensorflow as tf

from actmax import checks
from actmax.optimizers.base import Optimizer, fraction, like
from actmax.types import Params
from regularizers.base import Weight

# Weight of the newest cosine between a gradient and the mean of those before it.
_NEWEST = 0.1


@dataclasses.dataclass(frozen=True)
class SGD(Optimizer):
    """`v <- momentum v - rate g`, `p <- p + v`; without momentum `p <- p - rate g`.

    Args:
        learning_rate: in units of params per unit of gradient.
        momentum: in [0, 1).
        normalize: if True, g is divided by its L2 norm for every image, so that the learning rate
            is the length of a step.
    """

    momentum: float = 0.0
    normalize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction(self.momentum, "momentum")

    def init(self, params: Params) -> Any:
        if self.momentum == 0:
            return ()
        return tf.nest.map_structure(tf.zeros_like, params)

    def update(
        self, gradients: Params, state: Any, params: Params, learning_rate: tf.Tensor
    ) -> tuple[Params, Any]:
        if self.normalize:
            gradients = _unit(gradients)
        moves = tf.nest.map_structure(lambda g: like(learning_rate, g) * g, gradients)
        if self.momentum == 0:
            return tf.nest.map_structure(tf.subtract, params, moves), state
        state = tf.nest.map_structure(lambda v, m: self.momentum * v - m, state, moves)
        return tf.nest.map_structure(tf.add, params, state), state


def _unit(gradients: Params) -> Params:
    """Gradients over their L2 norm, one norm per image over all leaves."""

    def over_rows(reduce: Any, leaf: tf.Tensor) -> tf.Tensor:
        return reduce(leaf, axis=list(range(1, leaf.shape.rank)))

    # Scaled by the largest value first, so that squares neither overflow nor vanish.
    leaves = tf.nest.flatten(gradients)
    largest = functools.reduce(tf.maximum, [over_rows(tf.reduce_max, tf.abs(g)) for g in leaves])
    scaled = tf.nest.map_structure(lambda g: tf.math.divide_no_nan(g, like(largest, g)), gradients)
    squares = [over_rows(tf.reduce_sum, tf.square(g)) for g in tf.nest.flatten(scaled)]
    size = tf.sqrt(tf.add_n(squares))
    return tf.nest.map_structure(lambda g: tf.math.divide_no_nan(g, like(size, g)), scaled)


@dataclasses.dataclass(frozen=True)
class Adam(Optimizer):
    """`m`, `v` running means of g and g^2, unbiased; `p <- p - rate m / (sqrt(v) + epsilon)`.

    The step hardly depends on the scale of the objective, and the rate is the largest move of a value
    in one step, in units of params: 0.05 for images in (0, 1), 13 for images in (0, 255).

    With `per="image"` v is one number per image, the running mean of the mean of g^2 over its values.
    The step is along m, and the learning rate is its root mean square. Use it with a constraint that
    couples values (a ball, a contrast, a mixture): there it stops only at an optimum. Adam per value
    stops where its own scaling and the projection cancel, which is another point. The state is half as
    large.

    With `limit` too, m is the running mean of `u / max(1, rms(u) / limit)`, where `u = g / sqrt(v)`, and
    the step is `rate m`. So one steep place does not decide the steps after it, and a gradient that
    becomes small still gives small steps.

    With `opposed` too, beta_1 is that of the moment: `beta_1 + (opposed - beta_1) clip(1 - c, 0, 1)`,
    where c is the running mean of the cosine between u and m. Gradients that point against their mean
    zigzag across a valley, so more of them are averaged. Gradients that agree need no long memory, which
    would lead past the optimum.

    Source: Kingma and Ba, 2014, https://arxiv.org/abs/1412.6980; one second moment for many values as
    in Ginsburg et al., NovoGrad, 2019, https://arxiv.org/abs/1905.11286; `limit` as in Shazeer and
    Stern, Adafactor, 2018, https://arxiv.org/abs/1804.04235, section 6.

    Args:
        learning_rate: in units of params.
        beta_1: forgetting factor of the mean, in [0, 1).
        beta_2: forgetting factor of the mean square, in [0, 1).
        epsilon: in units of the gradient. Gradients with respect to pixels are small (1e-6 is common
            at 224 pixels), so it is smaller than Keras' 1e-7.
        per: "value" for a second moment of every value, "image" for one of every image (of every
            input, where there are several).
        limit: the largest root mean square of `g / sqrt(v)` of one image in one step, 1 for gradients
            that count at most as much as the mean one; None for no limit. Only with `per="image"`.
        opposed: beta_1 where gradients point across or against their mean, in [beta_1, 1); None for a
            constant beta_1. Only with `limit`.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-12
    per: Literal["value", "image"] = "value"
    limit: float | None = None
    opposed: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction(self.beta_1, "beta_1")
        fraction(self.beta_2, "beta_2")
        checks.number(self.epsilon, "epsilon", low=0.0)
        checks.one_of(self.per, "per", ("value", "image"))
        if self.limit is not None:
            if checks.number(self.limit, "limit", low=0.0) == 0.0:
                raise ValueError(checks.message("limit to be positive", repr(self.limit)))
            if self.per == "value":
                raise ValueError(
                    checks.message(
                        "a limit beside one second moment per image",
                        f"limit={self.limit!r} with per='value'",
                        "Use per='image', or leave out limit.",
                    )
                )
        if self.opposed is not None:
            fraction(self.opposed, "opposed")
            if self.limit is None or self.opposed < self.beta_1:
                raise ValueError(
                    checks.message(
                        "opposed beside limit, and at least beta_1",
                        f"opposed={self.opposed!r}, limit={self.limit!r}, beta_1={self.beta_1!r}",
                        "Leave out opposed for a constant beta_1.",
                    )
                )

    @property
    def by_value(self) -> bool:  # type: ignore[override]
        return self.per == "value"

    def init(self, params: Params) -> Any:
        zeros = tf.nest.map_structure(tf.zeros_like, params)
        square = zeros
        if self.per == "image":
            square = tf.nest.map_structure(lambda p: tf.zeros_like(_first(p)), params)
        state = {"count": tf.zeros([], tf.int32), "mean": zeros, "square": square}
        return state if self.opposed is None else {**state, "agree": square, "weight": square}

    def update(
        self, gradients: Params, state: Any, params: Params, learning_rate: tf.Tensor
    ) -> tuple[Params, Any]:
        if self.limit is not None:
            return self._limited_update(gradients, state, params, learning_rate)
        count = state["count"] + 1
        squares = tf.square if self.per == "value" else _mean_square
        square = tf.nest.map_structure(
            lambda v, g: v + (1.0 - self.beta_2) * (squares(g) - v), state["square"], gradients
        )
        mean = tf.nest.map_structure(
            lambda m, g: m + (1.0 - self.beta_1) * (g - m), state["mean"], gradients
        )

        def move(p: tf.Tensor, m: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
            # Both corrections in one factor on the rate: two passes over the image less.
            root = self._root(count, p.dtype)
            power = tf.cast(count, p.dtype)
            factor = root / (1.0 - tf.constant(self.beta_1, p.dtype) ** power)
            if self.per == "image":
                rate = tf.cast(learning_rate, p.dtype) * factor
                return p - like(rate / (tf.sqrt(v) + self.epsilon * root), p) * m
            return p - (like(learning_rate, p) * factor) * m / (tf.sqrt(v) + self.epsilon * root)

        params = tf.nest.map_structure(move, params, mean, square)
        return params, {"count": count, "mean": mean, "square": square}

    def _root(self, count: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """What divides the root of a second moment to make it unbiased."""
        return tf.sqrt(1.0 - tf.constant(self.beta_2, dtype) ** tf.cast(count, dtype))

    def _limited_update(
        self, gradients: Params, state: Any, params: Params, learning_rate: tf.Tensor
    ) -> tuple[Params, Any]:
        """The update along the mean of limited `u = g / sqrt(v)`, each over its own size beforehand."""
        count = state["count"] + 1
        square = tf.nest.map_structure(
            lambda v, g: v + (1.0 - self.beta_2) * (_mean_square(g) - v),
            state["square"],
            gradients,
        )
        along = tf.nest.map_structure(functools.partial(self._limited, count), gradients, square)
        state = {**state, "count": count, "square": square}
        if self.opposed is None:
            beta = tf.nest.map_structure(lambda v: tf.fill(tf.shape(v), self._beta(v)), square)
            weight = tf.nest.map_structure(
                lambda v: 1.0 - self._beta(v) ** tf.cast(count, v.dtype), square
            )
        else:
            known = count > 2  # the first gradient has no mean to agree with

            def agreement(c: tf.Tensor, m: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
                cosine = _cosine(m, u)
                return tf.where(known, c + _NEWEST * (cosine - c), cosine)

            agree = tf.nest.map_structure(agreement, state["agree"], state["mean"], along)
            more = self.opposed - self.beta_1
            beta = tf.nest.map_structure(
                lambda c: self.beta_1 + more * tf.clip_by_value(1.0 - c, 0.0, 1.0), agree
            )
            weight = tf.nest.map_structure(lambda w, b: b * w + 1.0 - b, state["weight"], beta)
            state |= {"agree": agree, "weight": weight}
        mean = tf.nest.map_structure(
            lambda m, u, b: m + (1.0 - like(b, m)) * (u - m), state["mean"], along, beta
        )
        params = tf.nest.map_structure(
            lambda p, m, w: p - (like(learning_rate, p) / like(w, p)) * m, params, mean, weight
        )
        return params, {**state, "mean": mean}

    def _beta(self, values: tf.Tensor) -> tf.Tensor:
        return tf.constant(self.beta_1, values.dtype)

    def _limited(self, count: tf.Tensor, gradient: tf.Tensor, square: tf.Tensor) -> tf.Tensor:
        """`u / max(1, rms(u) / limit)` with `u = g / sqrt(v)`, v unbiased."""
        root = self._root(count, gradient.dtype)
        size = tf.sqrt(square) + self.epsilon * root
        own = tf.sqrt(_mean_square(gradient))
        most = tf.math.divide_no_nan(tf.constant(self.limit, own.dtype), own)
        return like(tf.minimum(root / size, most), gradient) * gradient


def _cosine(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Cosine between two leaves, row by row; 0 where one of them is zero. `[N, ...] -> [N]`."""
    axes = list(range(1, first.shape.rank))
    sizes = tf.sqrt(_mean_square(first)) * tf.sqrt(_mean_square(second))
    return tf.math.divide_no_nan(tf.reduce_mean(first * second, axis=axes), sizes)


def _first(leaf: tf.Tensor) -> tf.Tensor:
    """One value of every row. `[N, ...] -> [N]`."""
    return tf.reshape(leaf, [tf.shape(leaf)[0], -1])[:, 0]


def _mean_square(gradient: tf.Tensor) -> tf.Tensor:
    """`[N, ...] -> [N]`."""
    return tf.reduce_mean(tf.square(gradient), axis=list(range(1, gradient.shape.rank)))


@dataclasses.dataclass(frozen=True)
class RMSprop(Optimizer):
    """`v <- rho v + (1 - rho) g^2`, `p <- p - rate g / (sqrt(v) + epsilon)`.

    Source: Tieleman and Hinton, Lecture 6.5, COURSERA: Neural networks for machine learning, 2012.

    Args:
        learning_rate: in units of params.
        rho: forgetting factor, in [0, 1).
        epsilon: in units of the gradient.
    """

    by_value: ClassVar[bool] = True

    rho: float = 0.9
    epsilon: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction(self.rho, "rho")
        checks.number(self.epsilon, "epsilon", low=0.0)

    def init(self, params: Params) -> Any:
        return tf.nest.map_structure(tf.zeros_like, params)

    def update(
        self, gradients: Params, state: Any, params: Params, learning_rate: tf.Tensor
    ) -> tuple[Params, Any]:
        state = tf.nest.map_structure(
            lambda v, g: v + (1.0 - self.rho) * (tf.square(g) - v), state, gradients
        )
        params = tf.nest.map_structure(
            lambda p, g, v: p - like(learning_rate, p) * g / (tf.sqrt(v) + self.epsilon),
            params,
            gradients,
            state,
        )
        return params, state


@dataclasses.dataclass(frozen=True)
class ProgressSGD(Optimizer):
    """`p <- p - min(rate, desired / |g|^2) g`: to first order, every step gains `desired`.

    A step as in Polyak's method. It does not depend on the scale of the objective or of the params.

    Source: Yosinski et al., 2015, https://github.com/yosinski/deep-visualization-toolbox, policy
    "progress"; after Polyak, Introduction to optimization, 1987.

    Args:
        learning_rate: the largest rate, in units of params per unit of gradient.
        desired: gain in units of the objective, positive.
    """

    learning_rate: Weight = 100.0
    desired: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if checks.number(self.desired, "desired", low=0.0) == 0.0:
            raise ValueError(checks.message("desired to be positive", repr(self.desired)))

    def init(self, params: Params) -> Any:
        return ()

    def update(
        self, gradients: Params, state: Any, params: Params, learning_rate: tf.Tensor
    ) -> tuple[Params, Any]:
        squares = tf.add_n(
            [
                tf.reduce_sum(tf.square(leaf), axis=list(range(1, leaf.shape.rank)))
                for leaf in tf.nest.flatten(gradients)
            ]
        )
        promised = tf.constant(self.desired, squares.dtype) / squares  # infinite where g is 0
        rate = tf.minimum(tf.cast(learning_rate, squares.dtype), promised)
        moved = tf.nest.map_structure(lambda p, g: p - like(rate, p) * g, params, gradients)
        return moved, state


@dataclasses.dataclass(frozen=True)
class ForgetfulAdagrad(Optimizer):
    """`G <- f G + g^2`, `m <- momentum m - rate g / (floor + sqrt(G))`, `p <- p + m`.

    Source: Mahendran and Vedaldi, Visualizing deep CNNs using natural pre-images, IJCV 2016,
    https://arxiv.org/abs/1512.02017, code https://github.com/aravindhm/nnpreimage.

    Args:
        learning_rate: in units of params.
        forgetting: of the sum of squares, f, in [0, 1).
        momentum: in [0, 1).
        floor: in units of the gradient.
    """

    learning_rate: Weight = 0.004
    forgetting: float = 0.9
    momentum: float = 0.9
    floor: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction(self.forgetting, "forgetting")
        fraction(self.momentum, "momentum")
        checks.number(self.floor, "floor", low=0.0)

    def init(self, params: Params) -> Any:
        zeros = tf.nest.map_structure(tf.zeros_like, params)
        return {"squares": zeros, "move": zeros}

    def update(
        self, gradients: Params, state: Any, params: Params, learning_rate: tf.Tensor
    ) -> tuple[Params, Any]:
        squares = tf.nest.map_structure(
            lambda total, g: self.forgetting * total + tf.square(g), state["squares"], gradients
        )
        move = tf.nest.map_structure(
            lambda m, g, total: (
                self.momentum * m
                - like(learning_rate, g) * tf.math.divide_no_nan(g, self.floor + tf.sqrt(total))
            ),
            state["move"],
            gradients,
            squares,
        )
        moved = tf.nest.map_structure(tf.add, params, move)
        return moved, {"squares": squares, "move": move}
