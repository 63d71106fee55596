"""`Catalog`: reads the results of a job without loading all of them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from actmax import checks, images, showing
from actmax.catalogs import manifest as manifests
from actmax.catalogs import store
from actmax.catalogs.manifest import CatalogError
from actmax.reporting import Entry, write_sheets

_FACTS = (
    "task", "objective", "layer", "target", "label", "seed", "score", "status", "message", "steps",
    "named", "named_probability", "named_as_asked",
)  # fmt: skip
# Pictures are compared at this size, so that a shift by one pixel of a large picture has little
# effect.
_SIDE = 16


@dataclasses.dataclass(frozen=True)
class Catalog:
    """The pictures of a folder that `catalog` wrote or is still writing. Finished pictures can be read.

    Args:
        folder: with `manifest.json` and `shards`.

    Attributes:
        folder: as given.

    Raises:
        CatalogError: if it is no catalog.
        ImportError: without pyarrow.

    Example:
        >>> import tempfile, actmax
        >>> from actmax import zoo
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = actmax.catalog(
        ...         zoo.load("mnist"), out=folder, input_range=(0, 1), steps=2, batch_size=10
        ...     )
        ...     made.select(target=3)[0]["status"]
        'OK'
    """

    folder: Path

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "folder", Path(folder))
        checks.written(str(folder), "the path of a catalog")  # the reader of Parquet needs this
        store.arrow()
        if manifests.read(self.folder) is None:
            raise CatalogError(checks.message("a folder that actmax.catalog wrote", str(folder)))

    def __len__(self) -> int:
        """Number of finished images."""
        return sum(stop - start for start, stop in store.finished(self.folder))

    @property
    def total(self) -> int:
        """Number of images of the whole job."""
        plan = self.manifest.plan
        return sum(map(len, plan["targets"])) * len(plan["seeds"])

    @property
    def manifest(self) -> manifests.Manifest:
        """What the job is."""
        found = manifests.read(self.folder)
        if found is None:
            raise CatalogError(checks.message("a manifest", f"none in {self.folder} any more"))
        return found

    def dataset(self) -> Any:
        """A `pyarrow.dataset.Dataset` over the finished shards, for filters of your own."""
        return store.dataset(list(store.finished(self.folder).values()))

    def select(
        self,
        *,
        layer: str | None = None,
        objective: str | None = None,
        target: int | None = None,
        label: str | None = None,
        seed: int | None = None,
        status: str | None = None,
        least_score: float | None = None,
        best: int | None = None,
    ) -> list[dict[str, Any]]:
        """Records of the images that match all arguments, in the order of the job. No picture is read.

        Args:
            layer: path of a layer; `":logits"` is the model's output.
            objective: name of its class.
            target: unit.
            label: name of a unit of the model's output.
            seed: as given to the job.
            status: such as "OK" or "NO_GRADIENT".
            least_score: lowest score.
            best: only so many with the highest score, the highest first; scores that are not finite last.
        """
        import pyarrow.compute as pc

        wanted = {
            "layer": layer, "objective": objective, "target": target, "label": label,
            "seed": seed, "status": status,
        }  # fmt: skip
        filters = [pc.field(name) == value for name, value in wanted.items() if value is not None]
        if least_score is not None:
            filters.append(pc.field("score") >= least_score)
        condition = None
        for each in filters:
            condition = each if condition is None else condition & each
        count = None if best is None else checks.integer(best, "best", low=1)
        with self._reading():
            rows = self.dataset().to_table(columns=list(_FACTS), filter=condition).to_pylist()
            rows.sort(key=lambda row: row["task"])
            if count is None:
                return rows
            # A score that is not a number is never the best, and it would break the sorting.
            return sorted(rows, key=lambda row: _rank(row["score"]))[:count]

    def named_otherwise(self) -> list[dict[str, Any]]:
        """Records of the images for which the model predicts another class than the target, in job order.

        `"named"` is the model's own class of the 8-bit picture, `"named_probability"` its probability.
        """
        return [row for row in self.select() if row["named"] and not row["named_as_asked"]]

    def images(self, rows: Sequence[dict[str, Any]]) -> np.ndarray:
        """Images of selected rows. uint8 `[N, H, W, C]` for pictures, float32 `[N, ...]` for other inputs.

        Raises:
            CatalogError: if a row is not of this catalog, or only some of the pictures are finite. If none is
                finite, their numbers are returned.
        """
        found = self._found(rows)
        odd = [
            row["task"] for row, image in zip(rows, found, strict=True) if image.dtype.kind == "f"
        ]
        if 0 < len(odd) < len(rows):
            do = "Leave them out, or ask for them alone."
            raise CatalogError(checks.message("finite pictures", f"tasks {odd[:5]}", do))
        return np.stack(found)

    def _found(self, rows: Sequence[dict[str, Any]]) -> list[np.ndarray]:
        wanted = [int(row["task"]) for row in rows]
        with self._reading():
            found = dict(self._read(wanted))
        missing = sorted(set(wanted) - set(found))
        if missing:
            raise CatalogError(checks.message("rows of this catalog", f"tasks {missing[:5]}"))
        return [found[task] for task in wanted]

    def _read(self, tasks: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        import pyarrow.compute as pc

        columns = ["task", "image", "values", "shape"]
        table = self.dataset().to_table(columns=columns, filter=pc.field("task").isin(tasks))
        for row in table.to_pylist():
            yield row["task"], decoded(row)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Makes one class of whatever a damaged shard makes Parquet, zlib and Pillow raise, and names it."""
        try:
            yield
        except Exception as error:
            bad = [file.name for file in store.finished(self.folder).values() if _damaged(file)]
            if not bad:
                raise
            found = f"{', '.join(bad[:3])} ({type(error).__name__}: {error})"[:300]
            do = "Delete it from shards: the same call of actmax.catalog makes it again."
            raise CatalogError(
                checks.message(f"whole shards in {self.folder}", found, do)
            ) from error

    def grid(self, rows: Sequence[dict[str, Any]], columns: int | None = None) -> np.ndarray:
        """A labeled sheet of selected images, crossed out if not finite. uint8 `[height, width, 3]`.

        Other inputs are drawn: series as curves, letters as a logo, vectors as bars.
        """
        names = [
            row["label"]
            or f"{row['layer']} {'' if row['target'] is None else row['target']}".strip()
            for row in rows
        ]
        drawn = self._drawer(None, None)
        found = self._found(rows)
        pictures = all(showing.is_picture((1, *image.shape)) for image in found)
        if not pictures:
            drawings = np.stack([drawn(image) for image in found])
            return images.grid(drawings, labels=names, columns=columns, scale=1)
        shown = [
            image if np.isfinite(image).all() else images.tiles(image[None], 0, 1)[0][0]
            for image in found
        ]
        return images.grid(np.stack(shown), labels=names, columns=columns)

    def _drawer(self, columns: Any, rate: Any) -> Callable[[np.ndarray], np.ndarray]:
        settings = self.manifest.config.get("settings") or {}
        return showing.drawer(settings.get("input_range"), columns, rate)

    def nearest(self, row: dict[str, Any], count: int = 8) -> list[dict[str, Any]]:
        """Records of the pictures that are most similar to one, in order, with `"similarity"` -1 .. 1.

        Similarity is the cosine of the pictures at 16 x 16, each minus its mean. It compares how
        pictures look, not what they mean. Pictures that are not finite are left out.

        Raises:
            CatalogError: if the row is not of this catalog, or its picture is not finite.
        """
        checks.integer(count, "count", low=1)
        (image,) = self._found([row])
        if not np.isfinite(image).all():
            raise CatalogError(checks.message("a finite picture", f"task {row['task']}"))
        own = _thumbnail(image)
        found = []
        columns = ["task", "image", "values", "shape"]
        with self._reading():
            for batch in self.dataset().to_batches(columns=columns):
                for each in batch.to_pylist():
                    image = decoded(each)
                    if each["task"] != row["task"] and np.isfinite(image).all():
                        found.append((float(own @ _thumbnail(image)), each["task"]))
        found.sort(key=lambda pair: (-pair[0], pair[1]))
        facts = {each["task"]: each for each in self.select()}
        return [{**facts[task], "similarity": value} for value, task in found[:count]]

    def report(
        self,
        folder: str | os.PathLike[str],
        *,
        title: str | None = None,
        per_page: int = 200,
        columns: Sequence[str] | None = None,
        rate: float | None = None,
    ) -> Path:
        """A folder of HTML pages to look through all finished images; returns its `index.html`.

        A page holds the pictures of one objective, inside the file, so that a reader of 100,000
        pictures loads one page at a time; no network is needed. Images that are no pictures are
        drawn, as `Result.save` draws them. Written in one pass, in the order of the job, the index last.

        Args:
            folder: new, empty, or with an earlier report, which is replaced.
            title: of the report; the catalog's folder otherwise.
            per_page: most pictures of a page, 1 to 1000.
            columns: names of the numbers of a vector, or of the channels of a series.
            rate: samples a second, of waves.

        Raises:
            FileExistsError: if the folder holds something else.
            ValueError: if per_page is out of range.

        Example:
            >>> import tempfile, actmax
            >>> from actmax import zoo
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     made = actmax.catalog(
            ...         zoo.load("mnist"), out=folder, input_range=(0, 1), steps=2, batch_size=10
            ...     )
            ...     made.report(folder + "/report").name
            'index.html'
        """
        found = self.manifest
        facts = {
            "Model": str(found.config.get("model", "")),
            "Seeds": str(len(found.plan["seeds"])),
            "Batch": str(found.batch_sizes[-1]),
            "Made with": f"actmax {found.config.get('versions', {}).get('actmax', '')}",
        }
        done, otherwise = len(self), len(self.named_otherwise())
        return write_sheets(
            Path(folder),
            self.folder.resolve().name if title is None else title,
            self._entries(self._drawer(columns, rate)),
            lead=f"{done:,} of {self.total:,} images of what each unit of this network responds to most."
            + (f" The model itself names {otherwise:,} of them otherwise." if otherwise else ""),
            facts=facts,
            per_page=per_page,
        )

    def _entries(self, drawn: Callable[[np.ndarray], np.ndarray]) -> Iterator[Entry]:
        """All finished rows in the order of the job, with one shard in memory at a time."""
        for file in store.finished(self.folder).values():
            with self._reading():
                rows = store.rows(file)
            for row in rows:
                target = "" if row["target"] is None else f" {row['target']}"
                name = row["label"] or f"{row['layer']}{target}"
                said = "none"
                if row["named"]:
                    said = f"{row['named']}, probability {row['named_probability']:.4f}"
                    said += "" if row["named_as_asked"] else " (not as asked)"
                yield Entry(
                    section=f"{row['objective']} of {row['layer']}",
                    name=f"{name}, seed {row['seed']}",
                    png=_png(row, drawn),
                    score=math.nan if row["score"] is None else row["score"],
                    status=row["status"],
                    message=row["message"] or "",
                    facts={
                        "score": repr(row["score"]), "status": row["status"],
                        "layer": row["layer"], "target": target.strip() or "none",
                        "the model itself says": said,
                        "label": row["label"] or "none", "seed": str(row["seed"]),
                        "updates": str(row["steps"]), "task": str(row["task"]),
                    },
                )  # fmt: skip


