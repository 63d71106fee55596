"""The frame of every HTML file: one document, scripts and styles allowed by their hash, no request."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from pathlib import Path


def document(
    title: str, body: Sequence[str], *, script: str, data: str | None = None, mark: str = ""
) -> str:
    """An HTML document that needs no other file to be read.

    Args:
        title: of the page, as plain text.
        body: HTML, already escaped.
        script: name of the script beside this module.
        data: JSON for the script, in the element `#data`.
        mark: a comment in the first line, by which the writer recognizes its own files.
    """
    here = Path(__file__).parent
    style = (here / "page.css").read_text("utf-8")
    code = (here / script).read_text("utf-8")
    policy = (
        f"default-src 'none'; img-src data:; media-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(code)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        [
            f"<!doctype html>{mark}",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy, quote=True)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{escape(title)}</title>",
            f"<style>{style}</style></head><body>",
            *body,
            *([] if data is None else [_island(data)]),
            f"<script>{code}</script>",
            "</body></html>",
            "",
        ]
    )


def encoded(html: str) -> bytes:
    """A document as UTF-8. Invalid Unicode, as in some file names, is shown as an escape.

    In the JSON of the page, the escape represents the character.
    """
    return html.encode("utf-8", "backslashreplace")


def _island(data: str) -> str:
    # Only "<" can end the element, or open a comment in it.
    inner = data.replace("<", "\\u003c")
    return f'<script type="application/json" id="data">{inner}</script>'


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
