"""Published penalties, each by the values whose mean it is, and the mistakes that are its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tests.authors.versions import Version, of_penalty

EPS = 1e-8


def dy(x):
    return x[:, 1:] - x[:, :-1]


def dx(x):
    return x[:, :, 1:] - x[:, :, :-1]


def pad(d, axis):
    sizes = [[0, 0]] * 4
    sizes[axis] = [0, 1]
    return tf.pad(d, sizes)


def both(function: Callable[..., Any], first=dy, second=dx):
    """Mean over the values of both directions. `[N, H, W, C] -> [N, H, W, C]`."""
    return lambda x: 0.5 * (function(pad(first(x), 1)) + function(pad(second(x), 2)))


def dc(x):
    """Differences of channels, which are no space."""
    return pad(x[..., 1:] - x[..., :-1], 3)


def misled(function):
    """Both directions, where the second runs over channels."""
    return lambda x: 0.5 * (function(pad(dx(x), 2)) + function(dc(x)))


def root(x):
    return tf.sqrt(x)


def isotropic(beta, eps=EPS, first=lambda x: pad(dy(x), 1), second=lambda x: pad(dx(x), 2)):
    return lambda x: (
        (tf.reduce_sum(first(x) ** 2 + second(x) ** 2, -1, keepdims=True) + eps) ** (beta / 2)
        - eps ** (beta / 2)
    )


def charbonnier(d, eps=1e-3):
    return tf.sqrt(d**2 + eps**2) - eps


def huber(d, delta=0.05):
    size = tf.abs(d)
    return tf.where(size < delta, d**2 / (2 * delta), size - delta / 2)


def lorentzian(d, sigma=0.1):
    return tf.math.log1p(d**2 / (2 * sigma**2))


def welsch(d, sigma=0.1):
    return 1 - tf.exp(-(d**2) / (2 * sigma**2))


def geman(d, sigma=0.1):
    return d**2 / (d**2 + sigma**2)


def hessian(x):
    return both(tf.square, lambda x: dy(dy_padded(x)), lambda x: dx(dx_padded(x)))(x)


def dy_padded(x):
    return pad(dy(x), 1)


def dx_padded(x):
    return pad(dx(x), 2)


def laplacian(x):
    return (dy_padded(dy_padded(x)) + dx_padded(dx_padded(x))) ** 2


def pooled(x, side=2):
    return tf.nn.avg_pool2d(x, side, side, "SAME")


def haar(x, guard=EPS):
    a, b = x[:, ::2, ::2], x[:, 1::2, ::2]
    c, d = x[:, ::2, 1::2], x[:, 1::2, 1::2]
    found = tf.stack([a + b - c - d, a - b + c - d, a - b - c + d], -1) / 2
    return tf.reduce_mean(tf.sqrt(found**2 + guard) - guard**0.5, -1)


def spectrum(x, transpose=True):
    """Share of the power at high frequencies, weighted by frequency."""
    planes = tf.transpose(x, [0, 3, 1, 2]) if transpose else x
    power = tf.abs(
        tf.signal.fft2d(tf.cast(planes, tf.complex128 if x.dtype == tf.float64 else tf.complex64))
    )
    size = planes.shape[-2:]
    f = np.fft.fftfreq(size[0])[:, None] ** 2 + np.fft.fftfreq(size[1])[None] ** 2
    weighted = power**2 * tf.constant(f, x.dtype)
    return tf.reduce_mean(weighted, AXES) / float(size[0] * size[1])


AXES = (1, 2, 3)


def variance(x):
    return tf.math.reduce_variance(x, AXES)


def floor(x, level=0.2):
    return tf.nn.relu(level - variance(x))


def gray_world(x, axes=(1, 2)):
    means = tf.reduce_mean(x, axes)
    return tf.reduce_mean((means - tf.reduce_mean(means, 1, keepdims=True)) ** 2, 1)


def saturation(x):
    return (x - tf.reduce_mean(x, -1, keepdims=True)) ** 2


def symmetry(x):
    return (x - x[:, :, ::-1]) ** 2


def center(x, axes=(1, 2)):
    h, w = x.shape[axes[0]], x.shape[axes[1]]
    shape = [1, 1, 1, 1]
    shape[axes[0]], other = h, [1, 1, 1, 1]
    other[axes[1]] = w
    rows, columns = (np.linspace(-1, 1, n).reshape(s) for n, s in ((h, shape), (w, other)))
    return x**2 * tf.constant(rows**2 + columns**2, x.dtype)


def gram(x):
    """Correlation of channels, without their means."""
    d = x - tf.reduce_mean(x, (1, 2), keepdims=True)
    n = float(x.shape[1] * x.shape[2])
    found = tf.einsum("nhwc,nhwd->ncd", d, d) / n
    return tf.reduce_mean(found**2, (1, 2))


def entropy(x, guard=1e-6):
    """Of the values as chances of on and off, which lie in 0..1."""
    p = tf.clip_by_value(x, guard, 1 - guard) if guard else x
    return -(p * tf.math.log(p) + (1 - p) * tf.math.log(1 - p))


def bound(x, low=0.1, high=0.9):
    return tf.nn.relu(low - x) ** 2 + tf.nn.relu(x - high) ** 2


def alpha(x, power=6):
    return x**power


def elastic_net(x, guard=EPS):
    return tf.sqrt(x**2 + guard) + 0.5 * x**2


def log_sum(x, eps=0.1):
    return tf.math.log1p(tf.abs(x) / eps)


def bilateral(x, sigma=0.2):
    """Smoothness between pixels of alike value, whose weights are part of the gradient."""
    return both(lambda d: (1 - tf.exp(-(d**2) / sigma**2)) * sigma**2)(x)


def nonlocal_means(x):
    shifted = tf.roll(x, 3, 1), tf.roll(x, 3, 2)
    return sum(welsch(x - s, 0.3) for s in shifted) / 2


def local_contrast(x):
    mean = tf.nn.avg_pool2d(x, 3, 1, "SAME")
    return tf.nn.relu(0.02 - (tf.nn.avg_pool2d(x**2, 3, 1, "SAME") - mean**2))


def kurtosis(x, eps=1e-3):
    d = x - tf.reduce_mean(x, AXES, keepdims=True)
    return tf.reduce_mean(d**4, AXES) / (tf.reduce_mean(d**2, AXES) + eps) ** 2


def group_lasso(x, guard=EPS):
    """Norm of the channels of every pixel."""
    return tf.sqrt(tf.reduce_sum(x**2, -1, keepdims=True) + guard) - guard**0.5


def size(x, guard=EPS):
    return tf.sqrt(tf.reduce_mean(x**2, AXES) + guard)


def ratio(x, guard=EPS):
    return tf.reduce_mean(tf.abs(x), AXES) / tf.sqrt(tf.reduce_mean(x**2, AXES) + guard)


UNGUARDED, WHERE = ("finite",), ("finite",)
WRONG_AXES, WRONG_UNITS = ("axes",), ("units",)
Row = tuple[str, Callable[..., Any], dict[str, Any]]
PARTS: tuple[Row, ...] = (
    ("l2", tf.square, {"roots of a zero": (lambda x: tf.sqrt(tf.reduce_mean(x**2, AXES)), UNGUARDED)}),
    ("total_variation", both(tf.abs), {"axes of channels": (misled(tf.abs), WRONG_AXES)}),
    ("tv_beta_1", isotropic(1.0), {"roots of a zero": (isotropic(1.0, 0.0), UNGUARDED)}),
    ("tv_beta_2", isotropic(2.0), {"axes of channels": (misled(tf.square), WRONG_AXES)}),
    ("tv_beta_15", isotropic(1.5), {}),
    ("charbonnier", both(charbonnier), {"axes of channels": (misled(charbonnier), WRONG_AXES)}),
    ("huber_variation", both(huber), {
        "units of bytes": (both(lambda d: huber(d, 12.0)), WRONG_UNITS),
        "axes of channels": (misled(huber), WRONG_AXES)}),
    ("edge_stopping", both(lorentzian), {
        "units of bytes": (both(lambda d: lorentzian(d, 25.0)), WRONG_UNITS)}),
    ("welsch", both(welsch), {"units of bytes": (both(lambda d: welsch(d, 25.0)), WRONG_UNITS)}),
    ("geman_mcclure", both(geman), {
        "units of bytes": (both(lambda d: geman(d, 25.0)), WRONG_UNITS),
        "no constant": (both(lambda d: geman(d, 0.0)), UNGUARDED)}),
    ("curvature", hessian, {}),
    ("laplacian", laplacian, {}),
    ("pyramid", lambda x: both(huber)(pooled(x)), {
        "units of bytes": (lambda x: both(lambda d: huber(d, 12.0))(pooled(x)), WRONG_UNITS)}),
    ("haar", haar, {"roots of a zero": (lambda x: haar(x, 0.0), UNGUARDED)}),
    ("spectrum", spectrum, {"axes of channels": (lambda x: spectrum(x, False), WRONG_AXES)}),
    ("contrast_floor", floor, {}),
    ("gray_world", gray_world, {"axes of channels": (lambda x: gray_world(x, (1, 3)), WRONG_AXES)}),
    ("saturation", saturation, {}),
    ("symmetry", symmetry, {}),
    ("center_bias", center, {"axes of channels": (lambda x: center(x, (2, 3)), WRONG_AXES)}),
    ("gram", gram, {}),
    ("entropy", entropy, {"logarithms of a zero": (lambda x: entropy(x, 0.0), UNGUARDED)}),
    ("bound", bound, {}),
    ("alpha_norm", alpha, {}),
    ("elastic_net", elastic_net, {"roots of a zero": (lambda x: elastic_net(x, 0.0), UNGUARDED)}),
    ("log_sum", log_sum, {"units of bytes": (lambda x: log_sum(x, 25.0), WRONG_UNITS)}),
    ("bilateral", bilateral, {"units of bytes": (lambda x: bilateral(x, 50.0), WRONG_UNITS)}),
    ("nonlocal_means", nonlocal_means, {}),
    ("local_contrast", local_contrast, {}),
    ("kurtosis", kurtosis, {"divided by a zero": (lambda x: kurtosis(x, 0.0), UNGUARDED)}),
    ("group_lasso", group_lasso, {
        "roots of a zero": (lambda x: group_lasso(x, 0.0), UNGUARDED),
        "roots behind tf.where": (lambda x: tf.where(x > 0, tf.sqrt(x), 0 * x), WHERE)}),
    ("size", size, {"roots of a zero": (lambda x: size(x, 0.0), UNGUARDED)}),
    ("ratio_of_norms", ratio, {"divided by a zero": (lambda x: ratio(x, 0.0), UNGUARDED)}),
    ("double_well", lambda x: x**2 * (1 - x) ** 2, {}),
    ("softplus_bound", lambda x: tf.nn.softplus(20 * (x - 1)) / 20, {}),
)  # fmt: skip


def versions() -> Iterator[Version]:
    """All versions of all penalties."""
    for number, (name, values, wrong) in enumerate(PARTS):
        yield from of_penalty(name, values, number, wrong)
