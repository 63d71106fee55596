"""What a catalog costs: `python -m benchmarks.catalogs [--images 128] [--steps 32] [--out FILE.json]`.

`keras.applications.MobileNetV2` with random weights at 96 px, one unit of its output per image:

- the catalog beside the loop alone: calls of one `Maximizer` with the same batches, taking turns in
  going first;
- the time of a chunk and how much it varies, which `benchmarks.capacity` takes as `spread`;
- the growth of this process' resident memory from the end of the first chunk to the last's;
- with `--workers local ray` two workers of one thread each beside one such worker: from when each has
  finished a chunk, because starting a process and tracing is paid once, however long the job;
- a picture of 224 x 224: milliseconds as a PNG, bytes, and the time of a shard of 64 of them.

Medians of `--rounds`, with all samples in the record.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import actmax
from actmax.catalogs import store
from benchmarks.environment import describe
from benchmarks.memory import resident

_SIZE = 96
_RANGE = (-1.0, 1.0)


class _Clock:
    """A `progress` that records the end of each chunk, the number of images, and the memory."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int, int]] = []

    def __call__(self, progress: Any) -> None:
        self.seen.append((time.perf_counter(), progress.done, resident() or 0))

    def rate(self) -> float:
        """Images per second from the first chunk's end to the last's."""
        (began, some, _), (ended, many, _) = self.seen[0], self.seen[-1]
        return (many - some) / (ended - began)

    def seconds(self) -> list[float]:
        """Seconds of every chunk except the first, for one worker."""
        return np.diff([ended for ended, _, _ in self.seen]).tolist()

    def growth(self) -> float:
        """Growth of resident memory from the end of the first chunk to the end of the last."""
        return self.seen[-1][2] / self.seen[0][2] - 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogs", description=__doc__)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", nargs="*", choices=("local", "ray"), default=[])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.images % given.batch or given.images < 2 * given.batch:
        parser.error(f"--images must be at least two batches, and whole ones: {given.batch} each")
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None, input_shape=(_SIZE, _SIZE, 3))
    call = {"steps": given.steps, "batch_size": given.batch, "input_range": _RANGE}
    call["targets"] = range(given.images)
    case = {name: value for name, value in vars(given).items() if name != "out"}
    record: dict[str, Any] = {"environment": describe(), "case": case}
    record |= _beside_the_loop(model, call, given.rounds)
    for kind in given.workers:
        record[kind] = _gain(kind, model, call, given.rounds)
    record["store"] = _store()
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")
        print(f"record: {given.out}")
    return 0


def _beside_the_loop(model: Any, call: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Images per second of the catalog and of the loop alone, times of chunks, growth of memory."""
    steps, size = call["steps"], call["batch_size"]
    maximizer = actmax.Maximizer(model, input_range=_RANGE)
    batches = np.asarray(call["targets"]).reshape(-1, size)
    maximizer(targets=batches[0], steps=steps)
    loop: list[float] = []
    clocks: list[_Clock] = []

    def alone() -> None:
        began = time.perf_counter()
        for batch in batches[1:]:
            maximizer(targets=batch, steps=steps)
        loop.append(batches[1:].size / (time.perf_counter() - began))

    def ours() -> None:
        clocks.append(_catalog(model, call))

    for number in range(rounds):
        for measure in (ours, alone) if number % 2 == 0 else (alone, ours):
            measure()
    rates = [clock.rate() for clock in clocks]
    chunks = [clock.seconds() for clock in clocks]
    growth = [clock.growth() for clock in clocks]
    ratios = np.divide(rates, loop)
    print(f"catalog {np.median(rates):.2f} images/s, loop alone {np.median(loop):.2f}: "
          f"{np.median(ratios):.3f} of it [{ratios.min():.3f}, {ratios.max():.3f}]")  # fmt: skip
    # Each job is divided by its own mean, because differences between jobs come from the machine.
    spread = float(np.median([np.std(job) / np.mean(job) for job in chunks]))
    print(f"a chunk of {size}: {np.mean(np.concatenate(chunks)):.2f} s, spread {spread:.1%}")
    print("resident memory grew by " + ", ".join(f"{value:.2%}" for value in growth))
    return {"loop": loop, "catalog": rates, "chunks": chunks, "memory growth": growth}


def _gain(kind: str, model: Any, call: dict[str, Any], rounds: int) -> dict[int, list[float]]:
    """Images per second of one worker and of two."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for count in (1, 2) if number % 2 == 0 else (2, 1):
            rates[count].append(_workers(kind, count, model, call))
    gains = np.divide(rates[2], rates[1])
    print(f"{kind}: two workers of one thread do {np.median(gains):.2f} times what one does "
          f"[{gains.min():.2f}, {gains.max():.2f}]")  # fmt: skip
    return rates


def _catalog(model: Any, call: dict[str, Any]) -> _Clock:
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        actmax.catalog(model, out=folder, progress=clock, **call)
    return clock


def _workers(kind: str, count: int, model: Any, call: dict[str, Any]) -> float:
    """Images per second once each of `count` workers has finished a chunk.

    A progress call does not name the worker of the chunk. Workers that start together finish their
    first chunks within one chunk's time of each other, so the first chunk of each is among the
    first `2 * count - 1`, which are left out.
    """
    if kind == "ray":
        import ray

        # A separate cluster, even if another one is running.
        ray.init(address="local", num_cpus=count, include_dashboard=False, log_to_driver=False)
    clock = _Clock()
    try:
        with tempfile.TemporaryDirectory() as folder:
            actmax.catalog(
                model, out=folder, progress=clock, threads=1,
                workers="ray" if kind == "ray" else count, **call,
            )  # fmt: skip
    finally:
        if kind == "ray":
            ray.shutdown()
    clock.seen = clock.seen[2 * count - 2 :]
    return clock.rate()


def _store(count: int = 64, size: int = 224) -> dict[str, dict[str, float]]:
    """Seconds of a PNG and of a shard, and bytes of a picture, of smooth pictures and of noisy ones."""
    generator = np.random.default_rng(0)
    waves = np.linspace(0, 1, size)
    found = {}
    for name, noise in (("smooth", 0.0), ("a fifth of noise", 0.2)):
        rows = []
        began = time.perf_counter()
        for number in range(count):
            phase = generator.uniform(0, 7, 3)
            plane = np.sin(9 * waves[:, None, None] + phase) * np.cos(7 * waves[:, None] + phase)
            image = 0.5 + 0.4 * plane + noise * generator.uniform(-0.5, 0.5, [size, size, 3])
            rows.append(_row(number, np.clip(image, 0, 1).astype(np.float32)))
        drawn = time.perf_counter() - began
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / store.SHARDS).mkdir()
            began = time.perf_counter()
            store.write(Path(folder), 0, count, rows)
            written = time.perf_counter() - began
            file = store.shard(Path(folder), 0, count)
            each = file.stat().st_size / count
        found[name] = {"png": drawn / count, "shard": written, "bytes": each}
        print(f"{size} x {size}, {name}: {drawn / count * 1e3:.0f} ms to draw, {each / 1e3:.0f} kB, "
              f"a shard of {count} in {written * 1e3:.0f} ms")  # fmt: skip
    return found


def _row(number: int, image: np.ndarray) -> dict[str, Any]:
    nothing = dict.fromkeys(store.schema().names)
    return nothing | {"task": number, "image": store.picture(image, 0.0, 1.0), "score": 0.0}


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    raise SystemExit(main())
