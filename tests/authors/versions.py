"""What a version is: a part, its kind, the mistake that was put into it, and the laws that name it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import regularizers

AXES = (1, 2, 3)


class Version(NamedTuple):
    """One part to check.

    Attributes:
        kind: "penalty", "transform", "gradient function", "optimizer", "operator", "constraint", "objective".
        name: of the part.
        mistake: that was put into it; empty for the right one.
        make: the part.
        laws: of which one has to be the first that is broken, for the message to name the mistake.
        check: further arguments of the checker.
    """

    kind: str
    name: str
    mistake: str
    make: Callable[[], Any]
    laws: tuple[str, ...]
    check: dict[str, Any]


_draws = np.random.default_rng(0)
_calls = itertools.count()


@functools.cache
def _variable() -> tf.Variable:
    with tf.init_scope():
        return tf.Variable(0.0)


@functools.cache
def _kept(dtype: tf.DType) -> tf.Tensor:
    return tf.constant(1.0, dtype) * 1.0


def _state(m: tf.Tensor) -> tf.Tensor:
    old = _variable()
    new = old.assign(0.9 * old + 0.1 * tf.cast(tf.reduce_mean(m), tf.float32))
    return m - tf.stop_gradient(tf.cast(new, m.dtype))


@tf.custom_gradient
def _turned(m: tf.Tensor) -> Any:
    return m, tf.negative


def _rows(m: tf.Tensor) -> tf.Tensor:
    return tf.shape(m)[:1]


# What is done to the values of a penalty, `[N] -> [N]`, and the laws that name it.
OF_VALUES: dict[str, tuple[Callable[[tf.Tensor], tf.Tensor], tuple[str, ...]]] = {
    "mean over the batch": (lambda m: tf.fill(_rows(m), tf.reduce_mean(m)), ("independent",)),
    "one number": (tf.reduce_mean, ("shape",)),
    "rows leak": (lambda m: m + 0.01 * tf.abs(m - tf.roll(m, 1, 0)), ("independent",)),
    "divided by the batch's largest": (
        lambda m: m / (tf.reduce_max(m) + tf.cast(1e-3, m.dtype)),
        ("independent",),
    ),
    "first row": (lambda m: m + 0.1 * m[:1], ("independent", "order")),
    "TensorFlow's own draws": (
        lambda m: m * (1 + 0.1 * tf.random.normal(_rows(m), dtype=m.dtype)),
        ("repeat",),
    ),
    "NumPy's draws": (
        lambda m: m * tf.cast(1 + 0.1 * _draws.normal(), m.dtype),
        ("repeat", "graph"),
    ),
    "a variable": (_state, ("repeat",)),
    "a counter in Python": (
        lambda m: m * tf.cast(1.0 + 0.01 * next(_calls), m.dtype),
        ("repeat", "graph"),
    ),
    "N in Python": (lambda m: tf.stack([m[i] for i in range(int(tf.shape(m)[0]))]), ("graph",)),
    "if on a tensor": (lambda m: m if tf.reduce_mean(m) > -1 else 2 * m, ("graph",)),
    "NumPy inside": (lambda m: tf.constant(m.numpy()), ("connected", "graph", "gradient")),
    "a tensor kept by functools.cache": (lambda m: m * _kept(m.dtype), ("kept",)),
    "cut gradient": (tf.stop_gradient, ("connected",)),
    "halved gradient": (lambda m: 0.5 * tf.stop_gradient(m) + 0.5 * m, ("gradient",)),
    "turned gradient": (_turned, ("gradient",)),
    "float32 inside": (
        lambda m: tf.cast(tf.cast(m, tf.float32) * 1.0001, m.dtype),
        ("gradient", "graph"),
    ),
    "float32 returned": (lambda m: tf.cast(m, tf.float32), ("dtype",)),
    "a column": (lambda m: m[:, None], ("shape",)),
}


def _sum(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(values, AXES)


def _root(values: tf.Tensor) -> tf.Tensor:
    pixels = tf.cast(tf.reduce_prod(tf.shape(values)[1:3]), values.dtype)
    return tf.reduce_sum(tf.reduce_mean(values, -1), (1, 2)) / tf.sqrt(pixels)


# What is done in place of the mean over pixels, `[N, H, W, C] -> [N]`.
OF_MEANS: dict[str, tuple[Callable[[tf.Tensor], tf.Tensor], tuple[str, ...]]] = {
    "sum": (_sum, ("resolution",)),
    "sum over the root of pixels": (_root, ("resolution",)),
}
# Of a penalty that leaves a unit where it is.
WEIGHTED = "multiplied by its weight"


@dataclasses.dataclass(frozen=True)
class Written(regularizers.Penalty):
    """A penalty `finish(mean(values(images)))`, of which one piece may be wrong. `[N, ...] -> [N]`."""

    values: Callable[..., tf.Tensor] = dataclasses.field(kw_only=True)
    title: str = "written"
    mistake: str = ""

    @property
    def name(self) -> str:
        """The name of the published part."""
        return self.title

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        found = self.values(images)
        if found.shape.rank > 1:
            mean = OF_MEANS[self.mistake][0] if self.mistake in OF_MEANS else None
            found = mean(found) if mean else tf.reduce_mean(found, AXES)
        if self.mistake == WEIGHTED:
            return found * tf.cast(self.weight, found.dtype)
        return OF_VALUES[self.mistake][0](found) if self.mistake in OF_VALUES else found


def of_penalty(
    name: str,
    values: Callable[..., tf.Tensor],
    number: int,
    wrong: dict[str, tuple[Callable[..., tf.Tensor], tuple[str, ...]]],
    count: int = 3,
) -> list[Version]:
    """The right version of a penalty, its own wrong ones, and `count` of the common mistakes in turn.

    Args:
        name: of the part.
        values: images to values before their mean, or to penalties `[N]`.
        number: of the part, from which its turn of the mistakes begins.
        wrong: by mistake, values with it, and the laws that name it.
        count: of common mistakes.
    """

    def make(values: Callable[..., tf.Tensor], mistake: str = "") -> Callable[[], Any]:
        return lambda: Written(2.0, values=values, title=name, mistake=mistake)

    found = [Version("penalty", name, "", make(values), (), {})]
    found += [
        Version("penalty", name, mistake, make(changed), laws, {})
        for mistake, (changed, laws) in wrong.items()
    ]
    common = {mistake: laws for mistake, (_, laws) in OF_VALUES.items()} | {WEIGHTED: ("weight",)}
    turn = list(common)
    names = [turn[(number * count + k) % len(turn)] for k in range(count)]
    sample = tf.zeros([1, 8, 8, 3])
    if values(sample).shape.rank > 1:
        common |= {mistake: laws for mistake, (_, laws) in OF_MEANS.items()}
        names.append(list(OF_MEANS)[number % len(OF_MEANS)])
    return found + [
        Version("penalty", name, mistake, make(values, mistake), common[mistake], {})
        for mistake in names
    ]
