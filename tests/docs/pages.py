"""Runs the code of documentation pages: `python -m tests.docs.pages docs/extend/penalty.md`.

A page is run from top to bottom, in one namespace and an empty folder:

- a `python` block is executed;
- a `bash` block of lines `actmax ...` runs the command line, in this process;
- a `text` block titled "output" must be what the block before it printed. Numbers with a decimal
  point may differ by 2 %, because kernels round differently from machine to machine; by 25 % if the
  title is "output, about", for scores of long runs, where that adds up;
- a block after `<!-- not run: reason -->` is left out. `tests/docs/test_pages.py` knows how many.

As a program, this writes what was printed into the `output` blocks of the pages given.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import math
import os
import re
import shlex
import sys
import tempfile
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)$")
_SKIP = re.compile(r"^ *<!-- not run: (?P<reason>.+) -->$")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")
RUN = ("python", "bash")
# Info strings of blocks that show what was printed, and how much their decimal numbers may differ.
OUTPUTS = {'text title="output"': 0.02, 'text title="output, about"': 0.25}


class Block(NamedTuple):
    """One fenced block: its info string, its text, its first line in the page (from 0), its reason.

    `reason` says why it is not run, and is empty for all others.
    """

    info: str
    text: str
    line: int
    reason: str

    @property
    def language(self) -> str:
        return self.info.split(" ")[0]


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, without their indentation."""
    found: list[Block] = []
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if not opening:
            number += 1
            continue
        indent, start = opening["indent"], number + 1
        end = next(i for i in range(start, len(lines)) if lines[i] == f"{indent}```")
        before = next((lines[i] for i in range(number - 1, -1, -1) if lines[i].strip()), "")
        skip = _SKIP.match(before)
        inner = "\n".join(line.removeprefix(indent) for line in lines[start:end])
        found.append(Block(opening["info"], inner, start, skip["reason"] if skip else ""))
        number = end + 1
    return found


def pages() -> list[Path]:
    """All pages of the site, in alphabetical order, and the README."""
    return [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"]


def prose(text: str) -> str:
    """A page without its blocks of code."""
    lines = text.splitlines()
    for block in reversed(blocks(text)):
        del lines[block.line - 1 : block.line + len(block.text.splitlines()) + 1]
    return "\n".join(lines)


def cells(text: str) -> Iterator[list[str]]:
    """The rows of a page's tables: a list of cells each, links as they are read."""
    for line in prose(text).splitlines():
        if line.lstrip().startswith("|"):
            row = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            yield [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell).strip() for cell in row]


def same(expected: str, received: str, tolerance: float = 0.02) -> bool:
    """Whether two texts are equal, but for white space and for rounding in decimal numbers."""

    def words(text: str) -> list[str]:
        return " ".join(_NUMBER.sub("#", text).split()).split("#")

    if words(expected) != words(received):
        return False
    pairs = zip(_NUMBER.findall(expected), _NUMBER.findall(received), strict=True)
    return all(
        math.isclose(float(a), float(b), rel_tol=tolerance, abs_tol=1e-9)
        if any(mark in a + b for mark in ".e")
        else a == b
        for a, b in pairs
    )


class Ran(NamedTuple):
    """One block that was run, what it printed, and the `output` block behind it, if there is one."""

    block: Block
    printed: str
    output: Block | None


def run(page: Path) -> Iterator[Ran]:
    """Runs the blocks of a page, in the current folder."""
    name = f"docs_{page.stem}"
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        found = blocks(page.read_text("utf-8"))
        for number, block in enumerate(found):
            if block.language not in RUN or block.reason:
                continue
            following = found[number + 1] if number + 1 < len(found) else None
            output = following if following and following.info in OUTPUTS else None
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                if block.language == "python":
                    _run_python(page, block, module)
                else:
                    _run_bash(page, block)
            yield Ran(block, printed.getvalue(), output)
    finally:
        del sys.modules[name]


def _run_python(page: Path, block: Block, module: types.ModuleType) -> None:
    # Line numbers of the page in tracebacks, and a source for those who look for one.
    name = f"{page}:{block.line}"
    text = "\n" * block.line + block.text + "\n"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), vars(module))


def _run_bash(page: Path, block: Block) -> None:
    from actmax.cli import main

    for line in block.text.replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line, comments=True) or [""]
        if program == "actmax":
            code = main(arguments)
            if code != 0:
                raise AssertionError(f"{page}:{block.line}: {line!r} ended with exit code {code}.")
        elif program:
            raise AssertionError(
                f"Expected lines of `actmax ...` in a bash block. Received: {line!r} in {page}, line "
                f"{block.line}. Say above the block why it is not run: <!-- not run: reason -->."
            )


def write(page: Path) -> None:
    """Runs a page and replaces its `output` blocks by what was printed."""
    lines = page.read_text("utf-8").splitlines()
    for ran in reversed(list(run(page))):
        if ran.output is None:
            continue
        start, end = ran.output.line, ran.output.line + len(ran.output.text.splitlines())
        indent = lines[start - 1][: len(lines[start - 1]) - len(lines[start - 1].lstrip())]
        lines[start:end] = [(indent + line).rstrip() for line in ran.printed.rstrip().splitlines()]
    page.write_text("\n".join(lines) + "\n", "utf-8")


def main(arguments: Sequence[str]) -> None:
    """Rewrites the outputs of the pages given."""
    for argument in arguments:
        page = Path(argument).resolve()
        with tempfile.TemporaryDirectory() as folder:
            here = Path.cwd()
            os.chdir(folder)
            try:
                write(page)
            finally:
                os.chdir(here)


if __name__ == "__main__":
    main(sys.argv[1:])
