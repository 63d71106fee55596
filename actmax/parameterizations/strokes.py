"""Images drawn with a pen: params are the control points of smooth strokes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.parameterizations.base import Parameterization, Shape, image_shape
from actmax.types import Params
from regularizers import lanes, random
from regularizers.slopes import custom_gradient

INKS = ("bright", "dark", "color")

_DEGREE = 3
# Straight pieces between two control points: of 2,000 random curves of five points in 28 pixels none
# was more than 0.09 pixels away from its pieces.
_PIECES = 5
# Square pixels under the roots and quotients: a length of 0 has a finite gradient, and none is
# longer by more than a thousandth of a pixel.
_EPSILON = 1e-6
_LEAST = 0.01  # pixels
_MOST_MARGIN = 0.45  # of the shorter side: more leaves nowhere to draw
# Of strokes at the start: their middle, in shorter sides, and the logarithm of their radius.
_MIDDLE_STD = 0.15
_RADIUS_STD = 0.25


@dataclasses.dataclass(frozen=True)
class Strokes(Parameterization):
    """Strokes of a pen, each a smooth curve with its own width. `-> [N, H, W, C]` in (0, 1).

    Stroke k is a clamped uniform cubic B-spline (of lower degree with fewer than four points), drawn
    as straight pieces. Let `d_k(p)` be the distance between the stroke and the middle of pixel p, in
    pixels. The stroke covers the pixel by

        a_k(p) = sigmoid( (r_k - d_k(p)) / softness ),    r_k = radius exp(log_radius_k),

    and strokes are drawn over the background in turn: `x <- (1 - a_k) x + a_k ink_k`. With ink
    "bright", strokes are 1 on a background of 0. With "dark", they are 0 on 1. With "color", each
    stroke and the background have their own color. Params are `points` `[N, K, P, 2]`, `log_radius`
    `[N, K]`, and for "color" the logits of `colors` `[N, K, C]` and `ground` `[N, C]`. The position (y,
    x) of a control point is `reach tanh(point / reach)`, measured from the middle of the image in units
    of its shorter side. The reach ends at `margin`, so no curve leaves the picture. Params do not
    depend on the resolution, but the radius does.

    Strokes are a strong prior for digits, letters and sketches. For these, other networks recognize
    the drawings, and different starts give different drawings. The score is lower than with pixels.
    A curve cannot jump to another place, so run several starts per image and keep the best. The
    default optimizer is Adam with a learning rate of 0.02. No image can be encoded.

    Source: Frans, Soros and Witkowski, CLIPDraw: exploring text-to-drawing synthesis through
    language-image encoders, 2021, https://arxiv.org/abs/2106.14843; curves as of Li, Lukac, Gharbi and
    Ragan-Kelley, Differentiable vector graphics rasterization, 2020,
    https://doi.org/10.1145/3414685.3417871. There coverage is integrated; here it is a smooth function
    of the distance, so that a stroke has a gradient also where it does not reach yet.

    Args:
        strokes: K, at least 1.
        points: P, control points of each, at least 2.
        radius: half the width of a stroke at the start, in pixels, at least 0.01.
        softness: of its edge, in pixels, at least 0.01.
        spread: standard deviation of the step from one control point to the next at the start, in
            units of the shorter side.
        margin: distance of control points (and so of curves) from the border, in units of the
            shorter side, 0 to 0.45.
        ink: "bright", "dark" or "color".

    Raises:
        ValueError: for inputs that are not images, or if start images are given.

    Example:
        >>> import tensorflow as tf
        >>> import actmax
        >>> part = actmax.Strokes(strokes=2, points=4)
        >>> params = part.init((28, 28, 1), tf.constant([[0, 1], [0, 2]]))
        >>> params["points"].shape, part.decode(params, (28, 28, 1)).shape
        (TensorShape([2, 2, 4, 2]), TensorShape([2, 28, 28, 1]))
    """

    strokes: int = 2
    points: int = 5
    radius: float = 1.3
    softness: float = 0.6
    spread: float = 0.2
    margin: float = 0.1
    ink: str = "bright"

    def __post_init__(self) -> None:
        checks.integer(self.strokes, "strokes", low=1)
        checks.integer(self.points, "points", low=2)
        checks.number(self.radius, "radius", low=_LEAST)
        checks.number(self.softness, "softness", low=_LEAST)
        checks.number(self.spread, "spread", low=0.0)
        checks.number(self.margin, "margin", low=0.0, high=_MOST_MARGIN)
        checks.one_of(self.ink, "ink", INKS)

    @property
    def image_range(self) -> tuple[float, float]:
        return (0.0, 1.0)

    @property
    def rate(self) -> float:
        return 0.02

    def init(self, shape: Shape, seed: tf.Tensor, dtype: tf.DType = tf.float32) -> Params:
        _, _, channels = image_shape(shape, self)

        def normal(stream: int, sizes: list[int], std: float) -> tf.Tensor:
            return random.normal(random.fold_in(seed, stream), sizes, 0.0, std, dtype)

        steps = normal(0, [self.strokes, self.points, 2], self.spread)
        path = tf.cumsum(steps, axis=2)
        path -= tf.reduce_mean(path, axis=2, keepdims=True)
        params = {
            "points": path + normal(1, [self.strokes, 1, 2], _MIDDLE_STD),
            "log_radius": normal(2, [self.strokes], _RADIUS_STD),
        }
        if self.ink == "color":
            params["colors"] = normal(3, [self.strokes, channels], 1.0)
            params["ground"] = normal(4, [channels], 1.0)
        return params

    def decode(self, params: Params, shape: Shape) -> tf.Tensor:
        height, width, channels = image_shape(shape, self)
        covered = self._coverage(params, height, width)
        if self.ink == "color":
            inks = lanes.by_row(tf.sigmoid, params["colors"])
            image = lanes.by_row(tf.sigmoid, params["ground"])[:, None, :]
            for k in range(self.strokes):
                share = covered[:, k, :, None]
                image = (1.0 - share) * image + share * inks[:, k, None, :]
        else:
            ground = tf.reduce_prod(1.0 - covered, axis=1)[:, :, None]
            image = ground if self.ink == "dark" else 1.0 - ground
            image = tf.repeat(image, channels, axis=2)
        return tf.reshape(image[:, : height * width], [-1, height, width, channels])

    def _coverage(self, params: Params, height: int, width: int) -> tf.Tensor:
        """Share of every pixel that a stroke covers. `-> [N, K, >= H * W]`."""
        shorter = float(min(height, width))
        dtype = params["points"].dtype
        reach = tf.constant([side / shorter / 2 - self.margin for side in (height, width)], dtype)
        points = reach * lanes.by_row(tf.tanh, params["points"] / reach)
        curve = shorter * tf.matmul(tf.constant(self._basis(), dtype), points)
        pieces = tf.concat([curve[:, :, :-1], curve[:, :, 1:] - curve[:, :, :-1]], axis=3)
        places = tf.constant(_pixels(height, width), dtype)
        nearest = _picked(pieces, _nearest(tf.stop_gradient(pieces), places))
        here, along = places - nearest[..., :2], nearest[..., 2:]
        length = tf.reduce_sum(tf.square(along), axis=3) + _EPSILON
        at = tf.clip_by_value(tf.reduce_sum(here * along, axis=3) / length, 0.0, 1.0)
        square = tf.reduce_sum(tf.square(here - at[..., None] * along), axis=3)
        radius = self.radius * lanes.by_row(tf.exp, params["log_radius"])[:, :, None]
        return tf.sigmoid((radius - tf.sqrt(square + _EPSILON)) / self.softness)

    def _basis(self) -> np.ndarray:
        """Weights of the control points in every corner of the curve. `[corners, P]`."""
        from scipy.interpolate import BSpline  # a fifth of a second, which no other picture pays

        degree = min(_DEGREE, self.points - 1)
        inner = np.linspace(0.0, 1.0, self.points - degree + 1)
        knots = np.concatenate([np.zeros(degree), inner, np.ones(degree)])
        corners = np.linspace(0.0, 1.0, _PIECES * (self.points - 1) + 1)
        return np.asarray(BSpline(knots, np.eye(self.points), degree)(corners))


def _pixels(height: int, width: int) -> np.ndarray:
    """Middle of every pixel from that of the image, and zeros up to whole lanes. `[>= H * W, 2]`."""
    y, x = np.meshgrid(
        np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij"
    )
    # See CPPN: without the zeros a row would depend, in its last bit, on its place in the batch.
    missing = -height * width % lanes.LANES
    return np.pad(np.stack([y.ravel(), x.ravel()], axis=1), [(0, missing), (0, 0)])


def _nearest(pieces: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Which piece of its curve is next to each place. `[N, K, S, 4], [M, 2] -> [N, K, M]` int32.

    The square of the distance, less that of the place, which is the same for all pieces:
    `|a|^2 - 2 p.a + t (t |b|^2 - 2 (p - a).b)` for a piece from a along b. What is lost to rounding
    decides between pieces that are as near as each other.
    """
    begin, along = pieces[..., :2], pieces[..., 2:]

    def product(vectors: tf.Tensor) -> tf.Tensor:
        # A sum of products, which TensorFlow computes for every K.
        y, x = vectors[..., :1], vectors[..., 1:]
        return y * places[:, 0] + x * places[:, 1]

    length = tf.reduce_sum(tf.square(along), axis=3, keepdims=True)
    dot = product(along) - tf.reduce_sum(begin * along, axis=3, keepdims=True)
    at = tf.clip_by_value(dot / (length + _EPSILON), 0.0, 1.0)
    square = tf.reduce_sum(tf.square(begin), axis=3, keepdims=True) - 2.0 * product(begin)
    square += at * (at * length - 2.0 * dot)
    return tf.argmin(square, axis=2, output_type=tf.int32)


def _picked(pieces: tf.Tensor, which: tf.Tensor) -> tf.Tensor:
    """The chosen piece for every place. `[N, K, S, 4], [N, K, M] -> [N, K, M, 4]`.

    The gradient of `gather` adds up in an order that no device promises; a product with ones does not.
    """

    @custom_gradient
    def picked(pieces: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            ones = tf.one_hot(which, tf.shape(pieces)[2], dtype=upstream.dtype)
            return tf.matmul(ones, upstream, transpose_a=True)

        return tf.gather(pieces, which, batch_dims=2), gradient

    return picked(pieces)
