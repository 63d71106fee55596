"""The end of programs that make one image after another."""

from __future__ import annotations

import actmax

_CTRL_C = 130  # 128 and the number of SIGINT, as shells count


def interrupted(result: actmax.Result) -> bool:
    """Whether Ctrl-C ended the run: what would have come after it must not begin."""
    return actmax.Status.INTERRUPTED in result.status


def exit_code(result: actmax.Result) -> int:
    """0, or 130 if Ctrl-C ended the run whose images were saved."""
    return _CTRL_C if interrupted(result) else 0


def whole(result: actmax.Result) -> actmax.Result:
    """A run that is to be compared with another, as it is.

    Raises:
        KeyboardInterrupt: if Ctrl-C ended it.
    """
    if interrupted(result):
        raise KeyboardInterrupt
    return result