def _png(row: dict[str, Any], drawn: Callable[[np.ndarray], np.ndarray]) -> bytes | None:
    """The picture of a row, as stored or as drawn. None for a picture that is not finite."""
    if row["image"] is not None:
        return bytes(row["image"]["bytes"])
    values = decoded(row)
    return None if showing.is_picture((1, *values.shape)) else images.png(drawn(values))


def _rank(score: float | None) -> float:
    return -score if score is not None and math.isfinite(score) else math.inf


def _damaged(file: Path) -> bool:
    """Whether a shard is damaged, after a complete read."""
    try:
        for row in store.rows(file):
            decoded(row)
            float(row["score"] or 0.0) + int(row["task"])
    except Exception:
        return True
    return False


def decoded(row: dict[str, Any]) -> np.ndarray:
    """The image of a row of the store. uint8 `[H, W, C]`, or float32 of its shape."""
    if row["image"] is None:
        return np.asarray(row["values"], np.float32).reshape(row["shape"])
    with Image.open(io.BytesIO(row["image"]["bytes"]), formats=["PNG"]) as picture:
        return np.asarray(picture).reshape(row["shape"])


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """A picture as a unit vector of a small copy. Other inputs keep their size."""
    if image.dtype == np.uint8:
        flat = image[..., 0] if image.shape[-1] == 1 else image
        small = Image.fromarray(flat).resize((_SIDE, _SIDE), Image.Resampling.BOX)
        image = np.asarray(small)
    vector = image.astype(np.float64).ravel()
    vector = vector - vector.mean()
    size = np.linalg.norm(vector)
    return vector / size if size else vector
