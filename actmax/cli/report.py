"""`actmax report`: one HTML file about a saved result, or a folder of pages about a catalog."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actmax.cli import input_options
from actmax.cli.files import load_file

if TYPE_CHECKING:
    import numpy as np

    from actmax.reporting import Natural
    from actmax.result import Result

_DATA = "an .npz file with one array `images` [M, H, W, C], and `labels` [M] if there are any"


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    report = commands.add_parser("report", help="HTML about a saved result or a catalog")
    report.add_argument(
        "folder", type=Path, metavar="DIR", help="what --out of a run or a catalog named"
    )
    report.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="default: DIR/report.html; of a catalog, whose pages need a folder, DIR/report",
    )
    report.add_argument(
        "--per-page", type=int, metavar="N", help="most pictures of a catalog's page; default: 200"
    )
    report.add_argument(
        "--natural",
        nargs="+",
        type=Path,
        default=(),
        metavar="X.npz",
        help="natural images, in the input range, whose strongest stand beside each picture",
    )
    report.add_argument(
        "--model",
        type=Path,
        metavar="MODEL",
        help="of the run, a .keras or .h5 file; for --natural",
    )
    input_options.add_display(report)
    report.set_defaults(command=_report)


def _report(arguments: argparse.Namespace) -> int:
    from actmax import checks
    from actmax.reporting import load_frames
    from actmax.result import Result

    folder, shown = arguments.folder, input_options.display(arguments)
    if (folder / "manifest.json").exists():
        return _catalog(arguments, shown)
    if arguments.per_page is not None:
        raise ValueError(checks.message("a catalog, for --per-page", f"{folder}, a saved result"))
    result = Result.load(folder)
    natural = None
    if arguments.natural:
        if arguments.model is None:
            do = "Add --model MODEL."
            raise ValueError(checks.message("the model that scores natural images", "none", do))
        model = load_file(arguments.model)
        _check_same(result, model)
        natural = _natural(result, arguments.natural, model)
    out = folder / "report.html" if arguments.out is None else arguments.out
    film, metrics = load_frames(folder), _metrics(folder / "metrics.json")
    try:
        result.report(out, film=film, natural=natural, metrics=metrics, **shown)
    except RecursionError as error:
        expected = "a record and metrics that are nested as those of a run"
        raise ValueError(checks.message(expected, f"{folder}, nested too deeply")) from error
    print(f"report: {out}")
    return 0


def _catalog(arguments: argparse.Namespace, shown: Mapping[str, Any]) -> int:
    from actmax import checks
    from actmax.catalogs import Catalog

    if arguments.natural or arguments.model:
        raise ValueError(
            checks.message("a saved result, for --natural", f"{arguments.folder}, a catalog")
        )
    catalog = Catalog(arguments.folder)
    out = arguments.folder / "report" if arguments.out is None else arguments.out
    per_page = {} if arguments.per_page is None else {"per_page": arguments.per_page}
    print(f"report: {catalog.report(out, **per_page, **shown)}")
    return 0


def _metrics(file: Path) -> Sequence[Mapping[str, Any]]:
    from actmax import checks
    from actmax.files import read

    if not file.exists():
        return ()
    expected = 'a JSON list of records, [{"judge accuracy": 0.9}]'
    try:
        records = json.loads(read(file).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(checks.message(expected, f"{file} ({error})")) from error
    if isinstance(records, dict):
        records = [records]
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError(checks.message(expected, f"{file}, which holds something else"))
    return records


def _check_same(result: Result, model: Any) -> None:
    """Raises ValueError if the record of a run names another file than that of the model."""
    from actmax import checks, loading

    known, mine = result.config.get("files"), loading.file_of(model)
    listed = known if isinstance(known, list) else []
    made = [str(each.get("sha256")) for each in listed if isinstance(each, Mapping)]
    if made and mine is not None and mine["sha256"] not in made:
        expected = f"the model of the run, whose file has SHA-256 {made[0][:16]}..."
        received = f"{mine['file']} with {mine['sha256'][:16]}..."
        do = "For a model that was saved again, result.report(path, natural=...) in Python."
        raise ValueError(checks.message(expected, received, do))


def _natural(result: Result, files: Sequence[Path], model: Any) -> Natural:
    import numpy as np

    pairs = [_read(file) for file in files]
    images = np.concatenate([found for found, _ in pairs])
    names = [name for found, labels in pairs for name in labels or [""] * len(found)]
    return result.strongest(model, images, objective=_objective(result), names=names)


def _objective(result: Result) -> Any:
    """The objective of a run, if its record is enough to make it again."""
    import actmax
    from actmax import checks

    record = result.config.get("objective")
    fields = dict(record) if isinstance(record, Mapping) else {}
    kind = fields.pop("class", None)
    plain = all(isinstance(value, (str, int, float, bool, type(None))) for value in fields.values())
    inputs = result.config.get("inputs", {})
    prepared = any(entry.get("preprocess") is not None for entry in inputs.values())
    if kind not in ("Logit", "Channel", "Neuron", "LogProbability") or not plain or prepared:
        do = "In Python: result.report(path, natural=result.strongest(model, images, objective=...))."
        raise ValueError(
            checks.message("a run of Logit, Channel or Neuron without preprocess", record, do)
        )
    return getattr(actmax, kind)(**fields)


def _read(file: Path) -> tuple[np.ndarray, list[str]]:
    """Images `[M, H, W, C]` and labels of a data set."""
    from actmax import archives, checks

    try:
        with file.open("rb") as stream, archives.opened(stream) as arrays:
            images = arrays["images"]
            labels = [str(label) for label in arrays["labels"]] if "labels" in arrays else []
    except FileNotFoundError:
        raise
    except Exception as error:
        # zip and NumPy raise many errors for damaged files. The user gets one message.
        raise ValueError(
            checks.message(_DATA, f"{file} ({type(error).__name__}: {error})")
        ) from error
    if images.ndim != 4 or (labels and len(labels) != len(images)):
        raise ValueError(
            checks.message(_DATA, f"{file}, images {images.shape}, {len(labels)} labels")
        )
    return images, labels
