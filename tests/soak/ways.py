"""Every part in every way: `python -m tests.soak.ways [--only NAME ...]`.

Eager, XLA, float64, bfloat16, float16 and mixed, each beside the plain way in float32. Ends with 1 where
one is not finite, differs, or is refused without standing in the lists of `tests.conformance.ways`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter

import keras

from tests.conformance.test_laws import RUNS
from tests.conformance.ways import NOT_IN_HALF, NOT_IN_XLA, WAYS, look


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.ways", description=__doc__)
    parser.add_argument("--only", choices=sorted(RUNS), nargs="+", default=list(RUNS))
    counts: Counter[str] = Counter()
    for name in parser.parse_args().only:
        for way, said in look(name).items():
            known = NOT_IN_XLA if way == "XLA" else NOT_IN_HALF
            kind = "agree" if not said else "refused" if said.startswith("refused") else "WRONG"
            if (kind == "refused") != (name in known and way not in {"eager", "float64"}):
                kind = "WRONG"
            counts[kind] += 1
            print(f"{kind}: {name}, {way}{': ' if said else ''}{said}"[:300], flush=True)
        keras.backend.clear_session()
    print(f"{sum(counts.values())} runs, {len(WAYS)} ways for each part: {dict(counts)}")
    return int(counts["WRONG"] > 0)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
