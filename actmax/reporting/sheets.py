"""A folder of HTML pages for very many pictures; a reader opens one page at a time.

    index.html           what there is, by section, with a link to each of its pages
    pages/000001.html    up to `per_page` pictures, inside the file

The pages are written in one pass, with at most two pages in memory. The index is written last, so a
folder with an index is complete.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from actmax import checks, images
from actmax.reporting.document import document, encoded
from actmax.reporting.tables import number, text
from actmax.types import Status

PAGES = "pages"
# This mark is in every file, so that only files of an earlier report are replaced.
_MARK = "<!-- actmax sheets -->"
# The mark is within this number of first bytes.
_HEAD = 200
_HALF = re.compile(r"\.[0-9a-f]{16}\.tmp")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One picture.

    Attributes:
        section: name of its section. Entries of one section are consecutive.
        name: text under the picture.
        png: bytes of the picture, or None.
        score: of the final image.
        status: name of a `Status`.
        message: of the status.
        facts: further facts, by name.
    """

    section: str
    name: str
    png: bytes | None
    score: float
    status: str
    message: str
    facts: Mapping[str, str]


@dataclasses.dataclass
class _Sheet:
    """The facts about a page that the index needs."""

    number: int
    section: str
    first: str
    last: str
    count: int
    scores: list[float]
    ends: Counter[str]


def write_sheets(
    folder: Path,
    title: str,
    entries: Iterable[Entry],
    *,
    lead: str,
    facts: Mapping[str, str],
    per_page: int,
) -> Path:
    """Writes the pages and then the index; returns the index.

    Raises:
        FileExistsError: if the folder contains anything but an earlier report.
    """
    checks.integer(per_page, "per_page", low=1, high=1000)
    index = folder / "index.html"
    stale = _earlier(folder, index)
    (folder / PAGES).mkdir(parents=True, exist_ok=True)
    index.unlink(missing_ok=True)  # from here until the end, the folder is incomplete
    sheets: list[_Sheet] = []
    coming = _pages(entries, per_page)
    page = next(coming, None)
    while page is not None:
        after = next(coming, None)
        number = len(sheets) + 1
        html = _page(title, page, number, last=after is None)
        images.write_atomic(_file(folder, number), encoded(html))
        sheets.append(_sheet(page, number))
        page = after
    for file in stale - {_file(folder, sheet.number) for sheet in sheets}:
        file.unlink()
    images.write_atomic(index, encoded(_index(title, lead, facts, sheets)))
    return index


def _earlier(folder: Path, index: Path) -> set[Path]:
    """Pages of an earlier report, complete or interrupted. Raises an error if there are other files."""
    if not folder.exists():
        return set()
    own = folder / PAGES
    pages = set(own.iterdir()) if own.is_dir() else set()
    loose = {file for file in folder.iterdir() if file != own or not own.is_dir()}
    halves = {file for file in loose if _HALF.fullmatch(file.name) and _ours(file)}
    wrong = {file for file in loose - halves if file != index or not _ours(file)}
    wrong |= {file for file in pages if not _ours(file)}
    foreign = sorted(file.relative_to(folder).as_posix() for file in wrong)
    if foreign:
        raise FileExistsError(
            checks.message(
                "a new or empty folder, or one with an earlier report",
                f"{folder}, which holds {', '.join(foreign[:3])}",
                "Name another folder.",
            )
        )
    return pages | halves


def _ours(file: Path) -> bool:
    """Whether a report wrote the file: it has the mark, or is a leftover of a killed `write_atomic`."""
    if file.is_symlink() or not file.is_file():
        return False
    if _HALF.fullmatch(file.name):
        return True
    with file.open("rb") as stream:
        return _MARK.encode() in stream.read(_HEAD)


def _file(folder: Path, number: int) -> Path:
    return folder / PAGES / f"{number:06d}.html"


def _pages(entries: Iterable[Entry], per_page: int) -> Iterator[list[Entry]]:
    """Entries of one section at a time, at most `per_page` of them."""
    for _, group in itertools.groupby(entries, key=lambda entry: entry.section):
        while page := list(itertools.islice(group, per_page)):
            yield page


def _sheet(page: Sequence[Entry], number: int) -> _Sheet:
    scores = [entry.score for entry in page if math.isfinite(entry.score)]
    ends = Counter(entry.status for entry in page)
    # Sums are enough for the index; scores of a page are kept as three numbers, not as a list.
    few = [sum(scores), max(scores), len(scores)] if scores else []
    return _Sheet(number, page[0].section, page[0].name, page[-1].name, len(page), few, ends)


