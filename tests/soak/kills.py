"""Kills a run with SIGKILL at random instants, resumes it, and compares every byte of the result.

    python -m tests.soak.kills --kills 20

Each trial begins a run of ten images in an empty folder, kills it after a random checkpoint and a random
wait, which may fall into the writing of the next one, kills its first resumption likewise, and lets the
second go to its end. TensorFlow is imported once; every run is a fork that starts it anew.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import actmax
import regularizers
from actmax import zoo

STEPS = 40


def digest_of_run(checkpoint: Path | None, tell: int | None) -> str:
    """The run: SHA-256 of images, scores, history and status. Tells one byte per finished chunk."""

    def told(snapshot: actmax.Snapshot) -> None:
        if tell is not None:
            os.write(tell, b".")

    maximizer = actmax.Maximizer(
        zoo.load("mnist"),
        input_range=(0, 1),
        regularizers=[regularizers.TotalVariation(0.1), regularizers.Jitter(2)],
        optimizer=actmax.Adam(0.05),
    )
    result = maximizer(
        range(10),
        steps=STEPS,
        seed=3,
        learning_rate=actmax.Cosine(0.1, 0.01),
        callbacks=[told],
        callback_every=1,
        checkpoint=checkpoint,
        keep="best",
    )
    parts = [result.images, result.scores, *result.history.values(), result.status, result.steps]
    total = hashlib.sha256("".join(result.messages).encode())
    for part in parts:
        total.update(np.ascontiguousarray(part).tobytes())
    return total.hexdigest()


def in_a_fork(checkpoint: Path | None, kill_after: int | None, wait: float) -> str | None:
    """The digest; None if the run was killed `wait` seconds after its chunk number `kill_after`."""
    told, tell = os.pipe()
    answer, answering = os.pipe()
    child = os.fork()
    if child == 0:
        # A copy of pytest or of this program must never go on from here.
        try:
            os.write(answering, digest_of_run(checkpoint, tell).encode())
        except BaseException as error:
            os.write(answering, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(tell)
    os.close(answering)
    if kill_after is not None:
        seen = 0
        while seen < kill_after:
            found = os.read(told, 1)
            if not found:
                break
            seen += 1
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
    text = b""
    while piece := os.read(answer, 4096):
        text += piece
    _, status = os.waitpid(child, 0)
    os.close(told)
    os.close(answer)
    return None if os.WIFSIGNALED(status) else text.decode()


def main() -> int:
    """Runs the trials; 0 if all were identical."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draws = np.random.default_rng(arguments.seed)
    expected = in_a_fork(None, None, 0.0)
    print("uninterrupted", expected, flush=True)
    same = kills = 0
    while kills < arguments.kills:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder)
            found = None
            for _ in range(2):
                after, wait = int(draws.integers(0, STEPS)), float(draws.uniform(0.0, 0.02))
                found = in_a_fork(checkpoint, after if kills < arguments.kills else None, wait)
                if found is not None:
                    break
                kills += 1
                files = sorted(file.name for file in checkpoint.iterdir())
                print(
                    f"kill {kills} after chunk {after} + {1000 * wait:.1f} ms: {files}", flush=True
                )
            found = in_a_fork(checkpoint, None, 0.0) if found is None else found
            if found != expected:
                print("OTHER:", found)
                return 1
            same = kills
            print(f"{same} of {kills} identical", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
