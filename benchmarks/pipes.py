"""The driver's end of a worker's pipes. A worker that dies or hangs raises an error."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Tracing and compiling (torch.compile on two cores: a minute) happen before the first answer.
PATIENCE = 600.0


class WorkerError(RuntimeError):
    """A worker died, hung or reported an error."""


class Worker:
    """A process that measures variants on request, one at a time.

    Args:
        command: program and arguments; the job is appended as JSON.
        job: what to prepare.
        environment: variables on top of this process's.
        patience: maximum seconds until an answer. Then the process is killed.
        folder: working folder. None for this checkout.
    """

    def __init__(
        self,
        command: Sequence[str],
        job: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
        folder: Path | None = None,
    ) -> None:
        self._patience = patience
        self._said = b""
        self._errors = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                [*command, json.dumps(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**os.environ, **(environment or {})},
                cwd=folder or Path(__file__).resolve().parents[1],
            )
        except OSError as error:
            self._errors.close()
            raise WorkerError(str(error)) from error
        self.ready: dict[str, Any] = {}

    def wait(self) -> Worker:
        """Waits until the worker has prepared its job."""
        self.ready = self._answer()["ready"]
        return self

    def seconds(self, variant: str, steps: int) -> float:
        """Time of one run of a variant, measured by the worker."""
        try:
            self._process.stdin.write(json.dumps({"run": variant, "steps": steps}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failure(f"gone ({error})") from error
        return float(self._answer()["seconds"])

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                pipe.close()
            except OSError:
                pass  # The process is gone, so the remaining output is lost.
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        until = time.monotonic() + self._patience
        pipe = self._process.stdout
        while b"\n" not in self._said:
            left = until - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                self._process.kill()
                raise self._failure(f"no answer within {self._patience:.0f} s")
            more = os.read(pipe.fileno(), 1 << 16)
            if not more:
                raise self._failure(f"ended with exit code {self._process.wait()}")
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            raise self._failure(answer["error"])
        return answer

    def _failure(self, what: str) -> WorkerError:
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        last = said[-1][:300] if said else ""
        return WorkerError(f"{what}; its last words: {last}" if last and last not in what else what)
