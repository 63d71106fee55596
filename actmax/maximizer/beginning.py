"""Before the first step: weights relative to the score's gradient, and starts where it is not 0."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from actmax.loop import Arguments, Loop
from actmax.loop.redirected import STEPS, revive
from actmax.types import Params

# Number of random transforms over which the score's gradient is averaged, for balance=True.
_DRAWS = 8


@dataclasses.dataclass
class Revived:
    """The outcome for rows whose start had no gradient.

    Attributes:
        dead: bool `[N]`, True where the score had no gradient at the start.
        steps: int `[N]`, redirected steps before the first one; 0 where they were not needed or did not help.
        failed: why no gradient could be redirected, or an empty text.
        interrupted: True if Ctrl-C came before the first step.
    """

    dead: np.ndarray
    steps: np.ndarray
    failed: str = ""
    interrupted: bool = False

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Where Ctrl-C ends what is looked at before the first step, and with it the run."""
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
    """The arguments with weights in units of the score's own pull, and where there is none, bool `[N]`."""
    pull = loop.sensitivity(params, arguments, _DRAWS)
    return arguments._replace(weights=arguments.weights * pull), pull.numpy() == 0


def begin(
    loop: Loop, params: Params, arguments: Arguments, *, balance: bool, steps: int
) -> tuple[Params, Arguments, Revived]:
    """Params and arguments of the first step, after a remedy for rows whose start is dead.

    After Ctrl-C they are those that were given.
    """
    count = int(arguments.seeds.shape[0])
    revived = Revived(np.zeros(count, bool), np.zeros(count, np.int32))
    with revived.interruptible():
        return _begun(loop, params, arguments, balance=balance, steps=steps)
    return params, arguments, revived


def _begun(
    loop: Loop, params: Params, arguments: Arguments, *, balance: bool, steps: int
) -> tuple[Params, Arguments, Revived]:
    weighed = arguments
    if balance:
        weighed, dead = balanced(loop, params, arguments)
    elif steps:
        # The step is thrown away: it tells what the score's own gradient is in the loop itself.
        after, _ = loop.run(loop.begin(params), loop.alone(arguments), 0, 1)
        dead = (after.live & ~after.moved).numpy()
    if not steps or not dead.any():
        none = np.zeros(int(arguments.seeds.shape[0]), np.int32)
        return params, weighed, Revived(none.astype(bool), none)
    try:
        params, taken = revive(loop.problem, params, arguments, tf.constant(dead))
    except (LookupError, NotImplementedError, RuntimeError, ValueError) as error:
        # tf.gradients needs a graph, and knows fewer operations than a tape.
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        return params, weighed, Revived(dead, np.zeros(len(dead), np.int32), reason)
    if balance:
        weighed, _ = balanced(loop, params, arguments)
    return params, weighed, Revived(dead, taken.numpy())
