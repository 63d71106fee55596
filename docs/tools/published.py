"""Prices and pictures of the page "Published regularizers": `python -m docs.tools.published`.

Every part of the page is measured alone on the two shipped networks: how much of a step it takes
(`actmax.benchmark`: the loop with it less the loop without it, in the same rounds), and what a picture of
one class looks like with it beside none. It writes `docs/extend/published-prices.md` and
`docs/images/published-*.png`. Prices depend on the machine and its load, and the table says both.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import actmax
from actmax import zoo
from regularizers import Jitter
from regularizers.base import Penalty
from tests.docs import pages

PAGE = pages.DOCS / "extend" / "published.md"
TABLE = pages.DOCS / "extend" / "published-prices.md"
# Network, shape of an image, target and its name.
NETWORKS = {"mnist": ((28, 28, 1), 3, "three"), "cifar10": ((32, 32, 3), 7, "horse")}

_ABOUT = """# Prices of the published regularizers

This is the share of one step that each regularizer of [the gallery](published.md) takes, alone, for four
images: the loop with it less the loop without it, divided by the loop with it. The median and, in brackets,
its 95 % interval. On a small network a penalty is a large share; the larger the network, the smaller it is.
An interval that contains 0 means that the price is below what this machine could tell. The table is written
by `python -m docs.tools.published`."""

# The pull of a part on mild noise, in units of that of the score at the start: where most show what they do.
_PULL = 6.0


def parts() -> list[Any]:
    """The regularizers that the page makes, from its own code, in its order."""
    code = "\n".join(
        block.text
        for block in pages.blocks(PAGE.read_text("utf-8"))
        if block.language == "python" and not block.reason
    )
    module = types.ModuleType("docs_published")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            text = code.split("result = actmax.maximize(")[0]
            exec(compile(text, str(PAGE), "exec"), vars(module))  # noqa: S102 - the page's own code
        finally:
            os.chdir(here)
    return list(module.gray)  # type: ignore[attr-defined]


def fits(part: Penalty, shape: tuple[int, ...]) -> bool:
    """Whether a part takes images of a shape."""
    images = tf.zeros([2, *shape]) + 0.5
    try:
        value(part, images)
    except Exception:  # What a part raises may be anything.
        return False
    return True


def value(part: Penalty, images: tf.Tensor) -> tf.Tensor:
    """Values of a part at the first step. `[N, ...] -> [N]`."""
    offered = {"seeds": tf.zeros([len(images), 2], tf.int32), "step": tf.constant(0)}
    if part.remembers:
        offered["state"] = 0.5 + 0.0 * images
    return part(images, **{name: offered[name] for name in part.asks})


def weight(part: Penalty, shape: tuple[int, ...]) -> float:
    """The weight with which a part pulls at mild noise with `_PULL` times a score of pull 1."""
    images = tf.random.stateless_uniform([1, *shape], [0, 1], 0.3, 0.7)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(value(part, images))
    pull = tape.gradient(total, images)
    size = 0.0 if pull is None else float(tf.reduce_sum(tf.abs(pull)))
    return _PULL / size if size > 0 else _PULL


def share(model: Any, part: Penalty, rounds: int, steps: int) -> tuple[float, float, float]:
    """Share of a step of four images that a part takes: median and 95 % interval."""
    found = actmax.benchmark(
        model, input_range=(0, 1), regularizers=[part], batch_sizes=[4], rounds=rounds, steps=steps
    )
    (name,) = found.records[0].without
    summary = found.records[0].share(name)
    return summary.median, summary.low, summary.high


def picture(model: Any, part: Penalty | None, target: int, steps: int) -> np.ndarray:
    """One picture with a part, weighed by `weight` in units of the score's pull, or with none."""
    shape = tuple(model.input_shape[1:])
    listed = [Jitter(2)] if part is None else [weight(part, shape) * part, Jitter(2)]
    maximizer = actmax.Maximizer(
        model,
        input_range=(0, 1),
        regularizers=listed,
        parameterization=actmax.Pixels(),
        balance=part is not None,
    )
    return np.asarray(maximizer([target], steps=steps).to_uint8()[0])


def main(argv: list[str] | None = None) -> int:
    """Measures, draws and writes."""
    parser = argparse.ArgumentParser(prog="python -m docs.tools.published", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="samples of each loop")
    parser.add_argument("--steps", type=int, default=32, help="updates in a sample")
    parser.add_argument("--picture-steps", type=int, default=96)
    parser.add_argument("--only", choices=("prices", "pictures"), help="make these alone")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    rows: dict[str, dict[str, str]] = {}
    for network, (shape, target, word) in NETWORKS.items():
        model = zoo.load(network)
        images, names = [picture(model, None, target, arguments.picture_steps)], ["none"]
        for part in parts():
            cells = rows.setdefault(part.name, {})
            if not fits(part, shape):
                cells[network] = "made for other images"
                continue
            if arguments.only != "pictures":
                middle, low, high = share(model, part, arguments.rounds, arguments.steps)
                cells[network] = f"{middle:.0%} [{low:.0%}, {high:.0%}]"
            if arguments.only != "prices":
                images.append(picture(model, part, target, arguments.picture_steps))
                names.append(part.name)
            print(network, part.name, cells.get(network, ""), flush=True)
        if arguments.only != "prices":
            sheet = actmax.grid(np.stack(images), names, columns=6)
            actmax.save_png(pages.DOCS / "images" / f"published-{network}.png", sheet)
            print(f"{network}: {word}, {len(names) - 1} pictures")
    if arguments.only != "pictures":
        TABLE.write_text(table(rows, arguments.rounds), "utf-8")
    return 0


def table(rows: dict[str, dict[str, str]], rounds: int) -> str:
    """The page of prices."""
    cores = os.cpu_count()
    load = os.getloadavg()[0]
    machine = (
        f"Machine: {cores} cores ({platform.machine()}), no GPU, TensorFlow {tf.__version__}; load "
        f"{load:.1f} at the end, so other programs ran beside it; {rounds} rounds."
    )
    lines = [
        *_ABOUT.splitlines(),
        "",
        machine,
        "",
        "| regularizer | MNIST network | CIFAR-10 network |",
        "|---|---|---|",
        *(
            f"| `{name}` | {cells.get('mnist', '')} | {cells.get('cifar10', '')} |"
            for name, cells in rows.items()
        ),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