def _page(title: str, page: Sequence[Entry], number: int, *, last: bool) -> str:
    section = page[0].section
    links = ['<a href="../index.html" rel="up">All sections</a>']
    if number > 1:
        links.append(f'<a href="{number - 1:06d}.html" rel="prev">← Previous page</a>')
    if not last:
        links.append(f'<a href="{number + 1:06d}.html" rel="next">Next page →</a>')
    way = f'<nav class="way" aria-label="Pages">{" ".join(links)}</nav>'
    sorts = "".join(
        f'<button type="button" class="pill" data-sort="{key}" '
        f'aria-pressed="{"true" if key == "order" else "false"}">{shown}</button>'
        for key, shown in (("order", "Job"), ("score", "Score"), ("status", "Status"))
    )
    cards = "".join(_card(entry, place) for place, entry in enumerate(page))
    noun = "picture" if len(page) == 1 else "pictures"
    body = [
        f"<header>{way}<h1 dir='auto'>{escape(section)}</h1>"
        f'<p class="soft">{len(page)} {noun}, <bdi>{text(page[0].name)}</bdi> to '
        f"<bdi>{text(page[-1].name)}</bdi>. Page {number} of <bdi>{text(title)}</bdi>.</p></header>",
        '<main><section aria-label="Pictures"><div class="bar">'
        f"<fieldset><legend>Sort by</legend>{sorts}</fieldset>"
        '<label class="slide" for="find"><span>Show names with</span>'
        '<input type="search" id="find" autocomplete="off"></label></div>'
        f'<ul class="grid" id="grid">{cards}</ul>'
        '<p class="soft keys"><kbd>←</kbd> <kbd>→</kbd> <kbd>↑</kbd> <kbd>↓</kbd> move, '
        "<kbd>Enter</kbd> opens a large view, <kbd>Esc</kbd> closes it.</p>"
        f'<p class="hide" id="live" role="status"></p></section></main><footer>{way}</footer>',
        '<dialog id="view" aria-labelledby="view-name"><div class="top">'
        '<h2 id="view-name" dir="auto"></h2>'
        '<button type="button" class="pill" id="view-close">Close</button></div>'
        '<div id="view-body"></div></dialog>',
    ]
    return document(f"{section}, page {number}", body, script="sheets.js", mark=_MARK)


def _card(entry: Entry, place: int) -> str:
    good = Status[entry.status].good
    shot = ""
    if entry.png is not None:
        source = base64.b64encode(entry.png).decode()
        alt = f"Picture of {entry.name}, score {number(entry.score)}"
        shot = f'<img class="shot small" src="data:image/png;base64,{source}" alt="{text(alt)}">'
    mark = f'<span class="{"good" if good else "bad"}">{"✓" if good else "!"} {text(entry.status)}</span>'
    note = "" if good else f'<span class="note" dir="auto">{text(entry.message)}</span>'
    facts = "".join(
        f"<div><dt>{text(name)}</dt><dd dir='auto'>{text(value)}</dd></div>"
        for name, value in entry.facts.items()
    )
    score = entry.score if math.isfinite(entry.score) else ""
    return (
        f'<li data-place="{place}" data-score="{score}" data-good="{int(good)}">'
        f'<button type="button" class="card" tabindex="{0 if place == 0 else -1}" '
        f'aria-haspopup="dialog">{shot}<span class="text">'
        f'<span class="name"><bdi>{text(entry.name)}</bdi></span>'
        f'<span class="line"><span>score {number(entry.score)}</span>{mark}</span>{note}</span></button>'
        f'<template><dl class="facts">{facts}</dl></template></li>'
    )


def _index(title: str, lead: str, facts: Mapping[str, str], sheets: Sequence[_Sheet]) -> str:
    shown = "".join(
        f'<div><dt>{text(name)}</dt><dd dir="auto">{text(value)}</dd></div>'
        for name, value in facts.items()
    )
    rows = []
    for _, group in itertools.groupby(sheets, key=lambda sheet: sheet.section):
        rows.append(_section(list(group)))
    body = [
        f"<header><h1 dir='auto'>{escape(title)}</h1><p class='soft'>{escape(lead)}</p>"
        f'<dl class="facts">{shown}</dl></header>',
        '<main><section aria-labelledby="h-sections"><h2 id="h-sections">Sections</h2>'
        '<div class="bar"><label class="slide" for="find"><span>Show sections with</span>'
        '<input type="search" id="find" autocomplete="off"></label></div>'
        '<div class="scroll"><table id="sections"><thead><tr><th scope="col">Section</th>'
        '<th scope="col" class="n">Pictures</th><th scope="col" class="n">Mean score</th>'
        '<th scope="col" class="n">Highest</th><th scope="col">Status</th>'
        f'<th scope="col">Pages</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        '<p class="hide" id="live" role="status"></p></section></main>',
        "<footer>A folder of files, no network: every page holds its own pictures.</footer>",
    ]
    return document(title, body, script="sheets.js", mark=_MARK)


def _section(sheets: Sequence[_Sheet]) -> str:
    """A row of the index."""
    count = sum(sheet.count for sheet in sheets)
    known = [sheet.scores for sheet in sheets if sheet.scores]
    mean = sum(few[0] for few in known) / sum(few[2] for few in known) if known else math.nan
    highest = max((few[1] for few in known), default=math.nan)
    ends: Counter[str] = sum((sheet.ends for sheet in sheets), Counter())
    status = ", ".join(f"{number:,} {name}" for name, number in ends.most_common())
    links = " ".join(
        f'<a href="{PAGES}/{sheet.number:06d}.html" title="{text(sheet.first)} to '
        f'{text(sheet.last)}">{sheet.number}</a>'
        for sheet in sheets
    )
    return (
        f'<tr><th scope="row"><bdi>{text(sheets[0].section)}</bdi></th><td class="n">{count:,}</td>'
        f'<td class="n">{number(mean)}</td><td class="n">{number(highest)}</td>'
        f'<td>{text(status)}</td><td class="pages">{links}</td></tr>'
    )
