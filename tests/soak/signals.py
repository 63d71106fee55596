"""SIGINT and SIGTERM at every place: `python -m tests.soak.signals [--count 200]`.

Each trial starts a run with a checkpoint and a saved result, a catalog, or two sweeps of which the second
is saved over the first, in an empty folder, and sends the process a signal at one instant: in a compiled
chunk, in a callback, between two bytes of a file, before a file gets its name, or before the name is forced
to the disk. SIGTERM comes twice: as the command line takes it, which ends as Ctrl-C does, and as a program
without a handler does, which is gone at once. Afterwards every file that bears a final name must be whole,
and the same call must end in the bytes of one that was left in peace. TensorFlow is imported once; every
run is a fork that starts it anew.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

import actmax
from actmax import checkpoints, files
from actmax.catalogs import reading, store
from actmax.cli import program
from actmax.loop import Loop
from regularizers import L2, Jitter

PLACES = ("write", "step", "callback", "rename", "sync")
SIGNALS = {
    "SIGINT": (signal.SIGINT, 130),
    "SIGTERM": (signal.SIGTERM, 143),
    "SIGTERM, no handler": (signal.SIGTERM, -signal.SIGTERM),
}
JOBS = ("run", "catalog", "sweep")
_UNITS = 5


def waves(images):
    """A network without weights: five units, `[N, 6, 6, 1] -> [N, 5]`."""
    turns = tf.reshape(tf.range(1.0, _UNITS + 1.0), [1, 1, 1, _UNITS])
    return tf.reduce_mean(tf.sin(3.0 * turns * images), axis=[1, 2])


PARTS = {"input_range": (0, 1), "input_shape": (6, 6, 1), "regularizers": [L2(0.1), Jitter(1)]}


def told(hook):
    """A callback that calls the hook and answers nothing, so that it is no part of what the call is."""

    def callback(_) -> None:
        hook("callback")

    return callback


def run(folder: Path, hook) -> None:
    """Six steps with a checkpoint after each; then the result as files, also of an interrupted run."""
    maximizer = actmax.Maximizer(waves, optimizer=actmax.Adam(0.05), **PARTS)
    result = maximizer(
        [0, 1, 4], steps=6, seed=3, callback_every=1, checkpoint=folder / "run", keep="best",
        callbacks=[told(hook)],
    )  # fmt: skip
    result.save(folder / "out")
    if actmax.Status.INTERRUPTED in result.status:
        raise KeyboardInterrupt


def catalog(folder: Path, hook) -> None:
    """Three shards."""
    actmax.catalog(
        waves, out=folder / "catalog", steps=2, batch_size=2,
        progress=told(hook), **PARTS,
    )  # fmt: skip


def sweep(folder: Path, hook) -> None:
    """One sweep and then another in its place, also where they were interrupted."""
    maximizer = actmax.Maximizer(waves, **PARTS)
    for targets, steps in (([0, 1], 2), ([2, 3, 4], 3)):
        made = maximizer.sweep(targets, steps=steps, callback_every=1, callbacks=[told(hook)])
        made.save(folder / "out")
        if actmax.Status.INTERRUPTED in made.status:
            raise KeyboardInterrupt


def instrument(hook) -> None:
    """Calls the hook at every place of this process; a file is then half written and flushed."""
    run, replace, sync, opened = Loop.run, Path.replace, files.sync_folder, Path.open

    def own_run(*arguments, **more):
        timer = threading.Timer(0.002, hook, ["step"])  # while the compiled chunk is at it
        timer.start()
        try:
            return run(*arguments, **more)
        finally:
            timer.join()

    def own_replace(path, target):
        hook("rename")
        return replace(path, target)

    def own_sync(folder):
        hook("sync")
        sync(folder)

    def own_open(path, mode="r", *arguments, **keywords):
        stream = opened(path, mode, *arguments, **keywords)
        return _Halves(stream, hook) if mode == "xb" else stream

    Loop.run, Path.replace, Path.open = own_run, own_replace, own_open
    files.sync_folder = own_sync


class _Halves:
    """A file whose bytes come in two parts."""

    def __init__(self, stream, hook) -> None:
        self._stream, self._hook = stream, hook

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stream.close()

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, data):
        self._stream.write(data[: len(data) // 2])
        self._stream.flush()
        self._hook("write")
        self._stream.write(data[len(data) // 2 :])


def in_a_fork(job: str, folder: Path, place: str | None, number: int, kind: str) -> tuple[int, str]:
    """`(exit code, counts of every place as JSON or the error)`; the signal comes at the n-th time."""
    answer, answering = os.pipe()
    child = os.fork()
    if child == 0:
        # A copy of pytest or of this program must never go on from here.
        code, counts = 0, Counter()
        number_of_signal, _ = SIGNALS[kind]

        def hook(where):
            counts[where] += 1
            if where == place and counts[where] == number + 1:
                os.kill(os.getpid(), number_of_signal)

        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            instrument(hook)
            ended_by = [signal.SIGINT]
            handled = kind != "SIGTERM, no handler"
            with program._terminable(ended_by) if handled else contextlib.nullcontext():
                try:
                    globals()[job](folder, hook)
                except KeyboardInterrupt:
                    code = 128 + ended_by[-1]
            os.write(answering, json.dumps(counts).encode())
        except BaseException as error:
            code = 1
            os.write(answering, f"{type(error).__name__}: {error}".encode())
        os._exit(code)
    os.close(answering)
    text = b""
    while piece := os.read(answer, 4096):
        text += piece
    os.close(answer)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), text.decode()


def check(folder: Path, killed: bool) -> None:
    """Every file with a final name is whole; raises where one is not."""
    found = [file for file in folder.rglob("*") if file.is_file()]
    # What is killed at once cannot clean up; the next call does.
    assert killed or not [file for file in found if file.suffix == ".tmp"], found
    if (folder / "run" / checkpoints.RECORD).exists():
        with checkpoints.opened(folder / "run") as held:
            assert held.load() is not None
    if (folder / "out" / "result.json").exists():
        found = actmax.Result.load(folder / "out")
        if "axes" in found.config["call"]:
            assert len(actmax.Sweep.load(folder / "out")) == len(found)
    for file in (folder / "out").glob("*.png"):
        with Image.open(file) as picture:
            picture.load()
    if (folder / "catalog" / "manifest.json").exists():
        actmax.Catalog(folder / "catalog")
        for (start, stop), file in store.finished(folder / "catalog").items():
            rows = store.rows(file)
            assert [row["task"] for row in rows] == list(range(start, stop))
            assert all(reading.decoded(row).shape == (6, 6, 1) for row in rows)


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the locks, by its path; also not what a killed save left half done,
    which only a folder with a lock is cleared of."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in ("lock", ".lock")
        if file.parent.name != "out" or file.suffix != ".tmp"
    }


def trial(job: str, place: str, number: int, kind: str, expected: dict[str, str]) -> str:
    """One signal, one look, one resumption. What went wrong, or an empty text."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code, said = in_a_fork(job, folder, place, number, kind)
        # A signal in the last chunk may be taken when all is done.
        if code not in (0, SIGNALS[kind][1]):
            return f"exit code {code}: {said}"
        try:
            check(folder, killed=code < 0)
        except Exception as error:
            return f"torn: {type(error).__name__}: {error}"
        code, said = in_a_fork(job, folder, None, 0, "SIGINT")
        if code:
            return f"the resumption ended with {code}: {said}"
        found = tree(folder)
        differ = sorted(n for n in {*found, *expected} if found.get(n) != expected.get(n))
        return f"other bytes: {differ}" if differ else ""


def main() -> int:
    """Runs the trials; 0 if all ended in the same bytes."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.signals", description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draws = np.random.default_rng(arguments.seed)
    wholes, counts = {}, {}
    for job in JOBS:
        with tempfile.TemporaryDirectory() as name:
            code, said = in_a_fork(job, Path(name), None, 0, "SIGINT")
            assert code == 0, said
            counts[job], wholes[job] = json.loads(said), tree(Path(name))
    failed = 0
    for number in range(arguments.count):
        place = PLACES[number % len(PLACES)]
        job = JOBS[number % len(JOBS)]
        # Every place, job and signal meet once in 45 trials.
        kind = list(SIGNALS)[(number + number // 15) % len(SIGNALS)]
        when = int(draws.integers(counts[job][place]))
        wrong = trial(job, place, when, kind, wholes[job])
        failed += bool(wrong)
        at = f"{place} {when + 1} of {counts[job][place]}"
        print(f"{kind} in the {job}, {at}: {wrong or 'identical'}", flush=True)
    print(f"{arguments.count - failed} of {arguments.count} identical")
    return int(failed > 0)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
