"""What do the checkers find? `python -m tests.authors [--every 10] [--kind penalty] [--name huber]`.

Checks published parts, the right ones and those with a seeded mistake, and prints by kind and by mistake
how many are accepted and rejected, and in how many the first message is of a law that names the mistake.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time

from tests.authors.matrix import Found, every_version, look


def main() -> int:
    """Checks the versions that are asked for; 1 if one is not told right."""
    parser = argparse.ArgumentParser(prog="python -m tests.authors", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only each n-th version")
    parser.add_argument("--kind", default="", help="only parts of this kind")
    parser.add_argument("--name", default="", help="only parts of this name")
    asked = parser.parse_args()
    chosen = [
        version
        for version in every_version()[:: asked.every]
        if asked.kind in version.kind and asked.name in version.name
    ]
    begun, found = time.monotonic(), []
    for version in chosen:
        found.append(look(version))
        if not found[-1].right:
            print(f"  {found[-1]}", flush=True)
    _table("kind", found, lambda one: one.version.kind)
    _table(
        "mistake", [one for one in found if one.version.mistake], lambda one: one.version.mistake
    )
    right = [one for one in found if not one.version.mistake]
    wrong = [one for one in found if one.version.mistake]
    print(
        f"right: {sum(not one.law for one in right)} of {len(right)} accepted. "
        f"wrong: {sum(bool(one.law) for one in wrong)} of {len(wrong)} rejected, "
        f"{sum(one.right for one in wrong)} by a law that names the mistake. "
        f"{time.monotonic() - begun:.0f} s."
    )
    return int(not all(bool(one.law) == bool(one.version.mistake) for one in found))


def _table(title: str, found: list[Found], key) -> None:
    print(f"{title:34s} right accepted   wrong rejected   named")
    groups = collections.defaultdict(list)
    for one in found:
        groups[key(one)].append(one)
    for name, ones in sorted(groups.items()):
        right = [one for one in ones if not one.version.mistake]
        wrong = [one for one in ones if one.version.mistake]
        accepted = f"{sum(not one.law for one in right)} / {len(right)}" if right else ""
        rejected = f"{sum(bool(one.law) for one in wrong)} / {len(wrong)}" if wrong else ""
        named = f"{sum(one.right for one in wrong)}" if wrong else ""
        print(f"{name:34s} {accepted:>14s} {rejected:>16s} {named:>7s}")


if __name__ == "__main__":
    sys.exit(main())
