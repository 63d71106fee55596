"""Tests whether two ways of running a loop compute the same scores and gradients, except at ties."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.loop.engine import Loop
from actmax.loop.records import Arguments
from actmax.types import Images

# Folding and fusing reorder sums of a few thousand terms. Rounding errors of 1e-7 grow to about
# 1e-6.
COSINE = 0.999999
RELATIVE = 1e-5


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How similar the scores and gradients of two ways are.

    Attributes:
        cosine: cosine of the gradients, the minimum over the images.
        relative: largest difference of gradient values divided by the largest value, maximum over
            the images.
        score: largest difference of scores, divided by the largest score or by 1.
    """

    cosine: float
    relative: float
    score: float

    @property
    def holds(self) -> bool:
        """Whether they agree up to rounding."""
        return self.cosine >= COSINE and self.relative <= RELATIVE and self.score <= RELATIVE


def agreement(plain: Loop, fast: Loop, images: Images, arguments: Arguments) -> Agreement:
    """Compares two loops at given images, with the same draws of the transforms."""
    (scores, gradients), (others, theirs) = (
        loop.score_and_gradient(images, arguments) for loop in (plain, fast)
    )
    cosine, relative = 1.0, 0.0
    for name in images:
        ours, other = (
            np.reshape(value[name].numpy().astype(np.float64), [len(value[name]), -1])
            for value in (gradients, theirs)
        )
        for a, b in zip(ours, other, strict=True):
            largest = max(np.abs(a).max(), np.abs(b).max())
            if not np.isfinite(largest):
                return Agreement(float("nan"), float("nan"), float("nan"))
            if largest == 0:
                continue
            one, two = a / largest, b / largest  # so that squares do not underflow
            norms = np.linalg.norm(one) * np.linalg.norm(two)
            cosine = min(cosine, float(one @ two / norms) if norms else 0.0)
            relative = max(relative, float(np.abs(one - two).max()))
    gap = np.abs(scores.numpy() - others.numpy()).max()
    return Agreement(cosine, relative, float(gap / max(np.abs(scores.numpy()).max(), 1.0)))


def check_fold(loop: Loop, images: Images, arguments: Arguments) -> Agreement:
    """Checks that a loop with folded models computes what the models compute.

    Near a tie, the last bit of the input of a ReLU or a max pooling can change the gradient. So if
    float32 differs, both are computed in float64, where such close ties do not occur.

    Returns:
        The agreement, in float64 if float32 was not enough.

    Raises:
        ValueError: if they differ.
    """
    way = loop.way
    problem = loop.problem
    plain = Loop(problem, dataclasses.replace(way, fold=False, compute=None))
    fast = Loop(problem, dataclasses.replace(way, compute=None))
    found = agreement(plain, fast, images, arguments)
    if found.holds:
        return found
    exact = Loop(problem, dataclasses.replace(way, fold=False, compute="float64"))
    folded = Loop(problem, dataclasses.replace(way, compute="float64"))
    try:
        found = agreement(exact, folded, images, arguments)
    except (TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
        raise _differ(found) from error  # layers that accept only float32
    if not found.holds:
        raise _differ(found)
    return found


def check_segments(loop: Loop, images: Images, arguments: Arguments) -> None:
    """Checks that a loop with models in segments computes the scores of the models.

    Only scores are compared, because the plain gradient may need too much memory. The gradients of
    the segments are computed by TensorFlow.

    Raises:
        ValueError: if the scores differ.
    """
    plain = Loop(loop.problem, dataclasses.replace(loop.way, recompute=False))
    ours, others = (
        way.robust_scores(images, arguments, arguments.seeds).numpy() for way in (loop, plain)
    )
    if not np.allclose(ours, others, rtol=RELATIVE, atol=RELATIVE * np.abs(others).max()):
        raise ValueError(
            checks.message(
                "a model that computes the same layer by layer",
                f"scores that differ by {np.abs(ours - others).max():.2g}",
                "Use compile='plain' for this model.",
            )
        )


def _differ(found: Agreement) -> ValueError:
    return ValueError(
        checks.message(
            "a model that computes the same with its batch norm folded",
            f"gradients with cosine {found.cosine:.7f} and relative difference {found.relative:.2g}, "
            f"scores with relative difference {found.score:.2g}",
            "Use compile='plain' for this model.",
        )
    )
