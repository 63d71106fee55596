"""Computes the metrics of pictures with bootstrap intervals over class and seed, and checks the controls."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import actmax
from actmax.evaluation import Natural
from actmax.evaluation.distances import resampled_kernel_distance
from actmax.evaluation.judged import scale_of
from benchmarks.quality.methods import Made

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)
# Printed columns: metric, heading, decimals, whether more is better (None: nearer to 1 is better).
COLUMNS: tuple[tuple[str, str, int, bool | None], ...] = (
    ("own_top1", "own", 2, True),
    ("transfer", "transfer", 3, True),
    ("transfer_min", "worst judge", 3, True),
    ("reporting_judge", "reporting", 3, True),
    ("transfer_probability", "prob.", 3, True),
    ("judge_z_min", "judge z", 2, True),
    ("activation_ratio", "act. ratio", 3, True),
    ("retention", "retention", 3, True),
    ("plausibility", "kNN", 2, False),
    ("kernel_distance", "KID", 2, False),
    ("diversity", "diversity", 2, None),
    ("spectrum_distance", "LSD", 2, False),
    ("train_on_synthetic", "TSTR", 3, True),
    ("honesty_gap", "gap 8 bit", 4, False),
)
# Printed with their intervals.
_WITH_INTERVAL = {"kernel_distance", *(metric for metric, _, digits, _ in COLUMNS if digits == 3)}
# The order of the controls that judges must reproduce before any other number counts.
ORDER = ("noise", "pixels, no regularizers", "class mean", "natural images")


class Remembering(actmax.Judge):
    """A judge that remembers its results, because every method uses the same natural images."""

    def look(
        self, images: Any, layers: Sequence[str] = (), batch_size: int = 250
    ) -> dict[str, np.ndarray]:
        values = np.ascontiguousarray(images, np.float32)
        key = (self.model, hashlib.sha256(values).hexdigest(), tuple(layers))
        if key not in _SEEN:
            _SEEN[key] = super().look(values, layers, batch_size)
        return _SEEN[key]


_SEEN: dict[Any, dict[str, np.ndarray]] = {}


def measure(
    made: Made,
    subject: Any,
    judges: Mapping[str, actmax.Judge],
    reporting: Mapping[str, actmax.Judge],
    natural: Natural,
    training_seeds: int = 0,
) -> dict[str, Any]:
    """All numbers of one method, as JSON: `{metric: {value, low, high, images, natural}}`."""
    source = made.images if made.result is None else made.result
    found = actmax.evaluate(
        source,
        judges={**judges, **reporting},
        natural=natural,
        classes=made.classes,
        model=subject,
        input_range=(0, 1),
        reported=made.reported,
        training_seeds=training_seeds,
    )
    record: dict[str, Any] = {
        "kind": made.kind,
        "seconds": made.seconds,
        "passes": made.passes,
        "images": len(made.images),
        "absent": dict(found.absent),
        "judges": {},
        "metrics": {},
    }
    for one in found.measurements:
        if one.judge is None and not one.metric.startswith("transfer"):
            record["metrics"][one.metric] = _with_interval(one.value, one.images, made.classes)
            if one.metric.startswith("honesty") and one.images is not None:
                # The maximum is used, because a mean hides a single picture with a wrong score.
                record["metrics"][one.metric]["largest"] = float(np.max(one.images))
        elif one.judge is not None:
            known = record["judges"].setdefault(one.judge, {"reporting": one.judge in reporting})
            known[one.metric] = {"value": one.value, "natural": one.natural}
    # Only development judges are used. For `evaluate`, the reporting judge is one more judge.
    metrics = record["metrics"]
    panels = {
        "transfer": np.array([_of(found, "transfer", name) for name in judges]),
        "transfer_probability": np.array([_of(found, "transfer_probability", name) for name in judges]),
        "judge_z": np.array([_of(found, "judge_z", name) for name in judges]),
    }  # fmt: skip
    for name, values in panels.items():
        metrics[name] = _with_interval(values.mean(), values.mean(axis=0), made.classes)
    for name in ("transfer", "judge_z"):
        metrics[f"{name}_min"] = _worst(panels[name], made.classes)
    if reporting:
        sealed = np.array([_of(found, "transfer", name) for name in reporting])
        metrics["reporting_judge"] = _worst(sealed, made.classes)
    for name in ("plausibility", "kernel_distance", "frechet_distance", "diversity", "vendi_score"):
        values = [found.find(name, judge).value for judge in judges]
        images = [found.find(name, judge).images for judge in judges]
        per_image = None if images[0] is None else np.array(images).mean(axis=0)
        metrics[name] = _with_interval(float(np.mean(values)), per_image, made.classes)
    metrics["kernel_distance"] |= _kernel_interval(made, judges, natural)
    own = actmax.evaluate(made.images, judges={"own": subject}, classes=made.classes)
    metrics["own_top1"] = _with_interval(own["transfer"], own.find("transfer").images, made.classes)
    return record


def _of(found: actmax.Evaluation, metric: str, judge: str) -> np.ndarray:
    return np.array(found.find(metric, judge).images)


def resamples(classes: np.ndarray, count: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Rows of every resample `[count, N]`. Classes are drawn, and then seeds within each class."""
    draws = np.random.default_rng(seed)
    known = np.unique(classes)
    members = [np.flatnonzero(classes == c) for c in known]
    found = []
    for _ in range(count):
        picked = draws.integers(len(known), size=len(known))
        rows = [draws.choice(members[c], len(members[c])) for c in picked]
        found.append(np.concatenate(rows)[: len(classes)])
    return np.stack([rows for rows in found if len(rows) == len(classes)])


