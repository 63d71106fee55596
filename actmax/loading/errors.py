"""The one error of a model file that is not loaded."""

from __future__ import annotations

from actmax import checks


class ModelFileError(ValueError):
    """A model file that is missing, damaged, not a model, or would run code of its own."""


def refuse(expected: str, received: str, do: str = "") -> ModelFileError:
    """The error, in the form of every other: Expected ... Received ... Do ..."""
    return ModelFileError(checks.message(expected, received, do))
