"""Where chunks run: in this process, in processes of this machine, or on a Ray cluster.

Images are independent of each other. So a worker is a process with its own compiled loop, which gets a
chunk and returns rows. The driver of the pool writes the rows. A worker reads only the file of the
model.
"""

from __future__ import annotations

import abc
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import traceback
from typing import Any

import tensorflow as tf

from actmax import checks
from actmax.catalogs.job import Job, Worker
from actmax.catalogs.plan import Chunk


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a chunk: rows; or "memory", "lost" (the worker died) or "error" with its text."""

    rows: list[dict[str, Any]] | None = None
    trouble: str = ""
    text: str = ""


class Pool(abc.ABC):
    """Workers, numbered from 0. Each has at most one chunk."""

    count: int

    @abc.abstractmethod
    def give(self, worker: int, chunk: Chunk) -> None:
        """Gives a chunk to an idle worker."""

    @abc.abstractmethod
    def next(self) -> tuple[int, Outcome]:
        """Waits until any worker has finished its chunk. A dead worker is replaced."""

    def ready(self) -> list[tuple[int, Outcome]]:
        """Results of workers that were not taken yet. Does not wait."""
        return []

    def close(self) -> None:
        """Ends the workers."""


def attempt(worker: Worker, chunk: Chunk) -> Outcome:
    """Runs a chunk. Errors are returned as an outcome."""
    try:
        return Outcome(worker.run(chunk))
    except tf.errors.ResourceExhaustedError as error:
        return Outcome(trouble="memory", text=str(error)[:300])
    except Exception:
        return Outcome(trouble="error", text=traceback.format_exc(limit=-4))


class Here(Pool):
    """This process."""

    count = 1

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)
        self._chunk: Chunk | None = None

    def give(self, worker: int, chunk: Chunk) -> None:
        self._chunk = chunk

    def next(self) -> tuple[int, Outcome]:
        chunk, self._chunk = self._chunk, None
        if chunk is None:
            raise RuntimeError("No chunk was given.")
        # In this process, an error of the user's code keeps its type and traceback.
        try:
            return 0, Outcome(self._worker.run(chunk))
        except tf.errors.ResourceExhaustedError as error:
            return 0, Outcome(trouble="memory", text=str(error)[:300])


def settle(number: int, threads: int | None) -> None:
    """Settings of a worker's process, before TensorFlow is used. Each worker gets one GPU, in turn."""
    cards = tf.config.list_physical_devices("GPU")
    if cards:
        own = cards[number % len(cards)]
        tf.config.set_visible_devices(own, "GPU")
        # Otherwise the first worker on a GPU takes all of its memory.
        tf.config.experimental.set_memory_growth(own, True)
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)


def local_count(threads: int | None) -> int:
    """Number of workers for this machine: its GPUs, or its cores divided by `threads`."""
    cards = tf.config.list_physical_devices("GPU")
    return len(cards) or max((os.cpu_count() or 1) // (threads or 1), 1)


def _serve(connection: Any, number: int, threads: int | None) -> None:
    """The program of a local worker."""
    settle(number, threads)
    try:
        worker = Worker(connection.recv())
        while True:
            connection.send(attempt(worker, connection.recv()))
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return


class Local(Pool):
    """Processes of this machine. They are spawned, because TensorFlow does not support fork."""

    def __init__(self, job: Job, count: int, threads: int | None) -> None:
        self.count = count
        self._job = job
        self._threads = threads
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[Any] = [None] * count
        self._connections: list[Any] = [None] * count
        for number in range(count):
            self._start(number)

    def _start(self, number: int) -> None:
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(there, number, self._threads), daemon=True
        )
        process.start()
        there.close()
        self._processes[number], self._connections[number] = process, here
        try:
            here.send(self._job)
        except (AttributeError, TypeError, ValueError) as error:
            self.close()
            raise TypeError(
                checks.message(
                    "arguments that another process can be sent",
                    f"{type(error).__name__}: {error}",
                    "Define functions at the top of a module, or leave workers= out.",
                )
            ) from error
        except BrokenPipeError:
            pass  # The worker died at once. `next` handles it.

    def give(self, worker: int, chunk: Chunk) -> None:
        try:
            self._connections[worker].send(chunk)
        except BrokenPipeError:
            pass  # `next` handles it.

    def next(self) -> tuple[int, Outcome]:
        ready = multiprocessing.connection.wait(self._connections)
        number = self._connections.index(ready[0])
        try:
            return number, self._connections[number].recv()
        except (EOFError, ConnectionResetError):
            self._processes[number].join()
            code = self._processes[number].exitcode
            self._connections[number].close()
            self._start(number)
            return number, Outcome(trouble="lost", text=f"exit code {code}")

    def ready(self) -> list[tuple[int, Outcome]]:
        found: list[tuple[int, Outcome]] = []
        ready: Any = multiprocessing.connection.wait(self._connections, timeout=0)
        for connection in ready:
            try:
                found.append((self._connections.index(connection), connection.recv()))
            except (EOFError, OSError):
                continue  # The worker has died. Ctrl-C reaches all workers.
        return found

    def close(self) -> None:
        for process, connection in zip(self._processes, self._connections, strict=True):
            if process is not None:
                connection.close()
                process.terminate()
                process.join()


class Ray(Pool):
    """Actors of a Ray cluster: one per graphics card, or one per `threads` cores. Imports Ray.

    Args:
        job: what the workers do.
        address: address of a cluster. None for a running cluster, or for a new one on this machine.
        threads: of each worker; None for one.
    """

    def __init__(self, job: Job, address: str | None, threads: int | None) -> None:
        try:
            import ray as found
        except ImportError as error:
            raise ImportError(
                checks.message(
                    "ray, for workers on a cluster", "none", "pip install 'actmax[ray]'."
                )
            ) from error
        ray: Any = found  # Parts of it have no types.
        self._ray = ray
        self._own = not ray.is_initialized()
        if self._own:
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        resources = ray.cluster_resources()
        cards = int(resources.get("GPU", 0))
        cores = max(int(resources.get("CPU", 1)) // (threads or 1), 1)
        self.count = cards or cores
        share = {"num_gpus": 1, "num_cpus": 1} if cards else {"num_cpus": threads or 1}
        self._actor = ray.remote(**share)(_Actor)
        self._job = ray.put(job)
        self._threads = threads
        self._actors = [self._make() for _ in range(self.count)]
        self._busy: dict[Any, int] = {}

    def _make(self) -> Any:
        return self._actor.remote(self._job, self._threads)

    def give(self, worker: int, chunk: Chunk) -> None:
        self._busy[self._actors[worker].run.remote(chunk)] = worker

    def next(self) -> tuple[int, Outcome]:
        ready, _ = self._ray.wait(list(self._busy), num_returns=1)
        worker = self._busy.pop(ready[0])
        try:
            return worker, self._ray.get(ready[0])
        except self._ray.exceptions.RayActorError as error:
            self._actors[worker] = self._make()
            return worker, Outcome(trouble="lost", text=str(error).splitlines()[0])

    def ready(self) -> list[tuple[int, Outcome]]:
        found, _ = self._ray.wait(list(self._busy), num_returns=len(self._busy), timeout=0)
        return [(self._busy.pop(each), self._ray.get(each)) for each in found]

    def close(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        if self._own:
            self._ray.shutdown()


class _Actor:
    """The object that Ray keeps in a separate process."""

    def __init__(self, job: Job, threads: int | None) -> None:
        # Ray shows each actor only its own GPU.
        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        self._worker = Worker(job)

    def run(self, chunk: Chunk) -> Outcome:
        return attempt(self._worker, chunk)
