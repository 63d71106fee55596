"""Tests whether a gradient reaches the images, and if not, which operation has none."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from actmax import checks
from actmax.loop.tensors import sizes
from actmax.problem import Problem
from actmax.types import Images

# Types of operations that make whole numbers of images, or look them up.
_WHOLE = ("Cast", "Gather", "GatherV2", "ResourceGather")


def check_penalty(name: str, gradient: tf.Tensor | None) -> None:
    """Raises ValueError if a penalty has no gradient, because it would have no effect."""
    if gradient is None:
        raise ValueError(
            checks.message(
                f"a penalty {name!r} that depends differentiably on the images",
                "no gradient",
                "Counts, rounding and comparisons have none: use a smooth measure, or make it a "
                "metric, which is only recorded.",
            )
        )


def check_connected(total: tf.Tensor, images: Images, ascent: dict[str, Any]) -> None:
    """Raises ValueError if the score has no gradient. The message names the operation without one."""
    cut = [name for name, gradient in ascent.items() if gradient is None]
    if not cut:
        return
    culprit = None if tf.executing_eagerly() else _culprit(total, images[cut[0]])
    if culprit is None and len(cut) < len(ascent):
        # The others have a gradient, and no operation after this one stops it. So this one is not
        # connected.
        raise ValueError(
            checks.message(
                f"a score that depends differentiably on the input {cut[0]!r}",
                "no gradient with respect to it, but to "
                + ", ".join(repr(name) for name in ascent if name not in cut),
                f"Hold it: fixed={{{cut[0]!r}: values of shape [1, ...]}}, or name an objective that "
                "depends on every input.",
            )
        )
    where = f" after the operation {culprit.name!r} of type {culprit.type}" if culprit else ""
    looked_up = (
        " If an Embedding looks its numbers up, they stand for letters: input_range=actmax.OneHot(alphabet)."
        if culprit is not None and culprit.type in _WHOLE
        else ""
    )
    raise ValueError(
        checks.message(
            f"a score that depends differentiably on the input {cut[0]!r}",
            f"no gradient{where}",
            "Integer casts, argmax, round, lookups and NumPy code cut the gradient: give the layer "
            f"behind it as the model, or an objective in front of it.{looked_up}",
        )
    )


def _culprit(total: tf.Tensor, image: tf.Tensor) -> tf.Operation | None:
    """The first operation without a gradient on the path from the image to the score."""
    reached: dict[str, tf.Operation] = {}
    frontier = [image]
    while frontier:
        for operation in frontier.pop().consumers():
            if operation.name not in reached:
                reached[operation.name] = operation
                frontier += operation.outputs
    needed: set[str] = set()
    stack = [total.op]
    while stack:
        operation = stack.pop()
        if operation.name in reached and operation.name not in needed:
            needed.add(operation.name)
            stack += [tensor.op for tensor in operation.inputs]
    for operation in reached.values():
        if operation.name in needed and _cuts(operation, image):
            return operation
    return None


def _cuts(operation: tf.Operation, image: tf.Tensor) -> bool:
    """Whether no gradient of an operation's result reaches the image."""
    try:
        return tf.gradients(operation.outputs[0], image)[0] is None
    except LookupError:  # TensorFlow has no gradient for it
        return True


def has_gradient(problem: Problem, ascent: Images, size: tf.Tensor) -> tf.Tensor:
    """Whether the score itself has a gradient, without the penalties. bool `[N]`.

    Args:
        problem: the problem with its penalties.
        ascent: gradient of the score with respect to images.
        size: size of the gradient of J with respect to params, `[N]`.
    """
    # Without penalties, this is the gradient of the score with respect to params.
    return (size > 0) & (sizes(ascent) > 0) if problem.penalties else size > 0
