"""Which tests run which line, and how long each takes: measured once, kept in a folder."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from coverage import CoverageData

ROOT = Path(__file__).resolve().parents[2]
# What runs the numeric core in this process. Not among them: what works through files and other processes.
TESTS = (
    "tests/regularizers", "tests/conformance", "tests/actmax/test_exact.py",
    "tests/actmax/test_exact_laws.py", "tests/actmax/test_exact_units.py",
    "tests/actmax/test_certified.py", "tests/actmax/test_scipy.py", "tests/actmax/test_honesty.py",
    "tests/actmax/test_regressions.py", "tests/actmax/test_bad_input.py",
    "tests/actmax/test_ways.py", "tests/actmax/test_callbacks.py",
    "tests/actmax/test_checkpoints.py", "tests/actmax/test_coupled.py",
    "tests/actmax/test_batch_norm_prior.py", "tests/actmax/test_probabilities.py",
    "tests/actmax/test_diversity.py", "tests/actmax/test_determinism.py",
    "tests/actmax/test_masks.py", "tests/actmax/test_models.py",
    "tests/actmax/test_parameterizations.py", "tests/actmax/test_peers_defects.py",
    "tests/actmax/test_presets.py", "tests/actmax/test_check_model.py",
    "tests/actmax/test_throughput.py", "tests/actmax/test_constraints.py",
    "tests/actmax/test_features.py", "tests/actmax/test_objectives_directly.py",
    "tests/actmax/test_loop_parts.py",
)  # fmt: skip
NOT_THESE = ("-p", "no:cacheprovider")


def measure(folder: Path, tests: Sequence[str] = (), jobs: int = 2) -> None:
    """Runs tests under coverage, and writes `reach.json` into `folder`.

    Args:
        folder: for the record.
        tests: files whose tests take the place of what the record has of them; none for all, anew.
        jobs: processes.

    Raises:
        RuntimeError: if a test fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, times = folder / "coverage", folder / "times.xml"
    call = [sys.executable, "-m", "pytest", "-q", *NOT_THESE]
    call += ["-n", str(jobs), "--dist", "loadfile"]
    call += ["--cov=actmax", "--cov=regularizers", "--cov-context=test", "--cov-report="]
    call += ["--cov-fail-under=0", f"--junitxml={times}", *(tests or TESTS)]
    ran = subprocess.run(call, check=False, cwd=ROOT, env=os.environ | {"COVERAGE_FILE": str(data)})
    if ran.returncode != 0:
        raise RuntimeError(
            f"The tests do not pass without a fault: pytest ended with {ran.returncode}."
        )
    found = CoverageData(basename=str(data))
    found.read()
    lines, seconds = _without(folder, tests) if tests else ({}, {})
    for file in sorted(found.measured_files()):
        own = lines.setdefault(Path(file).relative_to(ROOT).as_posix(), {})
        for line, contexts in found.contexts_by_lineno(file).items():
            names = {context.split("|")[0] for context in contexts} - {""}
            own[str(line)] = sorted({*own.get(str(line), ()), *names})
    seconds = collections.Counter(seconds)
    for case in ElementTree.parse(times).iter("testcase"):
        seconds[_node(case.get("classname", ""), case.get("name", ""))] += float(
            case.get("time", 0)
        )
    (folder / "reach.json").write_text(json.dumps({"lines": lines, "seconds": seconds}), "utf-8")


Lines = dict[str, dict[str, list[str]]]


def _without(folder: Path, files: Sequence[str]) -> tuple[Lines, dict[str, float]]:
    """The record without the tests of these files."""
    record = json.loads((folder / "reach.json").read_text("utf-8"))
    kept = {
        file: {
            line: [name for name in names if name.split("::")[0] not in files]
            for line, names in own.items()
        }
        for file, own in record["lines"].items()
    }
    seconds = {
        name: value for name, value in record["seconds"].items() if name.split("::")[0] not in files
    }
    return kept, seconds


def _node(module: str, name: str) -> str:
    return f"{module.replace('.', '/')}.py::{name}"


class Reach:
    """The tests that run a line, in the order in which they should be tried."""

    def __init__(self, folder: Path) -> None:
        record = json.loads((folder / "reach.json").read_text("utf-8"))
        self._lines: Mapping[str, Mapping[str, Sequence[str]]] = record["lines"]
        self._seconds: Mapping[str, float] = record["seconds"]

    def tests(self, file: str, lines: Iterable[int], seconds: float) -> list[str]:
        """Tests that run any of these lines, up to `seconds` together.

        For half of that time the quickest, which are those of the part by itself; then the others, file
        by file in turn, the quickest of each first.
        """
        own = self._lines.get(file, {})
        return self._chosen({test for line in lines for test in own.get(str(line), ())}, seconds)

    def tests_of_folder(self, file: str, seconds: float) -> list[str]:
        """Likewise, of tests that run any line of any module beside a file."""
        folder = Path(file).parent
        beside = [own for name, own in self._lines.items() if Path(name).parent == folder]
        names = {test for own in beside for tests in own.values() for test in tests}
        return self._chosen(names, seconds)

    def _chosen(self, names: set[str], seconds: float) -> list[str]:
        order = sorted(names, key=lambda name: (self._took(name), name))
        chosen, spent = [], 0.0
        while order and spent < seconds / 2:
            chosen.append(order.pop(0))
            spent += self._took(chosen[-1])
        of_file: dict[str, list[str]] = collections.defaultdict(list)
        for name in order:
            of_file[name.split("::")[0]].append(name)
        queues = sorted(of_file.values(), key=lambda tests: self._took(tests[0]))
        for rank in range(max(map(len, queues), default=0)):
            for queue in queues:
                if rank < len(queue) and spent < seconds:
                    chosen.append(queue[rank])
                    spent += self._took(queue[rank])
        return chosen

    def _took(self, name: str) -> float:
        return self._seconds.get(name, 1.0)
