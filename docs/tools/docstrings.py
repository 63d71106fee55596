"""Makes sections of what the docstrings of this package call `Example:` and `Source:`."""

from __future__ import annotations

import re
from typing import Any

import griffe

# Griffe knows `Examples:` as a section, and `Source:` not at all.
_EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Names the sections as Griffe knows them."""

    def on_object(self, *, obj: Any, **kwargs: Any) -> None:
        """Called for every object that was read from the source."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
