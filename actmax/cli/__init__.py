"""The command line: `actmax demo`, `run`, `report` and `inspect`.

What a user got wrong becomes one message on standard error and exit code 2; images that failed
(`NON_FINITE`, `NO_GRADIENT`) become exit code 1, with their messages; anything else is a fault of
actmax and keeps its traceback.
"""

from actmax.cli.program import main

__all__ = ["main"]
