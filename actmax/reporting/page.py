"""The page: plain data in, one self-contained HTML text out."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from actmax import images
from actmax.reporting import curves, tables, words
from actmax.reporting.call import python_call
from actmax.reporting.document import document, encoded
from actmax.reporting.frames import RecordedFrames
from actmax.reporting.natural import Natural
from actmax.reporting.tables import number as _number
from actmax.reporting.tables import text as _text
from actmax.types import Status

# Beyond these the page grows and the eye gains nothing: frames on the slider, and the side in pixels
# up to which pixels are shown as squares and frames are kept without loss.
_FRAMES = 24
_SMALL = 96
_JPEG_QUALITY = 88


@dataclasses.dataclass(frozen=True)
class Page:
    """The contents of a report.

    Attributes:
        title: of the page.
        names: of the N pictures.
        pictures: uint8 `[N, H, W, C]`, C = 1 or 3, or drawings of other inputs. None without pictures.
        scores: `[N]`.
        history: by name `[steps, N]`.
        status: `[N]`, values of `Status`.
        messages: N texts.
        steps: `[N]`, updates made.
        targets: `[N]` or `[N, C]`, or None.
        labels: as in the result, or None.
        config: the record of the run.
        probabilities: `[N]`, or None.
        terms: what each term of the objective adds to the scores, `[N]` by name, or None.
        named: the model's own class of every picture, and whether it differs from the target, or None.
        optimality: `[N]`, or None.
        duality_gap: `[N]`, or None.
        distance: `[N]`, or None.
        film: images over the steps, or None.
        natural: the strongest natural images, or None.
        metrics: records of `metrics.json`: one dict per row of a table.
        counted: number and kind of the inputs, such as "3 sequences of 101 letters".
        noun: the word for one input.
        sizes: of the inputs by name; None for those of the pictures.
        sounds: WAV files, one per row or None.
    """

    title: str
    names: Sequence[str]
    pictures: np.ndarray | None
    scores: np.ndarray
    history: Mapping[str, np.ndarray]
    status: np.ndarray
    messages: Sequence[str]
    steps: np.ndarray
    targets: np.ndarray | None
    labels: Sequence[str] | None
    config: Mapping[str, Any]
    probabilities: np.ndarray | None = None
    terms: Mapping[str, np.ndarray] | None = None
    named: Sequence[tuple[str, bool]] | None = None
    optimality: np.ndarray | None = None
    duality_gap: np.ndarray | None = None
    distance: np.ndarray | None = None
    film: RecordedFrames | None = None
    natural: Natural | None = None
    metrics: Sequence[Mapping[str, Any]] = ()
    counted: str | None = None
    noun: str = "picture"
    sizes: Mapping[str, Sequence[int]] | None = None
    sounds: Sequence[bytes | None] | None = None


def write(path: str | Path, page: Page) -> Path:
    """Writes the page as UTF-8, completely or not at all; its folder is made. Returns the path."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    images.write_atomic(file, encoded(render(page)))
    return file


def render(page: Page) -> str:
    """The page as HTML: no request, no other file; scripts and styles are allowed by their hash."""
    film = None if page.film is None or page.pictures is None else page.film.thinned(_FRAMES)
    sources = [None] * len(page.names) if page.pictures is None else list(map(_png, page.pictures))
    data = json.dumps(_data(page, film, sources), ensure_ascii=False, allow_nan=False)
    body = [
        f"<header><h1 dir='auto'>{escape(page.title)}</h1>{words.lead(page)}{_facts(page)}</header>",
        "<main>",
        _pictures(page, film, sources),
        _scores(page),
        tables.metrics(page.metrics),
        _repeat(page),
        _configuration(page),
        "</main>",
        f"<footer>Written by actmax {_text(_versions(page).get('actmax', ''))}. "
        "One file, no network.</footer>",
        _dialog(page, film),
    ]
    return document(page.title, body, script="page.js", data=data)


