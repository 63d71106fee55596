"""`python -m tests.fuzz --count 10000`: damaged model files, of which each loads or is refused.

Every thousand runs in a process of its own, so that a crash of a library counts as one failure and not
as the end.
"""

import argparse
import multiprocessing
import sys

from tests.fuzz.work import work

BLOCK = 500


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="mutants, half of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first block")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    failed = 0
    blocks = max(arguments.count // (2 * BLOCK), 1)
    for block in range(blocks):
        for kind in ("keras", "h5"):
            process = context.Process(
                target=work, args=(kind, arguments.count // (2 * blocks), arguments.seed + block)
            )
            process.start()
            process.join()
            failed += process.exitcode != 0
    print(f"{2 * blocks} blocks, {failed} with an error that escaped or a crash")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
