"""`python -m tests.fuzz --count 10000`: damaged models and records, of which each is read or refused.

Every few hundred run in a process of their own, whose end or delay counts as one failure.
"""

import argparse
import multiprocessing
import sys

from tests.fuzz.work import work

BLOCK = 500
LIMIT = 900  # seconds: fifty times what a block takes


def main():
    # Not from tests.fuzz.kinds, whose import of TensorFlow belongs into the processes.
    shares = {"keras": 3, "h5": 3, "result": 1.5, "sweep": 0.5, "checkpoint": 1, "catalog": 1}
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="mutants of all kinds together")
    parser.add_argument("--seed", type=int, default=0, help="of the first block")
    parser.add_argument("--only", nargs="+", choices=sorted(shares), default=list(shares))
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    total = sum(shares[kind] for kind in arguments.only)
    failed = blocks = mutants = 0
    for kind in arguments.only:
        left = round(arguments.count * shares[kind] / total)
        seed = arguments.seed
        while left > 0:
            process = context.Process(target=work, args=(kind, min(left, BLOCK), seed))
            process.start()
            process.join(LIMIT)
            if process.exitcode is None:
                print(f"{kind} {seed}: not done in {LIMIT} s", flush=True)
                process.kill()
                process.join()
            failed += process.exitcode != 0
            blocks, mutants = blocks + 1, mutants + min(left, BLOCK)
            left, seed = left - BLOCK, seed + 1
    print(f"{mutants} mutants in {blocks} blocks, {failed} that failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
