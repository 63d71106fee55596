"""Operators change images after every update; `AfterUpdate` is an optimizer that applies them.

An operator is `(images, gradients, step) -> images`, for each image separately. `gradients` are those
that the optimizer used, and `step` counts updates from 1. An operator can also have the parameters
`learning_rate`, `[N]`, and `seeds`, int32 `[N, 2]`. The constraint is applied after the operators.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import tensorflow as tf

from actmax import checks
from actmax.gradients import blur_axis
from actmax.optimizers import Optimizer
from actmax.types import Params
from regularizers import random
from regularizers.base import Strength, function_name, spatial_axes, value_at
from regularizers.signatures import asks

Operator: TypeAlias = Callable[..., tf.Tensor]


@dataclasses.dataclass(frozen=True)
class AfterUpdate(Optimizer):
    """An optimizer that applies operators to the images after every update, in list order.

    Images with learning rate 0 do not change. Operators work on images. If params are not the images
    themselves, as with `Fourier` or `Sigmoid`, a run refuses operators, unless they are written for these
    params and `on="params"` is given.

    Source: Yosinski et al., Understanding neural networks through deep visualization, 2015,
    https://arxiv.org/abs/1506.06579, whose regularization is made of such operators.

    Args:
        base: the optimizer; its learning rate is used.
        operators: functions `(images, gradients, step) -> images`, which may also ask for
            `learning_rate`, `[N]`, and for `seeds`, int32 `[N, 2]`, new ones at every step.
        on: "images"; "params" for operators on each leaf of params, whatever they are.

    Raises:
        ValueError: in a run, if params are not images.

    Example:
        >>> import actmax
        >>> actmax.AfterUpdate(actmax.SGD(0.5), [actmax.DecayImage(0.1)]).learning_rate
        0.5
    """

    learning_rate: Any = dataclasses.field(init=False)
    base: Optimizer
    operators: Sequence[Operator]
    on: Literal["images", "params"] = "images"

    def __post_init__(self) -> None:
        checks.one_of(self.on, "on", ("images", "params"))
        if not isinstance(self.base, Optimizer):
            do = "Write AfterUpdate(actmax.SGD(0.5), [...])."
            raise TypeError(checks.message("an optimizer of actmax", repr(self.base), do))
        operators = tuple(self.operators)
        for operator in operators:
            if isinstance(operator, type) or not callable(operator):
                wanted = "operators (images, gradients, step) -> images"
                raise TypeError(checks.message(wanted, repr(operator)))
        object.__setattr__(self, "operators", operators)
        object.__setattr__(self, "learning_rate", self.base.learning_rate)
        super().__post_init__()

    @property
    def fixed_rows(self) -> bool:  # type: ignore[override]
        return self.base.fixed_rows

    @property
    def of_images(self) -> bool:  # type: ignore[override]
        return self.base.of_images or (self.on == "images" and bool(self.operators))

    @property
    def by_value(self) -> bool:  # type: ignore[override]
        return self.base.by_value

    @property
    def asks(self) -> tuple[str, ...]:
        drawn = any("seeds" in asks("operator", operator) for operator in self.operators)
        return ("seeds",) if drawn else self.base.asks

    def init(self, params: Params) -> Any:
        return {"base": self.base.init(params), "step": tf.zeros([], tf.int32)}

    def update(
        self,
        gradients: Params,
        state: Any,
        params: Params,
        learning_rate: tf.Tensor,
        **given: tf.Tensor,
    ) -> tuple[Params, Any]:
        step = state["step"] + 1
        own = given if "seeds" in self.base.asks else {}
        moved, base = self.base.update(gradients, state["base"], params, learning_rate, **own)
        rows = tf.shape(tf.nest.flatten(params)[0])[:1]
        rates = tf.broadcast_to(learning_rate, rows)

        def operate(old: tf.Tensor, new: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
            for place, operator in enumerate(self.operators):
                wanted = asks("operator", operator)
                named = {"learning_rate": rates} if "learning_rate" in wanted else {}
                if "seeds" in wanted:
                    named["seeds"] = random.fold_in(given["seeds"], place + 1)
                with checks.at_fault(f"the operator {function_name(operator)!r}"):
                    new = operator(new, gradient, step, **named)
            moves = tf.reshape(learning_rate != 0, [-1] + [1] * (new.shape.rank - 1))
            return tf.where(moves, new, old)

        moved = tf.nest.map_structure(operate, params, moved, gradients)
        return moved, {"base": base, "step": step}


@dataclasses.dataclass(frozen=True)
class Proximal:
    """An operator: a proximal step after every update, with the learning rate of each row. `-> [N, ...]`.

        x <- prox(x, rate * strength)

    With `actmax.SGD` it is proximal gradient ascent. A part of the objective without a gradient, such
    as an absolute value or the indicator of a set, is used through its proximal map. The map is scaled
    by the learning rate, so a sweep over rates has the same optimum in every row.

    Source: Parikh and Boyd, Proximal algorithms, 2014, https://doi.org/10.1561/2400000003.

    Args:
        prox: `(images [N, ...], amount [N, 1, ...]) -> images`, the map
            `argmin_z amount * R(z) + |z - x|^2 / 2`, each image by itself.
        strength: factor on R, at least 0.

    Example:
        >>> import actmax
        >>> sparse = actmax.Proximal(actmax.soft_threshold, 0.01)
        >>> actmax.AfterUpdate(actmax.SGD(0.5), [sparse]).learning_rate
        0.5
    """

    prox: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    strength: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.prox, type) or not callable(self.prox):
            raise TypeError(checks.message("prox(images, amount) -> images", repr(self.prox)))
        checks.number(self.strength, "strength", low=0.0)

    def __call__(
        self,
        images: tf.Tensor,
        gradients: tf.Tensor,
        step: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> tf.Tensor:
        del gradients, step
        amount = self.strength * tf.cast(learning_rate, images.dtype)
        return self.prox(images, tf.reshape(amount, [-1] + [1] * (images.shape.rank - 1)))


def soft_threshold(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """`sign(x) max(|x| - amount, 0)`: the proximal map of the sum of absolute values. `-> [N, ...]`.

    Source: Beck and Teboulle, ISTA, 2009, https://doi.org/10.1137/080716542.
    """
    return tf.sign(images) * tf.nn.relu(tf.abs(images) - amount)


@dataclasses.dataclass(frozen=True)
class DecayImage:
    """`center + (1 - rate) (x - center)` after every update: L2 decay. `[N, ...] -> [N, ...]`.

    Source: Yosinski et al., 2015, https://arxiv.org/abs/1506.06579.

    Args:
        rate: in [0, 1].
        center: the value that images decay to, in units of images.
    """

    rate: float
    center: float = 0.0

    def __post_init__(self) -> None:
        checks.number(self.rate, "rate", low=0.0, high=1.0)
        checks.number(self.center, "center")

    def __call__(self, images: tf.Tensor, gradients: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        del gradients, step
        center = tf.constant(self.center, images.dtype)
        return center + tf.constant(1.0 - self.rate, images.dtype) * (images - center)


@dataclasses.dataclass(frozen=True)
class BlurImage:
    """Gaussian blur of the image after every few updates. `[N, H, W, C] -> [N, H, W, C]`.

    Source: Yosinski et al., 2015, https://arxiv.org/abs/1506.06579. With `every=1` it is the blur of
    Oygard, Visualizing GoogLeNet classes, 2015,
    https://www.auduno.com/2015/07/29/visualizing-googlenet-classes.

    Args:
        sigma: standard deviation in pixels; below 0.3 it has almost no effect. A number, or a schedule
            of the step, counted from 0 as for transforms.
        every: updates from one blur to the next.
    """

    sigma: Strength
    every: int = 1

    def __post_init__(self) -> None:
        if not callable(self.sigma):
            checks.number(self.sigma, "sigma", low=0.0)
        checks.integer(self.every, "every", low=1)

    def __call__(self, images: tf.Tensor, gradients: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        del gradients
        blurred = images
        sigma: float | tf.Tensor
        if callable(self.sigma):
            sigma = value_at(self.sigma, step - 1, tf.float64)
        else:
            sigma = self.sigma
        for axis in spatial_axes(images):
            blurred = blur_axis(blurred, sigma, axis)
        return tf.where(step % self.every == 0, blurred, images)


@dataclasses.dataclass(frozen=True)
class ClipSmallNorms:
    """Sets pixels whose norm over channels is below a percentile to `center`. `-> [N, H, W, C]`.

    The percentile is that of each image's own pixels, interpolated linearly.

    Source: Yosinski et al., 2015, https://arxiv.org/abs/1506.06579.

    Args:
        percentile: in [0, 100]; 0 changes nothing.
        center: the value that norms are measured from, in units of images.
    """

    percentile: float
    center: float = 0.0

    def __post_init__(self) -> None:
        checks.number(self.percentile, "percentile", low=0.0, high=100.0)
        checks.number(self.center, "center")

    def __call__(self, images: tf.Tensor, gradients: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        del gradients, step
        center = tf.constant(self.center, images.dtype)
        size = tf.sqrt(tf.reduce_sum(tf.square(images - center), -1))
        return _clear_below(images, size, self.percentile, center)


@dataclasses.dataclass(frozen=True)
class ClipSmallContributions:
    """Sets pixels that contribute little to the score to `center`. `[N, H, W, C] -> [N, H, W, C]`.

    The contribution of a pixel is `|sum_c g_c (x_c - center)|`, a first-order estimate of how much the
    score changes if the pixel is set to `center`. Pixels whose contribution is below a percentile of
    the image are set to `center`.

    Source: Yosinski et al., 2015, https://arxiv.org/abs/1506.06579.

    Args:
        percentile: in [0, 100]; 0 changes nothing.
        center: the value that stands for an absent pixel, in units of images.
    """

    percentile: float
    center: float = 0.0

    def __post_init__(self) -> None:
        checks.number(self.percentile, "percentile", low=0.0, high=100.0)
        checks.number(self.center, "center")

    def __call__(self, images: tf.Tensor, gradients: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        del step
        center = tf.constant(self.center, images.dtype)
        size = tf.abs(tf.reduce_sum(gradients * (images - center), -1))
        return _clear_below(images, size, self.percentile, center)


def _clear_below(
    images: tf.Tensor, sizes: tf.Tensor, percentile: float, center: tf.Tensor
) -> tf.Tensor:
    """Sets pixels to `center` if their size is below a percentile of their image."""
    count = 1
    for size in sizes.shape[1:]:
        count *= int(size)
    ordered = tf.sort(tf.reshape(sizes, [-1, count]), axis=1)
    position = percentile / 100.0 * (count - 1)
    below = min(int(position), count - 1)
    above = min(below + 1, count - 1)
    part = tf.constant(position - below, sizes.dtype)
    limit = ordered[:, below] + part * (ordered[:, above] - ordered[:, below])
    limit = tf.reshape(limit, [-1] + [1] * (sizes.shape.rank - 1))
    return tf.where((sizes < limit)[..., None], center, images)
