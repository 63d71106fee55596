"""`python -m benchmarks against COMMIT`: is this build slower than that one?

Three processes run for every case: this checkout, the other commit, and the other commit again as the
control. The control shows which differences are noise. The processes are measured in turn, in another
order in every round, and rounds are compared in pairs. Each sample of a first call has its own process.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import CIFAR10, HEADLINES, MNIST, Case
from benchmarks.measure import Summary, paired_ratio
from benchmarks.pipes import Worker

ROOT = Path(__file__).resolve().parents[1]
WORKER = "against_worker.py"
NEW, OLD, AGAIN = "this build", "the other build", "the other build again"
BUILDS = (NEW, OLD, AGAIN)
# Allowed extra time of a build, relative to the other one.
AT_MOST = 1.03
FIRST_STEPS = 8


@dataclasses.dataclass(frozen=True)
class Row:
    """One case: the time of this build divided by the other's, and the other's divided by its own.

    Attributes:
        name: of the case.
        onednn: whether oneDNN is on.
        ratio: time of this build divided by that of the other one.
        control: time of the other build divided by that of its control.
        seconds: seconds of every round, by build.
    """

    name: str
    onednn: bool
    ratio: Summary
    control: Summary
    seconds: dict[str, list[float]]

    @property
    def slower(self) -> bool:
        """Whether the build is slower than allowed by more than noise."""
        return self.ratio.low > AT_MOST

    def line(self) -> str:
        """One line of text."""
        word = "slower" if self.slower else "faster" if self.ratio.high < 1.0 else "as fast"
        return (
            f"{self.name}, oneDNN {'on' if self.onednn else 'off'}: {_interval(self.ratio)} of the other "
            f"build, which takes {_interval(self.control)} of itself: {word}"
        )


def turns(number: int) -> Iterator[str]:
    """The builds in the order of a round: each is first, second and last equally often."""
    first = number % len(BUILDS)
    order = BUILDS[first:] + BUILDS[:first]
    yield from order if number % 2 == 0 else reversed(order)


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A temporary folder with another commit of this repository."""
    folder = Path(tempfile.mkdtemp(prefix="actmax-against-")) / "build"
    try:
        _git("worktree", "add", "--detach", str(folder), commit)
        shutil.copy(ROOT / "benchmarks" / WORKER, folder / "benchmarks" / WORKER)
        yield folder
    finally:
        subprocess.run(
            ["git", "worktree", "remove", "--force", str(folder)],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        shutil.rmtree(folder.parent, ignore_errors=True)


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"Expected a commit of this repository. git said: {run.stderr.strip()}")
    return run.stdout.strip()


def worker(folder: Path, job: dict[str, Any], onednn: bool) -> Worker:
    """A process of the build in a folder."""
    command = [sys.executable, "-m", "benchmarks.against_worker"]
    settings = {
        "PYTHONPATH": str(folder),
        "TF_ENABLE_ONEDNN_OPTS": str(int(onednn)),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    return Worker(command, job, settings, folder=folder)


def steady(folders: dict[str, Path], case: Case, onednn: bool, rounds: int, device: str) -> Row:
    """Runs of a compiled `Maximizer` with the case's number of steps."""
    job = {"kind": "steady", "case": dataclasses.asdict(case), "device": device}
    with contextlib.ExitStack() as stack:
        workers = {build: worker(folders[build], job, onednn) for build in BUILDS}
        for each in workers.values():
            stack.callback(each.close)
        for each in workers.values():
            each.wait().seconds("run", case.steps)
        seconds: dict[str, list[float]] = {build: [] for build in BUILDS}
        for number in range(rounds):
            for build in turns(number):
                seconds[build].append(workers[build].seconds("run", case.steps))
    return _row(case.name, onednn, seconds)


def first(
    folders: dict[str, Path], case: Case, onednn: bool, rounds: int, device: str, default: bool
) -> Row:
    """First calls of `maximize`, each in its own process."""
    job = {
        "kind": "first", "case": dataclasses.asdict(case), "device": device, "default": default,
        "steps": FIRST_STEPS,
    }  # fmt: skip
    seconds: dict[str, list[float]] = {build: [] for build in BUILDS}
    for number in range(rounds):
        for build in turns(number):
            made = worker(folders[build], job, onednn)
            try:
                seconds[build].append(made.wait().ready["info"]["seconds"])
            finally:
                made.close()
    recipe = "default" if default else "regularizers=[]"
    return _row(f"{case.name}, first call of {FIRST_STEPS} steps, {recipe}", onednn, seconds)


def _row(name: str, onednn: bool, seconds: dict[str, list[float]]) -> Row:
    ratio = paired_ratio(seconds[NEW], seconds[OLD])
    return Row(name, onednn, ratio, paired_ratio(seconds[AGAIN], seconds[OLD]), seconds)


def _interval(ratio: Summary) -> str:
    return f"{ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks against", description=__doc__)
    parser.add_argument("commit", metavar="COMMIT", help="of this repository")
    parser.add_argument("--rounds", type=int, default=31, metavar="N", help="default: 31")
    parser.add_argument(
        "--first-rounds", type=int, default=9, metavar="N", help="of first calls; default: 9"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has this text")
    parser.add_argument("--onednn", choices=("on", "off", "both"), default="both")
    parser.add_argument("--device", default="CPU:0", metavar="D")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    return parser


def main(argv: Sequence[str]) -> int:
    """Prints one line per case. Returns 1 if this build is slower in any case, else 0."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    cases = [study.cases[0] for study in HEADLINES if arguments.only in study.cases[0].name]
    if not cases or arguments.rounds < 1 or arguments.first_rounds < 0:
        parser.error("Expected a case of that name, and at least one round.")
    settings = {"on": (True,), "off": (False,), "both": (False, True)}[arguments.onednn]
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        print(row.line(), flush=True)

    with checkout(arguments.commit) as folder:
        folders = {NEW: ROOT, OLD: folder, AGAIN: folder}
        for onednn in settings:
            for case in cases:
                add(steady(folders, case, onednn, arguments.rounds, arguments.device))
        for case in [case for case in cases if case in (MNIST, CIFAR10) and arguments.first_rounds]:
            for default in (True, False):
                rounds, device = arguments.first_rounds, arguments.device
                add(first(folders, case, settings[0], rounds, device, default))
    if arguments.out:
        from benchmarks import environment

        record = {
            "against": _git("rev-parse", arguments.commit),
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        environment.save(arguments.out, json.loads(json.dumps(record)))
    return int(any(row.slower for row in rows))
