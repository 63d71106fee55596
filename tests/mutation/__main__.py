"""Which faults do the tests notice? `python -m tests.mutation [--count 300] [--jobs 2] [--folder FOLDER]`.

Draws `--count` mutants of the numeric core at random, and runs for each of them, in a process of its own,
tests that run the changed line (else its function, module or folder), until one fails: the quickest, then the
test files in turn, up to `--budget` seconds of them. Which test runs which line is measured first, under
coverage; `--measure FILE ...` measures again what is new or has changed. TensorFlow is imported once and
forked before it is used. A mutant that no test notices survives. Survivors are printed: each is a missing
test, or equal to the original. Stopped and called again with the same `--folder`, it goes on.
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

from tests.mutation.mutants import Mutant, around, mutants
from tests.mutation.reach import NOT_THESE, Reach, measure

ROOT = Path(__file__).resolve().parents[2]
CORE = (
    "regularizers/*.py",
    "actmax/constraints/*.py",
    "actmax/objectives/*.py",
    "actmax/loop/*.py",
)
KILLED, SURVIVED, SLOW = "killed", "survived", "timeout"


@dataclasses.dataclass(frozen=True)
class Case:
    """One mutant, its file and the tests that should notice it."""

    file: str
    mutant: Mutant
    tests: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.file}:{self.mutant.line}:{self.mutant.column}: {self.mutant.what}"


def cases(reach: Reach, seconds: float) -> list[Case]:
    """Every mutant of the core, with tests of so many seconds."""
    found = []
    for pattern in CORE:
        for file in sorted(ROOT.glob(pattern)):
            if file.name == "__init__.py":
                continue
            name = file.relative_to(ROOT).as_posix()
            source = file.read_text("utf-8")
            found += [
                Case(name, mutant, _tests(reach, name, source, mutant.line, seconds))
                for mutant in mutants(source)
            ]
    return found


def _tests(reach: Reach, file: str, source: str, line: int, seconds: float) -> tuple[str, ...]:
    """Tests of the line, else of the function or class around it, else of the module, else of its folder.

    What runs when a module is imported, such as a default, is run by no test in particular.
    """
    every = range(1, source.count("\n") + 1)
    for lines in ([line], around(source, line), every):
        tests = reach.tests(file, lines, seconds)
        if tests:
            return tuple(tests)
    return tuple(reach.tests_of_folder(file, seconds))


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


def _child(case: Case, timeout: int) -> None:
    """In the forked process: the tests with a fault; ends it with pytest's code."""
    os.setsid()
    signal.alarm(timeout)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    name = case.file.removesuffix(".py").replace("/", ".")
    sys.meta_path.insert(0, _Overlay(name, ROOT / case.file, case.mutant.source))
    import pytest

    os._exit(int(pytest.main(["-x", "-q", *NOT_THESE, "-p", "no:xdist", *case.tests])))


def _collect(names: list[str]) -> None:
    """In a forked process: ends it with 0 if all these tests are there."""
    import pytest

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os._exit(int(pytest.main(["--collect-only", "-q", *NOT_THESE, "-p", "no:xdist", *names])))


def run(todo: list[Case], jobs: int, timeout: int) -> Iterator[tuple[Case, str, float]]:
    """Each case with what became of it and the seconds it took, as they end."""
    waiting = list(reversed(todo))
    running: dict[int, tuple[Case, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            case = waiting.pop()
            if not case.tests:
                yield case, SURVIVED, 0.0
                continue
            process = os.fork()
            if process == 0:
                _child(case, timeout)
            running[process] = (case, time.monotonic())
        if not running:
            return
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
    parser.add_argument(
        "--budget", type=float, default=60.0, help="seconds of tests for one mutant"
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "out" / "mutation", help="for its files"
    )
    parser.add_argument(
        "--again", action="store_true", help="survivors too, as with a larger budget"
    )
    parser.add_argument(
        "--measure", nargs="+", default=(), help="test files to measure anew, first"
    )
    given = parser.parse_args()
    folder = given.folder.resolve()
    os.chdir(ROOT)
    if given.measure or not (folder / "reach.json").exists():
        measure(folder, given.measure, given.jobs)
    known = cases(Reach(folder), given.budget)
    every = [case for case in known if case.file.startswith(given.only)]
    order = np.random.default_rng(given.seed).permutation(len(every))[: given.count]
    chosen = [every[n] for n in order]
    done: dict[str, str] = {}
    ends = folder / "ends.jsonl"
    if ends.exists():
        for line in ends.read_text("utf-8").splitlines():
            record = json.loads(line)
            done[record["mutant"]] = record["end"]
    if given.again:
        done = {key: end for key, end in done.items() if end != SURVIVED}
    # Not hypothesis: pytest warns of plugins that were imported before it.
    import keras  # noqa: F401
    import scipy.stats  # noqa: F401
    import tensorflow  # noqa: F401  Imported and not used, so that it may be forked.

    # A test that is not found would count as one that noticed.
    names = sorted({name for case in chosen for name in case.tests})
    process = os.fork()
    if process == 0:
        _collect(names)
    if os.waitpid(process, 0)[1] != 0:
        print(f"Some of the tests are not there any more. Remove {folder} and start again.")
        return 2
    print(f"{len(chosen)} of {len(every)} mutants; {len(done)} known already")
    todo = [case for case in chosen if case.key not in done]
    for case, kind, seconds in run(todo, given.jobs, given.timeout):
        done[case.key] = kind
        if kind == SURVIVED:
            print(f"survived: {case.key}", flush=True)
        with ends.open("a", encoding="utf-8") as stream:
            record = {"mutant": case.key, "end": kind, "seconds": round(seconds, 1)}
            stream.write(json.dumps(record) + "\n")
    noticed = sum(done[case.key] != SURVIVED for case in chosen)
    print(f"{noticed} of {len(chosen)} noticed: {noticed / len(chosen):.1%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
