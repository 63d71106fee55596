"""A bound on what a process may allocate, for as long as a file is loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

_STATUS = Path("/proc/self/status")


@contextlib.contextmanager
def memory(budget: int | None) -> Iterator[None]:
    """At most `budget` more bytes of private memory inside the block; None for no bound.

    It is the whole process' limit while it holds, so it is for programs, not for threads. Without
    Linux' /proc there is no such bound, and none is pretended: RuntimeError.
    """
    if budget is None:
        yield
        return
    if not _STATUS.exists():
        raise RuntimeError("A bound on memory needs Linux. Leave memory_limit out here.")
    import resource

    used = next(
        int(line.split()[1]) * 1024
        for line in _STATUS.read_text().splitlines()
        if line.startswith("VmData:")
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = used + budget
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY:
        wanted = min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
