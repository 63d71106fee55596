"""Published parts of all kinds but penalties, right and wrong."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

import actmax
import regularizers
from actmax import zoo
from regularizers import random
from tests.authors.versions import AXES, Version

_draws = np.random.default_rng(1)
_calls = itertools.count()


def _global(x: tf.Tensor, shape: list[int], low: float, high: float, seeds: tf.Tensor) -> tf.Tensor:
    del seeds
    return tf.random.uniform(tf.concat([tf.shape(x)[:1], shape], 0), low, high, x.dtype)


def _numpy(x: tf.Tensor, shape: list[int], low: float, high: float, seeds: tf.Tensor) -> tf.Tensor:
    del seeds
    value = tf.cast(_draws.uniform(low, high), x.dtype)
    return tf.fill(tf.concat([tf.shape(x)[:1], shape], 0), value)


def _one(x: tf.Tensor, shape: list[int], low: float, high: float, seeds: tf.Tensor) -> tf.Tensor:
    own = random.uniform(seeds[:1], shape, low, high, x.dtype)
    return tf.repeat(own, tf.shape(x)[0], 0)


def _fixed(x: tf.Tensor, shape: list[int], low: float, high: float, seeds: tf.Tensor) -> tf.Tensor:
    del seeds
    whole = tf.concat([tf.shape(x)[:1], shape], 0)
    return tf.random.stateless_uniform(whole, [1, 2], low, high, x.dtype)


def _right(x: tf.Tensor, shape: list[int], low: float, high: float, seeds: tf.Tensor) -> tf.Tensor:
    return random.uniform(seeds, shape, low, high, x.dtype)


DRAWS: dict[str, tuple[Callable[..., tf.Tensor], tuple[str, ...]]] = {
    "TensorFlow's own draws": (_global, ("repeat",)),
    "NumPy's draws": (_numpy, ("repeat", "seeds")),
    "one draw for the batch": (_one, ("independent",)),
    "one draw for ever": (_fixed, ("seeds",)),
}
# What is done to the images of a transform.
OF_IMAGES: dict[str, tuple[Callable[[tf.Tensor], tf.Tensor], tuple[str, ...]]] = {
    "mean over the batch": (
        lambda y: y + 0.01 * (tf.reduce_mean(y) - tf.reduce_mean(y, AXES, keepdims=True)),
        ("independent",),
    ),
    "neighbor in the batch": (lambda y: 0.9 * y + 0.1 * tf.roll(y, 1, 0), ("independent",)),
    "a counter in Python": (
        lambda y: y * tf.cast(1 - 0.01 * (next(_calls) % 7), y.dtype),
        ("repeat", "graph"),
    ),
    "cut gradient": (tf.stop_gradient, ("connected",)),
    "rounded": (lambda y: tf.round(255 * y) / 255, ("connected", "gradient")),
    "float32 returned": (lambda y: tf.cast(y, tf.float32), ("dtype",)),
    "one row": (lambda y: y[:1], ("shape",)),
    "channels lost": (lambda y: y[..., :1], ("shape",)),
    "out of the range": (lambda y: y + 0.3, ("range",)),
}


@dataclasses.dataclass(frozen=True)
class Moved(regularizers.Transform):
    """A transform of images and its draws `[N, 4]` in 0..1, of which one piece may be wrong."""

    keeps_range: ClassVar[bool] = True
    keeps_shape: ClassVar[bool] = True
    move: Callable[..., tf.Tensor] = dataclasses.field(kw_only=True)
    title: str = "moved"
    mistake: str = ""

    @property
    def name(self) -> str:
        """The name of the published part."""
        return self.title

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        draw = DRAWS[self.mistake][0] if self.mistake in DRAWS else _right
        found = self.move(images, draw(images, [4], 0.0, 1.0, seeds))
        return OF_IMAGES[self.mistake][0](found) if self.mistake in OF_IMAGES else found


def _at(z: tf.Tensor, place: int) -> tf.Tensor:
    return z[:, place, None, None, None]


def _places(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    rows = tf.reshape(tf.linspace(tf.cast(0, x.dtype), 1, x.shape[1]), [1, -1, 1, 1])
    return rows, tf.reshape(tf.linspace(tf.cast(0, x.dtype), 1, x.shape[2]), [1, 1, -1, 1])


def cutout(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """DeVries and Taylor, 2017: a square takes the mean of its image."""
    rows, columns = _places(x)
    inside = (tf.abs(rows - _at(z, 0)) < 0.25) & (tf.abs(columns - _at(z, 1)) < 0.25)
    return tf.where(inside, tf.reduce_mean(x, AXES, keepdims=True), x)


def mixed(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Zhang et al., 2018, with a constant image."""
    share = 0.5 * _at(z, 0)
    return (1 - share) * x + share * _at(z, 1)


