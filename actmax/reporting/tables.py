"""Words, numbers and tables of the page, escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

_LARGEST = 2**1023


def text(value: Any) -> str:
    """Any value as escaped HTML text, also inside quotes."""
    return escape(str(value), quote=True)


def number(value: float) -> str:
    """A number with four digits, or the name of a value that is not finite."""
    return f"{value:.4g}" if np.isfinite(value) else str(value)


def metrics(records: Sequence[Mapping[str, Any]]) -> str:
    """One row per record and one column per key. Empty without records."""
    if not records:
        return ""
    columns = list(dict.fromkeys(key for record in records for key in record))

    def cell(value: Any) -> str:
        # A whole number of JSON may be larger than any float.
        if type(value) is float or (type(value) is int and abs(value) <= _LARGEST):
            return f'<td class="n">{number(float(value))}</td>'
        return f'<td dir="auto">{"" if value is None else text(value)}</td>'

    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = "".join(
        f"<tr>{''.join(cell(record.get(column)) for column in columns)}</tr>" for record in records
    )
    return (
        '<section aria-labelledby="h-metrics"><h2 id="h-metrics">Metrics</h2>'
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="h-metrics">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )
