"""Problems with a known optimum in every kind of set: the gap after each number of passes.

    python -m benchmarks.constrained [--out benchmarks/results/constrained.json] [--plot FILE]

Scores are those of the best image in closed form or by bisection on one multiplier, without this package.
`gap` is the missing fraction of `best - start`. Passes are evaluations of the model with a gradient. All
methods start from the same image. Keras' optimizers run in our loop with a projection after each step, as
in a hand-written loop.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy import optimize

import actmax
from benchmarks.environment import save

STEPS = 256
LEVELS = (1e-2, 1e-3, 1e-4)
_REACHED = 1e-3
_IN_THE_SET = 1e-6
# Maximum number of values for the methods of SciPy, because they store dense matrices.
_LARGEST = {"L-BFGS-B": 1_000_000, "SLSQP": 400, "trust-constr": 50}


# Steps whose gap is recorded.
_SHOWN = np.unique(np.round(np.geomspace(1, STEPS + 1, 33)).astype(int) - 1)


class Known(NamedTuple):
    """A problem: concave, `score = sum(w x - curve (x - goal)^2 / 2)`, and its best score."""

    name: str
    weights: np.ndarray
    curve: np.ndarray
    goal: np.ndarray
    kind: Any
    best: float
    bounds: tuple[np.ndarray, np.ndarray] | None
    rules: Sequence[dict[str, Any]]

    def score(self, x: np.ndarray) -> float:
        return float(np.sum(self.weights * x - 0.5 * self.curve * (x - self.goal) ** 2))

    def slope(self, x: np.ndarray) -> np.ndarray:
        return self.weights - self.curve * (x - self.goal)

    def model(self, images: tf.Tensor) -> tf.Tensor:
        w, c, g = (tf.constant(v, images.dtype) for v in (self.weights, self.curve, self.goal))
        return tf.reduce_sum(w * images - 0.5 * c * (images - g) ** 2, axis=1, keepdims=True)


def kernel(size: int) -> np.ndarray:
    """A local filter of norm 1, as receptive fields are."""
    at = np.arange(size)
    found = np.exp(-(((at - 0.4 * size) / (0.04 * size + 0.5)) ** 2)) * np.cos(at / 4.0)
    return found / np.linalg.norm(found)


def root(short: Callable[[float], bool], low: float, high: float) -> float:
    """The number in (low, high) at which `short` becomes False, by bisection."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if short(middle) else (low, middle)
    return (low + high) / 2


def norm(sign: str, radius: float) -> dict[str, Any]:
    """`|x| = radius` or `<= radius`, as a constraint of SciPy."""
    return {"type": sign, "fun": lambda x: radius**2 - x @ x, "jac": lambda x: -2 * x}


def total(value: float) -> dict[str, Any]:
    """`sum(x) = value`, as a constraint of SciPy."""
    return {"type": "eq", "fun": lambda x: x.sum() - value, "jac": lambda x: 0 * x + 1}


def known(
    name: str,
    kind: Any,
    best: np.ndarray,
    *,
    weights: Any = 0.0,
    curve: Any = 0.0,
    goal: Any = 0.0,
    bounds: Any = None,
    rules: Sequence[dict[str, Any]] = (),
) -> Known:
    """A problem with its best image."""
    parts = [
        np.broadcast_to(np.asarray(part, float), best.shape) for part in (weights, curve, goal)
    ]
    made = Known(f"{name}, {best.size}", *parts, kind, 0.0, bounds, rules)
    return made._replace(best=made.score(best))


def problems(sizes: Sequence[int] = (6, 400, 10_000)) -> list[Known]:
    """Eight of each size: 24 with 6, 400 and 10,000 values."""
    return [problem for size in sizes for problem in _of_size(size)]