def _png(picture: np.ndarray) -> str:
    return _source(picture, "PNG")


def _source(picture: np.ndarray, kind: str) -> str:
    buffer = io.BytesIO()
    pixels = picture[..., 0] if picture.shape[-1] == 1 else picture
    extra = {"quality": _JPEG_QUALITY} if kind == "JPEG" else {"optimize": True}
    Image.fromarray(pixels).save(buffer, kind, **extra)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _is_small(page: Page) -> bool:
    return page.pictures is not None and max(page.pictures.shape[1:3]) <= _SMALL


def _versions(page: Page) -> Mapping[str, Any]:
    return page.config.get("versions", {})


def _alt(page: Page, row: int) -> str:
    noun = page.noun.capitalize()
    return f"{noun} of {page.names[row]}, score {_number(float(page.scores[row]))}"


def _data(page: Page, film: RecordedFrames | None, sources: Sequence[str | None]) -> dict[str, Any]:
    rows = []
    for row, name in enumerate(page.names):
        score = float(page.scores[row])
        facts = [["score", _number(score)], ["status", Status(page.status[row]).name]]
        if page.probabilities is not None:
            facts.insert(1, ["probability", f"{page.probabilities[row]:.4f}"])
        if page.named is not None:
            facts.append(["the model itself says", page.named[row][0]])
        for title, values in (page.terms or {}).items():
            facts.append([f"of the score, {title}", _number(float(values[row]))])
        facts.append(["updates", str(int(page.steps[row]))])
        for title, found in (
            ("one more step gains, of what was gained", page.optimality),
            ("any image of the set gains at most", page.duality_gap),
            ("outside of the set by", page.distance),
        ):
            if found is not None and np.isfinite(found[row]):
                facts.append([title, f"{found[row]:.2g}"])
        if page.targets is not None and page.targets.ndim == 1:
            facts.append(["target", str(page.targets[row])])
        for kind, values in page.history.items():
            known = values[:, row][np.isfinite(values[:, row])]
            if kind != "score" and known.size:
                facts.append([f"last {kind}", _number(float(known[-1]))])
        rows.append(
            {
                "name": str(name),
                "score": score if np.isfinite(score) else None,
                "code": int(page.status[row]),
                "message": str(page.messages[row]),
                "facts": facts,
                "alt": _alt(page, row),
                "source": sources[row],
            }
        )
    data: dict[str, Any] = {"rows": rows}
    if film is not None:
        kind = "PNG" if _is_small(page) else "JPEG"
        data["steps"] = [int(step) for step in film.steps]
        data["last"] = int(film.steps[-1])
        # The last place of the slider shows the picture itself.
        data["frames"] = [
            [_source(frame[row], kind) for frame in film.frames[:-1]]
            for row in range(len(page.names))
        ]
    return data


def _facts(page: Page) -> str:
    config = page.config
    call = config.get("call", {})
    objective = config.get("objective")
    if isinstance(objective, Mapping):
        fields = [f"{value}" for key, value in objective.items() if key == "layer"]
        objective = f"{objective.get('class', '')}({', '.join(fields)})"
    optimizer = config.get("optimizer")
    facts = {
        "Model": ", ".join(map(str, config.get("model", ()))),
        "Objective": objective,
        "Size": words.size(page),
        "Steps": call.get("steps"),
        "Seed": call.get("seed"),
        "Copies": config.get("copies"),
        "Optimizer": optimizer.get("class") if isinstance(optimizer, Mapping) else optimizer,
        "Device": config.get("device"),
    }
    shown = "".join(
        f'<div><dt>{name}</dt><dd dir="auto">{_text(value)}</dd></div>'
        for name, value in facts.items()
        if value is not None and value != ""
    )
    return f'<dl class="facts">{shown}</dl>'


