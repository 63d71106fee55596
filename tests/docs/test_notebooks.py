"""Every notebook of the documentation runs, and its stored outputs are what it prints."""

from __future__ import annotations

import nbformat
import pytest

from tests.docs import notebooks, pages


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return notebooks.run(notebooks.notebooks(), tmp_path_factory.mktemp("notebooks"))


@pytest.mark.slow  # the first case runs all notebooks, whichever it is
@pytest.mark.parametrize("file", notebooks.notebooks(), ids=lambda file: file.stem)
def test_notebook_runs_and_prints_what_is_stored(file, ran):
    stored = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    cells = [cell for cell in ran[file].cells if cell.cell_type == "code"]
    assert len(cells) == len(stored) > 0
    for cell, before in zip(cells, stored, strict=True):
        assert not notebooks.warnings_of(cell), cell.source
        expected, received = notebooks.text_of(before), notebooks.text_of(cell)
        assert pages.same(expected, received, 0.25), (
            f"Expected:\n{expected}\nReceived:\n{received}\nfrom:\n{cell.source}\n"
            "If the notebook is out of date: python -m tests.docs.notebooks"
        )
        pictures = [
            ["image/png" in output.get("data", {}) for output in outputs]
            for outputs in (cell.outputs, before.outputs)
        ]
        assert pictures[0] == pictures[1], cell.source


def test_there_are_two_notebooks():
    assert len(notebooks.notebooks()) >= 2