def _of_size(size: int) -> list[Known]:
    draws = np.random.default_rng(size)
    none, w = np.zeros(size), kernel(size)
    curve = np.exp(draws.uniform(-2, 2, size))
    goal = draws.normal(size=size)
    goal /= np.linalg.norm(goal)
    hill = {"curve": curve, "goal": goal}
    radius = 0.5
    m = root(lambda m: bool(np.linalg.norm(curve * goal / (curve + m)) > radius), 0.0, 1e4)
    std, centered = 0.1, w - w.mean()
    length = std * np.sqrt(size)
    share = 3 * np.abs(goal) / np.abs(goal).sum()
    t = root(lambda t: bool(np.clip(share + t / curve, 0, 1).sum() < 1), -1e4, 1e4)
    width = np.exp(draws.uniform(-5, 5, size))
    middle = width * draws.uniform(-0.2, 1.2, size)
    uneven = actmax.Box(tuple(none), tuple(width))
    end = np.full(size, 0.2)
    ball, sphere = actmax.L2Ball(radius), actmax.L2Ball(100.0, surface=True)
    contrast = actmax.Contrast(std, mean=0.0)
    return [
        known("linear, ball", actmax.L2Ball(1.0), w, weights=w, rules=[norm("ineq", 1.0)]),
        known("linear, sphere of 100", sphere, 100 * w, weights=w, rules=[norm("eq", 100.0)]),
        known("quadratic cut by a ball", ball, curve * goal / (curve + m), **hill, rules=[norm("ineq", 0.5)]),
        known("quadratic inside a ball", actmax.L2Ball(2.0), goal, **hill, rules=[norm("ineq", 2.0)]),
        known(
            "linear, contrast", contrast, length * centered / np.linalg.norm(centered), weights=w,
            rules=[norm("eq", length), total(0.0)],
        ),
        known(
            "quadratic, mixture", actmax.Mixture(), np.clip(share + t / curve, 0, 1), curve=curve,
            goal=share, bounds=(none, none + 1), rules=[total(1.0)],
        ),
        known(
            "quadratic, columns of unequal width", uneven, np.clip(middle, 0, width),
            curve=1 / width**2, goal=middle, bounds=(none, width),
        ),
        known("quadratic, box", actmax.Box(-0.2, 0.2), np.clip(goal, -end, end), **hill, bounds=(-end, end)),
    ]  # fmt: skip


