"""Table and plot of the results page: `python -m benchmarks report RESULTS.json --plot FILE.png`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import FLOOR, OURS, STRICT
from benchmarks.compare import read
from benchmarks.measure import paired_ratio, summarize
from benchmarks.suite import ONEDNN
from benchmarks.table import interval, prices

_FOLD = f"{OURS} fold"
_ROWS = (OURS, _FOLD, f"{OURS}, {ONEDNN}", f"{_FOLD}, {ONEDNN}", STRICT, f"{FLOOR}, {ONEDNN}")
_TICKS = (0.5, 1, 2, 4, 8)
# Our bars are blue and all others gray, so they can be told apart without color vision.
_OURS_COLORS = ("#08519c", "#3182bd", "#6baed6", "#bdd7e7")
_PEER_COLORS = ("#252525", "#636363", "#969696", "#cccccc")
_PEERS = ("tf-keras-vis", "xplique", "torch", "jax")


def main(argv: Sequence[str]) -> int:
    """Prints the table, and draws the plot if requested."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description=__doc__)
    parser.add_argument("records", type=Path, nargs="+", metavar="RESULTS.json")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="needs matplotlib")
    arguments = parser.parse_args(argv)
    records = [read(file) for file in arguments.records]
    studies = [study for record in records for study in record["studies"]]
    print(markdown(studies))
    print()
    for record in records:
        print(f"*{where(record)}*")
    if arguments.plot is not None:
        plot(studies, arguments.plot)
        print(f"\nplot: {arguments.plot}")
    return 0


def where(record: dict[str, Any]) -> str:
    """The environment in one line."""
    found = record["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    device = ", ".join(found["gpus"]) or f"{found['cpu']}, {found['cores']} cores"
    commit = (found["commit"] or "no commit")[:12]
    return f"{device}; {versions}; {record['rounds']} interleaved rounds; commit {commit}"


def headlines(studies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Studies with samples of the floor and of peers."""
    return [study for study in studies if study["group"] == "headline"]


def bests(study: dict[str, Any]) -> dict[str, str]:
    """The variant of each peer with the lowest median, because each is quoted at its best."""
    samples = study["seconds_per_step"]
    found = {}
    for peer in _PEERS:
        own = [name for name in samples if name.startswith(peer)]
        if own:
            found[peer] = min(own, key=lambda name: float(np.median(samples[name])))
    return found


def markdown(studies: Sequence[dict[str, Any]]) -> str:
    """Ratios to the bare floor by case, ours first, then each peer at its best."""
    cases = headlines(studies)
    if not cases:
        return "No headline case in these records."
    lines = [
        "| step time / bare floor | " + " | ".join(study["name"] for study in cases) + " |",
        "|---|" + "---|" * len(cases),
    ]
    floors = [summarize(study["seconds_per_step"][FLOOR]).median * 1e3 for study in cases]
    lines.append("| bare floor, ms | " + " | ".join(f"{value:.2f}" for value in floors) + " |")
    for name in _ROWS:
        if any(name in study["seconds_per_step"] for study in cases):
            cells = [_cell(study, name) for study in cases]
            told = f"**{name}**" if name.startswith(OURS) else name
            lines.append(f"| {told} | " + " | ".join(cells) + " |")
    for peer in _PEERS:
        cells = [_peer_cell(study, peer) for study in cases]
        lines.append(f"| {peer} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(study: dict[str, Any], name: str) -> str:
    samples = study["seconds_per_step"]
    if name not in samples:
        return "not there" if name in study["missing"] else ""
    return interval(paired_ratio(samples[name], samples[FLOOR]))


def _peer_cell(study: dict[str, Any], peer: str) -> str:
    best = bests(study).get(peer)
    if best is None:
        why = [text for name, text in study["missing"].items() if name.startswith(peer)]
        return f"not measured: {why[0].split(':')[0]}" if why else "not measured"
    variant = best.partition(": ")[2] if peer != "torch" else best.removeprefix("torch ")
    return f"{_cell(study, best)} ({variant})"


def plot(studies: Sequence[dict[str, Any]], file: Path) -> None:
    """Ratio bars, throughput against batch, price of each part: one picture."""
    from matplotlib.figure import Figure

    draw = {"headline": _draw_ratios, "batch": _draw_batches, "parts": _draw_parts}
    panels = [
        (function, [study for study in studies if study["group"] == group])
        for group, function in draw.items()
    ]
    panels = [(function, found) for function, found in panels if found]
    figure = Figure(figsize=(6.4 * max(len(panels), 1), 5.2), layout="constrained")
    for number, (function, found) in enumerate(panels):
        function(figure.add_subplot(1, len(panels), number + 1), found)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def _draw_ratios(axes: Any, studies: Sequence[dict[str, Any]]) -> None:
    known = {name for study in studies for name in (*study["seconds_per_step"], *bests(study))}
    ours = (OURS, _FOLD, f"{OURS}, {ONEDNN}", f"{_FOLD}, {ONEDNN}")
    shown = [name for name in (*ours, *_PEERS) if name in known]
    height = 0.8 / len(shown)
    for row, name in enumerate(shown):
        places, medians, errors = [], [], []
        for column, study in enumerate(studies):
            key = bests(study).get(name, name)
            samples = study["seconds_per_step"]
            if key in samples:
                ratio = paired_ratio(samples[key], samples[FLOOR])
                places.append(column + row * height)
                medians.append(ratio.median)
                errors.append((ratio.median - ratio.low, ratio.high - ratio.median))
        if places:
            color = _OURS_COLORS[row] if name in ours else _PEER_COLORS[_PEERS.index(name)]
            thin = {"elinewidth": 0.8}
            axes.barh(
                places, medians, 0.9 * height, xerr=np.transpose(errors), label=name, color=color,
                error_kw=thin,
            )  # fmt: skip
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.minorticks_off()
    middle = np.arange(len(studies)) + height * (len(shown) - 1) / 2
    axes.set_yticks(middle, [study["name"] for study in studies])
    axes.invert_yaxis()
    axes.set_xlabel("step time / bare floor of the same model: left of 1 is faster")
    axes.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)


def _draw_batches(axes: Any, studies: Sequence[dict[str, Any]]) -> None:
    for study in studies:
        samples = study["seconds_per_step"]
        cases = [case for case in study["study"]["cases"] if f"{OURS}, {case['label']}" in samples]
        for variant, style in ((OURS, "o-"), (FLOOR, ":")):
            values = [
                case["batch"] / np.median(samples[f"{variant}, {case['label']}"]) for case in cases
            ]
            name = f"{variant}, {study['study']['cases'][0]['model']}"
            axes.plot([case["batch"] for case in cases], values, style, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("batch")
    axes.set_ylabel("images x steps per second")
    axes.legend(fontsize=7)


def _draw_parts(axes: Any, studies: Sequence[dict[str, Any]]) -> None:
    for number, study in enumerate(studies):
        found = prices(study)
        middle = np.arange(len(found)) + 0.35 * number
        medians = [share.median * 100 for _, share in found.values()]
        errors = [
            ((share.median - share.low) * 100, (share.high - share.median) * 100)
            for _, share in found.values()
        ]
        name = study["study"]["cases"][0]["model"]
        axes.barh(middle, medians, 0.35, xerr=np.transpose(errors), label=name)
        axes.set_yticks(np.arange(len(found)), list(found))
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("% of a step")
    axes.legend(fontsize=7)


__all__ = ["main", "markdown", "plot", "where"]