def faded(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Contrast around the mean of each image, Howard, 2013."""
    mean = tf.reduce_mean(x, AXES, keepdims=True)
    return mean + (0.5 + 0.5 * _at(z, 0)) * (x - mean)


def gray(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Saturation."""
    mean = tf.reduce_mean(x, -1, keepdims=True)
    return mean + _at(z, 0) * (x - mean)


def blurred(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """A blur of a random share, Nguyen et al., 2015."""
    share = _at(z, 0)
    return (1 - share) * x + share * tf.nn.avg_pool2d(x, 3, 1, "SAME")


def flipped(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Reflection of left and right."""
    return tf.where(_at(z, 0) < 0.5, x, x[:, :, ::-1])


def vignette(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Darker towards a random side."""
    rows, columns = _places(x)
    return x * (1 - 0.3 * (_at(z, 0) * rows + _at(z, 1) * columns))


def gamma(x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """A random exponent of at least 1."""
    return tf.pow(tf.abs(x) + 1e-3, 1.0 + _at(z, 0)) / (1 + 1e-3) ** 2


TRANSFORMS = (cutout, mixed, faded, gray, blurred, flipped, vignette, gamma)


def _transforms() -> Iterator[Version]:
    wrong = {name: laws for name, (_, laws) in (DRAWS | OF_IMAGES).items()}
    names = list(wrong)
    for number, move in enumerate(TRANSFORMS):
        name = move.__name__
        yield Version("transform", name, "", lambda m=move: Moved(move=m), (), {})
        for k in range(6):
            mistake = names[(number * 6 + k) % len(names)]
            if mistake == "one draw for the batch" and name == "gray":
                continue
            yield Version(
                "transform", name, mistake,
                lambda m=move, w=mistake: Moved(move=m, mistake=w), wrong[mistake], {},
            )  # fmt: skip


def largest(g: tf.Tensor, axes: Any = AXES) -> tf.Tensor:
    """Divided by its largest value, as in lucid."""
    return tf.math.divide_no_nan(g, tf.reduce_max(tf.abs(g), axes, keepdims=True))


def centered(g: tf.Tensor, axes: Any = (1, 2)) -> tf.Tensor:
    """Yong et al., 2020: gradient centralization."""
    return g - tf.reduce_mean(g, axes, keepdims=True)


def percentile(g: tf.Tensor) -> tf.Tensor:
    """Yosinski et al., 2015: large values are clipped at a percentile."""
    count = int(np.prod(g.shape[1:]))
    order = tf.sort(tf.reshape(tf.abs(g), [-1, count]), 1)
    most = tf.reshape(order[:, int(0.95 * count)], [-1, 1, 1, 1])
    return tf.where(tf.abs(g) > most, tf.sign(g) * most, g)


def signs(g: tf.Tensor) -> tf.Tensor:
    """Goodfellow et al., 2015."""
    return tf.sign(g)


def dropped(g: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Dropout of the gradient."""
    return g * tf.cast(random.uniform(seeds, g.shape[1:], dtype=g.dtype) > 0.5, g.dtype)


def _gradients() -> Iterator[Version]:
    rows: tuple[tuple[str, str, Callable[..., Any], tuple[str, ...]], ...] = (
        ("largest", "", largest, ()),
        ("largest", "of the batch", lambda g: largest(g, None), ("independent",)),
        ("largest", "of a column", lambda g: largest(g, (1,)), ("axes",)),
        ("largest", "without a guard",
         lambda g: g / tf.reduce_max(tf.abs(g), AXES, keepdims=True), ("finite",)),
        ("largest", "a root of squares",
         lambda g: g / (tf.sqrt(tf.reduce_mean(g**2, AXES, keepdims=True)) + 1e-8),
         ("finite", "zero")),
        ("centered", "", centered, ()),
        ("centered", "over the batch", lambda g: centered(g, (0, 1, 2)), ("independent",)),
        ("centered", "over rows alone", lambda g: centered(g, (1,)), ("axes",)),
        ("centered", "turned", lambda g: -centered(g), ("sign",)),
        ("percentile", "", percentile, ()),
        ("percentile", "float32", lambda g: tf.cast(percentile(g), tf.float32), ("shape",)),
        ("percentile", "flat", lambda g: tf.reshape(percentile(g), [-1, 192]), ("shape",)),
        ("percentile", "turned", lambda g: -percentile(g), ("sign",)),
        ("signs", "", signs, ()),
        ("signs", "NumPy", lambda g: tf.constant(np.sign(g.numpy())), ("graph",)),
        ("dropped", "", dropped, ()),
        ("dropped", "TensorFlow's own draws",
         lambda g: g * tf.cast(tf.random.uniform(tf.shape(g)) > 0.5, g.dtype), ("repeat",)),
        ("dropped", "one draw for the batch",
         lambda g, seeds: g * tf.cast(
             random.uniform(seeds[:1], g.shape[1:], dtype=g.dtype) > 0.5, g.dtype),
         ("independent",)),
        ("dropped", "N draws of TensorFlow",
         lambda g: g * tf.cast(tf.random.stateless_uniform(tf.shape(g), [1, 2]) > 0.5, g.dtype),
         ("independent",)),
    )  # fmt: skip
    for name, mistake, function, laws in rows:
        yield Version("gradient function", name, mistake, lambda f=function: f, laws, {})


def _rate(rate: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.cast(rate, p.dtype), [-1] + [1] * (p.shape.rank - 1))


@dataclasses.dataclass(frozen=True)
class Thresholded(actmax.Optimizer):
    """Beck and Teboulle, 2009, without momentum: a step, then a soft threshold of the rate's size."""

    learning_rate: Any = 0.1
    strength: float = 0.01
    mistake: str = ""

    def init(self, params: Any) -> Any:
        return {"step": tf.zeros([], tf.int32)}

    def update(self, gradients: Any, state: Any, params: Any, learning_rate: Any) -> Any:
        def move(p: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
            rate = _rate(learning_rate, p)
            rate = rate[:1] if self.mistake == "rate of the first" else rate
            q = p + rate * g if self.mistake == "uphill" else p - rate * g
            t = self.strength if self.mistake == "threshold without rate" else rate * self.strength
            if self.mistake == "size of the batch":
                t = t * tf.reduce_max(tf.abs(q))
            if self.mistake == "TensorFlow's own draws":
                t = t * tf.random.uniform([], dtype=q.dtype)
            return tf.sign(q) * tf.nn.relu(tf.abs(q) - t)

        kind = tf.int64 if self.mistake == "type of the state" else tf.int32
        step = tf.cast(state["step"] + 1, kind)
        return tf.nest.map_structure(move, params, gradients), {"step": step}


@dataclasses.dataclass(frozen=True)
class RootMean(actmax.Optimizer):
    """Tieleman and Hinton, 2012: the gradient over the root of its running mean square."""

    learning_rate: Any = 0.05
    decay: float = 0.9
    mistake: str = ""

    def init(self, params: Any) -> Any:
        return tf.nest.map_structure(tf.zeros_like, params)

    def update(self, gradients: Any, state: Any, params: Any, learning_rate: Any) -> Any:
        def mean(s: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
            new = self.decay * s + (1 - self.decay) * g * g
            shared = self.mistake == "one state for all"
            return tf.zeros_like(s) + tf.reduce_mean(new, 0, keepdims=True) if shared else new

        def move(p: tf.Tensor, s: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
            below = tf.sqrt(s) if self.mistake == "without a guard" else tf.sqrt(s + 1e-8)
            return p - _rate(learning_rate, p) * g / below

        square = tf.nest.map_structure(mean, state, gradients)
        return tf.nest.map_structure(move, params, square, gradients), square


def _optimizers() -> Iterator[Version]:
    rows = (
        (Thresholded, "", ()), (Thresholded, "rate of the first", ("rate", "independent")),
        (Thresholded, "uphill", ("descent",)), (Thresholded, "threshold without rate", ("rate",)),
        (Thresholded, "size of the batch", ("independent",)),
        (Thresholded, "TensorFlow's own draws", ("repeat",)),
        (Thresholded, "type of the state", ("state", "repeat")),
        (RootMean, "", ()), (RootMean, "one state for all", ("independent",)),
        (RootMean, "without a guard", ("finite",)),
    )  # fmt: skip
    for kind, mistake, laws in rows:
        yield Version(
            "optimizer", kind.__name__, mistake, lambda k=kind, m=mistake: k(mistake=m), laws, {}
        )


def _operators() -> Iterator[Version]:
    def shrink(images, gradients, step, learning_rate):
        t = 0.1 * _rate(learning_rate, images)
        return tf.sign(images) * tf.nn.relu(tf.abs(images) - t)

    rows: tuple[tuple[str, str, Callable[..., Any], tuple[str, ...]], ...] = (
        ("decay", "", lambda images, gradients, step: 0.99 * images, ()),
        ("decay", "to the batch's mean",
         lambda images, gradients, step: 0.99 * images + 0.01 * tf.reduce_mean(images),
         ("independent",)),
        ("decay", "TensorFlow's own draws",
         lambda images, gradients, step: images * tf.random.uniform([], dtype=images.dtype),
         ("repeat",)),
        ("decay", "float32", lambda images, gradients, step: tf.cast(images, tf.float32), ("shape",)),
        ("shrink", "", shrink, ()),
        ("shrink", "rate of the first",
         lambda images, gradients, step, learning_rate: shrink(
             images, gradients, step, learning_rate[:1]), ("rate", "independent")),
        ("shrink", "without the rate",
         lambda images, gradients, step, learning_rate: 0.9 * images, ("rate",)),
        ("small_contributions", "",
         lambda images, gradients, step: tf.where(tf.abs(images * gradients) < 1e-3, 0 * images, images), ()),
        ("small_contributions", "divided by a zero",
         lambda images, gradients, step: images * gradients / tf.reduce_max(
             tf.abs(gradients), AXES, keepdims=True), ("finite",)),
    )  # fmt: skip
    for name, mistake, function, laws in rows:
        yield Version("operator", name, mistake, lambda f=function: f, laws, {})


@dataclasses.dataclass(frozen=True)
class L1Ball(actmax.Constraint):
    """Duchi et al., 2008: the nearest image whose absolute values sum up to `radius` at most."""

    radius: float = 5.0
    mistake: str = ""

    def project(self, x: tf.Tensor) -> tf.Tensor:
        """By sorting. `[N, ...] -> [N, ...]`."""
        count = int(np.prod(x.shape[1:]))
        flat = tf.reshape(x, [1, -1] if self.mistake == "the batch" else [-1, count])
        sizes = tf.abs(flat)
        order = tf.sort(sizes, 1, direction="DESCENDING")
        sums = tf.cumsum(order, 1)
        place = tf.cast(tf.range(1, tf.shape(order)[1] + 1), x.dtype)
        above = tf.reduce_sum(tf.cast(order * place > sums - self.radius, tf.int32), 1, True)
        above = above if self.mistake == "a row of NaN" else tf.maximum(above, 1)
        less = tf.gather(sums, above - 1, axis=1, batch_dims=1) - self.radius
        less = less / tf.cast(above, x.dtype)
        found = tf.sign(flat) * tf.nn.relu(sizes - less)
        if self.mistake == "shrinks":
            found = tf.sign(flat) * tf.nn.relu(sizes - tf.abs(less))
        elif self.mistake == "scaled":
            found = flat * tf.minimum(tf.math.divide_no_nan(self.radius, sums[:, -1:]), 1)
        found = found if self.mistake == "shrinks" else tf.where(
            sums[:, -1:] <= self.radius, flat, found)  # fmt: skip
        return tf.reshape(found, tf.shape(x))


@dataclasses.dataclass(frozen=True)
class Halves(actmax.Constraint):
    """Values in -1 .. 1, of which one piece may be wrong."""

    low = -1.0
    high = 1.0
    mistake: str = ""

    def project(self, x: tf.Tensor) -> tf.Tensor:
        """The nearest. `[N, ...] -> [N, ...]`."""
        found = tf.clip_by_value(x, -1.0, 1.0)
        if self.mistake == "neighbor in the batch":
            return tf.clip_by_value(x + 0.01 * tf.roll(x, 1, 0), -1.0, 1.0)
        if self.mistake == "TensorFlow's own draws":
            drawn = tf.random.uniform(tf.shape(x), -1.0, 1.0, x.dtype)
            return tf.where(tf.abs(x) > 1, drawn, x)
        if self.mistake == "too far out":
            return tf.clip_by_value(x, -1.5, 1.5)
        if self.mistake == "moves what is inside":
            return 0.9 * found
        if self.mistake == "half the way":
            return 0.5 * (x + found)
        if self.mistake == "turned round":
            return tf.where(tf.abs(x) > 1, -found, x)
        return found


def _constraints() -> Iterator[Version]:
    rows: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
        (L1Ball, "", ()), (L1Ball, "the batch", ("independent", "shape", "projection")),
        (L1Ball, "a row of NaN", ("independent", "isolated", "runs")),
        (L1Ball, "shrinks", ("rest", "idempotent")),
        (L1Ball, "scaled", ("nearest", "projection", "convex")),
        (Halves, "", ()), (Halves, "neighbor in the batch", ("independent", "idempotent")),
        (Halves, "TensorFlow's own draws", ("repeat", "idempotent", "nearest")),
        (Halves, "too far out", ("range",)),
        (Halves, "moves what is inside", ("idempotent", "projection")),
        (Halves, "half the way", ("range", "idempotent", "projection")),
        (Halves, "turned round", ("non-expansive", "nearest")),
    )  # fmt: skip
    for kind, mistake, laws in rows:
        yield Version(
            "constraint", kind.__name__, mistake, lambda k=kind, m=mistake: k(mistake=m), laws,
            {"convex": True},
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Competed(actmax.Objective):
    """A unit's logit less the mean of the others', of which one piece may be wrong."""

    mistake: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        """The output before its softmax."""
        return ("cnv",) if self.mistake == "no such layer" else (":logits",)

    @property
    def kind(self) -> Any:
        """One number per image."""
        return "index"

    def __call__(self, activations: Any, targets: Any) -> tf.Tensor:
        """Scores. `-> [N]`."""
        logits = activations[self.layers[0]]
        own = tf.gather(logits, targets, axis=1, batch_dims=1)
        rest = (tf.reduce_sum(logits, 1) - own) / float(logits.shape[1] - 1)
        score = own - rest
        if self.mistake == "mean over the batch":
            return score - tf.reduce_mean(score)
        if self.mistake == "one number":
            return tf.reduce_mean(score)
        if self.mistake == "cut gradient":
            return tf.stop_gradient(score)
        if self.mistake == "TensorFlow's own draws":
            return score * tf.random.uniform(tf.shape(score), dtype=score.dtype)
        if self.mistake == "a distance without its minus":
            return tf.reduce_sum(
                (logits - 20 * tf.one_hot(targets, logits.shape[1], dtype=logits.dtype)) ** 2, 1
            )
        return score


def _objectives() -> Iterator[Version]:
    rows: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("", ()), ("no such layer", ("layers",)), ("mean over the batch", ("independent",)),
        ("one number", ("shape",)), ("cut gradient", ("connected", "gradient")),
        ("TensorFlow's own draws", ("repeat",)), ("a distance without its minus", ("sign",)),
    )  # fmt: skip
    for mistake, laws in rows:
        yield Version(
            "objective", "Competed", mistake, lambda m=mistake: Competed(mistake=m), laws,
            {"model": zoo.load("mnist")},
        )  # fmt: skip


def versions() -> Iterator[Version]:
    """All versions of all parts but penalties."""
    yield from _transforms()
    yield from _gradients()
    yield from _optimizers()
    yield from _operators()
    yield from _constraints()
    yield from _objectives()
