"""The record of an evaluation: what was measured, what was not, and why."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from actmax import checks

__all__ = ["Evaluation", "Measurement"]

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One number.

    Attributes:
        metric: its name.
        value: the number, finite.
        natural: the value of natural images, if it was measured; for comparison, not a goal.
        judge: name of the judge; None if the number belongs to no judge, or to all of them.
        images: the number for every image, if there is one.
    """

    metric: str
    value: float
    natural: float | None = None
    judge: str | None = None
    images: tuple[float, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Metrics of a set of images, all of the 8-bit images.

    Attributes:
        measurements: what was measured.
        absent: what was not, by metric, and why.
        config: what it was measured with, as JSON.

    `evaluation["transfer_min"]` is one value; `print(evaluation)` is the table.
    """

    measurements: tuple[Measurement, ...]
    absent: Mapping[str, str]
    config: Mapping[str, Any]

    def find(self, metric: str, judge: str | None = None) -> Measurement:
        """The measurement of a metric, of one judge or over all.

        Raises:
            KeyError: if it was not measured, with the reason.
        """
        for one in self.measurements:
            if one.metric == metric and one.judge == judge:
                return one
        if metric in self.absent:
            raise KeyError(f"{metric}: {self.absent[metric]}")
        known = sorted({one.metric for one in self.measurements})
        raise KeyError(checks.message(f"one of the metrics {known}", repr(metric)))

    def __getitem__(self, metric: str) -> float:
        return self.find(metric).value

    def to_records(self) -> list[dict[str, Any]]:
        """One dictionary per measurement, without the values of single images: for a data frame."""
        return [
            {"metric": m.metric, "judge": m.judge, "value": m.value, "natural": m.natural}
            for m in self.measurements
        ]

    def to_json(self) -> str:
        """All of it as JSON text, without NaN."""
        record = {
            "format": _FORMAT,
            "measurements": [dataclasses.asdict(m) for m in self.measurements],
            "absent": dict(self.absent),
            "config": dict(self.config),
        }
        return json.dumps(record, indent=1, allow_nan=False)

    def __str__(self) -> str:
        lines = [f"{'metric':24} {'judge':14} {'value':>10} {'natural':>10}"]
        for m in self.measurements:
            natural = "" if m.natural is None else f"{m.natural:.4g}"
            lines.append(f"{m.metric:24} {m.judge or '':14} {m.value:10.4g} {natural:>10}".rstrip())
        reasons: dict[str, list[str]] = {}
        for metric, reason in self.absent.items():
            reasons.setdefault(reason, []).append(metric)
        lines += [f"not measured: {', '.join(names)}: {why}" for why, names in reasons.items()]
        return "\n".join(lines)


class Book:
    """Collects measurements, and reasons where there are none."""

    def __init__(self) -> None:
        self.measurements: list[Measurement] = []
        self.absent: dict[str, str] = {}

    def add(
        self,
        metric: str,
        value: Callable[[], Any],
        *,
        natural: float | Callable[[], float] | None = None,
        judge: str | None = None,
    ) -> npt.NDArray[np.float64] | None:
        """Measures: a number, or a number per image, whose mean is the value.

        A ValueError of the metric becomes the reason why it is absent.
        """
        try:
            found = np.asarray(value(), np.float64)
            anchor = natural() if callable(natural) else natural
        except ValueError as error:
            self.skip(str(error), metric)
            return None
        if not np.all(np.isfinite(found)):
            self.skip("it is not finite for some image", metric)
            return None
        images = tuple(float(v) for v in found) if found.ndim else None
        self.measurements.append(
            Measurement(
                metric,
                float(found.mean()),
                None if anchor is None else float(anchor),
                judge,
                images,
            )
        )
        return found

    def skip(self, reason: str, *metrics: str) -> None:
        """Notes why metrics are absent."""
        self.absent |= {metric: reason for metric in metrics if metric not in self.absent}
