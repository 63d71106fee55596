"""The tests that take longest. `make test` leaves them out, and `make slow` runs them.

`tests/slow.txt` names them, and `tests/conftest.py` marks each as `slow`. To measure them again, on a machine
with nothing else to do:

    python -m pytest -n 2 --dist loadfile --junitxml=durations.xml
    python -m tests.slow durations.xml

A test that the list leaves out can inherit the fixture of one that it names. So a second measurement with
`-m "not slow"` finds a few more: give both reports, and the longest time of a test counts.
"""

from __future__ import annotations

import argparse
import collections
import functools
import pathlib
from collections.abc import Iterable, Mapping
from xml.etree import ElementTree

LIST = pathlib.Path(__file__).with_suffix(".txt")
# Seconds. With all tests below it, `make test` takes about ten minutes on two cores.
LIMIT = 2.0


@functools.cache
def names() -> frozenset[str]:
    """Node ids of tests, or of functions of which all cases are slow."""
    return frozenset(LIST.read_text(encoding="utf-8").splitlines())


def is_slow(node: str) -> bool:
    """Whether the list has a test by its node id: `tests/test_x.py::test_y[case]`."""
    return node in names() or node.partition("[")[0] in names()


def chosen(seconds: Mapping[str, float], limit: float) -> list[str]:
    """The lines of the list: functions of which half of the cases take longer, otherwise the cases."""
    functions = collections.defaultdict(list)
    for node in seconds:
        functions[node.partition("[")[0]].append(node)
    lines = []
    for function, nodes in functions.items():
        slow = [node for node in nodes if seconds[node] > limit]
        lines += [function] if 2 * len(slow) > len(nodes) else slow
    return sorted(lines)


def durations(report: str) -> dict[str, float]:
    """Seconds of every test by its node id, from the text of a report in JUnit's format."""
    found = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        path = case.attrib["classname"].replace(".", "/") + ".py"
        found[f"{path}::{case.attrib['name']}"] = float(case.attrib["time"])
    return found


def main(arguments: Iterable[str] | None = None) -> None:
    """Writes the list from a report."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.slow", description="Writes tests/slow.txt."
    )
    parser.add_argument(
        "reports", type=pathlib.Path, nargs="+", help="what pytest wrote with --junitxml"
    )
    parser.add_argument(
        "--limit", type=float, default=LIMIT, help="seconds; %(default)s by default"
    )
    given = parser.parse_args(None if arguments is None else list(arguments))
    seconds: dict[str, float] = {}
    for report in given.reports:
        for node, took in durations(report.read_text(encoding="utf-8")).items():
            seconds[node] = max(took, seconds.get(node, 0.0))
    lines = chosen(seconds, given.limit)
    LIST.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    listed = {node for node in seconds if {node, node.partition("[")[0]} & set(lines)}
    rest = sum(seconds[node] for node in seconds.keys() - listed)
    total = sum(seconds.values())
    print(f"{len(lines)} lines; the other tests took {rest:.0f} of {total:.0f} seconds")


if __name__ == "__main__":
    main()
