"""The words of a page about its inputs: number, kind, size, and sound."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from actmax.reporting.tables import text
from actmax.types import Status

TIMES = " \u00d7 "


def lead(page: Any) -> str:
    """Number and kind of the inputs, and their statuses."""
    names, counts = np.unique(page.status, return_counts=True)
    ends = ", ".join(
        f"{count} {Status(code).name}" for code, count in zip(names, counts, strict=True)
    )
    count = len(page.names)
    if page.noun == "picture" or page.counted is None:
        lead = f"{count} {'picture' if count == 1 else 'pictures'} of what this network responds to most"
    else:
        lead = f"{page.counted} that this network responds to most"
    return f'<p class="soft">{text(lead)}. {ends}.</p>'


def size(page: Any) -> str | None:
    """Sizes of the network's inputs."""
    sizes = page.sizes
    if sizes is None and page.pictures is not None:
        sizes = {"": page.pictures.shape[1:]}
    shown = [
        f"{f'{name} ' if len(sizes or ()) > 1 else ''}{TIMES.join(map(str, size))}"
        for name, size in (sizes or {}).items()
    ]
    return ", ".join(shown) or None


def heading(page: Any) -> str:
    """The heading above the inputs."""
    words = {"picture": "Pictures", "sequence": "Sequences", "input": "Inputs"}
    return words.get(page.noun, "Inputs")


def wide(page: Any) -> str:
    """The CSS class of drawings with axes or letters that are wider than high."""
    return "" if page.noun == "picture" else " wide"


def sound(page: Any, row: int) -> str:
    """The player for the wave of a row. Empty without a wave."""
    data = None if page.sounds is None else page.sounds[row]
    if data is None:
        return ""
    source = base64.b64encode(data).decode()
    name = text(f"Sound of {page.names[row]}")
    return f'<audio controls preload="none" aria-label="{name}" src="data:audio/wav;base64,{source}"></audio>'
