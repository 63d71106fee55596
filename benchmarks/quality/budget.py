"""Steps that fit into a time, where times are noisy. Of the standard library alone: peers import it."""

from collections.abc import Callable

START = 10
GROWTH = 3
# A run this much longer than the one before it is longer by its steps, not by noise.
CLEAR = 2.0


def steps_within(seconds: float, timed: Callable[[int], float]) -> int:
    """Steps of a run that takes about `seconds`, at least 1.

    Runs grow until one takes clearly longer than the one before: a difference of two short runs that both
    trace for seconds may be nothing or less, and a run by it would never end.

    Args:
        seconds: for a whole run, tracing included.
        timed: runs so many steps, `steps -> seconds`.
    """
    steps, before = START, timed(START)
    while before < seconds:
        now = timed(GROWTH * steps)
        if now >= CLEAR * before:
            per_step = (now - before) / ((GROWTH - 1) * steps)
            return max(round(GROWTH * steps + (seconds - now) / per_step), 1)
        steps, before = GROWTH * steps, now
    return max(round(steps * seconds / before), 1)
