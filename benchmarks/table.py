"""A record as text."""

from __future__ import annotations

from typing import Any

from benchmarks.measure import Summary, paired_ratio, summarize
from benchmarks.suite import FLOOR, OURS, OVERHEAD, STRICT

MILLISECONDS = 1e3


def case_table(record: dict[str, Any]) -> str:
    """One measured case."""
    samples = record["seconds_per_step"]
    rounds = len(samples[FLOOR])
    lines = [
        f"{record['case']['name']}, {record['case']['steps']} steps, {rounds} rounds",
        f"  {'':24} {'ms per step':>12} {'p10-p90':>17} {'x bare floor':>19} {'x strict floor':>19}",
    ]
    for name, values in samples.items():
        if name == OVERHEAD:
            continue
        spent = summarize(values)
        lines.append(
            f"  {name:24} {spent.median * MILLISECONDS:12.3f} "
            f"{_milliseconds(spent.p10, spent.p90):>17} "
            f"{_ratio(paired_ratio(values, samples[FLOOR])):>19} "
            f"{_ratio(paired_ratio(values, samples[STRICT])):>19}"
        )
    overhead = summarize(samples[OVERHEAD])
    ours = record["start_up"][OURS]
    lines += [
        f"  a call of actmax without steps: {overhead.median * MILLISECONDS:.1f} ms, once per call "
        f"and contained above: {_share(overhead, samples[OURS], record['case']['steps'])}",
        f"  actmax: construction {record['construction']:.2f} s, first call {ours['first_call']:.2f} s"
        f" (tracing {ours['trace']:.2f} s), second call of one step "
        f"{ours['second_call'] * MILLISECONDS:.1f} ms; bare floor: first call "
        f"{record['start_up'][FLOOR]['first_call']:.2f} s",
    ]
    return "\n".join(lines)


def _milliseconds(low: float, high: float) -> str:
    return f"{low * MILLISECONDS:.2f}-{high * MILLISECONDS:.2f}"


def _ratio(ratio: Summary) -> str:
    return f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _share(overhead: Summary, ours: list[float], steps: int) -> str:
    return f"{overhead.median / (summarize(ours).median * steps):.1%} of it"
