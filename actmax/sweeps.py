"""A grid of settings, each of its points one image: the table that `Maximizer.sweep` returns."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from actmax import checks, images, records, reporting, showing
from actmax.result import RecordError, Result, result_of, write_result
from actmax.types import Status, describe

_FORMAT = 1
_FONT = 12  # pixels
_LINE = 16  # pixels: a line of headings
_GAP = 2  # pixels between images


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The images of a grid of settings, one row per point, and the table of their numbers.

    Rows are in the order of `itertools.product(*axes.values())`: the last axis varies fastest, so
    `sweep.scores.reshape(sweep.shape)` has one axis per setting.

    Attributes:
        result: a `Result` of all rows: images, scores, history, status.
        axes: by name the values of each axis, `target` first; names of penalties, `learning_rate`,
            `seed`.
        seeds: `[N]`, the seed with which a run of only this row gives the same image.
        robust_scores: `[N]`, mean scores over a fixed set of transforms, which choose the best of
            the restarts; None without restarts.
    """

    result: Result
    axes: Mapping[str, tuple[Any, ...]]
    seeds: tuple[int, ...]
    robust_scores: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of every axis."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def images(self) -> Any:
        """Images of all rows, `[N, ...]` in the input range."""
        return self.result.images

    @property
    def scores(self) -> np.ndarray:
        """`[N]`, the objective of these very images."""
        return self.result.scores

    @property
    def params(self) -> Any:
        """The params of the images of all rows: `result.params`."""
        return self.result.params

    @property
    def status(self) -> np.ndarray:
        """`[N]`, values of `Status`."""
        return self.result.status

    def __len__(self) -> int:
        return len(self.result)

    def __repr__(self) -> str:
        axes = " x ".join(f"{len(values)} {name}" for name, values in self.axes.items())
        best = int(np.argmax(np.nan_to_num(self.scores, nan=-np.inf)))
        return (
            f"Sweep({axes}: {len(self)} images, best score {self.scores[best]:.4g} in row {best})"
        )

    def points(self) -> list[dict[str, Any]]:
        """The settings of every row, by the name of the axis."""
        return [
            {name: values[at] for at, (name, values) in zip(index, self.axes.items(), strict=True)}
            for index in np.ndindex(self.shape)
        ]

    def to_records(self) -> list[dict[str, Any]]:
        """One dict per row, of plain numbers and texts: `pandas.DataFrame(sweep.to_records())`.

        The settings of the row, then `label` where there are labels, `seed`, `score`, `robust_score`
        where restarts were run, `status`, `steps`, `message`, and the last recorded value of the
        objective, of every unweighted penalty and of every metric as `final_...`.
        """
        result = self.result
        final = {
            f"final_{name}": _last(values)
            for name, values in result.history.items()
            if name != "score"
        }
        records = []
        for row, point in enumerate(self.points()):
            record = {name: describe(value) for name, value in point.items()}
            if result.labels is not None:
                record["label"] = result.labels[row]
            record |= {"seed": self.seeds[row], "score": float(result.scores[row])}
            if self.robust_scores is not None:
                record["robust_score"] = float(self.robust_scores[row])
            record |= {
                "status": Status(result.status[row]).name,
                "steps": int(result.steps[row]),
                "message": result.messages[row],
            }
            records.append(record | {name: float(values[row]) for name, values in final.items()})
        return records

    def best(self, by: str | None = "target") -> Result:
        """The row of the highest score for every value of one axis. `-> Result`, one row for each.

        By `robust_scores` if there are any, else by `scores`. Failed rows come last.

        Args:
            by: name of the axis; None for the best of all rows.

        Raises:
            ValueError: if there is no such axis.
        """
        judged = self.scores if self.robust_scores is None else self.robust_scores
        fine = np.isfinite(judged) & (self.status != Status.NON_FINITE)
        table = np.where(fine, judged, -np.inf).reshape(self.shape)
        rows = np.arange(len(self)).reshape(self.shape)
        if by is None:
            return self.result.take([int(np.argmax(table))])
        if by not in self.axes:
            raise ValueError(checks.message(f"one of the axes {list(self.axes)}", repr(by)))
        axis = list(self.axes).index(by)
        count = self.shape[axis]
        flat = np.moveaxis(table, axis, 0).reshape(count, -1)
        chosen = np.moveaxis(rows, axis, 0).reshape(count, -1)[np.arange(count), flat.argmax(1)]
        return self.result.take([int(row) for row in chosen])

    def grid(self, rows: Sequence[str] | None = None) -> np.ndarray:
        """All images on one sheet with their scores and every axis named. `-> uint8 [H, W, 3]`.

        Args:
            rows: names of the vertical axes, in order; the others are horizontal. None for the
                split that is closest to a square.

        Raises:
            ValueError: if an axis is unknown or named twice.
        """
        names = list(self.axes)
        down = names[: self._split()] if rows is None else list(rows)
        if isinstance(rows, str) or len(set(down)) < len(down) or set(down) - set(names):
            raise ValueError(checks.message(f"rows to be a list of axes {names}", repr(rows)))
        across = [name for name in names if name not in down]
        order = [names.index(name) for name in [*down, *across]]
        numbers = np.arange(len(self)).reshape(self.shape).transpose(order).ravel()
        columns = math.prod(len(self.axes[name]) for name in across)
        fine = np.isfinite(self.scores) & (self.status != Status.NON_FINITE)
        scores = reporting.scored(self.result.config, self.scores, fine)
        ordered = [scores[number] for number in numbers]
        tiles = images.grid(self._pictures()[numbers], ordered, columns=columns, padding=_GAP)
        return _with_headings(
            tiles,
            [(name, self._texts(name)) for name in down],
            [(name, self._texts(name)) for name in across],
        )

    def _pictures(self) -> np.ndarray:
        return showing.shown(self.result)

    def _split(self) -> int:
        """How many axes go down, so that rows and columns are nearest in number."""
        shape = self.shape
        parts = range(len(shape) + 1)
        return min(parts, key=lambda k: abs(math.prod(shape[:k]) - math.prod(shape[k:])))

    def _texts(self, name: str) -> list[str]:
        if name == "target" and self.result.labels is not None:
            step = len(self) // len(self.axes[name])
            return [self.result.labels[n * step] for n in range(len(self.axes[name]))]
        return [_text(value) for value in self.axes[name]]

    def _repr_png_(self) -> bytes | None:
        """The grid, for notebooks."""
        return images.png(self.grid())

    def save(self, folder: str | Path) -> Path:
        """Writes what `Result.save` writes, `sweep.json`, and for images `sweep.png`.

        Images that are not finite are treated as `Result.save` does: crossed out in `sweep.png`. If the
        folder has an earlier sweep or result and the disk fails at any of the writes, `load` gives either
        the complete earlier one or this one.

        Returns:
            The folder.
        """
        record = {
            "format": _FORMAT,
            "axes": [[name, describe(list(values))] for name, values in self.axes.items()],
            "seeds": list(self.seeds),
            "robust_scores": self.robust_scores,
            "records": self.to_records(),
        }
        text = json.dumps(records.plain(record), indent=1, allow_nan=False)
        made = showing.files(self.result, self.grid, None, None)
        return write_result(self.result, folder, made, text.encode())

    @classmethod
    def load(cls, folder: str | Path) -> Sweep:
        """Reads what `save` wrote. No pickle: JSON and NPZ only.

        A schedule among the values of an axis comes back as its description.

        Raises:
            RecordError: if the folder holds no complete sweep of this format.
        """
        folder = Path(folder)
        try:
            whole, arrays = records.read(folder)
            return _loaded(result_of(whole, arrays), json.loads(records.table(folder, whole)))
        except RecordError:
            raise
        except Exception as error:
            raise RecordError(
                checks.message(
                    "a folder written by Sweep.save",
                    f"{folder} ({type(error).__name__}: {error})",
                    "Save the sweep again.",
                )
            ) from error


