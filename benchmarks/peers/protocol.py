"""The messages of a worker: one JSON object per line, on the pipe of its standard output.

    worker: {"ready": {"starts": {variant: [first, second]}, "missing": {variant: why}, "info": {...}}}
    driver: {"run": variant, "steps": n}      worker: {"seconds": s}
    driver: {"quit": true}, or the end of the pipe

A worker that cannot go on says {"error": why}. This file uses only the standard library, because it
also runs in the environments of the peers. There it is imported from the worker's folder.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any


def serve(build: Callable[[dict[str, Any]], Mapping[str, Any]]) -> int:
    """Prepares the job in the first argument, then runs variants on request.

    Args:
        build: from the job to `{"runs": {variant: function of the number of steps}, "missing":
            {variant: why}, "info": {...}}`. A run returns when its results are on the host.
    """
    # What libraries print goes to standard error: only this function writes on the pipe.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: Mapping[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    try:
        built = build(json.loads(sys.argv[1]))
        runs = dict(built["runs"])
        missing = dict(built.get("missing", {}))
        starts = {}
        for name in list(runs):
            try:
                starts[name] = [_seconds(runs[name], 1), _seconds(runs[name], 1)]
            except Exception as error:
                traceback.print_exc()
                missing[name] = _why(error)
                del runs[name]
        # Made last, because a check may call what the runs have prepared.
        info = built.get("info", {})
        say({"ready": {"starts": starts, "missing": missing, "info": info}})
        for line in sys.stdin:
            asked = json.loads(line)
            if asked.get("quit"):
                break
            say({"seconds": _seconds(runs[asked["run"]], asked["steps"])})
    except Exception as error:
        traceback.print_exc()
        say({"error": _why(error)})
        return 1
    return 0


def _seconds(run: Callable[[int], Any], steps: int) -> float:
    started = time.perf_counter()
    run(steps)
    return time.perf_counter() - started


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
