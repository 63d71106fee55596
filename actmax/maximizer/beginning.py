"""Before the first step: weights relative to the score's gradient, and starts where it is not 0."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from actmax.loop import Arguments, Carry, Loop
from actmax.loop.redirected import STEPS, revive
from actmax.types import Params

# Number of random transforms over which the score's gradient is averaged, for balance=True.
_DRAWS = 8


@dataclasses.dataclass
class Revived:
    """The outcome for rows whose start had no gradient.

    Attributes:
        dead: bool `[N]`, True where the score had no gradient at the start.
        steps: int `[N]`, redirected steps before the first one. 0 if they were not needed or did not help.
        failed: the reason why no gradient could be redirected, or an empty text.
        interrupted: True if Ctrl-C came before the first step.
    """

    dead: np.ndarray
    steps: np.ndarray
    failed: str = ""
    interrupted: bool = False

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """In this context, Ctrl-C ends the checks before the first step, and also the run."""
        try:
            yield
        except KeyboardInterrupt:
            self.interrupted = True

    def record(self) -> dict[str, str]:
        """The entry in `config`."""
        count = int(self.dead.sum())
        if not count:
            return {}
        helped = int((self.steps > 0).sum())
        text = f"{count} of {len(self.dead)} starts were dead; {self.failed or _HOW}: {helped} came to life"
        return {"dead_starts": text}

    def note(self, row: int, *, moved: bool) -> str:
        """The text for the message of a row."""
        if not self.dead[row]:
            return ""
        if self.failed:
            return f" No gradient could be redirected at the dead start: {self.failed}."
        if self.steps[row]:
            return f" The start was dead; {self.steps[row]} redirected steps before the first one moved it."
        return "" if moved else " A redirected gradient did not help."


_HOW = f"before the first step came up to {STEPS} with a redirected gradient"


def balanced(loop: Loop, params: Params, arguments: Arguments) -> tuple[Arguments, np.ndarray]:
    """Weights in units of the score's gradient, and whether this gradient is zero, bool `[N]`."""
    size = loop.sensitivity(params, arguments, _DRAWS)
    return arguments._replace(weights=arguments.weights * size), size.numpy() == 0


class Beginning(NamedTuple):
    """The start of a run.

    Attributes:
        params: of the first step.
        arguments: of the run.
        revived: the outcome for rows whose start had no gradient.
        done: the loop's state and history `[steps, series, N]` after all steps, if they were already run.
    """

    params: Params
    arguments: Arguments
    revived: Revived
    done: tuple[Carry, np.ndarray] | None = None


def begin(
    loop: Loop,
    params: Params,
    arguments: Arguments,
    *,
    balance: bool,
    steps: int,
    at_once: bool,
) -> Beginning:
    """Params and arguments of the first step, after a remedy for rows whose start is dead.

    After Ctrl-C, they are the given ones.

    Args:
        loop: of the run.
        params: the drawn or given params.
        arguments: of the run.
        balance: whether weights are relative to the score's gradient.
        steps: of the run.
        at_once: whether nothing happens between the steps. Then the loop runs all steps at once if no
            start is dead, and the check for dead starts costs no extra step.
    """
    count = int(arguments.seeds.shape[0])
    revived = Revived(np.zeros(count, bool), np.zeros(count, np.int32))
    with revived.interruptible():
        return _begun(loop, params, arguments, balance=balance, steps=steps, at_once=at_once)
    return Beginning(params, arguments, revived)


def _begun(
    loop: Loop,
    params: Params,
    arguments: Arguments,
    *,
    balance: bool,
    steps: int,
    at_once: bool,
) -> Beginning:
    weighed, done = arguments, None
    none = np.zeros(int(arguments.seeds.shape[0]), np.int32)
    dead = none.astype(bool)
    if balance:
        weighed, dead = balanced(loop, params, arguments)
    elif steps:
        alone = loop.alone(arguments)
        # Penalties of layers change the gradient that shows a dead start.
        at_once = at_once and alone is arguments
        upto = steps if at_once else 1
        after, history = loop.run(loop.begin(params, alone), alone, 0, upto, alive=True)
        dead = (after.live & ~after.moved).numpy()
        done = (after, history.numpy()) if at_once else None
    if not steps or not dead.any():
        return Beginning(params, weighed, Revived(none.astype(bool), none), done)
    try:
        params, taken = revive(loop.problem, params, arguments, tf.constant(dead))
    except (LookupError, NotImplementedError, RuntimeError, ValueError) as error:
        # tf.gradients needs a graph, and supports fewer operations than a tape.
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        return Beginning(params, weighed, Revived(dead, none, reason))
    if balance:
        weighed, _ = balanced(loop, params, arguments)
    return Beginning(params, weighed, Revived(dead, taken.numpy()))
