"""One call that computes all metrics for which it has the data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from actmax import checks
from actmax.evaluation import judged, pixels, scores
from actmax.evaluation.networks import Judge, as_judges
from actmax.evaluation.record import Book, Evaluation
from actmax.evaluation.sources import Natural, Pictures, pictures
from actmax.evaluation.synthetic import train_on_synthetic
from actmax.objectives import Logit, Objective, refuse_coupled
from actmax.result import Result

_PIXELS = ("spectrum_slope", "saturation", "total_variation", "repetition")
_SPECTRA = ("spectrum_distance", "high_frequency_ratio")


def evaluate(
    result: Result | str | Path | npt.NDArray[np.uint8],
    judges: Any = None,
    *,
    natural: Any = None,
    classes: Sequence[int] | npt.NDArray[np.integer] | None = None,
    model: Any = None,
    objective: Objective | None = None,
    preprocess: Callable[[Any], Any] | None = None,
    input_range: tuple[float, float] | None = None,
    reported: npt.ArrayLike | None = None,
    path_layers: Sequence[str] = (),
    training_seeds: int = 0,
    neighbours: int = 5,
) -> Evaluation:
    """Quality of pictures: for the subject, for other networks, and as pictures. `N images -> numbers`.

    All metrics are computed on the 8-bit images; for a folder, on its files. `Evaluation.absent` names
    the metrics that could not be measured, with the reason. These are the metrics, and what they need:

    - the pictures alone: `spectrum_slope`, `saturation`, `total_variation`, `repetition`; with natural
      images also `spectrum_distance` and `high_frequency_ratio`.
    - `judges` and classes: `transfer` (top-1, mean over judges), `transfer_min` (of the worst judge);
      with natural images `transfer_probability` (softmax calibrated on them), `judge_z`, `judge_z_min`,
      `judge_percentile`; in the judges' features `plausibility` (distance to the k-th nearest natural
      image, over the median of held-out ones), `mahalanobis`, `kernel_distance` and
      `frechet_distance` (features of mean square 1 in natural images; anchor: as many natural ones),
      `diversity` (within classes, over that of natural images) and `vendi_score`.
    - `model`, the subject: `honesty_gap` (8 bits), `honesty_gap_float`, `range_violation`; with natural
      images `activation_ratio`, `activation_ratio_matched` (all images at one contrast),
      `activation_z`, `robust_z`, `retention` (over 32 fixed changes), and for each of `path_layers`
      `path_similarity`.
    - `training_seeds` and natural images: `train_on_synthetic`.

    Args:
        result: a `Result`, the folder of a saved one or of PNG files, or uint8 images `[N, H, W, C]`.
        judges: separately trained networks: a model or `Judge`, a list, or a dictionary by name.
        natural: natural images that neither subject nor judges saw: `(uint8 [M, H, W, C], classes
            [M])`, or an NPZ file with `images` and `classes` or `x_test` and `y_test`. Half of them are
            the bank, half the held-out anchor.
        classes: class of each image, as outputs of the judges; None for the result's targets.
        model: the subject.
        objective: what was maximized, scoring every image by itself; None for `Logit()`, with the
            classes as targets.
        preprocess: as it was given to `maximize`.
        input_range: of the subject; None for the result's.
        reported: scores that were reported for the images; None for the result's.
        path_layers: layers of the subject in which the processing path is compared.
        training_seeds: number of networks to train on the images; 0 for none.
        neighbours: k of `plausibility`.

    Raises:
        ValueError: if arguments do not fit each other.
        TypeError: if images are not uint8, or a judge is not a model.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> images = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1), np.uint8)
        >>> found = actmax.evaluate(images, judges=zoo.load("mnist"), classes=[0, 1, 2, 3])
        >>> 0.0 <= found["transfer"] <= 1.0
        True

    Source:
        What each metric is from stands at its function in `actmax.evaluation`.
    """
    if objective is not None:
        refuse_coupled(objective, "an evaluation")
    source = pictures(result)
    anchor = None if natural is None else Natural.read(natural)
    known = _classes(source, classes)
    panel = as_judges(judges)
    book = Book()

    _of_pixels(book, source, anchor)
    if not panel:
        book.skip("no judges were given", *judged.ALL)
    elif known is None:
        book.skip("the class of the images is not known: pass classes=", *judged.ALL)
    else:
        judged.measure(book, panel, source.floats(), known, anchor, neighbours)
    bounds = input_range if input_range is not None else source.bounds
    if model is None:
        book.skip("no model was given", *scores.ALL)
    elif bounds is None:
        expected = "input_range=(low, high) of the model"
        raise ValueError(checks.message(expected, "8-bit images without a range"))
    else:
        _check_same(source, objective, preprocess)
        subject = Judge(model, input_range=bounds, preprocess=preprocess)
        said = source.reported if reported is None else np.asarray(reported, np.float64)
        aims = (
            known if objective is None else source.targets if source.targets is not None else known
        )
        scores.measure(
            book, subject, objective or Logit(), aims, source, said, anchor, known, path_layers
        )
    _of_training(book, source, known, anchor, training_seeds)
    config = {
        "images": list(source.levels.shape),
        "natural": None if anchor is None else list(anchor.images.shape),
        "judges": {name: {"features": judge.feature_layer()} for name, judge in panel.items()},
        "neighbours": neighbours,
        "training_seeds": training_seeds,
        "path_layers": list(path_layers),
    }
    return Evaluation(tuple(book.measurements), book.absent, config)


def _classes(source: Pictures, given: Any) -> npt.NDArray[np.int64] | None:
    if given is None:
        targets = source.targets
        if targets is None or targets.ndim != 1 or not np.issubdtype(targets.dtype, np.integer):
            return None
        return targets.astype(np.int64)
    known = np.asarray(given)
    count = len(source.levels)
    if known.shape != (count,) or not np.issubdtype(known.dtype, np.integer):
        expected = f"classes as {count} integers, one per image"
        raise ValueError(checks.message(expected, f"{known.dtype} {known.shape}"))
    return known.astype(np.int64)


def _check_same(source: Pictures, objective: Any, preprocess: Any) -> None:
    """Raises ValueError where scores would be of something else than what the run maximized."""
    maximized = source.config.get("objective", {"class": "Logit"})
    if objective is None and maximized != {"class": "Logit"}:
        do = "Pass objective=, the one of the run."
        raise ValueError(
            checks.message("the objective of the run", f"none; it was {maximized}", do)
        )
    inputs = source.config.get("inputs", {}).values()
    if preprocess is None and any(one.get("preprocess") is not None for one in inputs):
        do = "Pass preprocess=, as it was given to maximize."
        raise ValueError(checks.message("the preprocess of the run", "none", do))


def _of_pixels(book: Book, source: Pictures, anchor: Natural | None) -> None:
    ours = source.floats()
    theirs = None if anchor is None else anchor.floats()
    for name in _PIXELS:
        metric = getattr(pixels, name)
        natural = None if theirs is None else functools.partial(_mean, metric, theirs)
        book.add(name, functools.partial(metric, ours), natural=natural)
    if theirs is None:
        book.skip("no natural images were given", *_SPECTRA)
    elif theirs.shape[1:3] != ours.shape[1:3]:
        book.skip("natural images are of another size", *_SPECTRA)
    else:
        book.add("spectrum_distance", lambda: pixels.spectrum_distance(ours, theirs), natural=0.0)
        ratio = pixels.high_frequency_ratio
        book.add("high_frequency_ratio", lambda: ratio(ours, theirs), natural=1.0)


def _mean(metric: Callable[[Any], Any], images: Any) -> float:
    return float(metric(images).mean())


def _of_training(
    book: Book, source: Pictures, known: Any, anchor: Natural | None, seeds: int
) -> None:
    name = "train_on_synthetic"
    checks.integer(seeds, "training_seeds")
    if not seeds:
        book.skip("training_seeds is 0", name)
    elif known is None or anchor is None:
        book.skip("it needs classes and natural images", name)
    else:
        test = anchor.floats()
        book.add(
            name,
            lambda: train_on_synthetic(
                source.floats(), known, test, anchor.classes, seeds=seeds
            ).mean(),
        )
