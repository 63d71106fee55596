"""The command line: `actmax demo`, `run`, `catalog`, `report`, `evaluate`, `inspect`, `check` and `bench`.

An error of the user gives one message on standard error and exit code 2. Images that failed
(`NON_FINITE`, `NO_GRADIENT`) give exit code 1, with their messages. Any other error is a fault of
actmax and shows its traceback.
"""

from actmax.cli.program import main

__all__ = ["main"]