def _loaded(result: Result, record: Any) -> Sweep:
    """The sweep of a result and a table that was read; raises whatever a damaged one makes."""
    if record["format"] != _FORMAT:
        raise ValueError(f"format {record['format']}")
    axes = [tuple(axis) for axis in record["axes"]]
    if not all(type(name) is str and type(values) is list for name, values in axes):
        raise ValueError("axes that are no lists of values by name")
    seeds = tuple(checks.integer(seed, "a seed") for seed in record["seeds"])
    robust = record["robust_scores"]
    sweep = Sweep(
        result,
        {name: tuple(values) for name, values in axes},
        seeds,
        None
        if robust is None
        else np.array([float(score) for score in robust], result.scores.dtype),
    )
    counts = {len(seeds), math.prod(sweep.shape), len(sweep if robust is None else robust)}
    if len(sweep.axes) != len(axes) or counts != {len(sweep)}:
        raise ValueError(f"{len(sweep)} rows for axes of {sweep.shape}")
    return sweep


def _last(values: np.ndarray) -> np.ndarray:
    """The last value of every column that is not NaN. `[steps, N] -> [N]`."""
    found = np.full(values.shape[1:], np.nan)
    for row in values:
        found = np.where(np.isnan(row), found, row)
    return found


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (int, str)):
        return str(value)
    described = describe(value)
    if isinstance(described, dict):
        inner = (f"{v:.4g}" if isinstance(v, float) else str(v) for v in described.values())
        return " ".join(inner)
    return str(described)