def _slider(name: str, film: RecordedFrames) -> str:
    last = len(film.steps) - 1
    return (
        f'<label class="slide" for="{name}"><span>Over the steps</span>'
        f'<input type="range" id="{name}" min="0" max="{last}" value="{last}" step="1">'
        f'<output for="{name}">step {int(film.steps[-1])}</output></label>'
    )


def _pictures(page: Page, film: RecordedFrames | None, sources: Sequence[str | None]) -> str:
    sorts = "".join(
        f'<button type="button" class="pill" data-sort="{key}" '
        f'aria-pressed="{"true" if key == "order" else "false"}">{text}</button>'
        for key, text in (
            ("order", "Run"),
            ("target", "Target"),
            ("score", "Score"),
            ("status", "Status"),
        )
    )
    bar = f"<fieldset><legend>Sort by</legend>{sorts}</fieldset>"
    if film is not None and len(film.steps) > 1:
        bar += _slider("slider", film)
    cards = "".join(_card(page, row, sources[row]) for row in range(len(page.names)))
    keys = (
        '<p class="soft keys"><kbd>←</kbd> <kbd>→</kbd> <kbd>↑</kbd> <kbd>↓</kbd> move, '
        "<kbd>Enter</kbd> opens a large view, <kbd>Esc</kbd> closes it.</p>"
    )
    return (
        f'<section aria-labelledby="h-inputs"><h2 id="h-inputs">{words.heading(page)}</h2>'
        f'<div class="bar">{bar}</div><ul class="grid{words.wide(page)}" id="grid">{cards}</ul>{keys}'
        '<p class="hide" id="live" role="status"></p></section>'
    )


def _card(page: Page, row: int, source: str | None) -> str:
    status = Status(page.status[row]).name
    good = Status[status].good
    small = " small" if _is_small(page) else ""
    shot = (
        ""
        if source is None
        else f'<img class="shot{small}" src="{source}" alt="{_text(_alt(page, row))}">'
    )
    score = page.history.get("score")
    mark = f'<span class="{"good" if good else "bad"}">{"✓" if good else "!"} {status}</span>'
    note = "" if good else f'<span class="note" dir="auto">{_text(page.messages[row])}</span>'
    sure = ""
    if page.probabilities is not None:
        sure = f'<span class="line"><span>probability {page.probabilities[row]:.4f}</span></span>'
    if page.named is not None and page.named[row][1]:
        sure += f'<span class="line bad">the model says {_text(page.named[row][0])}</span>'
    spark = curves.spark(score[:, row]) if score is not None and len(score) else ""
    return (
        f'<li><button type="button" class="card" id="card-{row}" data-row="{row}" '
        f'tabindex="{0 if row == 0 else -1}" aria-haspopup="dialog">{shot}<span class="text">'
        f'<span class="name"><bdi>{_text(page.names[row])}</bdi></span>'
        f'<span class="line"><span>score {_number(float(page.scores[row]))}</span>{mark}</span>'
        f"{sure}{note}{spark}{_near(page, row, wide=False)}</span></button>"
        f"{words.sound(page, row)}{_templates(page, row)}</li>"
    )


def _near(page: Page, row: int, *, wide: bool) -> str:
    natural = page.natural
    if natural is None:
        return ""
    small = ' class="small"' if _is_small(page) else ""
    shown = []
    for place in range(natural.images.shape[1] if wide else min(4, natural.images.shape[1])):
        name = natural.names[row][place]
        words = f"{name + ', ' if name else ''}score {_number(float(natural.scores[row, place]))}"
        image = (
            f'<img{small} src="{_png(natural.images[row, place])}" '
            f'alt="Natural image {int(natural.numbers[row, place])}, {_text(words)}">'
        )
        caption = f'<figcaption dir="auto">{_text(words)}</figcaption>'
        shown.append(f"<figure>{image}{caption}</figure>" if wide else image)
    if wide:
        return f'<h3>Strongest natural images</h3><div class="near wide">{"".join(shown)}</div>'
    return f'<span class="near">{"".join(shown)}</span>'


