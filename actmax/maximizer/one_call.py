"""Compile and run in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from actmax import models
from actmax.constraints import OneHot
from actmax.maximizer import inferred
from actmax.maximizer.core import Maximizer
from actmax.maximizer.misnamed import answered
from actmax.result import Result


@answered("maximize")
def maximize(
    model: Any,
    objective: Any = None,
    targets: Any = None,
    *,
    input_range: Any = None,
    regularizers: Sequence[Any] | None = None,
    parameterization: Any = None,
    optimizer: Any = None,
    gradients: Sequence[Callable[[tf.Tensor], tf.Tensor]] | None = None,
    metrics: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] | None = None,
    labels: Sequence[str] | None = None,
    preprocess: Any = None,
    copies: int | None = None,
    antithetic: bool = False,
    canvas: tuple[int, int] | None = None,
    mask: Any = None,
    compile: Literal["plain", "auto", "fold", "xla", "recompute", False] = "plain",
    precision: Literal["float32", "float64", "bfloat16", "float16", "mixed"] | None = None,
    device: str | None = None,
    input_shape: Any = None,
    fixed: Mapping[str, Any] | None = None,
    balance: bool | None = None,
    natural: Any = None,
    steps: int = 256,
    seed: int | Sequence[int] = 0,
    weights: Mapping[str, Any] | None = None,
    learning_rate: Any = None,
    images: int | None = None,
    initial_images: Any = None,
    arrays: Mapping[str, Any] | None = None,
    callbacks: Sequence[Any] = (),
    callback_every: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    keep: Literal["last", "best", "highest"] | None = None,
    on_failure: Literal["status", "raise"] = "status",
    verbose: bool = False,
) -> Result:
    """The images that a part of a network responds to most. `-> Result`, images `[N, ...]`.

    `Maximizer(model, objective, ...)(targets, ...)` in one call. It takes the arguments of both;
    `Maximizer` and `Maximizer.__call__` describe them. For several calls with other targets, weights
    or seeds, make a `Maximizer` and keep it, because it compiles only once.

    Args:
        model: a Keras 3 model, a callable, or a list of them.
        objective: None for `Logit()`, the output unit before its softmax or sigmoid.
        targets: one target per image.
        input_range: a pair `(low, high)` or a constraint.
        regularizers: list of penalties and transforms; None for the default recipe.
        parameterization: how images are represented; None for the recipe's.
        optimizer: an `Optimizer` or a Keras optimizer; None for Adam.
        gradients: list of functions of the params' gradient.
        metrics: dict of functions `images -> [N]`, recorded at every step.
        labels: names of the classes, so that targets can be names.
        preprocess: a function from images in the input range to the model's input.
        copies: number of transformed copies per image and step.
        antithetic: True to draw copies in mirrored pairs.
        canvas: `(height, width)` of the image if it is not the model's size.
        mask: array `[H, W]`, 1 where the image is optimized and 0 where it stays `initial_images`.
        compile: "plain", "auto", "fold", "xla", "recompute" or False.
        precision: "float32", "float64", "bfloat16", "float16" or "mixed"; None for the model's.
        device: a TensorFlow device name; None for TensorFlow's choice.
        input_shape: shape of one input, for models that do not know theirs.
        fixed: dict of arrays by the name of inputs that are not optimized.
        balance: True to multiply the weights of penalties by the size of the score's gradient.
        natural: some images of the kind that the model was trained on, which the default recipe follows.
        steps: number of updates.
        seed: an integer, or one per image.
        weights: penalty name to a weight that replaces its own.
        learning_rate: likewise, in place of the optimizer's.
        images: number of images, for objectives that take no targets.
        initial_images: `[1 or N, ...]` in the input range, in place of noise.
        arrays: penalty name to its array `[1 or N, ...]`, one row per image.
        callbacks: callbacks, or functions of a snapshot.
        callback_every: steps between callbacks, and between checkpoints.
        checkpoint: a folder that holds the state of the run.
        keep: "last" for the last image; "best" for the best seen every `callback_every` steps, by its mean
            score over a fixed set of the transforms; "highest" for the highest J of all steps, the default
            for letters without transforms.
        on_failure: "raise" to make an error of a NON_FINITE or NO_GRADIENT image.
        verbose: True for a progress line.

    Raises:
        TypeError: if an argument is unknown; the message names the argument that is probably meant.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> result = actmax.maximize(
        ...     zoo.load("mnist"), targets=range(10), input_range=(0, 1), steps=8
        ... )
        >>> result.images.shape
        (10, 28, 28, 1)
    """
    if input_shape is None and canvas is None and initial_images is not None:
        input_shape = _shape_of(model, initial_images, input_range)
    maximizer = Maximizer(
        model, objective,
        input_range=input_range, regularizers=regularizers, parameterization=parameterization,
        optimizer=optimizer, gradients=gradients, metrics=metrics, labels=labels,
        preprocess=preprocess, copies=copies, antithetic=antithetic, canvas=canvas, mask=mask,
        compile=compile, precision=precision, device=device, input_shape=input_shape,
        fixed=fixed, balance=balance, natural=natural,
    )  # fmt: skip
    return maximizer(
        targets,
        steps=steps, seed=seed, weights=weights, learning_rate=learning_rate, images=images,
        initial_images=initial_images, arrays=arrays, callbacks=callbacks,
        callback_every=callback_every, checkpoint=checkpoint, keep=keep, on_failure=on_failure,
        verbose=verbose,
    )  # fmt: skip


def _shape_of(model: Any, initial_images: Any, input_range: Any) -> Any:
    """`input_shape` from start images, if the model leaves its shape or a size open. Otherwise None."""
    if isinstance(model, (list, tuple)):
        return None
    specs = models.input_specs(model)
    if specs is None:
        if isinstance(initial_images, Mapping):
            return {name: np.shape(value)[1:] for name, value in initial_images.items()}
        return np.shape(initial_images)[1:]
    named = isinstance(initial_images, Mapping)
    given = initial_images if named else {specs[0].name: initial_images}
    open_ = {spec.name: spec for spec in specs if spec.shape and None in spec.shape}
    found = {}
    for name, value in given.items():
        sizes = _sizes(open_.get(name), value, inferred.given_range(input_range, name))
        if name in open_ and _fills(open_[name].shape, sizes):
            found[name] = sizes
    return found or None


def _sizes(spec: Any, value: Any, letters: Any) -> tuple[int, ...]:
    """Sizes of one input, from start images or strings."""
    array = np.asarray(value)
    if spec is None or not isinstance(letters, OneHot) or array.dtype.kind not in "UO":
        return np.shape(value)[1:]
    rows = letters.encode(array.tolist()).shape[1:]
    return rows if len(spec.shape) == len(rows) else rows[:1]


def _fills(shape: tuple[int | None, ...] | None, sizes: tuple[int, ...]) -> bool:
    """Whether start images set the open sizes of an input. Other shapes are refused later."""
    if shape is None or len(sizes) != len(shape):
        return False
    return all(known in (None, size) for known, size in zip(shape, sizes, strict=True))
