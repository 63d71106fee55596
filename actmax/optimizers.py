"""Optimizers as pure functions on tensors: `update(gradients, state, params, rate) -> params, state`.

Every one takes a learning rate per image, keeps its state per image, and moves params *down* the
gradient that it is given; which gradient that is, the loop decides.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.types import Params
from regularizers.base import Weight, check_weight


def _like(rate: tf.Tensor, leaf: tf.Tensor) -> tf.Tensor:
    """A rate `[1 or N]` shaped to multiply a leaf `[N, ...]`."""
    return tf.reshape(tf.cast(rate, leaf.dtype), [-1] + [1] * (leaf.shape.rank - 1))


@dataclasses.dataclass(frozen=True)
class Optimizer(abc.ABC):
    """A rule that turns gradients into new params.

    Attributes:
        learning_rate: a number, one number per image, or a schedule of the step, in units of params.
        fixed_rows: True if `update` needs to know N, at the price of one trace per N.
    """

    fixed_rows: ClassVar[bool] = False

    learning_rate: Weight = 0.05

    def __post_init__(self) -> None:
        rate = check_weight(self.learning_rate, "the learning rate")
        if not callable(rate) and np.any(np.asarray(rate) < 0):
            raise ValueError(
                checks.message(
                    "a learning rate of at least 0",
                    repr(self.learning_rate),
                    "To minimize, negate the objective.",
                )
            )

    @abc.abstractmethod
    def init(self, params: Params) -> Any:
        """State before the first step: a structure of tensors, `[N, ...]` or scalars."""

    @abc.abstractmethod
    def update(
        self, gradients: Params, state: Any, params: Params, learning_rate: tf.Tensor
    ) -> tuple[Params, Any]:
        """New params and state; pure.

        Args:
            gradients: structure of `[N, ...]`, the direction to move against.
            state: what `init` or the last `update` returned.
            params: structure of `[N, ...]`.
            learning_rate: `[1]` or `[N]`.
        """


@dataclasses.dataclass(frozen=True)
class SGD(Optimizer):
    """`v <- momentum v - rate g`, `p <- p + v`; without momentum `p <- p - rate g`.

    Args:
        learning_rate: in units of params per unit of gradient.
        momentum: in [0, 1).
        normalize: if True, g is divided by its own L2 norm for every image, so that the rate is the
            length of a step.
    """

    momentum: float = 0.0
    normalize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _fraction(self.momentum, "momentum")

    def init(self, params: Params) -> Any:
        if self.momentum == 0:
            return ()
        return tf.nest.map_structure(tf.zeros_like, params)

    def update(
        self, gradients: Params, state: Any, params: Params, learning_rate: tf.Tensor
    ) -> tuple[Params, Any]:
        if self.normalize:
            gradients = _unit(gradients)
        moves = tf.nest.map_structure(lambda g: _like(learning_rate, g) * g, gradients)
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
    scaled = tf.nest.map_structure(lambda g: tf.math.divide_no_nan(g, _like(largest, g)), gradients)
    squares = [over_rows(tf.reduce_sum, tf.square(g)) for g in tf.nest.flatten(scaled)]
    size = tf.sqrt(tf.add_n(squares))
    return tf.nest.map_structure(lambda g: tf.math.divide_no_nan(g, _like(size, g)), scaled)


@dataclasses.dataclass(frozen=True)
class Adam(Optimizer):
    """`m`, `v` running means of g and g^2, unbiased; `p <- p - rate m / (sqrt(v) + epsilon)`.

    The step hardly depends on the scale of the objective, and the rate is the largest move of a value
    in one step, in units of params: 0.05 for images in (0, 1), 13 for images in (0, 255).

    Source: Kingma and Ba, 2014, https://arxiv.org/abs/1412.6980.

    Args:
        learning_rate: in units of params.
        beta_1: forgetting factor of the mean, in [0, 1).
        beta_2: forgetting factor of the mean square, in [0, 1).
        epsilon: in units of the gradient. Gradients with respect to pixels are small (1e-6 is common
            at 224 pixels), so it is smaller than Keras' 1e-7.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        _fraction(self.beta_1, "beta_1")
        _fraction(self.beta_2, "beta_2")
        checks.number(self.epsilon, "epsilon", low=0.0)

    def init(self, params: Params) -> Any:
        zeros = tf.nest.map_structure(tf.zeros_like, params)
        return {"count": tf.zeros([], tf.int32), "mean": zeros, "square": zeros}

    def update(
        self, gradients: Params, state: Any, params: Params, learning_rate: tf.Tensor
    ) -> tuple[Params, Any]:
        count = state["count"] + 1
        mean = tf.nest.map_structure(
            lambda m, g: m + (1.0 - self.beta_1) * (g - m), state["mean"], gradients
        )
        square = tf.nest.map_structure(
            lambda v, g: v + (1.0 - self.beta_2) * (tf.square(g) - v), state["square"], gradients
        )

        def move(p: tf.Tensor, m: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
            power = tf.cast(count, p.dtype)
            # Both corrections in one factor on the rate: two passes over the image less.
            root = tf.sqrt(1.0 - tf.constant(self.beta_2, p.dtype) ** power)
            factor = root / (1.0 - tf.constant(self.beta_1, p.dtype) ** power)
            return p - (_like(learning_rate, p) * factor) * m / (tf.sqrt(v) + self.epsilon * root)

        params = tf.nest.map_structure(move, params, mean, square)
        return params, {"count": count, "mean": mean, "square": square}


@dataclasses.dataclass(frozen=True)
class RMSprop(Optimizer):
    """`v <- rho v + (1 - rho) g^2`, `p <- p - rate g / (sqrt(v) + epsilon)`.

    Source: Tieleman and Hinton, Lecture 6.5, COURSERA: Neural networks for machine learning, 2012.

    Args:
        learning_rate: in units of params.
        rho: forgetting factor, in [0, 1).
        epsilon: in units of the gradient.
    """

    rho: float = 0.9
    epsilon: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        _fraction(self.rho, "rho")
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
            lambda p, g, v: p - _like(learning_rate, p) * g / (tf.sqrt(v) + self.epsilon),
            params,
            gradients,
            state,
        )
        return params, state