def _templates(page: Page, row: int) -> str:
    """The contents of the large view of this picture. They are inactive until it opens."""
    name = str(page.names[row])
    score = page.history.get("score")
    drawn = ""
    if score is not None and len(score):
        drawn = curves.chart(score[:, [row]], [name], f"Score of {name} over the steps", "score")
    near = _near(page, row, wide=True)
    return (f'<template id="curve-{row}">{drawn}</template>' if drawn else "") + (
        f'<template id="near-{row}">{near}</template>' if near else ""
    )


def _scores(page: Page) -> str:
    charts = {
        name: curves.chart(values, page.names, f"{name} of every {page.noun} over the steps", name)
        for name, values in page.history.items()
        if len(values)
    }
    first = charts.pop("score", "")
    if not first:
        return ""
    names = "".join(
        f'<button type="button" class="pill" data-light="{row}" aria-pressed="false">'
        f"<bdi>{_text(name)}</bdi></button>"
        for row, name in enumerate(page.names)
    )
    others = "".join(
        f"<details><summary>{_text(name)}</summary><div class='many'>{chart}</div></details>"
        for name, chart in charts.items()
        if chart
    )
    return (
        '<section aria-labelledby="h-scores"><h2 id="h-scores">Scores over the steps</h2>'
        '<p class="soft">The objective, with the transforms of the run, before each update. The '
        f"score under each {page.noun} is of the final {page.noun}, without transforms.</p>"
        f'<div class="many" id="all">{first}</div>'
        f'<div class="legend" role="group" aria-label="Highlight a curve">{names}</div>{others}'
        "</section>"
    )


def _repeat(page: Page) -> str:
    command = page.config.get("command")
    line = "" if not command else f"<p>In a shell:</p><pre tabindex='0'>{_text(command)}</pre>"
    python = python_call(page.config, page.targets, page.labels)
    return (
        '<section aria-labelledby="h-repeat"><h2 id="h-repeat">Repeat this run</h2>'
        f"{line}<p>{'Or in' if command else 'In'} Python. What was not given is chosen as this version "
        "of actmax does:</p>"
        f"<pre tabindex='0'>{_text(python)}</pre></section>"
    )


def _configuration(page: Page) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_text(name)}</th><td>{_text(version)}</td></tr>'
        for name, version in _versions(page).items()
    )
    text = json.dumps(page.config, indent=2, ensure_ascii=False, default=str)
    return (
        '<section aria-labelledby="h-record"><h2 id="h-record">Record</h2>'
        f"<details open><summary>Versions and environment</summary><table>{rows}"
        f'<tr><th scope="row">device</th><td>{_text(page.config.get("device", ""))}</td></tr>'
        f"</table></details><details><summary>Configuration</summary>"
        f"<pre tabindex='0'>{_text(text)}</pre></details></section>"
    )


def _dialog(page: Page, film: RecordedFrames | None) -> str:
    small = " small" if _is_small(page) else ""
    image = (
        ""
        if page.pictures is None
        else f'<img class="shot{small}" id="view-image" src="data:," alt="">'
    )
    slider = _slider("view-slider", film) if film is not None and len(film.steps) > 1 else ""
    return (
        '<dialog id="view" aria-labelledby="view-name"><div class="top">'
        '<h2 id="view-name" dir="auto"></h2>'
        '<button type="button" class="pill" id="view-back" aria-label="Previous">←</button>'
        '<button type="button" class="pill" id="view-next" aria-label="Next">→</button>'
        '<button type="button" class="pill" id="view-close">Close</button></div>'
        f'<div class="large"><div>{image}{slider}</div><div>'
        '<p id="view-message" dir="auto"></p><div id="view-curve"></div>'
        '<dl class="facts" id="view-facts"></dl><div id="view-near"></div></div></div></dialog>'
    )
