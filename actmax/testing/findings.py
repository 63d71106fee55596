"""Findings of the checks of a model."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["ok", "warning", "fail"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One check of a model: its name, `"ok"`, `"warning"` or `"fail"`, what was found, what to do."""

    name: str
    level: Level
    message: str
    do: str = ""


@dataclasses.dataclass(frozen=True)
class ModelReport:
    """Findings about a model; `str()` is a table, `ok` is whether nothing failed."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed; warnings are allowed."""
        return all(finding.level != "fail" for finding in self.findings)

    def __getitem__(self, name: str) -> Finding:
        return next(finding for finding in self.findings if finding.name == name)

    def __str__(self) -> str:
        width = max(len(finding.name) for finding in self.findings)
        lines = [
            f"{finding.level:<7}  {finding.name:<{width}}  {finding.message} {finding.do}".rstrip()
            for finding in self.findings
        ]
        counts = [
            sum(f.level == level for f in self.findings) for level in ("ok", "warning", "fail")
        ]
        return "\n".join([*lines, f"{counts[0]} ok, {counts[1]} warnings, {counts[2]} failed"])
