"""`catalog`: from a model and objectives to a folder of pictures."""

from __future__ import annotations

import dataclasses
import fnmatch
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from actmax import checks, fingerprints, models, predictions
from actmax.batching import best_batch_size
from actmax.catalogs import manifest as manifests
from actmax.catalogs import pools, store
from actmax.catalogs.driver import OutOfMemory, Progress, drive
from actmax.catalogs.job import Job, digest, known_by, save
from actmax.catalogs.manifest import CatalogError, Manifest
from actmax.catalogs.plan import Plan
from actmax.catalogs.reading import Catalog
from actmax.files import clear
from actmax.maximizer import Maximizer, first_checks
from actmax.maximizer.fastest_way import refuse_measured
from actmax.models.paths import children
from actmax.models.trace import times_called
from actmax.objectives import CHANNELS_LAST, Channel, Logit, Objective
from actmax.types import describe

_RAY, _LOCAL = "ray", "local"
# Arguments of Maximizer that have another name in a catalog.
_OWN = ("model", "objective", "labels")


def channels(model: Any, pattern: str = "*") -> list[Channel]:
    """One `Channel` objective per layer with weights whose path fits a pattern such as `"block3_*"`.

    If a functional model calls a layer several times, there is one objective per call: `"path:0"`,
    `"path:1"`.

    Args:
        model: a Keras model.
        pattern: of paths, as `actmax.layer_paths` lists them; `*` and `?` stand for any characters.

    Raises:
        ValueError: if no layer fits.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> [objective.layer for objective in actmax.channels(zoo.load("mnist"), "*")]
        ['conv', 'dense', 'predictions']
    """
    found = {
        path: layer
        for path, layer in models.layers(model).items()
        if layer.weights and not children(layer) and fnmatch.fnmatchcase(path, pattern)
    }
    shared = times_called(model)
    paths = [
        name
        for path, layer in found.items()
        for name in [f"{path}:{call}" for call in range(shared.get(id(layer), 0))] or [path]
    ]
    if not paths:
        raise ValueError(
            checks.message(
                f"a pattern of layers with weights, of {list(models.layer_paths(model))}",
                repr(pattern),
            )
        )
    return [Channel(path) for path in paths]