def _with_interval(value: float, images: Any, classes: np.ndarray) -> dict[str, Any]:
    if images is None:
        return {"value": float(value), "low": None, "high": None}
    values = np.asarray(images)[resamples(classes)].mean(axis=1)
    low, high = np.percentile(values, INTERVAL)
    return {"value": float(value), "low": float(low), "high": float(high)}


def _kernel_interval(
    made: Made, judges: Mapping[str, actmax.Judge], natural: Natural
) -> dict[str, float]:
    """The interval of the mean kernel distance. The sum over pairs is computed in every resample.

    Natural images are weighted by how often their class was drawn. So pictures of seven classes are
    compared with natural images of the same seven classes.
    """
    # If only one image was drawn, there are no pairs.
    rows = np.stack([row for row in resamples(made.classes) if len(np.unique(row)) > 1])
    bank, _ = natural.halves()
    known, members = np.unique(made.classes, return_counts=True)
    drawn = np.stack([np.sum(made.classes[rows] == c, axis=1) for c in known], axis=1) / members
    counts = drawn @ (known[:, None] == natural.classes[bank])
    pictures = made.images.astype(np.float32) / 255
    found = []
    for judge in judges.values():
        layer = judge.feature_layer()
        ours = judge.look(pictures, [layer])[layer]
        theirs = judge.look(natural.floats(), [layer])[layer][bank]
        scale = scale_of(theirs)
        found.append(resampled_kernel_distance(scale * ours, scale * theirs, rows, counts))
    low, high = np.percentile(np.mean(found, axis=0), INTERVAL)
    return {"low": float(low), "high": float(high)}


def _worst(values: np.ndarray, classes: np.ndarray) -> dict[str, Any]:
    """The minimum over judges of the mean, computed in every resample. `[J, N] -> value`."""
    least = values[:, resamples(classes)].mean(axis=2).min(axis=0)
    low, high = np.percentile(least, INTERVAL)
    return {"value": float(values.mean(axis=1).min()), "low": float(low), "high": float(high)}


def check_controls(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Errors in the order of the controls. Empty if there are none.

    Mean transfer must be noise < unregularized pixels < class mean and natural images. The activation of
    noise must be below that of natural images, and that of unregularized pixels above. One constant
    picture per class must have no diversity.
    """

    def value(control: str, metric: str) -> float:
        return float(records[control]["metrics"][metric]["value"])

    noise, pixels, mean, natural = ORDER
    faults = []
    for lower, upper, metric in (
        (noise, pixels, "transfer"),
        (pixels, mean, "transfer"),
        (pixels, natural, "transfer"),
        (noise, natural, "transfer"),
        (noise, natural, "activation_z"),
        (natural, pixels, "activation_z"),
        (mean, natural, "diversity"),
        (natural, noise, "plausibility"),
        (natural, pixels, "plausibility"),
        (natural, pixels, "kernel_distance"),
        (natural, noise, "kernel_distance"),
    ):
        below, above = value(lower, metric), value(upper, metric)
        if not below < above:
            faults.append(
                f"{metric} of {lower!r} ({below:.3g}) to be below that of {upper!r} ({above:.3g})"
            )
    return faults


def table(records: Mapping[str, Mapping[str, Any]]) -> str:
    """One row per method. An asterisk marks the best of the methods that use no data."""
    competing = {
        name: one for name, one in records.items() if one["kind"] in ("ours", "peer")
    }  # fmt: skip
    best = {metric: _best(competing, metric, more) for metric, _, _, more in COLUMNS}
    header = ["method", *[heading for _, heading, _, _ in COLUMNS], "passes", "seconds"]
    rows = []
    for name, record in records.items():
        cells = [name]
        for metric, _, digits, _ in COLUMNS:
            found = record["metrics"].get(metric)
            cells.append(_cell(found, digits, name in best[metric], metric in _WITH_INTERVAL))
        cells.append("" if record["passes"] is None else str(record["passes"]))
        cells.append("" if record["seconds"] is None else f"{record['seconds']:.1f}")
        rows.append(cells)
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    wins = [
        f"{heading}: {' and '.join(best[metric])}"
        for metric, heading, _, _ in COLUMNS
        if best[metric] and any(competing[name]["kind"] == "peer" for name in best[metric])
    ]
    lines.append(f"best by a peer: {'; '.join(wins) if wins else 'no column'}")
    return "\n".join(lines)


def _cell(found: Mapping[str, Any] | None, digits: int, best: bool, interval: bool) -> str:
    if found is None:
        return "-"
    text = f"{found['value']:.{digits}f}"
    if interval and found["low"] is not None:
        text += f" [{found['low']:.2f}, {found['high']:.2f}]"
    return text + ("*" if best else "")


def _best(records: Mapping[str, Any], metric: str, more: bool | None) -> tuple[str, ...]:
    """Names of the best methods, including ties."""
    values = {
        name: record["metrics"][metric]["value"]
        for name, record in records.items()
        if metric in record["metrics"]
    }
    if not values:
        return ()
    key = {
        name: abs(value - 1) if more is None else -value if more else value
        for name, value in values.items()
    }
    least = min(key.values())
    return tuple(name for name in key if key[name] == least)
