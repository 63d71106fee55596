"""Runs the notebooks of the documentation: `python -m tests.docs.notebooks` writes their outputs.

Names behind it, as `python -m tests.docs.notebooks binary tuning`, write these alone.

All run in one process, one after the other, because starting TensorFlow takes longer than most of them.
The namespace is emptied in between.
"""

from __future__ import annotations

import os
import re
import sys
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
                    if output.get("name") == "stderr":
                        output.text = _PLACE.sub("", output.text)
    return read


# TensorFlow's C++ side says what processor it found, whatever its log level.
_LOG = re.compile(r"(?:WARNING: All log messages before absl|[IE]0000 )")
# A warning begins with the temporary file of its cell, which is another one in every run.
_PLACE = re.compile(r"^\S*ipykernel_\d+\S*:\d+: ", re.MULTILINE)
# Of networks as small, as little trained and run as briefly as these, the model may well name a picture
# otherwise. The warning is stored, for who reads the notebook; which rows it lists is rounding's to say.
_NAMED = re.compile(r"NamedOtherwiseWarning: .*\n(?:  .*\n?)?")


def _is_log(output: Any) -> bool:
    lines = output.get("text", "").splitlines() if output.get("name") == "stderr" else []
    return bool(lines) and all(_LOG.match(line) for line in lines)


def text_of(cell: Any) -> str:
    """What a cell printed or returned, as text."""
    return "".join(
        output.get("text", output.get("data", {}).get("text/plain", ""))
        for output in cell.outputs
        if output.get("name") != "stderr"
    )


def warnings_of(cell: Any) -> list[str]:
    """What a cell wrote to the standard error, but that the model names a picture otherwise."""
    texts = [output.text for output in cell.outputs if output.get("name") == "stderr"]
    return [text for text in texts if _NAMED.sub("", text).strip()]


if __name__ == "__main__":
    names = sys.argv[1:]
    chosen = [path for path in notebooks() if not names or path.stem in names]
    with tempfile.TemporaryDirectory() as scratch:
        for path, content in run(chosen, scratch).items():
            nbformat.write(content, path)
