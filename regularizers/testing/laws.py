"""The laws of regularizers. Each is a function that raises `Fault` if a part breaks the law."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from regularizers.base import Penalty, Regularizer, Transform, scale_weight
from regularizers.testing import meaning
from regularizers.testing.finite import check_finite
from regularizers.testing.probe import (
    ROUGH,
    Fault,
    Probe,
    difference,
    distance,
    read_global_seed,
    require,
)
from regularizers.testing.sizes import traced
from regularizers.testing.slopes import check_slope

Pair: TypeAlias = tuple[tf.Tensor, ...]

# Rounding that depends on the position of a value: one or two units in the last place.
BY_PLACE = 1e-6
_KEPT_WORDS = (
    "out of scope",
    "cannot be accessed",
    "inaccessible",
    "FuncGraph",
    "symbolic tf.Tensor",
)


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
            "frozen=True), and tuples instead of lists; for an array say "
            "`dataclasses.field(compare=False, repr=False)`."
        ) from error


def _state(probe: Probe) -> None:
    """`update` returns a state like that of `init`, with a row for each image."""
    for dtype in probe.dtypes:
        probe(probe.images("random", probe.shapes[0], dtype, 2), probe.seeds(2))


def _kept(probe: Probe) -> None:
    """After a first trace, before any other call, comes a second trace and then an eager call."""
    shape = probe.first or probe.shapes[0]
    images = probe.images("random", shape, tf.float32, 2)
    for error in (_raised(probe, images), traced(probe, shape)):
        if error is None:
            continue
        if any(word in str(error) for word in _KEPT_WORDS) and not _asks_numpy(error):
            raise Fault(
                "Expected nothing of a trace to be kept for the next. Received a tensor of an "
                "earlier graph, kept in Python (functools.cache, a global, an attribute). Keep "
                "NumPy arrays, and make tensors of them in the call."
            ) from error
        return  # Another law reports this.
    if probe.first_error is not None:
        raise Fault(
            "Expected the first call of all to work inside a trace, as a loop's does. Received "
            f"{_short(probe.first_error)}, and no such error afterwards. Make or load networks "
            "and variables before, outside of the call."
        ) from probe.first_error


def _raised(probe: Probe, images: tf.Tensor) -> BaseException | None:
    """The error that a call raises outside any graph."""
    try:
        probe(images, probe.seeds(2))
    except Exception as error:  # A plug-in may raise any error.
        return error
    return None


def _asks_numpy(error: BaseException) -> bool:
    first = str(error).splitlines()[0]
    return "numpy" in first.lower() or "as a Python" in first


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}".rstrip(": .")


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
                if kept and probe.part.keeps_shape:
                    kept = output.shape == [n, *shape]
                    expected = f"images of shape {(n, *shape)}, because keeps_shape is True"
                    do = "Set keeps_shape False, or keep the spatial sizes."
            require(kept, expected, f"shape {tuple(output.shape)}", do)


def _dtype(probe: Probe) -> None:
    for dtype in probe.dtypes:
        images = probe.images("random", probe.shapes[0], dtype)
        output = probe(images, probe.seeds(1))
        do = "Cast constants and draws to images.dtype."
        require(output.dtype == dtype, f"dtype {dtype.name} kept", output.dtype.name, do)


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


def _graph(probe: Probe) -> None:
    for shape in probe.shapes:
        compiled = probe.compiled(shape)
        for n in (2, 3):
            images = probe.images("random", shape, tf.float32, n)
            eager = probe.differentiated(images, probe.seeds(n))
            graph = compiled(images, probe.seeds(n))
            for what, first, second in zip(("values", "gradients"), graph, eager, strict=True):
                require(
                    distance(first, second) <= 10 * ROUGH
                    if probe.rough
                    else distance(first, second) <= ROUGH,
                    f"the same {what} in a tf.function of unknown N as in eager mode",
                    difference(distance(first, second)),
                    "Use TensorFlow operations for all that depends on images, seeds or step.",
                )


def _source(probe: Probe) -> str:
    """Allowed sources of random numbers for a part of this kind."""
    if probe.is_penalty and not probe.draws:
        return (
            "Keep no state and draw nothing; a penalty that is to draw asks for `seeds` in its call, "
            "and draws with regularizers.random."
        )
    return "Draw with regularizers.random, from the seeds that you were given and nothing else."


def _repeat(probe: Probe) -> None:
    shape = probe.shapes[0]
    compiled = probe.compiled(shape)
    images = probe.images("random", shape, tf.float32, 4)
    for mode, function in (("eager mode", probe), ("a tf.function", compiled)):
        first, second = (tf.nest.flatten(function(images, probe.seeds(4)))[0] for _ in range(2))
        require(
            first.shape == second.shape and tf.reduce_all(first == second),
            f"the same result of the same call in {mode}",
            difference(distance(first, second)),
            _source(probe),
        )


def _seeds(probe: Probe) -> None:
    shape = probe.shapes[0]
    compiled = probe.compiled(shape)
    images = probe.images("random", shape, tf.float32, 8)
    for mode, function in (("eager mode", probe), ("a tf.function", compiled)):
        first, second = (
            tf.nest.flatten(function(images, probe.seeds(8, stream)))[0] for stream in (0, 1)
        )
        do = (
            "Draw with regularizers.random from the seeds: a draw of NumPy is made once, while "
            "tracing. Check with a strength above 0. If it is to draw nothing, "
        )
        do += (
            "do not ask for seeds."
            if probe.is_penalty
            else "subclass Transform with `draws: ClassVar[bool] = False`."
        )
        same = tf.reduce_all(first == second)
        require(not same, f"other results of other seeds in {mode}", "the same", do)


def _rows_agree(
    probe: Probe, rows: Sequence[int], together: Pair, others: Sequence[Pair], do: str
) -> None:
    for row, other in zip(rows, others, strict=True):
        for what, first, second in zip(("values", "gradients"), together, other, strict=True):
            off = distance(first[row : row + 1], second)
            require(
                off <= probe.rounding,
                f"the {what} of image {row} to depend on that image alone",
                difference(off),
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
        _rows_agree(probe, (0, 1, 2), together, alone, do)


def _isolated(probe: Probe) -> None:
    shape = probe.shapes[0]
    seeds, batch = probe.seeds(3), probe.images("random", shape, tf.float64, 3)
    probe.place += " whose image 1 is NaN"
    spoilt = tf.reshape(tf.constant([False, True, False]), [3] + [1] * len(shape))
    clean = probe.differentiated(batch, seeds)
    mixed = probe.differentiated(tf.where(spoilt, batch * float("nan"), batch), seeds)
    expected = [tuple(values[n : n + 1] for values in clean) for n in (0, 2)]
    do = "Let no row be multiplied into another, not even by 0."
    _rows_agree(probe, (0, 2), mixed, expected, do)


def _order(probe: Probe) -> None:
    """Rows in another order are the same rows, up to float32 rounding that depends on the position."""
    shape = probe.shapes[0]
    seeds, batch = probe.seeds(3), probe.images("random", shape, tf.float32, 3)
    compiled = probe.compiled(shape)
    back = [2, 1, 0]
    forward = compiled(batch, seeds)
    turned = compiled(tf.gather(batch, back), tf.gather(seeds, back))
    probe.place = f"on a random float32 batch of shape {(3, *shape)}, and on it turned round"
    for what, first, second in zip(("values", "gradients"), forward, turned, strict=True):
        off = distance(first, tf.gather(second, back))
        require(
            off <= (ROUGH if probe.part.couples_images else BY_PLACE),
            f"the same {what} of rows in another order",
            difference(off),
            "Treat all rows alike: no first row, no sorting or weighting by place.",
        )


def _range(probe: Probe) -> None:
    for shape in probe.shapes:
        for kind in ("random", "checkerboard", "faint"):
            output = probe(probe.images(kind, shape, tf.float64, 4), probe.seeds(4))
            rounding = 1e-12 * (abs(probe.low) + abs(probe.high))
            if probe.rough:
                rounding = ROUGH * probe.width
            beyond = tf.reduce_max(tf.maximum(output - probe.high, probe.low - output))
            require(
                beyond <= rounding,
                f"values within {probe.low:g} .. {probe.high:g}, the range of the images tried, "
                "because keeps_range is True",
                f"values outside by up to {float(beyond):.3g}",
                "Replicate the border instead of padding with a value, or set keeps_range False. For "
                "images of another range give image_range=.",
            )


def _ahead(probe: Probe) -> None:
    """Values computed for many calls at once are equal to those of each call."""
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
                difference(distance(received, expected)),
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
    images, seeds = probe.images("random", probe.shapes[0], tf.float32), probe.seeds(1)
    other = dataclasses.replace(probe, part=scaled)
    require(
        distance(other(images, seeds), probe(images, seeds)) <= ROUGH,
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


def _is_plain(part: Any) -> bool:
    """Whether the part depends only on the image, so that changes of the image describe it."""
    return not (_is_penalty(part) and (part.inner_layers or part.array_names))


def _is_plain_penalty(part: Any) -> bool:
    return _is_penalty(part) and _is_plain(part)


def _is_drawing(part: Any) -> bool:
    return "seeds" in part.asks if isinstance(part, Penalty) else bool(part.draws)


# Name of the law, the kinds of parts for which it holds, and the function that tests it. The order
# makes sure that a fault is first found by the law that describes it best.
LAWS: dict[str, tuple[Callable[[Any], bool], Callable[[Probe], None]]] = {
    "fields": (lambda part: True, _fields),
    "kept": (lambda part: True, _kept),
    "state": (lambda part: _is_penalty(part) and part.remembers, _state),
    "shape": (lambda part: True, _shape),
    "dtype": (lambda part: True, _dtype),
    "repeat": (lambda part: True, _repeat),
    "seeds": (_is_drawing, _seeds),
    "global state": (lambda part: True, _global_state),
    "connected": (lambda part: True, _connected),
    "finite": (lambda part: True, check_finite),
    "gradient": (lambda part: True, check_slope),
    "graph": (lambda part: True, _graph),
    "independent": (lambda part: not part.couples_images, _independent),
    "isolated": (lambda part: not part.couples_images, _isolated),
    "order": (lambda part: True, _order),
    "range": (lambda part: _is_transform(part) and part.keeps_range, _range),
    "ahead": (_is_transform, _ahead),
    "share": (lambda part: _is_penalty(part) and part.couples_images, meaning.check_share),
    "resolution": (_is_penalty, meaning.check_resolution),
    "axes": (_is_plain, meaning.check_axes),
    "units": (_is_plain_penalty, meaning.check_units),
    "words": (_is_plain_penalty, meaning.check_words),
    "weight": (_is_penalty, _weight),
}

# If one law is broken, these laws are skipped. For example, a part whose results differ between calls,
# or are not finite, cannot be compared.
_COMPARED = ("gradient", "graph", "independent", "isolated", "order", "share", "resolution", "axes",
             "units", "words", "weight", "ahead", "seeds")  # fmt: skip
IMPLIED: dict[str, tuple[str, ...]] = {
    "state": (*_COMPARED, "shape", "dtype", "repeat", "global state", "connected", "finite"),
    "shape": ("share", "order", "resolution", "axes", "units", "words"),
    "repeat": _COMPARED,
    "finite": ("order", "share", "resolution", "units"),
    "independent": ("order",),
}
