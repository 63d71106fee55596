"""The result of a run: images, their scores, the history, and the record of the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actmax import checks, images, plotting, predictions, records, reporting, showing
from actmax.animations import animated, frames_of
from actmax.predictions import Named
from actmax.preparing import channels_last
from actmax.records import RecordError, write_result
from actmax.scales import closed, shown_between
from actmax.types import Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RecordError", "Result", "result_of", "write_result"]


@dataclasses.dataclass(frozen=True)
class Result:
    """Images that a part of a network responds to most, and what is known about them.

    Attributes:
        images: `[N, ...]` in the input range; a dict by name if several inputs were optimized.
        scores: `[N]`, the objective of exactly these images, by the model without transforms.
        history: by name `[steps, N]`: `score` (with transforms, mean over copies), `objective` (J),
            every unweighted penalty, every metric. Row t has the values before update t, and NaN
            after an image has stopped.
        status: `[N]`, values of `Status`.
        messages: why, one text per image.
        steps: `[N]`, number of updates made.
        targets: as optimized, `[N]` or `[N, C]`; None if the objective takes none.
        labels: a name per image; None if there are none.
        low: least value of the input range by input name: a number, one per channel, or None.
        high: largest value likewise.
        config: everything needed to repeat the run, as JSON.
        probabilities: `[N]`, probabilities of the targets for these images, by the model's own
            softmax or sigmoid; None if the objective does not choose a unit of an output, or the
            output has neither.
        terms: contribution of each term of a sum to the scores of these images, `[N]` by name, such
            as "logit(3)"; None if the objective is not a sum.
        named: a `Named`: the class that the model predicts for every picture after rounding to 8 bits,
            and its probability; None if the objective is not one class of a classifier.
        optimality: `[N]`, the gain in score minus weighted penalties of one more projected gradient
            step, with a line search and without transforms, divided by the gain of the run: 0 at an
            optimum, at most 1. With kinks (max pooling, L1, total variation) and transforms it says how
            far this image is from a stationary point, not from the best image. NaN without a step.
        duality_gap: `[N]`, the largest possible gain of any image of the set, to first order: the
            Frank-Wolfe gap, also divided by the gain of the run. For a concave objective (a linear unit,
            a quadratic function with one maximum) on a convex set or a sphere, the optimum is at most
            this far. For others it is only a first-order estimate. NaN if the set is unbounded, or the
            run gained nothing. Source: Jaggi, 2013, https://proceedings.mlr.press/v28/jaggi13.html.
        distance: `[N]`, how far images are outside of their set, in its own units (a radius, a standard
            deviation, a sum, a value).
        params: the params that images were decoded from, `[N, ...]` each, such as the numbers of a Gabor, a
            latent vector or logits; None for pixels.
        member_scores: `[N, models]`, the scores of these images by each model of an ensemble; `scores` is
            their mean. None for a single model.
        frames: the `actmax.Frames` among the callbacks of the run; None without it, and for loaded
            results.
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
    probabilities: np.ndarray | None = None
    terms: Mapping[str, np.ndarray] | None = None
    named: Named | None = None
    optimality: np.ndarray | None = None
    duality_gap: np.ndarray | None = None
    distance: np.ndarray | None = None
    params: Any = None
    member_scores: np.ndarray | None = None
    frames: Any = dataclasses.field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        first = None if isinstance(self.images, Mapping) else np.asarray(self.images)
        size = "x".join(map(str, first.shape[1:])) if first is not None else ", ".join(self.images)
        scores = " ".join(f"{score:.4g}" for score in self.scores[:8])
        more = " ..." if len(self) > 8 else ""
        names, counts = np.unique(self.status, return_counts=True)
        ends = ", ".join(
            f"{count} {Status(name).name}" for name, count in zip(names, counts, strict=True)
        )
        return f"Result({len(self)} images {size}, scores {scores}{more}, {ends})"

    def channels(self, input: str) -> int | None:
        """Channel axis of the images of an input, counted with the batch axis; None for the last."""
        return self.config.get("inputs", {}).get(input, {}).get("channels")

    def _of(self, name: str) -> np.ndarray:
        found = self.images[name] if isinstance(self.images, Mapping) else self.images
        return channels_last(found, self.channels(name))

    def _by_name(self) -> dict[str, np.ndarray]:
        names = self.images if isinstance(self.images, Mapping) else list(self.low)[:1]
        return {name: showing.opened(self.config, name, self._of(name)) for name in names}

    def _pictured(self, name: str | None) -> str:
        return showing.pictured({k: np.shape(v) for k, v in self._by_name().items()}, name)

    def sequences(self, *, input: str | None = None) -> tuple[str, ...]:
        """The letters of a run with `OneHot`, one string per image; "-" for a row that is not a letter.

        Args:
            input: its name; None for the only one of letters; ValueError if it is not one of letters.
        """
        return showing.sequences(self._by_name(), self.config, input)

    def bounds(self, *, input: str | None = None) -> tuple[Any, Any]:
        """The input range `(low, high)` of one input: numbers, or one per channel.

        Args:
            input: its name; None for the only one, or the only one of images.

        Raises:
            ValueError: if several inputs are images and none is named, or the range has an open end.
        """
        name = self._pictured(input)
        if not closed(self.low[name], self.high[name]):
            raise ValueError(
                checks.message(
                    "a range to map to 0..255",
                    "an input range with an open end",
                    "Call to_uint8(low, high) with the values that become 0 and 255.",
                )
            )
        return self.low[name], self.high[name]

    def to_uint8(
        self, low: Any = None, high: Any = None, *, input: str | None = None
    ) -> np.ndarray:
        """Images as 8-bit values, `[N, ..., C]` uint8, channels last: low to 0, high to 255, rounded.

        Args:
            low: value that becomes 0; None for the input range's.
            high: value that becomes 255; None for the input range's.
            input: which input; None for the only one, or the only one of images.

        Raises:
            ValueError: if the run had an open range and none is given.
        """
        if low is None or high is None:
            own = self.bounds(input=input)
            low, high = own[0] if low is None else low, own[1] if high is None else high
        return images.to_uint8(self._of(self._pictured(input)), low, high)

    def grid(
        self,
        *,
        columns: int | None = None,
        input: str | None = None,
        names: Any = None,
        rate: Any = None,
    ) -> np.ndarray:
        """All inputs with their labels on one sheet, `-> uint8 [H, W, 3]`; crossed out if not finite.

        Args:
            columns: how many stand in a row.
            input: which input; None for all of them, side by side.
            names: of numbers and channels, as `columns` of `save`.
            rate: of waves, as of `save`.
        """
        return showing.grid(self, columns, input, names, rate)

    def scale(self, *, input: str | None = None) -> tuple[Any, Any]:
        """The values shown as 0 and 255: the range; if open, `(-m, m)` with m the largest absolute value."""
        name = self._pictured(input)
        return shown_between(self._of(name), self.low[name], self.high[name])

    def _captions(self) -> tuple[str, ...]:
        return reporting.captions(self.names(), self.config, labeled=self.labels is not None)

    def _tiles(self, input: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        return images.tiles(self._of(self._pictured(input)), *self.scale(input=input))

    def pictures(self) -> np.ndarray | None:
        """Pictures, `uint8 [N, H, W, C]`, C = 1 or 3, crossed out if not finite; None if there are none."""
        return self._tiles()[0] if self.shows() else None

    def shows(self, input: str | None = None) -> bool:
        """Whether it has pictures: one input of images; `scale` says what is black and white."""
        try:
            name = self._pictured(input)
        except ValueError:
            return False
        letters = showing.rows_of(self.config, name) is not None
        return not letters and showing.is_picture(np.shape(self._of(name)))

    def plot(self, *, columns: Any = None, rate: Any = None) -> Figure:
        """Inputs with titles and the score curves; save it with `figure.savefig("run.png")`.

        Args:
            columns: names of numbers and channels, as of `save`.
            rate: of waves, as of `save`.

        Raises:
            ModuleNotFoundError: if matplotlib, the extra `plot`, is missing.
        """
        drawn = showing.shown(self, columns, rate)
        return plotting.figure(drawn, self.names(), self.scores, self.history["score"])

    def report(
        self,
        path: str | Path,
        *,
        title: str | None = None,
        animation: Any = None,
        film: reporting.RecordedFrames | None = None,
        natural: reporting.Natural | None = None,
        metrics: Sequence[Mapping[str, Any]] = (),
        columns: Any = None,
        rate: Any = None,
    ) -> Path:
        """Writes one self-contained HTML file about the run; returns its path.

        Args:
            path: of the file; its folder is made.
            title: of the page; None for the model's name.
            animation: the `actmax.Frames` of the run, for a slider over the steps.
            film: the same, as `Frames.film(...)` made it.
            natural: strongest natural images, of `strongest`.
            metrics: one dict per row of a table.
            columns: names of numbers and channels, as of `save`.
            rate: of waves, which then can be heard, as of `save`.

        Raises:
            ValueError: if the film or the natural images are not of this result's pictures.
        """
        film = animated(self, animation, film)
        page = showing.page(self, title, film, natural, metrics, columns, rate)
        return reporting.write(path, page)

    def _named_lines(self, named: Named) -> list[tuple[str, bool]]:
        """For every picture what the model itself calls it, and whether that is not what was asked."""
        return [(named.words(row), named.otherwise(row)) for row in range(len(self))]

    def strongest(
        self,
        model: Any,
        data: np.ndarray,
        *,
        objective: Any,
        names: Sequence[str] | None = None,
        count: int = 8,
        preprocess: Any = None,
    ) -> reporting.Natural:
        """The images of a data set that score highest for every target. `[M, H, W, C] -> Natural`.

        Args:
            model: the model of the run.
            data: natural images in the input range.
            objective: the objective of the run.
            names: a label per natural image; None for none.
            count: images per picture.
            preprocess: that of the run.

        Raises:
            ValueError: if the result has no pictures, the images are not of the pictures' shape or not in the
                input range, or the objective couples images.
        """
        return reporting.strongest(self, model, data, objective, names, count, preprocess)

    def names(self) -> tuple[str, ...]:
        """A name per image: its label, else its target, else its number."""
        if self.labels is not None:
            return self.labels
        if self.targets is not None and self.targets.ndim == 1:
            return tuple(map(str, self.targets))
        return tuple(map(str, range(len(self))))

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
            probabilities=None if self.probabilities is None else self.probabilities[keep],
            terms=records.each(self.terms, lambda values: values[keep]),
            named=None if self.named is None else self.named.take(keep),
            optimality=None if self.optimality is None else self.optimality[keep],
            duality_gap=None if self.duality_gap is None else self.duality_gap[keep],
            distance=None if self.distance is None else self.distance[keep],
            params=records.each(self.params, lambda leaf: leaf[keep]),
            member_scores=None if self.member_scores is None else self.member_scores[keep],
            frames=None,
        )

    def save_gif(self, path: str | Path, *, fps: float = 12.0, input: str | None = None) -> Path:
        """Writes the run as an animated GIF: the grid of all images at every kept step.

        Args:
            path: of the file.
            fps: frames per second.
            input: which input; None for the only one, or the only one of images.

        Raises:
            ValueError: if no `actmax.Frames` was among the callbacks of the run.

        Example:
            >>> import actmax, os, tempfile
            >>> from actmax import zoo
            >>> result = actmax.maximize(
            ...     zoo.load("mnist"),
            ...     targets=[3],
            ...     input_range=(0, 1),
            ...     steps=4,
            ...     callbacks=[actmax.Frames()],
            ... )
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     result.save_gif(os.path.join(folder, "run.gif")).stat().st_size > 0
            True
        """
        images.save_gif(path, frames_of(self, self._pictured(input)), fps=fps)
        return Path(path)

    def _repr_png_(self) -> bytes | None:
        """The grid, for notebooks."""
        return images.png(self.grid())

    def save(self, folder: str | Path, *, columns: Any = None, rate: Any = None) -> Path:
        """Writes `result.json`, `result.npz`, one PNG per image and `grid.png`; for waves one WAV each.

        Images are saved pixel by pixel. Series are drawn as curves or a heat map, letters as a logo, numbers
        as bars, volumes as slices. Several inputs of one row are side by side.

        A failed row may have an image that is not finite. The NPZ keeps it exactly, and it has no PNG.
        `grid.png` shows it crossed out, and is not written if no image is finite.

        If the folder has an earlier result and the disk fails at any of the writes, `load` gives either
        the complete earlier result or this one. No picture of another result is left in the folder.

        Args:
            folder: made if it is not there.
            columns: names of the numbers of a vector or channels of a series; by input name for several.
            rate: samples a second of waves `[N, T]` or `[N, T, C]`, for WAV files; likewise.

        Returns:
            The folder.
        """
        return write_result(self, folder, showing.files(self, None, columns, rate))

    @classmethod
    def load(cls, folder: str | Path) -> Result:
        """Reads what `save` wrote. No pickle: JSON and NPZ only.

        Raises:
            RecordError: if the folder holds no complete result of this format.
        """
        folder = Path(folder)
        try:
            return result_of(*records.read(folder))
        except RecordError:
            raise
        except Exception as error:
            # A damaged file makes JSON, zip and NumPy raise many errors. The caller gets one class
            # of error.
            raise RecordError(
                checks.message(
                    "a folder written by Result.save",
                    f"{folder} ({type(error).__name__}: {error})",
                    "Save the result again.",
                )
            ) from error


def result_of(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Result:
    """The result of what `records.read` read.

    Raises:
        Exception: whatever a record makes that is none of ours.
    """
    found = {name: arrays[f"images/{name}"] for name in record["inputs"]}
    result = Result(
        images=found[record["inputs"][0]] if record["single"] else found,
        scores=arrays["scores"],
        history={name: arrays[f"history/{name}"] for name in record["history"]},
        status=arrays["status"],
        messages=tuple(record["messages"]),
        steps=arrays["steps"],
        targets=arrays.get("targets"),
        labels=None if record["labels"] is None else tuple(record["labels"]),
        low={name: records.bound(bound) for name, bound in record["low"].items()},
        high={name: records.bound(bound) for name, bound in record["high"].items()},
        config=records.config(record["config"]),
        probabilities=arrays.get("probabilities"),
        terms=records.loaded_terms(record, arrays),
        named=predictions.loaded(record, arrays),
        optimality=arrays.get("optimality"),
        duality_gap=arrays.get("duality_gap"),
        member_scores=arrays.get("member_scores"),
        distance=arrays.get("distance"),
        params=records.unpacked(arrays, "params"),
    )
    records.check_rows(result, found)
    return result
