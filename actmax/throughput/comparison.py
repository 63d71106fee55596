"""Two records of a benchmark compared: what became faster, what became slower, and what is noise.

What is compared is the ratio to the bare floor, never milliseconds: the machine, its load and its
TensorFlow are in both parts of a ratio. A change is one whose 99 % intervals of the median do not
overlap. Everything else is noise, however large its median.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actmax import checks
from actmax.throughput.records import FORMAT
from actmax.throughput.samples import Summary, paired_ratio

# A record has dozens of rows. At 0.95, one row in a hundred of equal code would be called a change
# (simulated: 400 pairs, 15 to 31 rounds, 5 and 10 % noise); at 0.99 none of them was.
CONFIDENCE = 0.99
# A call without steps has nothing of the floor in it.
NOT_COMPARED = ("actmax, call of no steps",)
# What may differ without a word: the code that is compared, and how busy the machine was, which has
# a word of its own.
MAY_DIFFER = ("commit", "date", "load")
# Others may use this share of the cores. The intervals know the noise within a record, not that a
# busy machine can treat two kinds of work differently from one record to the next.
BUSY = 0.5


@dataclasses.dataclass(frozen=True)
class Change:
    """One variant of one case in two records."""

    case: str
    variant: str
    before: Summary
    after: Summary

    @property
    def relative(self) -> float:
        return self.after.median / self.before.median - 1.0

    @property
    def verdict(self) -> str:
        if self.after.low > self.before.high:
            return "slower"
        if self.after.high < self.before.low:
            return "faster"
        return "noise"


def changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    """Every variant of every study that both records have, against the bare floor of its case."""
    studies = {record["name"]: record for record in before["studies"]}
    for record in after["studies"]:
        old = studies.get(record["name"], {})
        olds, news = old.get("seconds_per_step", {}), record.get("seconds_per_step", {})
        for variant, base in record.get("bases", {}).items():
            if variant in {base, *NOT_COMPARED}:
                continue
            if {variant, base} <= olds.keys() and {variant, base} <= news.keys():
                yield Change(
                    record["name"],
                    variant,
                    paired_ratio(olds[variant], olds[base], CONFIDENCE),
                    paired_ratio(news[variant], news[base], CONFIDENCE),
                )


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs between the environments of two records, and weakens their comparison."""
    old, new = before["environment"], after["environment"]
    lines = [
        f"not the same environment: {key}: {old.get(key)} before, {new.get(key)} after"
        for key in new
        if key not in MAY_DIFFER and old.get(key) != new.get(key)
    ]
    for name, found in (("before", old), ("after", new)):
        busy, cores = found.get("load"), found.get("cores")
        if busy and cores and busy > BUSY * cores:
            lines.append(f"busy machine {name}: load {busy:.1f} on {cores} cores; measure again")
    return lines


def read(file: Path) -> dict[str, Any]:
    """A record that `actmax bench --out` or `python -m benchmarks --out` wrote.

    Raises:
        ValueError: if the file is no such record.
    """
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        record, reason = None, str(error)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = f"format {record.get('format')}" if isinstance(record, dict) else "another file"
        if record is None:
            found = reason
        raise ValueError(
            checks.message(f"a record of format {FORMAT}", f"{found} in {file}", "Measure again.")
        )
    return record


def told(before: dict[str, Any], after: dict[str, Any]) -> tuple[list[str], bool]:
    """The comparison of two records as lines of text, and whether anything became slower."""
    lines = differences(before, after)
    found = list(changes(before, after))
    if not found:
        lines.append("the records have no study in common")
    lines += [
        f"{change.case}, {change.variant}: {_interval(change.before)} -> "
        f"{_interval(change.after)} x floor, {change.relative:+.0%}: {change.verdict}"
        for change in found
    ]
    return lines, any(change.verdict == "slower" for change in found)


def _interval(ratio: Summary) -> str:
    return f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
