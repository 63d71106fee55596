"""Which faults do the tests notice? `python -m tests.mutation [--count 300] [--jobs 2] [--out FILE.jsonl]`.

Draws `--count` mutants of the numeric core at random, and runs for each of them, in a process of its own,
the tests of the room it is in, until one fails. TensorFlow is imported once and forked before it is used.
A mutant that no test notices survives. Survivors are printed: each is a missing test, or equal to the
original. Stopped and called again with the same `--out`, it goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
# Modules, and the tests that hold them, the quickest and closest first.
ROOMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("regularizers/*.py", (
        "tests/regularizers", "tests/actmax/test_exact.py", "tests/actmax/test_regressions.py",
    )),
    ("actmax/constraints/*.py", (
        "tests/actmax/test_exact.py", "tests/actmax/test_exact_laws.py",
        "tests/actmax/test_regressions.py", "tests/actmax/test_bad_input.py",
    )),
    ("actmax/objectives/*.py", (
        "tests/actmax/test_exact_units.py", "tests/actmax/test_exact.py",
        "tests/actmax/test_probabilities.py", "tests/actmax/test_coupled.py",
        "tests/actmax/test_batch_norm_prior.py", "tests/actmax/test_honesty.py",
        "tests/actmax/test_regressions.py", "tests/actmax/test_bad_input.py",
    )),
    ("actmax/loop/*.py", (
        "tests/actmax/test_exact.py", "tests/actmax/test_exact_laws.py", "tests/actmax/test_honesty.py",
        "tests/actmax/test_ways.py", "tests/actmax/test_peers_defects.py",
        "tests/actmax/test_regressions.py", "tests/actmax/test_callbacks.py",
    )),
)  # fmt: skip
KILLED, SURVIVED, SLOW = "killed", "survived", "timeout"


@dataclasses.dataclass(frozen=True)
class Case:
    """One mutant, its file and the tests that should notice it."""

    file: str
    mutant: Mutant
    tests: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.file}:{self.mutant.line}: {self.mutant.what}"


def cases() -> list[Case]:
    """Every mutant of every room."""
    found = []
    for pattern, tests in ROOMS:
        for file in sorted(ROOT.glob(pattern)):
            if file.name == "__init__.py":
                continue
            name = file.relative_to(ROOT).as_posix()
            own = mutants(file.read_text("utf-8"))
            found += [Case(name, mutant, tests) for mutant in own]
    return found


class _Overlay(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a text in place of its file."""

    def __init__(self, name: str, file: Path, source: str) -> None:
        self._name, self._file, self._source = name, file, source

    def find_spec(self, name, path=None, target=None):
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._file, loader=self)

    def create_module(self, spec):
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, str(self._file), "exec"), module.__dict__)

    def get_source(self, name: str) -> str:  # TensorFlow's AutoGraph reads it.
        return self._source


def _child(case: Case | None, tests: tuple[str, ...], timeout: int) -> None:
    """In the forked process: the tests with a fault, or without; ends it with pytest's code."""
    os.setsid()
    signal.alarm(timeout)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    if case is not None:
        name = case.file.removesuffix(".py").replace("/", ".")
        overlay = _Overlay(name, ROOT / case.file, case.mutant.source)
        sys.meta_path.insert(0, overlay)
    import pytest

    arguments = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    os._exit(int(pytest.main(arguments)))


def run(todo: list[Case], jobs: int, timeout: int) -> Iterator[tuple[Case, str, float]]:
    """Each case with what became of it and the seconds it took, as they end."""
    waiting = list(reversed(todo))
    running: dict[int, tuple[Case, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            case = waiting.pop()
            process = os.fork()
            if process == 0:
                _child(case, case.tests, timeout)
            running[process] = (case, time.monotonic())
        process, status = os.wait()
        case, began = running.pop(process)
        if os.WIFSIGNALED(status):
            kind = SLOW if os.WTERMSIG(status) == signal.SIGALRM else KILLED
        else:
            kind = SURVIVED if os.WEXITSTATUS(status) == 0 else KILLED
        yield case, kind, time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one mutant")
    parser.add_argument("--only", default="", help="files that begin with this")
    parser.add_argument("--out", type=Path, help="JSON lines; what is in it is not run again")
    given = parser.parse_args()
    os.chdir(ROOT)
    every = [case for case in cases() if case.file.startswith(given.only)]
    order = np.random.default_rng(given.seed).permutation(len(every))[: given.count]
    chosen = [every[n] for n in order]
    done: dict[str, str] = {}
    if given.out is not None and given.out.exists():
        for line in given.out.read_text("utf-8").splitlines():
            record = json.loads(line)
            done[record["mutant"]] = record["end"]
    # Not hypothesis: pytest warns of plugins that were imported before it.
    import keras  # noqa: F401
    import scipy.stats  # noqa: F401
    import tensorflow  # noqa: F401  Imported and not used, so that it may be forked.

    # Only tests that pass without a fault can notice one.
    for tests in sorted({case.tests for case in chosen}):
        process = os.fork()
        if process == 0:
            _child(None, tests, 0)
        _, status = os.waitpid(process, 0)
        if status != 0:
            print(f"The tests do not pass without a fault: {' '.join(tests)}")
            return 2
    print(f"{len(chosen)} of {len(every)} mutants; {len(done)} known already")
    todo = [case for case in chosen if case.key not in done]
    for case, kind, seconds in run(todo, given.jobs, given.timeout):
        done[case.key] = kind
        if kind == SURVIVED:
            print(f"survived: {case.key}", flush=True)
        if given.out is not None:
            with given.out.open("a", encoding="utf-8") as stream:
                record = {"mutant": case.key, "end": kind, "seconds": round(seconds, 1)}
                stream.write(json.dumps(record) + "\n")
    ends = [done[case.key] for case in chosen]
    noticed = sum(end != SURVIVED for end in ends)
    print(f"{noticed} of {len(ends)} noticed: {noticed / len(ends):.1%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