def _with_headings(
    tiles: np.ndarray,
    down: Sequence[tuple[str, Sequence[str]]],
    across: Sequence[tuple[str, Sequence[str]]],
) -> np.ndarray:
    """The sheet with one line of headings per axis above it, one column of them per axis beside it."""
    font = ImageFont.load_default(_FONT)

    def width(text: str) -> int:
        return math.ceil(font.getlength(text)) + 2 * _GAP

    columns = math.prod(len(texts) for _, texts in across)
    rows = math.prod(len(texts) for _, texts in down)
    sides = [max(width(text) for text in (name, *texts)) for name, texts in down]
    titles = max((width(name) for name, _ in across), default=0)
    left = max(sum(sides), titles)
    top = _LINE * (len(across) + bool(down))
    cell_height, cell_width = (tiles.shape[0] - _GAP) / rows, (tiles.shape[1] - _GAP) / columns
    size = (left + tiles.shape[1], top + tiles.shape[0])
    sheet = Image.new("RGB", size, "white")
    sheet.paste(Image.fromarray(tiles), (left, top))
    draw = ImageDraw.Draw(sheet)

    def write(x: float, y: float, text: str, room: float) -> None:
        while len(text) > 1 and width(text) > room:
            text = text[:-2] + "\u2026" if len(text) > 2 else text[:-1]
        draw.text((x + _GAP, y + 1), text, fill="black", font=font)

    repeats = 1
    for line, (name, texts) in enumerate(across):
        write(left - width(name), line * _LINE, name, width(name))
        repeats *= len(texts)
        span = cell_width * columns / repeats
        for number in range(repeats):
            write(left + number * span, line * _LINE, texts[number % len(texts)], span)
    repeats, x = 1, float(left - sum(sides))
    for side, (name, texts) in zip(sides, down, strict=True):
        write(x, top - _LINE, name, side)
        repeats *= len(texts)
        span = cell_height * rows / repeats
        for number in range(repeats):
            y = top + number * span + (span - _LINE) / 2
            write(x, y, texts[number % len(texts)], side)
        x += side
    return np.asarray(sheet)
