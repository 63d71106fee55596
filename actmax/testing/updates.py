"""`check_gradient_function`, `check_operator`, `check_optimizer` and `check_callback`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from actmax.callbacks import Callback, as_callback
from actmax.constraints import Box
from actmax.maximizer import Maximizer
from actmax.optimizers import SGD, KerasOptimizer, Optimizer
from actmax.testing.common import COUNT, check_fields, name_of, sample_images
from actmax.testing.rows import (
    FLOAT32_ROUNDING,
    Part,
    all_finite,
    check_graph,
    check_independent,
    check_repeat,
    difference,
    pick,
    seeds,
)
from actmax.types import STOP, Snapshot
from regularizers.signatures import asks


def check_gradient_function(function: Any, *, shape: Sequence[int] = (8, 8, 3)) -> None:
    """Checks a gradient function, `gradients [N, ...] -> [N, ...]`.

    Laws: fields; shape and dtype kept; a zero gradient stays zero; finite and not zero for gradients of
    every size from 1e-30 to 1e30; sign: it does not reverse the gradient; axes: rows and columns are
    treated equally, unless it declares `isotropic = False`; repeat; a graph of unknown N agrees; rows
    are independent. A function with `seeds` gives another result for other seeds.

    Args:
        function: the part. It may ask for `images`, `seeds`, `step` and `learning_rate`.
        shape: of one image.

    Raises:
        ContractError: at the first law that breaks.

    Example:
        >>> import actmax
        >>> from actmax import testing
        >>> testing.check_gradient_function(actmax.Normalize("l2"))
    """
    part = Part(name_of(function))
    check_fields(part, function)
    sizes = tuple(int(size) for size in shape)
    wanted = asks("gradient function", function)

    def call(gradients: tf.Tensor, others: Any) -> tf.Tensor:
        images, own, step = others
        offered = {"images": tf.cast(images, gradients.dtype), "seeds": own, "step": step[0]}
        offered["learning_rate"] = tf.fill(tf.shape(gradients)[:1], tf.cast(0.05, gradients.dtype))
        return tf.convert_to_tensor(function(gradients, **{name: offered[name] for name in wanted}))

    given = [sample_images(sizes, tf.float64), seeds(COUNT, 7), tf.zeros([COUNT], tf.int32)]
    for dtype in (tf.float32, tf.float64):
        for size in (0.0, 1e-30, 1e-8, 1.0, 1e30):
            part.place = f"on {dtype.name} gradients of size {size:g}, shape {sizes}"
            gradients = sample_images(sizes, dtype, -1.0, 1.0) * tf.cast(size, dtype)
            with part.trying("shape", "Make it run there."):
                found = call(gradients, given)
            kept = found.shape == gradients.shape and found.dtype == dtype
            received = f"{tuple(found.shape)} {found.dtype.name}"
            part.require("shape", kept, "shape and dtype kept", received, "")
            do = "Scale by the largest value before squaring; use tf.math.divide_no_nan."
            part.require("finite", all_finite(found), "finite gradients", "NaN or infinity", do)
            zero = bool(tf.reduce_all(found == 0))
            expected = "zero to stay zero" if size == 0 else "a gradient that is not lost"
            part.require("zero", zero == (size == 0), expected, "otherwise", do)
    part.place = "in float64"
    gradients = sample_images(sizes, tf.float64, -1.0, 1.0)
    check_repeat(part, call, gradients, given)
    along = tf.reduce_sum(call(gradients, given) * gradients, list(range(1, len(sizes) + 1)))
    part.require(
        "sign",
        tf.reduce_all(along > 0),
        "a gradient that still goes down where it went down",
        f"one that points against it, products {along.numpy()}",
        "Leave its sign: the loop has chosen it.",
    )
    if "seeds" in wanted:
        others = [given[0], seeds(COUNT, 8), given[2]]
        differs = difference(call(gradients, others), call(gradients, given)) > 0
        do = "Draw with regularizers.random from the seeds, or do not ask for them."
        part.require("seeds", differs, "other results of other seeds", "the same", do)
    elif getattr(function, "isotropic", None) is not False:
        _check_axes(part, call, gradients, given)
    check_graph(part, call, gradients, given)
    check_independent(part, call, gradients, given)


def _check_axes(part: Part, call: Any, gradients: tf.Tensor, given: list[tf.Tensor]) -> None:
    """What is done to rows is done to columns."""
    if gradients.shape.rank != 4 or gradients.shape[1] != gradients.shape[2]:
        return
    turn = [0, 2, 1, 3]
    images = tf.transpose(given[0], turn)
    turned = call(tf.transpose(gradients, turn), [images, *given[1:]])
    gap = difference(tf.transpose(turned, turn), call(gradients, given))
    part.require(
        "axes",
        gap <= FLOAT32_ROUNDING,
        "the transposed result of the transposed gradient",
        f"a difference of {gap:.1e}",
        "The axes are [N, H, W, C]: rows are 1, columns 2, channels 3; reduce over both. If it treats "
        "them differently on purpose, say `isotropic: ClassVar[bool] = False`.",
    )


def check_operator(operator: Any, *, shape: Sequence[int] = (8, 8, 3)) -> None:
    """Checks an operator of `AfterUpdate`, `(images, gradients, step) -> images`.

    Laws: fields; shape and dtype kept; finite, also on constant images and with zero gradients; repeat;
    a graph of unknown N agrees; rows are independent, also next to a row of NaN. An operator with
    `learning_rate` does not change images whose rate is 0, and uses the rate of each row. One with
    `seeds` gives another result for other seeds.

    Args:
        operator: the part.
        shape: of one image.

    Raises:
        ContractError: at the first law that breaks.

    Example:
        >>> import actmax
        >>> from actmax import testing
        >>> testing.check_operator(actmax.DecayImage(0.1))
    """
    part = Part(name_of(operator))
    check_fields(part, operator)
    sizes = tuple(int(size) for size in shape)
    wanted = asks("operator", operator)
    own = seeds(COUNT, 7)

    def call(images: tf.Tensor, others: Any) -> tf.Tensor:
        gradients, rates, drawn = others
        offered = {"learning_rate": tf.cast(rates, images.dtype), "seeds": drawn}
        given = {name: offered[name] for name in wanted}
        step = tf.constant(1)
        found = operator(images, tf.cast(gradients, images.dtype), step, **given)
        return tf.convert_to_tensor(found)

    push = sample_images(sizes, tf.float64, -1.0, 1.0)
    rates = tf.constant([0.05] * COUNT, tf.float64)
    for dtype in (tf.float32, tf.float64):
        noise = sample_images(sizes, dtype)
        for word, images, gradients in (
            ("noise", noise, push),
            ("constant images", tf.zeros_like(noise) + tf.cast(0.5, dtype), push),
            ("zero gradients", noise, tf.zeros_like(push)),
        ):
            part.place = f"on {dtype.name} {word} of shape {sizes}"
            with part.trying("shape", "Make it run there."):
                found = call(images, [gradients, rates, own])
            kept = found.shape == images.shape and found.dtype == dtype
            received = f"{tuple(found.shape)} {found.dtype.name}"
            part.require("shape", kept, "shape and dtype kept", received, "")
            do = "Guard roots and divisions."
            part.require("finite", all_finite(found), "finite images", "NaN or infinity", do)
    part.place = "in float64"
    images = sample_images(sizes, tf.float64)
    with part.trying("repeat", "Keep no state."):
        check_repeat(part, call, images, [push, rates, own])
    if "seeds" in wanted:
        other = call(images, [push, rates, seeds(COUNT, 8)])
        differs = difference(other, call(images, [push, rates, own])) > 0
        do = "Draw with regularizers.random from the seeds, or do not ask for them."
        part.require("seeds", differs, "other results of other seeds", "the same", do)
    if "learning_rate" in wanted:
        mixed = call(images, [push, tf.constant([0.0, 0.05, 0.05], tf.float64), own])
        still = difference(pick(mixed, [0]), pick(images, [0])) == 0
        do = "Multiply what it does by the learning rate of the row."
        part.require("rate", still, "rate 0 to move nothing", "a move", do)
        alone = call(images, [push, rates, own])
        off = difference(pick(mixed, [1, 2]), pick(alone, [1, 2]))
        expected = "each row to follow its own rate"
        part.require("rate", off == 0, expected, f"a difference of {off:.1e}", do)
    check_graph(part, call, images, [push, rates, own])
    check_independent(part, call, images, [push, rates, own])


def check_optimizer(optimizer: Any, *, steps: int = 40) -> None:
    """Checks an optimizer of actmax, or a Keras optimizer instance.

    Laws: fields; params and state keep their structure, shapes and dtypes; pure: the same call gives
    the same bytes and changes no argument; finite where gradients are 0; with rate 0 params stay put;
    it goes down the gradient of a parabola; one rate per image (unless `fixed_rows`); a graph of unknown
    N agrees (unless `fixed_rows`); rows are independent, also next to a row of NaN.

    Args:
        optimizer: the part.
        steps: number of updates that must lower the parabola.

    Raises:
        ContractError: at the first law that breaks.

    Example:
        >>> import actmax
        >>> from actmax import testing
        >>> testing.check_optimizer(actmax.Adam(0.05))
    """
    part = Part(type(optimizer).__name__)
    own = isinstance(optimizer, Optimizer)
    with part.trying("independent", "Only optimizers that treat every image by itself will do."):
        rule = optimizer if own else KerasOptimizer(optimizer)
    check_fields(part, optimizer if own else None)
    start = {"image": sample_images((4, 4, 1), tf.float64, -1.0, 1.0)}
    rate = tf.constant([0.05] if rule.fixed_rows else [0.05] * COUNT, tf.float64)

    def drawn(params: Any) -> dict[str, tf.Tensor]:
        rows = tf.shape(tf.nest.flatten(params)[0])[0]
        return {"seeds": tf.zeros([rows, 2], tf.int32)} if "seeds" in rule.asks else {}

    def run(values: Any, others: Any, updates: int = 3) -> Any:
        # The gradient of sum(p^2): another one at every step.
        params, state = values, rule.init(values)
        for _ in range(updates):
            gradients = tf.nest.map_structure(lambda leaf: 2.0 * leaf, params)
            params, state = rule.update(gradients, state, params, others[0], **drawn(params))
        return params

    with part.trying("repeat", "Return new params and a new state; assign to nothing."):
        narrow = tf.nest.map_structure(lambda leaf: tf.cast(leaf, tf.float32), start)
        check_repeat(part, run, narrow, [tf.cast(rate, tf.float32)])
    with part.trying("pure", "Return new params and a new state; assign to nothing."):
        state = rule.init(start)
        _, after = rule.update(start, state, start, rate, **drawn(start))
        tf.nest.assert_same_structure(state, after)
    same = all(
        a.shape == b.shape and a.dtype == b.dtype
        for a, b in zip(tf.nest.flatten(state), tf.nest.flatten(after), strict=True)
    )
    part.require("state", same, "state of the same shapes and dtypes", "others", "")
    check_repeat(part, run, start, [rate])
    flat = tf.nest.map_structure(tf.zeros_like, start)
    unmoved, rest = rule.update(flat, rule.init(start), start, rate, **drawn(start))
    for _ in range(2):
        unmoved, rest = rule.update(flat, rest, unmoved, rate, **drawn(start))
    do = "Guard the division: a gradient may be 0 from the first step on."
    part.require(
        "finite", all_finite(unmoved), "finite params of gradient 0", "NaN or infinity", do
    )
    still = run(start, [tf.zeros_like(rate)])
    do = "Multiply the whole move by the rate."
    part.require("rate", difference(still, start) == 0, "rate 0 to move nothing", "a move", do)
    before = tf.reduce_sum(tf.square(start["image"]))
    after_steps = tf.reduce_sum(tf.square(run(start, [rate], steps)["image"]))
    do = "Move params against the gradient given; the loop has chosen its sign."
    lower = bool(after_steps < before)
    received = f"{float(before):.3g} -> {float(after_steps):.3g}"
    part.require("descent", lower, "a parabola to go down", received, do)
    if rule.fixed_rows:
        check_independent(part, lambda v, _: run(v, [rate]), start, [])
        return
    mixed = run(start, [tf.constant([0.0, 0.05, 0.05], tf.float64)])
    kept = difference(pick(mixed, [0]), pick(start, [0])) == 0
    moved = difference(pick(mixed, [1]), pick(start, [1])) > 0
    part.require("rate", kept and moved, "one rate per image", "one for all", do="")
    check_graph(part, run, start, [rate])
    check_independent(part, run, start, [rate])


def check_callback(callback: Any, *, keep: Literal["last", "best"] = "last") -> None:
    """Checks a callback, or a function of a snapshot, in two runs of six steps.

    Laws: it runs; it returns None, STOP or bool `[N]`; images, scores and history up to where it
    stopped are byte for byte those of a run without it, also if it writes into its snapshot.

    Args:
        callback: the part. It is really called, with all its effects.
        keep: of the run: "best" for a callback that is for such runs.

    Raises:
        ContractError: at the first law that breaks.

    Example:
        >>> import actmax
        >>> from actmax import testing
        >>> testing.check_callback(actmax.Frames())
    """
    part = Part(name_of(callback), "in a run of six steps")
    with part.trying("kind", "Subclass actmax.Callback, or give a function of a snapshot."):
        inner = as_callback(callback)
    answers: list[Any] = []
    real = inner.on_step

    class Recording(Callback):
        def on_begin(self, snapshot: Snapshot) -> None:
            inner.on_begin(snapshot)

        def on_step(self, snapshot: Snapshot) -> Any:
            answers.append(real(snapshot))
            return answers[-1]

        def on_end(self, snapshot: Snapshot) -> None:
            inner.on_end(snapshot)

    maximizer = Maximizer(
        lambda images: tf.reduce_sum(tf.sin(images), axis=[1, 2]),
        input_range=Box(0.0, 1.0),
        input_shape=(4, 4, 1),
        regularizers=[],
        optimizer=SGD(0.05),
    )
    with part.trying("runs", "Make it run on a snapshot of any model."):
        watched = maximizer(0, steps=6, callbacks=[Recording()], callback_every=2, keep=keep)
    fine = all(
        answer is None
        or answer is STOP
        or (isinstance(answer, np.ndarray) and answer.shape == (1,))
        for answer in answers
    )
    part.require("answer", fine, "None, actmax.STOP or bool [N] from on_step", answers, "")
    done = int(watched.steps[0])
    plain = maximizer(0, steps=done, callback_every=2, keep=keep)
    same = all(
        ours.tobytes() == theirs.tobytes()
        for ours, theirs in [
            (watched.images, plain.images),
            (watched.scores, plain.scores),
            *((watched.history[name][:done], plain.history[name]) for name in plain.history),
        ]
    )
    do = "Read the snapshot; to steer a run, use schedules, or start again from result.images."
    part.require("no side effects", same, "the same images with and without it", "others", do)