def ours(problem: Known, optimizer: Any = None) -> tuple[np.ndarray, Any, float]:
    """Scores of every step, the result, and the score of the start."""
    call = {"input_shape": problem.weights.shape, "input_range": problem.kind, "regularizers": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = actmax.maximize(
            problem.model,
            actmax.Logit(0),
            steps=STEPS,
            optimizer=optimizer,
            precision="float64",
            **call,
        )
    return (
        np.append(result.history["score"][:, 0], result.scores[0]),
        result,
        result.history["score"][0, 0],
    )


def scipy(problem: Known, method: str, start: np.ndarray) -> np.ndarray | None:
    """Scores of every evaluation that is in the set up to 1e-6. None if the method does not apply."""
    if len(start) > _LARGEST[method] or (method == "L-BFGS-B" and problem.rules):
        return None
    seen = []

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        off = max(
            (
                abs(r["fun"](x)) if r["type"] == "eq" else max(-r["fun"](x), 0)
                for r in problem.rules
            ),
            default=0,
        )
        seen.append(problem.score(x) if off < _IN_THE_SET else -np.inf)
        return -problem.score(x), -problem.slope(x)

    bounds = None if problem.bounds is None else list(zip(*problem.bounds, strict=True))
    rules = problem.rules
    if method == "trust-constr":
        ends = {"eq": 0.0, "ineq": np.inf}
        rules = [
            optimize.NonlinearConstraint(rule["fun"], 0.0, ends[rule["type"]], jac=rule["jac"])
            for rule in rules
        ]
    call = {"constraints": rules} if rules else {}
    optimize.minimize(
        value, start, jac=True, bounds=bounds, method=method, options={"maxiter": STEPS}, **call
    )
    # The best image that was in the set so far.
    return np.maximum.accumulate(seen)


def passes(scores: np.ndarray, best: float, first: float) -> dict[str, int | None]:
    """Number of passes after which the gap stays below each level."""
    gap = (best - scores) / (best - first)
    found = {}
    for level in LEVELS:
        above = np.flatnonzero(~(gap <= level))
        last = int(above[-1]) + 1 if above.size else 0
        found[f"{level:g}"] = last if last < len(gap) else None
    return found


def run(problem: Known) -> dict[str, Any]:
    """One problem with all methods."""
    scores, result, first = ours(problem)
    size = float(np.mean(problem.kind.units(problem.weights.shape)))
    step = 0.2 * size * np.sqrt(len(problem.weights))
    rows: dict[str, Any] = {}
    others = {
        "Keras Adam, clipped": keras.optimizers.Adam(0.05 * size),
        "Keras SGD, clipped": keras.optimizers.SGD(0.1),
        "normalized SGD (MEI code)": actmax.SGD(actmax.Linear(step, 0.0), normalize=True),
    }
    found = {"actmax": scores} | {name: ours(problem, other)[0] for name, other in others.items()}
    start = np.zeros(len(problem.weights))
    for method in _LARGEST:
        own = scipy(problem, method, start + 1e-3 * kernel(len(start)) * size)
        if own is not None:
            found[method] = own
    for name, each in found.items():
        gaps = (problem.best - each) / (problem.best - first)
        rows[name] = {
            "gap": float(gaps[-1]),
            "passes": passes(each, problem.best, first),
            # Enough of them for a curve.
            "curve": [float(f"{gap:.3g}") for gap in gaps[_SHOWN[_SHOWN < len(gaps)]]],
        }
    # The gaps of a result are relative to the gain of the run.
    scale = (scores[-1] - first) / (problem.best - first)
    return {
        "problem": problem.name,
        "best": problem.best,
        "optimality": float(result.optimality[0] * scale),
        "duality_gap": float(result.duality_gap[0] * scale),
        "distance": float(result.distance[0]),
        "methods": rows,
    }


def first_of(rows: Sequence[dict[str, Any]], level: str = "0.001") -> dict[str, int]:
    """For each method: number of problems solved to a level, and solved with the fewest passes."""
    told: dict[str, int] = {}
    for row in rows:
        known = {name: each["passes"][level] for name, each in row["methods"].items()}
        met = {name: count for name, count in known.items() if count is not None}
        for name in met:
            told[name] = told.get(name, 0) + 1
        if met:
            least = min(met.values())
            for name in (name for name, count in met.items() if count == least):
                told[f"{name}, first"] = told.get(f"{name}, first", 0) + 1
    return told


def plot(record: dict[str, Any], file: Path) -> None:
    """Gap against passes, one panel for each problem."""
    from matplotlib.figure import Figure

    rows = record["problems"]
    columns = 4
    figure = Figure(figsize=(14, 2.3 * -(-len(rows) // columns)), layout="constrained")
    for number, row in enumerate(rows):
        axes = figure.add_subplot(-(-len(rows) // columns), columns, number + 1)
        for name, each in row["methods"].items():
            at = np.asarray(record["steps_shown"])[: len(each["curve"])]
            gaps = np.clip(np.asarray(each["curve"], float), 1e-8, 1.0)
            axes.loglog(
                at + 1, gaps, label=name, linewidth=2.2 if name == "actmax" else 1.0,
                zorder=3 if name == "actmax" else 2,
            )  # fmt: skip
        axes.axhline(_REACHED, color="gray", linewidth=0.5)
        axes.set_title(row["problem"], fontsize=8)
        axes.tick_params(labelsize=6)
    handles = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()[:-1]}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8)
    figure.supxlabel("passes", fontsize=8)
    figure.supylabel("missing, of best - start", fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all problems, prints a table and writes the record."""
    parser = argparse.ArgumentParser(description="Known optima under constraints.")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/constrained.json"))
    parser.add_argument("--plot", type=Path, default=Path("docs/images/constrained.png"))
    parser.add_argument("--sizes", type=int, nargs="+", default=(6, 400, 10_000))
    given = parser.parse_args(arguments)
    rows = []
    for problem in problems(given.sizes):
        rows.append(run(problem))
        told = {name: f"{row['gap']:.1e}" for name, row in rows[-1]["methods"].items()}
        sys.stdout.write(f"{problem.name}: optimality {rows[-1]['optimality']:.1e}, gaps {told}\n")
        sys.stdout.flush()
    met = sum(row["methods"]["actmax"]["gap"] <= _REACHED for row in rows)
    sys.stdout.write(f"actmax by default reaches 0.999 on {met} of {len(rows)}\n")
    record = {
        "steps": STEPS, "levels": LEVELS, "steps_shown": _SHOWN.tolist(), "problems": rows,
    }  # fmt: skip
    for name, count in sorted(first_of(rows).items()):
        sys.stdout.write(f"to 0.999: {name}: {count} of {len(rows)}\n")
    save(given.out, record)
    plot(record, given.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
