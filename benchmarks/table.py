"""Prints a record as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.cases import FLOOR, OURS, OVERHEAD, STRICT
from benchmarks.measure import Summary, paired_difference, paired_ratio, summarize

MILLISECONDS = 1e3
GIGA = 1e9
MIB = 2.0**20


def study_table(record: dict[str, Any], rate: float | None = None) -> str:
    """One measured study.

    Args:
        record: of the study.
        rate: floating-point operations per second of the device's matrix product.
    """
    lines = [f"{record['name']} ({record['group']})"]
    for name, write in _SECTIONS.items():
        if name in record:
            lines += write(record, rate)
    lines += [f"  {name}: not measured: {why}" for name, why in record["missing"].items()]
    return "\n".join(lines)


def _samples(record: dict[str, Any], rate: float | None) -> Iterator[str]:
    samples, bases = record["seconds_per_step"], record["bases"]
    cases = {case["label"]: case for case in record["study"]["cases"]}
    rounds = len(next(iter(samples.values())))
    width = max(len(name) for name in samples) + 2
    yield (
        f"  {rounds} rounds{'':{width - 9}} {'ms per step':>12} {'p10-p90':>19} {'x bare floor':>19}"
        f" {'x strict floor':>19} {'images x steps/s':>17} {'of matmul':>9}"
    )
    for name, values in samples.items():
        if name == OVERHEAD:
            continue
        spent = summarize(values)
        base = bases[name]
        strict = base.replace(FLOOR, STRICT)
        case = cases.get(name.partition(", ")[2]) or record["study"]["cases"][0]
        work = record["flops"].get(base)
        used = "" if not work or not rate else f"{work / spent.median / rate:.0%}"
        yield (
            f"  {name:{width}} {spent.median * MILLISECONDS:12.3f} "
            f"{_milliseconds(spent.p10, spent.p90):>19} "
            f"{interval(paired_ratio(values, samples[base])):>19} "
            f"{interval(paired_ratio(values, samples[strict])) if strict in samples else '':>19} "
            f"{case['batch'] / spent.median:17.1f} {used:>9}"
        )
    yield from _overhead(record)
    if record["group"] == "parts":
        yield from _prices(record)


def _overhead(record: dict[str, Any]) -> Iterator[str]:
    samples = record["seconds_per_step"]
    if OVERHEAD in samples:
        overhead, ours = summarize(samples[OVERHEAD]), summarize(samples[OURS])
        share = overhead.median / (ours.median * record["steps"][OURS])
        yield (
            f"  a call of actmax without steps: {overhead.median * MILLISECONDS:.1f} ms, once per "
            f"call and contained above: {share:.1%} of it"
        )
    if OURS in record["start_up"]:
        start, floor = record["start_up"][OURS], record["start_up"].get(FLOOR)
        yield (
            f"  actmax: construction {record['construction'][OURS]:.2f} s, first call "
            f"{start['first_call']:.2f} s, second call of one step "
            f"{start['second_call'] * MILLISECONDS:.1f} ms"
            + (f"; bare floor: first call {floor['first_call']:.2f} s" if floor else "")
        )


def prices(record: dict[str, Any]) -> dict[str, tuple[Summary, Summary]]:
    """For a study of parts: seconds per step and share of a step for each part."""
    samples = record["seconds_per_step"]
    full = samples[f"{OURS}, all"]
    found = {}
    for name, values in samples.items():
        variant, _, label = name.partition(", ")
        if variant != OURS or label == "all" or name not in samples:
            continue
        more, less = (full, values) if label.startswith("without") else (values, full)
        cost = paired_difference(more, less)
        share = summarize((np.array(more) - np.array(less)) / np.array(full))
        found[label.removeprefix("without ").removeprefix("with ")] = (cost, share)
    return found


def _prices(record: dict[str, Any]) -> Iterator[str]:
    for part, (cost, share) in prices(record).items():
        yield (
            f"  {part} costs {cost.median * MILLISECONDS:.3f} ms "
            f"[{cost.low * MILLISECONDS:.3f}, {cost.high * MILLISECONDS:.3f}], "
            f"{share.median:.1%} [{share.low:.1%}, {share.high:.1%}] of a step"
        )


def _memory(record: dict[str, Any], _: float | None) -> Iterator[str]:
    def mib(value: int | None) -> str:
        return "-" if value is None else f"{value / MIB:.0f} MiB"

    for name, found in record["memory"].items():
        yield f"  {name}: peak above the model: host {mib(found['host'])}, GPU {mib(found['device'])}"
    where = "device" if any(f["device"] for f in record["memory"].values()) else "host"
    for variant in (FLOOR, OURS):
        points = sorted(
            (found["batch"], found[where])
            for name, found in record["memory"].items()
            if name.startswith(f"{variant},") and found[where] is not None
        )
        if len({batch for batch, _ in points}) > 1:
            (least, small), (most, large) = points[0], points[-1]
            per_image = (large - small) / (most - least)
            yield f"  {variant}: {per_image / MIB:.1f} MiB per image ({where}, batch {least} to {most})"


def _first_steps(record: dict[str, Any], _: float | None) -> Iterator[str]:
    for name, runs in record["first_steps"].items():
        if runs:
            medians = {part: float(np.median([run[part] for run in runs])) for part in runs[0]}
            # TensorFlow and Keras import other installed packages (Keras imports matplotlib, half a
            # second).
            own = [
                sum(run.values()) - run["import tensorflow"] - run["import keras"] for run in runs
            ]
            told = ", ".join(f"{part} {seconds:.2f}" for part, seconds in medians.items())
            yield (
                f"  {name}: {float(np.median(own)):.2f} s after the import of TensorFlow ({told}), "
                f"median of {len(runs)} fresh processes"
            )


def _sweep(record: dict[str, Any], _: float | None) -> Iterator[str]:
    found = record["sweep"]
    chunks = np.array(found["seconds_per_image_step"])
    reference = np.median(found["reference"])
    for name, values in found["by_batch"].items():
        yield f"  {name}: {1 / np.median(values):.1f} images x steps/s"
    yield (
        f"  {found['classes']} classes x {found['steps']} steps in chunks of {found['batch']}: "
        f"{found['traces']} trace, {1 / chunks.mean():.1f} images x steps/s, "
        f"{reference / np.median(chunks):.2f} of one class at the same batch in the same run"
    )


_SECTIONS = {
    "seconds_per_step": _samples,
    "memory": _memory,
    "first_steps": _first_steps,
    "sweep": _sweep,
}


def _milliseconds(low: float, high: float) -> str:
    return f"{low * MILLISECONDS:.2f}-{high * MILLISECONDS:.2f}"


def interval(ratio: Summary) -> str:
    """Median with its 95 % interval."""
    return f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
