"""The numbers of a run as files, a line per image every `callback_every` steps."""

from __future__ import annotations

import abc
import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actmax import checks
from actmax.callbacks.base import Callback
from actmax.files import refuse_no_file, write_atomic
from actmax.types import Snapshot


def names_of(snapshot: Snapshot) -> list[str]:
    """A name per image: its label, else its target, else its number."""
    if snapshot.labels is not None:
        return list(snapshot.labels)
    if snapshot.targets is not None and snapshot.targets.ndim == 1:
        return [str(target) for target in snapshot.targets]
    return [str(row) for row in range(len(snapshot.live))]


class _Log(Callback):
    """A text file. A new run replaces it, and a resumed run continues it.

    Args:
        path: of the file; its folder exists. A link is followed.

    Raises:
        IsADirectoryError: it is a folder.
        FileExistsError: it is a device, a FIFO or a socket.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(checks.message("the path of a file", repr(path)))
        self.path = Path(path)
        refuse_no_file(os.path.realpath(self.path))

    def on_begin(self, snapshot: Snapshot) -> None:
        # Again: opening a FIFO that has come since would wait until somebody reads it.
        refuse_no_file(os.path.realpath(self.path))
        kept = ""
        if snapshot.step > 0 and self.path.exists():
            # Lines after the checkpoint are of steps that are done again. As bytes: universal newlines
            # would change the line ends inside a name.
            text = self.path.read_bytes().decode("utf-8", "replace")
            kept = "".join(
                line
                for line in self._lines(text)
                if line.endswith("\n") and self._step(line) <= snapshot.step
            )
        if kept:
            # Whole or not at all: a process that ends here must not take the log with it.
            write_atomic(os.path.realpath(self.path), kept.encode())
            return
        with self.path.open("w", encoding="utf-8", newline="") as stream:
            stream.write(self._header(snapshot))

    def on_step(self, snapshot: Snapshot) -> None:
        last = {name: values[-1] for name, values in snapshot.history.items()}
        text = ""
        for row, name in enumerate(names_of(snapshot)):
            fixed = {"step": snapshot.step, "image": row, "name": name}
            fixed["live"] = int(snapshot.live[row])
            text += self._line({**fixed, **{key: float(v[row]) for key, v in last.items()}})
        with self.path.open("a", encoding="utf-8", newline="") as stream:
            stream.write(text)

    @abc.abstractmethod
    def _header(self, snapshot: Snapshot) -> str:
        """What stands before the first line."""

    @abc.abstractmethod
    def _line(self, values: dict[str, Any]) -> str:
        """One image at one step."""

    def _lines(self, text: str) -> list[str]:
        """A text cut after every line that was written; the last may be half of one."""
        return list(io.StringIO(text, newline="\n"))

    @abc.abstractmethod
    def _step(self, line: str) -> float:
        """The step of a line; 0 for a header, infinite for a line that is none."""


class CSVLog(_Log):
    """A CSV file: step, image, name, live, and every series of `history` at the last step done.

    The header is the first line; a number that is not there is `nan`.

    Args:
        path: of the file, replaced by a new run; its folder exists.

    Raises:
        IsADirectoryError: it is a folder.
        FileExistsError: it is a device, a FIFO or a socket.

    Example:
        >>> import tempfile
        >>> import actmax
        >>> from actmax import zoo
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = actmax.CSVLog(folder + "/log.csv")
        ...     _ = actmax.maximize(
        ...         zoo.load("mnist"), targets=[3], input_range=(0, 1), steps=4, callbacks=[log]
        ...     )
        ...     print(len(log.path.read_text().splitlines()))
        5
    """

    def _header(self, snapshot: Snapshot) -> str:
        return _csv(["step", "image", "name", "live", *snapshot.history])

    def _line(self, values: dict[str, Any]) -> str:
        return _csv(list(values.values()))

    def _lines(self, text: str) -> list[str]:
        found, quoted = [""], False
        for piece in super()._lines(text):
            found[-1] += piece
            # A name with a line end in it stands between quotation marks; one in a name is doubled.
            quoted ^= piece.count('"') % 2 == 1
            if not quoted:
                found.append("")
        return found

    def _step(self, line: str) -> float:
        first = line.split(",", 1)[0]
        if first == "step":
            return 0.0
        return float(first) if first.isdigit() else np.inf


class JSONLines(_Log):
    """A file of JSON lines: step, image, name, live, and every series at the last step done.

    A number that is not there is `null`.

    Args:
        path: of the file, replaced by a new run; its folder exists.

    Raises:
        IsADirectoryError: it is a folder.
        FileExistsError: it is a device, a FIFO or a socket.
    """

    def _header(self, snapshot: Snapshot) -> str:
        return ""

    def _line(self, values: dict[str, Any]) -> str:
        plain = {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in values.items()
        }
        return json.dumps(plain, allow_nan=False) + "\n"

    def _step(self, line: str) -> float:
        try:
            return float(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            return np.inf


def _csv(values: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()
