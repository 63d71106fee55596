"""How a run ended: a status and a message per image, from what the loop recorded."""

from __future__ import annotations

import contextlib
import contextvars
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from actmax import models, predictions
from actmax.callbacks import Callback, Frames
from actmax.loop import Cause
from actmax.maximizer.beginning import Revived
from actmax.maximizer.optimality import EndOfRun
from actmax.maximizer.running import Run, State
from actmax.predictions import Named
from actmax.problem import Problem
from actmax.result import Result
from actmax.types import FAILED, Status

# The first number is the ratio of the largest gradient to the last one. The second is the largest
# relative change of the score in the second half of a stopped run. Together they show that one huge
# gradient stopped the run.
_HUGE = 1e4
_STILL = 1e-4
_QUIET: contextvars.ContextVar[bool] = contextvars.ContextVar("actmax_unnamed", default=False)


class NonFiniteError(ArithmeticError):
    """Raised with `on_failure="raise"` when an image ended NON_FINITE or NO_GRADIENT."""


def of_rows(
    problem: Problem,
    state: State,
    history: Mapping[str, np.ndarray],
    scores: np.ndarray,
    run: Run,
    checkpoint: Any,
    stand: EndOfRun,
    revived: Revived,
    named: Named | None,
    note: str = "",
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Status and message of every image, with a note for those that did not fail. `-> [N], N texts`."""
    where = "."
    if checkpoint is not None:
        where = _kept(run, str(checkpoint))
    carry, halted = state.carry, state.halted
    cause, done = carry.cause.numpy(), carry.done.numpy()
    live, moved, still = carry.live.numpy(), carry.moved.numpy(), carry.still.numpy()
    # convert once, because a slice of a tensor costs a millisecond
    steep = [size.numpy() for size in carry.steep]
    blame = _bad_weights(problem) if np.any(np.isin(cause, (Cause.SCORE, Cause.GRADIENT))) else ""
    status = np.full(len(live), Status.OK, np.int32)
    messages = []
    shown = "the best so far" if state.best else "the last one"
    for row in range(len(live)):
        if cause[row]:
            status[row] = Status.NON_FINITE
            text = _failure(problem, Cause(cause[row]), history, int(done[row]), row, blame)
        elif not np.isfinite(scores[row]):
            # There is no gradient after the last update, so the loop did not check it.
            status[row] = Status.NON_FINITE
            text = (
                f"The score of the image returned, after {done[row]} steps, is {scores[row]}: the last "
                "update led to where the model or the objective is not finite. Try a lower learning "
                "rate, or a tighter input_range."
            )
        elif done[row] > 0 and not moved[row]:
            status[row] = Status.NO_GRADIENT
            whose = "The gradient of the score" if problem.penalties else "The gradient"
            left = _what_moved(problem)
            text = (
                f"{whose} was zero at all {done[row]} steps, so {left}. The unit "
                "is dead for this start or saturated: try another seed, initial_images, an objective "
                "in front of the activation, or a larger std of the parameterization."
            )
        elif halted[row]:
            status[row] = Status.STOPPED
            text = f"Stopped by the callback {halted[row]} after {done[row]} of {run.steps} steps."
        elif run.interrupted:
            status[row] = Status.INTERRUPTED
            text = (
                f"Interrupted after {done[row]} of {run.steps} steps; the image is {shown}{where}"
            )
        elif done[row] > 0 and still[row]:
            status[row] = Status.CONVERGED
            text = f"The gradient became zero within {done[row]} steps."
        else:
            text = f"All {done[row]} steps done.{_fallen(problem, history, scores, row)}"
            stuck = "" if stand.rests(problem, row) else _stuck(history, steep, row)
            text += stuck or stand.say(problem, row)
        text += revived.note(row, moved=moved[row])
        if named is not None and done[row] > 0 and status[row] not in FAILED:
            text += named.say(row)
        if done[row] > 0 and status[row] not in FAILED:
            text += note
        messages.append(text)
    return status, tuple(messages)


def _what_moved(problem: Problem) -> str:
    """The part that moved an image although its score had no gradient."""
    if getattr(problem.optimizer, "of_images", False):
        return "only the operators after the update moved the image"
    return "only penalties moved the image" if problem.penalties else "the image is the start"


def _kept(run: Run, folder: str) -> str:
    if run.kept is None:
        return f"; nothing is kept in {folder!r} yet: the same call begins again."
    return f"; the run is kept in {folder!r}: the same call goes on from step {run.kept}."


def _fallen(
    problem: Problem, history: Mapping[str, np.ndarray], scores: np.ndarray, row: int
) -> str:
    """The message for a run that ended below its start: the result is not a picture of the unit."""
    seen = history["score"][:, row]
    # Also use the last recorded score. It has the noise of the transforms, like the first one.
    if not len(seen) or not max([scores[row], *seen[1:][-1:]]) < seen[0]:
        return ""
    do = "The learning rate may be too large."
    if problem.penalties:
        do = "The penalties won: give them smaller weights, or the learning rate is too large."
    return f" But the score fell, from {seen[0]:.4g} at the start to {scores[row]:.4g}. {do}"


def _stuck(history: Mapping[str, np.ndarray], steep: Sequence[np.ndarray], row: int) -> str:
    """The message for a run that stopped because of one huge gradient."""
    largest, last = (float(size[row]) for size in steep)
    score = history["score"][len(history["score"]) // 2 :, row]
    spread = float(np.ptp(score)) if len(score) > 1 else np.inf
    if not (largest > _HUGE * last and spread <= _STILL * float(np.max(np.abs(score)))):
        return ""
    return (
        f" But the image has stood still: one gradient was {largest / last:.1g} times as large as the last, "
        "and an optimizer that remembers it, as Adam does, takes steps as many times smaller. Try another "
        "start or seed, or limit the gradient (gradients=[actmax.Normalize()])."
    )


def _bad_weights(problem: Problem) -> str:
    for taps in problem.models:
        path = models.bad_weight(taps.model)
        if path is not None:
            return f" The model's weight {path!r} has values that are not finite."
    return ""


def _failure(
    problem: Problem,
    cause: Cause,
    history: Mapping[str, np.ndarray],
    step: int,
    row: int,
    blame: str,
) -> str:
    where = {
        Cause.IMAGE: "The parameterization or the constraint made an image that was not finite",
        Cause.SCORE: "The score was not finite",
        Cause.PENALTY: "A penalty was not finite",
        Cause.GRADIENT: "The gradient was not finite, though the score was",
        Cause.GRADIENT_FUNCTION: "A gradient function made the gradient not finite",
        Cause.UPDATE: "The update was not finite: the learning rate may be too large",
    }[cause]
    if cause is Cause.PENALTY:
        bad = [
            name for name, _, _ in problem.penalties if not np.isfinite(history[name][step, row])
        ]
        where = (
            f"The penalty {bad[0]!r} was not finite"
            if bad
            else "A penalty times its weight was not finite"
        )
    if cause is Cause.GRADIENT_FUNCTION:
        names = [getattr(f, "__name__", type(f).__name__) for f in problem.gradients]
        where += f" (one of {names})"
    shown = "the image is the last finite one" if step else "the image is the start"
    return f"{where} at step {step}; {shown}.{blame}"


def warn_of_names(result: Result) -> None:
    """Warns of rows that did not fail but have another class by the model, unless this is switched off."""
    if result.steps.any() and not _QUIET.get():
        predictions.warn(result.named, ~np.isin(result.status, FAILED))


@contextlib.contextmanager
def unnamed() -> Iterator[None]:
    """In this context, runs of this thread do not warn. The code that joins their rows warns once."""
    token = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(token)


def raise_failures(result: Result) -> None:
    """Raises NonFiniteError with the messages of all images that failed."""
    bad = np.flatnonzero(np.isin(result.status, FAILED))
    if len(bad):
        texts = [f"image {row} ({result.names()[row]}): {result.messages[row]}" for row in bad]
        raise NonFiniteError("\n".join(texts))


def frames(callbacks: Sequence[Callback]) -> Frames | None:
    """The frames of this run that the first `Frames` callback kept, also if the callback is used again."""
    return next((copy.copy(one) for one in callbacks if isinstance(one, Frames)), None)
