"""What a run returns: images, their scores, how they came about, and the record of the run."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actmax import checks, images
from actmax.types import IMAGES, Status

_FORMAT = 1


class RecordError(ValueError):
    """A saved result that cannot be read: missing, truncated, or of another format."""


@dataclasses.dataclass(frozen=True)
class Result:
    """Images that a part of a network responds to most, and what is known about them.

    Attributes:
        images: `[N, ...]` in the input range; a dict by name if several inputs were optimized.
        scores: `[N]`, the objective of these very images, by the model without transforms.
        history: by name `[steps, N]`: `score` (with transforms, mean over copies), `objective` (J),
            every unweighted penalty, every metric; row t is from before update t, NaN after a row
            stopped.
        status: `[N]`, values of `Status`.
        messages: why, one text per image.
        steps: `[N]`, number of updates made.
        targets: as optimized, `[N]` or `[N, C]`; None if the objective takes none.
        labels: a name per image; None if there are none.
        low: least value of the input range by input name: a number, one per channel, or None.
        high: largest value likewise.
        config: everything needed to repeat the run, as JSON.
    """

    images: Any
    scores: np.ndarray
    history: Mapping[str, np.ndarray]
    status: np.ndarray
    messages: tuple[str, ...]
    steps: np.ndarray
    targets: np.ndarray | None
    labels: tuple[str, ...] | None
    low: Mapping[str, Any]
    high: Mapping[str, Any]
    config: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        first = self._only() if not isinstance(self.images, Mapping) else None
        size = "x".join(map(str, first.shape[1:])) if first is not None else ", ".join(self.images)
        scores = " ".join(f"{score:.4g}" for score in self.scores[:8])
        more = " ..." if len(self) > 8 else ""
        names, counts = np.unique(self.status, return_counts=True)
        ends = ", ".join(
            f"{count} {Status(name).name}" for name, count in zip(names, counts, strict=True)
        )
        return f"Result({len(self)} images {size}, scores {scores}{more}, {ends})"

    def _only(self) -> np.ndarray:
        if isinstance(self.images, Mapping):
            raise ValueError(
                checks.message(
                    "a run that optimized one input",
                    f"inputs {sorted(self.images)}",
                    "Take result.images[name] and actmax.to_uint8(images, low, high).",
                )
            )
        return np.asarray(self.images)

    def bounds(self) -> tuple[Any, Any]:
        """The input range `(low, high)` of the only input: numbers, or one per channel.

        Raises:
            ValueError: if several inputs were optimized, or the range has an open end.
        """
        self._only()
        name = next(iter(self.low))
        if self.low[name] is None or self.high[name] is None:
            raise ValueError(
                checks.message(
                    "a range to map to 0..255",
                    "an input range with an open end",
                    "Call to_uint8(low, high) with the values that become 0 and 255.",
                )
            )
        return self.low[name], self.high[name]

    def to_uint8(self, low: Any = None, high: Any = None) -> np.ndarray:
        """Images as 8-bit values, `[N, ...]` uint8: low to 0, high to 255, rounded to the nearest.

        Args:
            low: value that becomes 0; None for the input range's.
            high: value that becomes 255; None for the input range's.

        Raises:
            ValueError: if the run had an open range and none is given.
        """
        if low is None or high is None:
            own = self.bounds()
            low, high = own[0] if low is None else low, own[1] if high is None else high
        return images.to_uint8(self._only(), low, high)

    def grid(self, *, columns: int | None = None) -> np.ndarray:
        """All images with their labels on one sheet. `-> uint8 [H, W, 3]`."""
        names = self.names()
        titles = [f"{name}  {score:.3g}" for name, score in zip(names, self.scores, strict=True)]
        return images.grid(self.to_uint8(), titles, columns=columns)

    def names(self) -> tuple[str, ...]:
        """A name per image: its label, else its target, else its number."""
        if self.labels is not None:
            return self.labels
        if self.targets is not None and self.targets.ndim == 1:
            return tuple(str(target) for target in self.targets)
        return tuple(str(number) for number in range(len(self)))

    def take(self, rows: Sequence[int]) -> Result:
        """The images of some rows, in the order given, as a result of their own.

        Raises:
            IndexError: if there is no such row.
        """
        keep = np.asarray(rows, np.intp)
        pictures = self.images
        return dataclasses.replace(
            self,
            images={name: value[keep] for name, value in pictures.items()}
            if isinstance(pictures, Mapping)
            else pictures[keep],
            scores=self.scores[keep],
            history={name: value[:, keep] for name, value in self.history.items()},
            status=self.status[keep],
            messages=tuple(self.messages[row] for row in keep),
            steps=self.steps[keep],
            targets=None if self.targets is None else self.targets[keep],
            labels=None if self.labels is None else tuple(self.labels[row] for row in keep),
        )

    def _repr_png_(self) -> bytes | None:
        """The grid, for notebooks; None where the inputs are no images."""
        if (
            isinstance(self.images, Mapping)
            or self._only().ndim != 4
            or self._only().shape[-1] not in (1, 3)
        ):
            return None
        low, high = next(iter(self.low.values())), next(iter(self.high.values()))
        if low is None or high is None:
            return None
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(self.grid()).save(buffer, "PNG")
        return buffer.getvalue()

    def save(self, folder: str | Path) -> Path:
        """Writes `result.json`, `result.npz`, and for images a PNG each and `grid.png`.

        The JSON is written last: a folder that has it is complete.

        Returns:
            The folder.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # What an earlier result left would stand for this one, or beside it.
        (folder / "result.json").unlink(missing_ok=True)
        for old in folder.glob("[0-9][0-9][0-9]*_*.png"):
            old.unlink()
        by_name = self.images if isinstance(self.images, Mapping) else {IMAGES: self.images}
        arrays = {f"images/{name}": value for name, value in by_name.items()}
        arrays |= {f"history/{name}": value for name, value in self.history.items()}
        arrays |= {"scores": self.scores, "status": self.status, "steps": self.steps}
        if self.targets is not None:
            arrays["targets"] = self.targets
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        images.write_atomic(folder / "result.npz", buffer.getvalue())
        if self._repr_png_() is not None:
            for number, (name, image) in enumerate(zip(self.names(), self.to_uint8(), strict=True)):
                images.save_png(folder / f"{number:03d}_{images.safe_name(name)}.png", image)
            images.save_png(folder / "grid.png", self.grid())
        record = {
            "format": _FORMAT,
            "single": not isinstance(self.images, Mapping),
            "inputs": list(by_name),
            "history": list(self.history),
            "messages": list(self.messages),
            "labels": None if self.labels is None else list(self.labels),
            "low": dict(self.low),
            "high": dict(self.high),
            "scores": [float(score) for score in self.scores],
            "status": [Status(value).name for value in self.status],
            "config": dict(self.config),
        }
        text = json.dumps(_plain(record), indent=2, allow_nan=False)
        images.write_atomic(folder / "result.json", text.encode())
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Result:
        """Reads what `save` wrote. No pickle: JSON and NPZ only.

        Raises:
            RecordError: if the folder holds no complete result of this format.
        """
        folder = Path(folder)
        try:
            record = json.loads((folder / "result.json").read_text())
            if record["format"] != _FORMAT:
                raise RecordError(
                    checks.message(f"a result of format {_FORMAT}", f"format {record['format']}")
                )
            with np.load(folder / "result.npz", allow_pickle=False) as arrays:
                found = {name: arrays[f"images/{name}"] for name in record["inputs"]}
                return cls(
                    images=found[record["inputs"][0]] if record["single"] else found,
                    scores=arrays["scores"],
                    history={name: arrays[f"history/{name}"] for name in record["history"]},
                    status=arrays["status"],
                    messages=tuple(record["messages"]),
                    steps=arrays["steps"],
                    targets=arrays["targets"] if "targets" in arrays else None,
                    labels=None if record["labels"] is None else tuple(record["labels"]),
                    low={name: _bound(bound) for name, bound in record["low"].items()},
                    high={name: _bound(bound) for name, bound in record["high"].items()},
                    config=record["config"],
                )
        except RecordError:
            raise
        except Exception as error:
            # Whatever a damaged file makes JSON, zip and NumPy raise, the caller learns one class.
            raise RecordError(
                checks.message(
                    "a folder written by Result.save",
                    f"{folder} ({type(error).__name__}: {error})",
                    "Save the result again.",
                )
            ) from error


def _bound(bound: Any) -> Any:
    return tuple(bound) if isinstance(bound, list) else bound


def _plain(value: Any) -> Any:
    """JSON without NaN: numbers that are not finite become their names."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
