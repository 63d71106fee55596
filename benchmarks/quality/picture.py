"""Contact sheets, and the picture of activation against transfer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from actmax.images import grid, save_png
from benchmarks.quality.methods import Made

COLORS = {"ours": "tab:blue", "peer": "tab:orange", "control": "tab:gray", "data": "tab:green"}
LARGEST = 900.0  # square points, of the mark of the slowest method


def sheets(made: Mapping[str, Made], labels: tuple[str, ...], folder: Path) -> None:
    """One PNG per method: a column per class, at most four seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, one in made.items():
        columns = len(np.unique(one.classes))
        count = min(4 * columns, len(one.images))
        sheet = grid(one.images[:count], [labels[c] for c in one.classes[:count]], columns=columns)
        file = "".join(c if c.isalnum() else "_" for c in name)
        save_png(folder / f"{file}.png", sheet)


def pareto(records: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """Plots worst-judge transfer against activation ratio. The area of a mark is its time.

    Needs matplotlib: `pip install actmax[plot]`.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    slowest = max((r["seconds"] for r in records.values() if r["seconds"]), default=1.0)
    drawn = {n: r for n, r in records.items() if "activation_ratio" in r["metrics"]}
    for number, (name, record) in enumerate(drawn.items(), 1):
        metrics = record["metrics"]
        x, y = metrics["activation_ratio"], metrics["transfer_min"]
        size = 30 + LARGEST * (record["seconds"] or 0.0) / slowest
        color = COLORS[record["kind"]]
        axes.scatter(x["value"], y["value"], s=size, alpha=0.5, color=color)
        # Marks overlap, so each has a number, and the names are next to the plot.
        axes.scatter([], [], s=40, color=color, label=f"{number}  {name}")
        axes.errorbar(
            x["value"], y["value"], color="black", linewidth=0.5,
            xerr=[[x["value"] - x["low"]], [x["high"] - x["value"]]],
            yerr=[[y["value"] - y["low"]], [y["high"] - y["value"]]],
        )  # fmt: skip
        axes.annotate(
            str(number), (x["value"], y["value"]), ha="center", va="center", weight="bold"
        )
    axes.set_xlabel("activation ratio: 1 is the strongest natural image")
    axes.set_ylabel("transfer top-1, worst development judge")
    axes.set_ylim(-0.05, 1.05)
    axes.set_title("area of a mark: seconds")
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    plt.close(figure)