def catalog(
    model: Any,
    objectives: Sequence[Objective] | None = None,
    *,
    out: str | os.PathLike[str],
    targets: Sequence[int] | Literal["all"] = "all",
    seeds: Sequence[int] = (0,),
    steps: int = 256,
    batch_size: int | Literal["auto"] = "auto",
    workers: int | str | None = None,
    threads: int | None = None,
    learning_rate: Any = None,
    weights: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Catalog:
    """One image for every unit, objective and seed, in a folder that a later call can continue.

    Images are independent, and every chunk is padded to the same batch size. So an image has the same
    bytes for every worker, in every order, and after every interruption. A finished chunk is never
    computed again. Memory does not grow with the number of images.

    Args:
        model: a Keras model; with workers, one that can be saved.
        objectives: each has its own compiled loop; see `channels`. None for the model's output.
        out: the folder, made if it is not there: `manifest.json` and Parquet shards.
        targets: units of every objective, or "all".
        seeds: one image per unit and seed.
        steps: updates of every image.
        batch_size: images per batch; "auto" measures once and keeps the result. If a batch does not fit in
            memory, its size is halved for the rest of the job, and the manifest says so.
        workers: None for this process; a number of processes on this machine, each with its own GPU if
            there are any; "local" for one per GPU, or without a GPU one per `threads` cores; "ray" or the
            "ray://..." address of a cluster.
        threads: number of threads of each worker, also for "ray". The last bits of an image depend on it,
            and on the machine.
        learning_rate: as for a run of `Maximizer`.
        weights: as for a run of `Maximizer`.
        labels: names of the units of the model's output.
        progress: called after every chunk.
        **settings: other arguments of `Maximizer`.

    Returns:
        The `Catalog`. Ctrl-C raises KeyboardInterrupt; the same call then continues with the interrupted
        chunk.

    Raises:
        CatalogError: if the folder holds another job (with the difference), or if another process
            writes in it.
        ImportError: without pyarrow, or without Ray for workers on it: the message names the extra.

    Example:
        >>> import tempfile, actmax
        >>> from actmax import zoo
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = actmax.catalog(
        ...         zoo.load("mnist"), out=folder, input_range=(0, 1), steps=2, batch_size=5
        ...     )
        ...     len(found)
        10
    """
    store.arrow()
    chosen = [Logit()] if objectives is None else objectives
    _check(chosen, targets, batch_size, workers, threads)
    _check_settings(settings)
    refuse_measured(settings.get("compile"))
    steps = checks.integer(steps, "steps", low=0)
    given = _seeds(seeds)
    names = first_checks.labels(labels)
    folder = Path(checks.written(os.fspath(out), "the path of a catalog"))
    call = {"steps": steps, "learning_rate": learning_rate, "weights": weights}
    broken: dict[str, str] = {}
    plan = Plan(_targets(model, chosen, targets, settings, names, broken), given)
    on_ray = isinstance(workers, str) and workers != _LOCAL  # where None means one
    own = 1 if threads is None and on_ray else threads
    wanted = _manifest(model, chosen, plan, call, settings, names, own)
    if broken:
        marked = {**wanted.config, "broken_laws": broken}
        wanted = dataclasses.replace(wanted, config=marked)
    (folder / store.SHARDS).mkdir(parents=True, exist_ok=True)
    with manifests.alone(folder):
        clear(folder)
        clear(folder / store.SHARDS)
        found = manifests.read(folder)
        if found is not None:
            manifests.same(wanted, found, folder)
        elif store.finished(folder):
            raise CatalogError(
                checks.message("an empty folder", f"{folder}, with shards of a lost job")
            )
        else:
            sizes = (_batch_size(batch_size, model, chosen[0], plan, call, settings),)
            found = dataclasses.replace(wanted, batch_sizes=sizes)
            found.write(folder)
        job = Job(
            model, None, tuple(chosen), plan, settings, call, names,
            (digest(found.config), str(found.config["model_sha256"])),
        )  # fmt: skip
        _work(job, found, folder, workers, threads, progress)
    made = Catalog(folder)
    if steps and any(objective.layers[0].startswith(":") for objective in chosen):
        predictions.warn_of_catalog(made.named_otherwise(), len(made))
    return made


def _check(objectives: Any, targets: Any, batch_size: Any, workers: Any, threads: Any) -> None:
    listed = isinstance(objectives, Sequence) and not isinstance(objectives, str)
    if not listed or not objectives or not all(isinstance(each, Objective) for each in objectives):
        do = "Put it in [...]." if isinstance(objectives, Objective) else ""
        raise TypeError(checks.message("a list of objectives", repr(objectives)[:80], do))
    bad = isinstance(targets, str) and targets != "all"
    if bad or not isinstance(targets, (str, Sequence, range, np.ndarray)):
        raise TypeError(checks.message('targets as a list of numbers, or "all"', repr(targets)))
    if batch_size != "auto":
        checks.integer(batch_size, "batch_size", low=1)
    if isinstance(workers, str):
        if workers not in (_LOCAL, _RAY) and not workers.startswith("ray://"):
            raise ValueError(
                checks.message('workers as a number, "local", "ray" or "ray://..."', repr(workers))
            )
    elif workers is not None:
        checks.integer(workers, "workers", low=1)
    if threads is not None:
        checks.integer(threads, "threads", low=1)
        if workers is None:
            raise ValueError(
                checks.message(
                    "threads= together with workers=",
                    f"threads={threads} for this process, whose threads are TensorFlow's already",
                    "Give workers=1 as well.",
                )
            )


def _check_settings(settings: Mapping[str, Any]) -> None:
    known = [name for name in inspect.signature(Maximizer).parameters if name not in _OWN]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise TypeError(
            checks.message(
                f"arguments of catalog itself or of Maximizer: {', '.join(known)}",
                ", ".join(unknown),
            )
        )


def _seeds(seeds: Any) -> tuple[int, ...]:
    if isinstance(seeds, (str, bytes)) or not isinstance(seeds, (Sequence, np.ndarray)):
        do = "For one image per unit give seeds=[0]."
        raise TypeError(checks.message("a sequence of seeds, such as range(3)", repr(seeds), do))
    found = tuple(checks.integer(seed, "every seed", high=2**64 - 1) for seed in seeds)
    if not found or len(set(found)) < len(found):
        raise ValueError(checks.message("seeds that differ", repr(list(seeds))))
    return found


def _targets(
    model: Any,
    objectives: Sequence[Objective],
    targets: Any,
    settings: Any,
    labels: Any,
    broken: dict[str, str],
) -> tuple[tuple[int | None, ...], ...]:
    """Units of every objective, all checked in the model. `broken` gets the laws that the model breaks."""
    found: list[tuple[int | None, ...]] = []
    for objective in objectives:
        probe = Maximizer(model, objective, **settings)
        if probe.problem.couples_images:
            raise ValueError(
                checks.message(
                    "parts that leave every image to itself, because a catalog cuts its images into "
                    "batches",
                    f"{objective!r} or a setting that couples the images of a batch",
                    'Use scope="image", or run the batch by itself with actmax.maximize.',
                )
            )
        _refuse_counted(probe.problem.models[0].paths)
        if objective.kind is None:
            broken |= probe(images=1, steps=0).config.get("broken_laws", {})
            found.append((None,))
            continue
        if objective.kind != "index":
            raise ValueError(
                checks.message("objectives of units, such as Logit or Channel", repr(objective))
            )
        broken |= probe([0], steps=0).config.get("broken_laws", {})
        taps = probe.problem.models[0]
        # If several terms share their targets, each of them must have the unit.
        counts = [taps.shapes[name][-1] for name in objective.targeted if name in taps.shapes]
        units = min((count for count in counts if count is not None), default=0)
        named = objective.targeted[0].startswith(":")
        if named and labels is not None and len(labels) != units:
            raise ValueError(checks.message(f"{units} labels, one per unit", f"{len(labels)}"))
        if isinstance(targets, str):
            found.append(tuple(range(units)))
        else:
            numbers = tuple(checks.integer(target, "every target") for target in targets)
            objective.check(taps.shapes, np.asarray(numbers))
            found.append(numbers)
        if not found[-1]:
            raise ValueError(checks.message("at least one target", "none"))
    return tuple(found)


def _refuse_counted(paths: Mapping[str, str]) -> None:
    """Raises ValueError for layer names that Keras counts differently in another process."""
    for name, lasting in paths.items():
        plain = name.removesuffix(CHANNELS_LAST)
        if lasting != plain:
            raise ValueError(
                checks.message(
                    "paths that hold in every process",
                    f"{plain!r}, which has a name that Keras counts in each process anew",
                    f"Write {lasting!r}.",
                )
            )


def _manifest(
    model: Any, objectives: Any, plan: Plan, call: Any, settings: Any, labels: Any, threads: Any
) -> Manifest:
    made = {"objectives": list(objectives), "settings": dict(settings), "call": dict(call)}
    environment = fingerprints.environment(threads)
    fingerprint = {**environment, "model": fingerprints.of(model), **fingerprints.of(made)}
    config = {
        **describe(made),
        "model": str(getattr(model, "name", type(model).__name__)),
        "model_sha256": digest(fingerprint["model"]),
        "versions": environment["versions"],
        "fingerprint": fingerprint,
    }
    return Manifest(config, dataclasses.asdict(plan), (1,), labels)


def _batch_size(
    wanted: Any, model: Any, objective: Objective, plan: Plan, call: Any, settings: Any
) -> int:
    if wanted != "auto":
        return int(wanted)
    probe = Maximizer(model, objective, **settings)
    tasks = plan.tasks(0, len(plan.targets[0]) * len(plan.seeds))

    def run(size: int, steps: int) -> None:
        rows: dict[str, Any] = {"images": size}
        if tasks[0].target is not None:
            rows = {"targets": [tasks[n % len(tasks)].target for n in range(size)]}
        probe(**rows, **{**call, "steps": steps})

    return best_batch_size(run, len(tasks))[0]


def _work(
    job: Job,
    manifest: Manifest,
    folder: Path,
    workers: Any,
    threads: int | None,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Runs the missing chunks, in generations of smaller and smaller batches."""
    total = len(job.plan)
    while True:
        finished = store.finished(folder)
        chunks = job.plan.chunks(manifest.batch_sizes, finished)
        if not chunks:
            return
        done = sum(stop - start for start, stop in finished)
        try:
            with _pool(job, workers, threads) as pool:
                drive(pool, chunks, folder, done, total, progress)
            return
        except OutOfMemory as error:
            size = manifest.batch_sizes[-1]
            if size == 1:
                raise CatalogError(
                    checks.message("memory for one image", str(error), "Use a smaller canvas.")
                ) from error
            manifest = dataclasses.replace(
                manifest, batch_sizes=(*manifest.batch_sizes, max(size // 2, 1))
            )
            manifest.write(folder)


@contextmanager
def _pool(job: Job, workers: Any, threads: int | None) -> Iterator[pools.Pool]:
    if workers is None:
        yield pools.Here(job)
        return
    if not models.is_keras(job.model):
        raise TypeError(
            checks.message(
                "a Keras model, which another process can be sent",
                type(job.model).__name__,
                "Leave workers= out.",
            )
        )
    sent = dataclasses.replace(job, model=None, saved=save(job.model), sent=known_by(job.model))
    pool: pools.Pool
    if workers == _LOCAL:
        pool = pools.Local(sent, pools.local_count(threads), threads)
    elif isinstance(workers, str):
        pool = pools.Ray(sent, None if workers == _RAY else workers, threads)
    else:
        pool = pools.Local(sent, workers, threads)
    try:
        yield pool
    finally:
        pool.close()
