"""Every block of code in the documentation runs, and prints what the page says."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from tests.docs import pages

ROOT = pages.ROOT
# How many blocks of a page are not run. The reason stands in the page, above the block.
NOT_RUN = {
    "README.md": 2,  # installation
    "docs/guides/catalogs.md": 2,
    "docs/guides/coming-from.md": 5,  # programs for other libraries
    "docs/guides/gpu.md": 3,
    "docs/guides/models-of-others.md": 1,
    "docs/index.md": 1,
    "docs/guides/own-benchmark.md": 2,
    "docs/guides/tensorflow-log.md": 2,
    "docs/guides/threads.md": 1,
    "docs/reliability.md": 1,
    "docs/results/quality-method.md": 2,
    "docs/results/speed-method.md": 1,
    "docs/scale.md": 1,
}
EXTENSION_POINTS = (
    "callback", "constraint", "gradient", "metric", "objective", "optimizer", "parameterization",
    "penalty", "transform",
)  # fmt: skip


def place(page):
    return page.relative_to(ROOT).as_posix()


def has_code(page):
    return any(block.language in pages.RUN for block in pages.blocks(page.read_text("utf-8")))


@pytest.mark.parametrize("page", list(filter(has_code, pages.pages())), ids=place)
def test_page_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for ran in pages.run(page):
        if ran.output is None:
            continue
        tolerance = pages.OUTPUTS[ran.output.info]
        assert pages.same(ran.output.text, ran.printed, tolerance), (
            f"{place(page)}, line {ran.output.line}. Expected:\n{ran.output.text}\nReceived:\n"
            f"{ran.printed}\nIf the page is out of date: python -m tests.docs.pages {place(page)}"
        )


def test_blocks_that_are_not_run_are_counted():
    counted = {}
    for page in pages.pages():
        left_out = [block for block in pages.blocks(page.read_text("utf-8")) if block.reason]
        if left_out:
            counted[place(page)] = len(left_out)
    assert counted == NOT_RUN


def test_every_block_is_of_a_known_kind():
    known = {"python", "bash", "toml", "bibtex", "text", *pages.OUTPUTS}
    odd = [
        (place(page), block.line, block.info)
        for page in pages.pages()
        for block in pages.blocks(page.read_text("utf-8"))
        if block.info not in known
    ]
    assert not odd, f"Expected blocks of {sorted(known)}. Received: {odd}."


@pytest.mark.parametrize("kind", EXTENSION_POINTS)
def test_every_extension_point_has_its_page(kind):
    text = (pages.DOCS / "extend" / f"{kind}.md").read_text("utf-8")
    for heading in ("Check it", "What its messages look like", "Add it to the package"):
        assert f"\n## {heading}\n" in text
    messages = text.partition("## What its messages look like")[2]
    shown = [block.text for block in pages.blocks(messages) if block.info in pages.OUTPUTS]
    assert any("Expected" in block and "Received" in block for block in shown)


@pytest.mark.parametrize("page", pages.pages(), ids=place)
def test_links_between_pages_lead_somewhere(page):
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#:\s]+\.(?:md|png))", text):
        file = (page.parent / target).resolve()
        notebook = file.with_suffix(".ipynb")
        assert file.is_file() or notebook.is_file(), f"{place(page)} links to {target}."


@pytest.mark.parametrize("page", [*pages.pages(), *(ROOT / "benchmarks").rglob("*.md")], ids=place)
def test_tables_can_be_read(page):
    if "journal" in page.parts:
        pytest.skip("a journal keeps every figure")
    rows = list(pages.cells(page.read_text("utf-8")))
    assert max((len(cell) for row in rows for cell in row), default=0) <= 120
    assert max(map(len, rows), default=0) <= 7


@pytest.mark.parametrize("page", [*pages.pages(), *(ROOT / "benchmarks").rglob("*.md")], ids=place)
def test_numbers_begin_with_a_digit(page):
    text = re.sub(r"`[^`]*`", "code", pages.prose(page.read_text("utf-8")))
    assert not re.findall(r"(?<![\w.*/)-])-?\.\d+", text), "Write 0.99, not .99."


def test_readme_is_short():
    assert len(pages.prose((ROOT / "README.md").read_text("utf-8")).split()) <= 1200


# The machinery itself


def test_blocks_are_found_with_line_and_reason():
    text = textwrap.dedent(
        """\
        Text.

        ```python
        a = 1
        ```

        <!-- not run: needs a GPU -->
        ```bash
        make bench
        ```

            ```python
            b = 2
            ```
        """
    )
    assert pages.blocks(text) == [
        pages.Block("python", "a = 1", 3, ""),
        pages.Block("bash", "make bench", 8, "needs a GPU"),
        pages.Block("python", "b = 2", 12, ""),
    ]


@pytest.mark.parametrize(
    ("expected", "received", "equal"),
    [
        ("a  b\n", "a b", True),
        ("score 1.00", "score 1.01", True),
        ("score 1.00", "score 1.10", False),
        ("4.4e-01 of it", "4.45e-01 of it", True),
        ("(2, 28)", "(2, 28)", True),
        ("(2, 28)", "(2, 29)", False),
        ("True", "False", False),
        ("1.0", "1.0 2.0", False),
    ],
)
def test_outputs_are_compared_up_to_rounding(expected, received, equal):
    assert pages.same(expected, received) is equal


def page_of(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(textwrap.dedent(text))
    return page


def test_a_failing_block_fails_with_its_line_in_the_page(tmp_path):
    page = page_of(tmp_path, "Text.\n\n```python\na = 1\nraise KeyError(a)\n```\n")
    with pytest.raises(KeyError) as caught:
        list(pages.run(page))
    assert caught.traceback[-1].lineno + 1 == 5


def test_names_are_shared_along_a_page(tmp_path):
    page = page_of(tmp_path, "```python\na = 1\n```\n\n```python\nprint(a)\n```\n")
    assert [ran.printed for ran in pages.run(page)] == ["", "1\n"]


def test_other_programs_in_a_bash_block_need_a_reason(tmp_path):
    page = page_of(tmp_path, "```bash\nrm -r .\n```\n")
    with pytest.raises(AssertionError, match="not run: reason"):
        list(pages.run(page))


def test_outputs_are_written_into_the_page(tmp_path):
    text = '```python\nprint(2 + 2)\n```\n\n```text title="output"\n5\n```\n\nMore.\n'
    page = page_of(tmp_path, text)
    pages.write(page)
    assert page.read_text() == text.replace("5", "4")


def test_pages_were_found():
    assert Path(pages.DOCS / "index.md") in pages.pages()
