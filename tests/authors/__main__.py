"""What do the checkers find? `python -m tests.authors [--every 10] [--kind penalty] [--name huber]`.

Checks published parts, the right ones and those with a seeded mistake, and prints by kind and by mistake
how many are accepted and rejected, and in how many the first message is of a law that names the mistake.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import time

from tests.authors import runs
from tests.authors.matrix import Found, every_version, look
from tests.authors.versions import Version


def main() -> int:
    """Checks the versions that are asked for; 1 if one is not told right."""
    parser = argparse.ArgumentParser(prog="python -m tests.authors", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only each n-th version")
    parser.add_argument("--kind", default="", help="only parts of this kind")
    parser.add_argument("--name", default="", help="only parts of this name")
    parser.add_argument("--runs", action="store_true", help="make runs with the right parts")
    parser.add_argument("--digests", action="store_true", help="with --runs: print digests alone")
    asked = parser.parse_args()
    chosen = [
        version
        for version in every_version()[:: asked.every]
        if asked.kind in version.kind and asked.name in version.name
    ]
    if asked.runs:
        return _runs(chosen, asked)
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


def _runs(chosen: list[Version], asked: argparse.Namespace) -> int:
    """Runs with the right parts; 1 if something does not hold."""
    chosen = [version for version in chosen if runs.fits(version)]
    digests, bad = {}, 0
    for version in chosen:
        key = f"{version.kind} {version.name}"
        broken, digests[key] = runs.faults(version)
        if broken and not asked.digests:
            bad += 1
            print(f"  {key}: not {', '.join(broken)}", flush=True)
    if asked.digests:
        print(json.dumps(digests))
        return 0
    other = runs.in_a_fresh_process(asked.every, asked.kind, asked.name)
    differ = [key for key, digest in digests.items() if other.get(key) != digest]
    for key in differ:
        print(f"  {key}: not the same bytes in a fresh process")
    print(f"runs: {len(chosen) - bad} of {len(chosen)} right parts keep all, "
          f"{len(chosen) - len(differ)} in a fresh process.")  # fmt: skip
    return int(bool(bad or differ))


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