@dataclasses.dataclass(frozen=True)
class ProgressSGD(Optimizer):
    """`p <- p - min(rate, desired / |g|^2) g`: every step promises a gain of `desired`, to first order.

    A step of Polyak's kind: it does not depend on the scale of the objective or of the params.

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
        moved = tf.nest.map_structure(lambda p, g: p - _like(rate, p) * g, params, gradients)
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
        _fraction(self.forgetting, "forgetting")
        _fraction(self.momentum, "momentum")
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
                - _like(learning_rate, g) * tf.math.divide_no_nan(g, self.floor + tf.sqrt(total))
            ),
            state["move"],
            gradients,
            squares,
        )
        moved = tf.nest.map_structure(tf.add, params, move)
        return moved, {"squares": squares, "move": move}


def _fraction(value: float, name: str) -> None:
    if checks.number(value, name, low=0.0, high=1.0) == 1.0:
        raise ValueError(checks.message(f"{name} to be in [0, 1)", repr(value)))


class KerasOptimizer:
    """Any Keras optimizer as a pure update, through scratch variables. One trace per N.

    The instance that the user gave is read, never used: its configuration makes a fresh copy, whose
    variables are loaded from `state` before each update and read back after it.

    Raises:
        ValueError: if the optimizer couples images (`clipnorm`, Adafactor, Lamb, ...): two rows
            updated together must move as they would alone.
    """

    fixed_rows = True

    def __init__(self, optimizer: Any) -> None:
        self.config = optimizer.get_config()
        self._kind = type(optimizer)
        self.name = self._kind.__name__
        rate = getattr(optimizer, "_learning_rate", None)
        self.learning_rate: Any = (
            rate if callable(rate) else float(np.array(optimizer.learning_rate))
        )
        self._scratch: tuple[list[Any], Any] | None = None
        try:
            self._check_rows()
        except AttributeError as error:
            # Muon, for one, asks a variable for its place in a model.
            raise ValueError(
                checks.message(
                    "an optimizer of plain variables",
                    f"{self.name} ({error})",
                    "Use actmax.Adam, RMSprop or SGD, or another Keras optimizer.",
                )
            ) from error

    def _fresh(self, params: Params) -> tuple[list[Any], Any]:
        copy = self._kind.from_config({**self.config, "learning_rate": 0.0})
        leaves = tf.nest.flatten(params)
        variables = [
            tf.Variable(tf.zeros(leaf.shape, leaf.dtype), trainable=True) for leaf in leaves
        ]
        copy.build(variables)
        return variables, copy

    def _check_rows(self) -> None:
        gradients = tf.constant([[1.0, 2.0], [300.0, -50.0]])
        params = tf.constant([[0.5, -1.0], [3.0, 0.2]])  # not zero: Lamb scales with their norm
        together = self._one_step(params, gradients)
        rows = [self._one_step(params[n : n + 1], gradients[n : n + 1]) for n in range(2)]
        clips = any(self.config.get(name) is not None for name in ("clipnorm", "global_clipnorm"))
        if clips or not np.allclose(together, np.concatenate(rows), rtol=1e-5):
            raise ValueError(
                checks.message(
                    "an optimizer that treats every image by itself",
                    f"{self._kind.__name__}, whose update of one image depends on the others",
                    "Take clipnorm or global_clipnorm off and use gradients=[actmax.ClipNorm(...)], "
                    "or use actmax.Adam, RMSprop or SGD.",
                )
            )

    def _one_step(self, params: tf.Tensor, gradients: tf.Tensor) -> np.ndarray:
        state = self.init(params)
        moved, _ = self.update(gradients, state, params, tf.constant([0.1]))
        self._scratch = None
        return moved.numpy()

    def init(self, params: Params) -> Any:
        """The state of a fresh copy, as tensors."""
        self._scratch = self._fresh(params)
        return [tf.convert_to_tensor(variable) for variable in self._scratch[1].variables]

    def update(
        self, gradients: Params, state: Any, params: Params, learning_rate: tf.Tensor
    ) -> tuple[Params, Any]:
        """One `apply` of the copy, from `state` and `params` to new ones."""
        if self._scratch is None:
            raise RuntimeError(message_no_init())
        variables, copy = self._scratch
        for variable, leaf in zip(variables, tf.nest.flatten(params), strict=True):
            variable.assign(leaf)
        for variable, value in zip(copy.variables, state, strict=True):
            variable.assign(value)
        copy.learning_rate.assign(tf.cast(learning_rate[0], copy.learning_rate.dtype))
        copy.apply(tf.nest.flatten(gradients), variables)
        moved = tf.nest.pack_sequence_as(params, [tf.identity(v) for v in variables])
        return moved, [tf.identity(tf.convert_to_tensor(v)) for v in copy.variables]


def message_no_init() -> str:
    """What to say when `update` comes before `init`."""
    return checks.message("init(params) to be called before update", "no state", "Call init first.")
