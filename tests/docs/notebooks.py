"""Runs the notebooks of the documentation: `python -m tests.docs.notebooks` writes their outputs.

All run in one process, one after the other, because starting TensorFlow takes longer than most of them.
The namespace is emptied in between.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.docs.pages import DOCS

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def notebooks() -> list[Path]:
    """All notebooks of the site."""
    return sorted((DOCS / "notebooks").glob("*.ipynb"))


def run(files: list[Path], folder: str | Path) -> dict[Path, Any]:
    """The notebooks with their outputs, run in a folder.

    Raises:
        nbclient.exceptions.CellExecutionError: with the traceback, if a cell fails.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # the kernel is a process of its own
    read = {file: nbformat.read(file, as_version=4) for file in files}
    together = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    for notebook in read.values():
        together.cells += [nbformat.v4.new_code_cell("%reset -f"), *notebook.cells]
    NotebookClient(together, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    for notebook in read.values():
        del together.cells[0]  # the reset
        notebook.cells = [together.cells.pop(0) for _ in notebook.cells]
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # times of day
            if cell.cell_type == "code":
                cell.execution_count = None
                cell.outputs = [output for output in cell.outputs if not _is_log(output)]
                for output in cell.outputs:
                    if "execution_count" in output:
                        output.execution_count = None
    return read


# TensorFlow's C++ side says what processor it found, whatever its log level.
_LOG = re.compile(r"(?:WARNING: All log messages before absl|[IE]0000 )")


def _is_log(output: Any) -> bool:
    lines = output.get("text", "").splitlines() if output.get("name") == "stderr" else []
    return bool(lines) and all(_LOG.match(line) for line in lines)


def text_of(cell: Any) -> str:
    """What a cell printed or returned, as text."""
    return "".join(
        output.get("text", output.get("data", {}).get("text/plain", "")) for output in cell.outputs
    )


def warnings_of(cell: Any) -> list[str]:
    """What a cell wrote to the standard error."""
    return [output.text for output in cell.outputs if output.get("name") == "stderr"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for path, content in run(notebooks(), scratch).items():
            nbformat.write(content, path)
