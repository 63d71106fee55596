"""The laws of regularizers, each as a function that raises `Fault` on one that breaks it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from regularizers.base import Penalty, Regularizer, Transform, scale_weight
from regularizers.testing.probe import KINDS, Fault, Probe, distance, read_global_seed, require

Pair: TypeAlias = tuple[tf.Tensor, ...]

DTYPES = (tf.float16, tf.float32, tf.float64)
# Copies along each spatial axis for the law of resolution: a sum grows 4 times or more, its root
# twice or more, and a mean of differences by less than 1.4, because of the seams.
TILES, GROWTH = 4, 0.4
# Rounding in float32 between kernels, and in float64, in units of the largest value.
ROUNDING = {tf.float32: 1e-5, tf.float64: 1e-10}
# Central differences in float64: the step, in units of the range, balances rounding (1e-16 / h)
# against the third derivative (h^2).
STEP, SLOPE_TOLERANCE = 1e-5, 1e-4


def _fields(probe: Probe) -> None:
    held = [
        field.name
        for field in dataclasses.fields(probe.part)
        if isinstance(getattr(probe.part, field.name), (tf.Tensor, tf.Variable))
    ]
    require(
        not held,
        "fields of plain numbers, so that the part compares, prints and traces by value",
        f"tensors in {held}",
        "Store numbers and make tensors of them in __call__.",
    )
    try:
        hash(probe.part)
    except TypeError as error:
        raise Fault(
            f"Expected fields that can be hashed. Received: {error}. Use @dataclasses.dataclass("
            "frozen=True), and tuples instead of lists."
        ) from error


def _shape(probe: Probe) -> None:
    for shape in probe.shapes:
        for n in (1, 3):
            output = probe(probe.images("random", shape, tf.float32, n), probe.seeds(n))
            if probe.is_penalty:
                kept, expected = output.shape == [n], f"penalties of shape ({n},), one per image"
                do = f"Reduce over all axes but the first, {tuple(range(1, len(shape) + 1))}."
            else:
                kept = output.shape.rank == len(shape) + 1
                kept = kept and (output.shape[0], output.shape[-1]) == (n, shape[-1])
                expected = f"images of rank {len(shape) + 1} with {n} rows, {shape[-1]} channels"
                do = "Change spatial sizes only."
            require(kept, expected, f"shape {tuple(output.shape)}", do)


def _dtype(probe: Probe) -> None:
    for dtype in DTYPES:
        images = probe.images("random", probe.shapes[0], dtype)
        output = probe(images, probe.seeds(1))
        do = "Cast constants and draws to images.dtype."
        require(output.dtype == dtype, f"dtype {dtype.name} kept", output.dtype.name, do)


def _finite(probe: Probe) -> None:
    for shape in probe.shapes:
        for dtype in DTYPES:
            for kind in KINDS:
                images = probe.images(kind, shape, dtype)
                output, gradient = probe.differentiated(images, probe.seeds(1))
                do = "Guard roots, norms, logarithms and divisions, inside and before they apply."
                for what, values in (("finite values", output), ("a finite gradient", gradient)):
                    require(
                        tf.reduce_all(tf.math.is_finite(values)),
                        what,
                        "NaN or infinity",
                        do,
                    )


def _connected(probe: Probe) -> None:
    for shape in probe.shapes:
        images = probe.images("random", shape, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(images)
            product = probe.product(probe(images, probe.seeds(1)))
        require(
            tape.gradient(product, images) is not None,
            "a gradient with respect to the images",
            "None",
            "Use operations that have one: not tf.round, integers, or tf.stop_gradient of all.",
        )


def _gradient(probe: Probe) -> None:
    for shape in probe.shapes:
        images, seeds = probe.images("random", shape, tf.float64, 2), probe.seeds(2)
        step = STEP * (probe.high - probe.low)
        output, gradient = probe.differentiated(images, seeds)
        scale = float(tf.reduce_sum(tf.abs(probe.product(output))))
        for stream in (11, 12, 13):
            # Summed over the batch, as the gradient is: who couples images is for another law.
            direction = probe.direction(stream, shape)
            ahead = tf.reduce_sum(probe.product(probe(images + step * direction, seeds)))
            behind = tf.reduce_sum(probe.product(probe(images - step * direction, seeds)))
            expected = float(ahead - behind) / (2 * step)
            received = float(tf.reduce_sum(gradient * direction))
            # Rounding of the two values, of which 1e-15 is ten times the unit, over their distance.
            rounding = 1e-15 * scale / step
            largest = max(abs(expected), abs(received))
            require(
                abs(expected - received) <= SLOPE_TOLERANCE * largest + rounding,
                f"the slope of central differences, {expected:.6g}",
                f"{received:.6g} from the gradient",
                "Correct the custom gradient, or a float32 cast inside a float64 computation.",
            )


def _graph(probe: Probe) -> None:
    for shape in probe.shapes:
        compiled = probe.compiled(shape)
        for n in (2, 3):
            images = probe.images("random", shape, tf.float32, n)
            eager = probe.differentiated(images, probe.seeds(n))
            graph = compiled(images, probe.seeds(n))
            for what, first, second in zip(("values", "gradients"), graph, eager, strict=True):
                require(
                    distance(first, second) <= ROUNDING[tf.float32],
                    f"the same {what} in a tf.function of unknown N as in eager mode",
                    f"a difference of {distance(first, second):.1e} of the largest",
                    "Use TensorFlow operations for all that depends on images, seeds or step.",
                )


def _repeat(probe: Probe) -> None:
    shape = probe.shapes[0]
    compiled = probe.compiled(shape)
    images = probe.images("random", shape, tf.float32, 4)
    for mode, function in (("eager mode", probe), ("a tf.function", compiled)):
        first, second = (tf.nest.flatten(function(images, probe.seeds(4)))[0] for _ in range(2))
        require(
            first.shape == second.shape and tf.reduce_all(first == second),
            f"the same result of the same call in {mode}",
            f"a difference of {distance(first, second):.1e} of the largest value",
            "Draw with regularizers.random, from the seeds that you were given and nothing else.",
        )


def _seeds(probe: Probe) -> None:
    shape = probe.shapes[0]
    compiled = probe.compiled(shape)
    images = probe.images("random", shape, tf.float32, 8)
    for mode, function in (("eager mode", probe), ("a tf.function", compiled)):
        first, second = (
            tf.nest.flatten(function(images, probe.seeds(8, stream)))[0] for stream in (0, 1)
        )
        require(
            not tf.reduce_all(first == second),
            f"other results of other seeds in {mode}",
            "the same",
            "Draw with regularizers.random from the seeds: a draw of NumPy is made once, while "
            "tracing. Check with a strength above 0. If it is to draw nothing, subclass Transform "
            "with `draws: ClassVar[bool] = False`.",
        )


def _rows_agree(rows: Sequence[int], together: Pair, others: Sequence[Pair], do: str) -> None:
    for row, other in zip(rows, others, strict=True):
        for what, first, second in zip(("values", "gradients"), together, other, strict=True):
            off = distance(first[row : row + 1], second)
            require(
                off <= ROUNDING[tf.float64],
                f"the {what} of image {row} to depend on that image alone",
                f"a difference of {off:.1e} of the largest value",
                do,
            )


def _independent(probe: Probe) -> None:
    for shape in probe.shapes:
        seeds, batch = probe.seeds(3), probe.images("random", shape, tf.float64, 3)
        together = probe.differentiated(batch, seeds)
        alone = [probe.differentiated(batch[n : n + 1], seeds[n : n + 1]) for n in range(3)]
        do = (
            "Reduce over all axes but the first, and draw for each row from its own seeds. If it "
            "couples images on purpose, set `couples_images: ClassVar[bool] = True`."
        )
        _rows_agree((0, 1, 2), together, alone, do)


def _isolated(probe: Probe) -> None:
    shape = probe.shapes[0]
    seeds, batch = probe.seeds(3), probe.images("random", shape, tf.float64, 3)
    probe.place += " whose image 1 is NaN"
    spoilt = tf.reshape(tf.constant([False, True, False]), [3] + [1] * len(shape))
    clean = probe.differentiated(batch, seeds)
    mixed = probe.differentiated(tf.where(spoilt, batch * float("nan"), batch), seeds)
    expected = [tuple(values[n : n + 1] for values in clean) for n in (0, 2)]
    do = "Let no row be multiplied into another, not even by 0."
    _rows_agree((0, 2), mixed, expected, do)


def _range(probe: Probe) -> None:
    for shape in probe.shapes:
        for kind in ("random", "checkerboard"):
            images = probe.images(kind, shape, tf.float64, 4)
            output = probe(images, probe.seeds(4))
            rounding = 1e-12 * (abs(probe.low) + abs(probe.high))
            axes = list(range(1, len(shape) + 1))
            above = tf.reduce_max(output, axes) - tf.reduce_max(images, axes)
            below = tf.reduce_min(images, axes) - tf.reduce_min(output, axes)
            require(
                tf.reduce_max(tf.maximum(above, below)) <= rounding,
                "values within the range of each image, because keeps_range is True",
                f"values outside by up to {float(tf.reduce_max(tf.maximum(above, below))):.3g}",
                "Replicate the border instead of padding with a value, or set keeps_range False.",
            )


def _resolution(probe: Probe) -> None:
    for shape in probe.shapes:
        for kind in ("random", "constant"):
            copies = [1] + [TILES] * (len(shape) - 1 or 1) + [1] * (len(shape) > 1)
            images = probe.images(kind, shape, tf.float64)
            small = probe(images, probe.seeds(1))
            large = probe(tf.tile(images, copies), probe.seeds(1))
            largest = tf.maximum(tf.abs(small), tf.abs(large))
            require(
                tf.reduce_all(tf.abs(large - small) <= GROWTH * largest + 1e-9),
                "about the same value for an image and for copies of it side by side, so that a "
                "weight means the same at every size",
                f"{float(small[0]):.4g} and {float(large[0]):.4g}",
                "Take the mean over pixels and channels, not the sum.",
            )


def _ahead(probe: Probe) -> None:
    """What is worked out for many calls at once is what each call works out."""
    rows, calls = 3, 2
    for shape in probe.shapes:
        seeds = probe.seeds(rows * calls)
        known = probe.part.ahead(shape, seeds, tf.constant(rows))
        if known is None:
            continue
        images = probe.images("random", shape, tf.float32, rows)
        for call in range(calls):
            own = slice(call * rows, (call + 1) * rows)
            expected = probe(images, seeds[own])
            received = probe.part.apply(images, known[own])
            require(
                received.shape == expected.shape and tf.reduce_all(received == expected),
                "apply(images, ahead) to be what a call with the same seeds returns",
                f"a difference of {distance(received, expected):.1e} of the largest value",
                "Let __call__, ahead and apply share their code, and draw for each row by itself.",
            )


def _weight(probe: Probe) -> None:
    part, before = probe.part, probe.part.weight
    scaled = 2.0 * part
    require(
        scaled is not part and part.weight == before,
        "`2.0 * penalty` to be a new penalty, and the old one to keep its weight",
        f"the weight {part.weight!r} where it was {before!r}",
        "Leave * to the Penalty class.",
    )
    if not callable(before):
        require(
            type(scaled) is type(part) and scaled.weight == scale_weight(before, 2.0),
            f"`2.0 * penalty` to have the weight {scale_weight(before, 2.0)!r}",
            f"{scaled!r}",
            "Leave * to the Penalty class.",
        )
    images = probe.images("random", probe.shapes[0], tf.float32)
    require(
        distance(scaled(images), part(images)) <= ROUNDING[tf.float32],
        "a call to give the unweighted value, whatever the weight",
        "another value from `2.0 * penalty`",
        "Do not multiply by self.weight: the loop does.",
    )


def _global_state(probe: Probe) -> None:
    probe(probe.images("random", probe.shapes[0], tf.float32), probe.seeds(1))
    probe.compiled(probe.shapes[0])
    before, after = probe.global_seed, read_global_seed()
    do = "Remove tf.random.set_seed: draw with regularizers.random, which needs none."
    require(before == after, f"TensorFlow's global seed to stay {before}", after, do)


def _is_penalty(part: Regularizer) -> bool:
    return isinstance(part, Penalty)


def _is_transform(part: Regularizer) -> bool:
    return isinstance(part, Transform)


# Name of the law, whom it is for, and how it is tried. In an order in which a fault is first met by
# the law that names it best.
LAWS: dict[str, tuple[Callable[[Any], bool], Callable[[Probe], None]]] = {
    "fields": (lambda part: True, _fields),
    "shape": (lambda part: True, _shape),
    "dtype": (lambda part: True, _dtype),
    "repeat": (lambda part: True, _repeat),
    "seeds": (lambda part: _is_transform(part) and part.draws, _seeds),
    "global state": (lambda part: True, _global_state),
    "connected": (lambda part: True, _connected),
    "finite": (lambda part: True, _finite),
    "gradient": (lambda part: True, _gradient),
    "graph": (lambda part: True, _graph),
    "independent": (lambda part: not part.couples_images, _independent),
    "isolated": (lambda part: not part.couples_images, _isolated),
    "range": (lambda part: _is_transform(part) and part.keeps_range, _range),
    "ahead": (_is_transform, _ahead),
    "resolution": (_is_penalty, _resolution),
    "weight": (_is_penalty, _weight),
}
