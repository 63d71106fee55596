"""Number of steps that fit into a time. Standard library only, because peers import this."""

from collections.abc import Callable

START = 10
GROWTH = 3
# If a run takes this much longer than the one before, the reason is its steps and not noise.
CLEAR = 2.0


def steps_within(seconds: float, timed: Callable[[int], float]) -> int:
    """Steps of a run that takes about `seconds`, at least 1.

    Runs grow until one takes clearly longer than the one before. Short runs trace for seconds, so their
    difference may be zero or negative. An estimate from it could give an endless run.

    Args:
        seconds: time for a whole run, including tracing.
        timed: runs a number of steps, `steps -> seconds`.
    """
    steps, before = START, timed(START)
    while before < seconds:
        now = timed(GROWTH * steps)
        if now >= CLEAR * before:
            per_step = (now - before) / ((GROWTH - 1) * steps)
            return max(round(GROWTH * steps + (seconds - now) / per_step), 1)
        steps, before = GROWTH * steps, now
    return max(round(steps * seconds / before), 1)
