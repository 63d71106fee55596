"""Tests the default recipe with new subjects and new judges, which were not used for any choice.

    python -m benchmarks.quality held-out --data FOLDER --out FOLDER

Splits. Development judges and development subjects were trained on different parts of a track's training
images. Here the parts are exchanged: new judges train on the part of the development subjects, and new
subjects on the part of the development judges. So no new judge has seen the images of its new subject. The
subjects of the package are also judged. Their training images are those of the new judges; the table says
so. Test images are used only for accuracies.

The first run counts. Networks and finished rows are stored, so a stopped run continues. A call after a
finished run makes other pictures (other seeds). Their figures are printed next to those of the first run.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import actmax
from actmax import zoo
from benchmarks import environment
from benchmarks.quality import data as sets
from benchmarks.quality import networks, train
from benchmarks.quality.data import Data, Images
from regularizers import Flip, Noise, Rotate, Scale, Shift

FORMAT = 1
# Seeds of networks. They were not used for any choice.
_FIRST_SEED = 20_000
_WORST_ACCURACY = 0.75
_LUMINANCE = np.array([0.299, 0.587, 0.114])
_DIGITS = (Rotate(10.0), Scale(0.9, 1.1), Shift(2.0))
_PHOTOS = (Flip(), Shift(3.0), Noise(0.02))
# Half width of a normal 95 % interval, in standard deviations.
_Z = 1.959963984540054


@dataclasses.dataclass(frozen=True)
class Budget:
    """The size of the run.

    Attributes:
        pictures: minimum number of pictures of every subject.
        passes: number of passes of every picture.
        epochs: factor on the epochs of every network.
        images: maximum number of training images of a network. None for all.
        minutes: time after which no new piece of work begins.
    """

    pictures: int = 240
    passes: int = 512
    epochs: float = 1.0
    images: int | None = None
    minutes: float = 90.0


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network whose classes are drawn.

    Attributes:
        name: name of its row.
        track: the track whose new judges see the pictures.
        build: `(shape, classes) -> model`; None for the zoo's network of the track.
        epochs: epochs of training.
        signed: whether it takes images in (-1, 1), not (0, 1).
    """

    name: str
    track: str
    build: Callable[..., keras.Model] | None
    epochs: int = 0
    signed: bool = False


SUBJECTS = (
    Subject("MNIST, shipped", "mnist", None),
    Subject("gray CIFAR-10 in (0, 1)", "gray", networks.strided, 14),
    Subject("gray CIFAR-10 in (-1, 1)", "gray", functools.partial(networks.resnet, blocks=2), 12, True),
    Subject("CIFAR-10, shipped", "cifar10", None),
    Subject("CIFAR-10, residual", "cifar10", functools.partial(networks.resnet, widths=(28, 56, 112)), 12),
    Subject("CIFAR-10, transformer", "cifar10", networks.vit, 20),
)  # fmt: skip

# Kinds of judges: their network, the epochs on photographs and on digits, the rate, and the
# adversarial step.
JUDGES: Mapping[str, tuple[Callable[..., keras.Model], int, int, float, float]] = {
    "plain": (networks.strided, 16, 4, 2e-3, 0.0),
    "residual": (functools.partial(networks.resnet, widths=(20, 40, 80), blocks=2), 14, 4, 4e-3, 0.0),
    "mixer": (functools.partial(networks.mixer, width=80), 20, 5, 3e-3, 0.0),
    "adversarial": (networks.cnn, 16, 4, 2e-3, 4 / 255),
}  # fmt: skip


class OutOfTime(Exception):
    """The budget of minutes is used up. Finished work is stored."""


def swapped(data: Data) -> Data:
    """Exchanges the images of judges and subjects."""
    return dataclasses.replace(data, subject=data.judges, judges=data.subject)


def gray(images: Images) -> Images:
    """Color images as gray ones, `[N, H, W, 3] -> [N, H, W, 1]`, by their luminance (ITU-R BT.601)."""
    levels = np.rint(images.images @ _LUMINANCE).astype(np.uint8)
    return Images(levels[..., None], images.classes)


def tracks(folder: Path) -> dict[str, Data]:
    """Data of every track, with the parts of subjects and judges exchanged."""
    found = {name: swapped(sets.read(track, folder)) for name, track in sets.TRACKS.items()}
    color = found["cifar10"]
    found["gray"] = dataclasses.replace(
        color, subject=gray(color.subject), judges=gray(color.judges), test=gray(color.test)
    )
    return found


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval for the share `right / count`.

    Source: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953.

    Example:
        >>> [round(end, 3) for end in interval(228, 240)]
        [0.915, 0.971]
    """
    share, z2 = right / count, _Z * _Z / count
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count)) / (1 + z2)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def network_seed(name: str) -> int:
    """Seed of a network, from its name: the same in every process."""
    return _FIRST_SEED + zlib.crc32(name.encode()) % 10_000


class HeldOut:
    """A run that is stored in a folder after every piece of work.

    Args:
        folder: folder of networks, pictures and the record.
        data: data of every track from `tracks`.
        budget: the size of the run.
        development: development judges by track, for the other column. May be empty.
    """

    def __init__(
        self,
        folder: Path,
        data: Mapping[str, Data],
        budget: Budget,
        development: Mapping[str, Mapping[str, keras.Model]],
    ) -> None:
        self.folder, self.data, self.budget = folder, data, budget
        self.development = development
        self.file = folder / "held_out.json"
        self._until = time.monotonic() + 60 * budget.minutes
        self._accuracies: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.record = self._read()

    def _read(self) -> dict[str, Any]:
        wanted = dataclasses.asdict(self.budget) | {"minutes": None}
        if self.file.exists():
            found: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
            if found.get("format") != FORMAT or found.get("budget") != wanted:
                raise SystemExit(
                    f"Expected the budget of the record in {self.folder}. Received: {wanted}, and there "
                    f"{found.get('budget')}. Give another --out."
                )
            return found
        kept = {"format": FORMAT, "budget": wanted, "environment": environment.describe()}
        return {**kept, "runs": []}

    def _write(self) -> None:
        whole = self.file.with_suffix(".part")
        whole.write_text(json.dumps(self.record, indent=1), encoding="utf-8")
        os.replace(whole, self.file)

    def go(self, subjects: Sequence[Subject] = SUBJECTS) -> dict[str, Any]:
        """Continues the last run or begins another one, until it is complete.

        Raises:
            OutOfTime: if the minutes are used up.
        """
        names = [subject.name for subject in subjects]
        runs = self.record["runs"]
        if not runs or set(names) <= set(runs[-1]["rows"]):
            runs.append({"number": len(runs), "rows": {}})
            self._write()
        run = runs[-1]
        for subject in subjects:
            if subject.name not in run["rows"]:
                run["rows"][subject.name] = self._row(subject, run["number"])
                self._write()
        return self.record

    def _in_time(self) -> None:
        if time.monotonic() > self._until:
            raise OutOfTime

    def network(
        self, name: str, build: Callable[..., keras.Model], epochs: int, rate: float, epsilon: float,
        track: str, *, judge: bool, signed: bool = False,
    ) -> keras.Model:  # fmt: skip
        """A trained network, from the folder if it is there."""
        file = self.folder / f"{name}.keras"
        data = self.data[track]
        if not file.exists():
            self._in_time()
            images = data.judges if judge else data.subject
            recipe = train.Recipe(
                functools.partial(_signed, build) if signed else build,
                network_seed(name),
                max(round(epochs * self.budget.epochs), 1),
                rate,
                _DIGITS if track == "mnist" else _PHOTOS,
                epsilon,
            )
            model = train.fit(recipe, images[: self.budget.images], data.track.classes)
            part = file.with_suffix(".part.keras")
            (model.get_layer("signed") if signed else model).save(part)
            os.replace(part, file)
        return keras.models.load_model(file)

    def judges(self, track: str) -> Iterator[tuple[str, keras.Model, float]]:
        """New judges of a track, with their accuracy on test images."""
        for kind, (build, photos, digits, rate, epsilon) in JUDGES.items():
            name = f"{track}-{kind}"
            epochs = digits if track == "mnist" else photos
            step = (0.2 if track == "mnist" else epsilon) if epsilon else 0.0
            model = self.network(name, build, epochs, rate, step, track, judge=True)
            if name not in self._accuracies:
                self._accuracies[name] = train.accuracy(model, self.data[track].test)
            yield kind, model, self._accuracies[name]

    def _row(self, subject: Subject, number: int) -> dict[str, Any]:
        track, classes = subject.track, self.data[subject.track].track.classes
        if subject.build is None:
            model = zoo.load(track)
        else:
            name = f"subject-{subject.name}".replace(" ", "_").replace(",", "")
            model = self.network(
                name, subject.build, subject.epochs, 3e-3, 0.0, track, judge=False,
                signed=subject.signed,
            )  # fmt: skip
        judges = list(self.judges(track))
        self._in_time()
        asked = np.array(list(range(classes)) * math.ceil(self.budget.pictures / classes))
        result = actmax.maximize(
            model,
            targets=asked,
            input_range=(-1, 1) if subject.signed else (0, 1),
            steps=self.budget.passes,
            seed=number,
        )
        pictures = Images(result.to_uint8(), asked)
        sheet = result.take(range(min(len(asked), 4 * classes))).grid()
        actmax.save_png(self.folder / f"{subject.name} run {number}.png".replace(" ", "_"), sheet)
        named = None if result.named is None else int(result.named.agrees.sum())
        return {
            "pictures": len(asked),
            "own": named,
            "seen_by_judges": subject.build is None,
            "chosen": dict(result.config["chosen"]),
            "held_out": [_said(kind, judge, right, pictures) for kind, judge, right in judges],
            "development": [
                _said(kind, judge, train.accuracy(judge, self.data[track].test), pictures)
                for kind, judge in self.development.get(track, {}).items()
            ],
        }


def _said(kind: str, judge: keras.Model, accuracy: float, pictures: Images) -> dict[str, Any]:
    outputs = judge.predict(pictures.floats(), batch_size=500, verbose=0)
    right = int(np.sum(np.argmax(outputs, axis=-1) == pictures.classes))
    return {"judge": kind, "accuracy": accuracy, "right": right}


def _signed(build: Callable[..., keras.Model], shape: tuple[int, ...], classes: int) -> keras.Model:
    """A network for images in (-1, 1). It is the part of a trained network after its change of range."""
    inputs = keras.Input(shape)
    inner = build(shape, classes)
    core = keras.Model(inner.inputs, inner.outputs, name="signed")
    return keras.Model(inputs, core(keras.layers.Rescaling(2.0, -1.0)(inputs)))


def worst(said: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The worst judge on pictures, among judges that are accurate on real images. None without any.

    A judge that is often wrong about photographs is not reliable for pictures.
    """
    able = [one for one in said if one["accuracy"] >= _WORST_ACCURACY] or list(said)
    return min(able, key=lambda one: one["right"], default=None)


def table(record: Mapping[str, Any]) -> str:
    """The columns "development" and "held-out" of the first run, followed by later runs."""
    runs = record["runs"]
    later = "".join(f"  {'run ' + str(run['number']):>20}" for run in runs[1:])
    lines = [f"{'subject':26} {'own':>8} {'development':>22} {'held-out, first run':>38}{later}"]
    for name, row in runs[0]["rows"].items() if runs else ():
        own = "none" if row["own"] is None else f"{row['own']}/{row['pictures']}"
        cells = (
            f"{name:26} {own:>8} {_cell(row, 'development'):>22} {_cell(row, 'held_out', True):>38}"
        )
        for run in runs[1:]:
            other = run["rows"].get(name)
            cells += f"  {'not yet' if other is None else _cell(other, 'held_out'):>20}"
        lines.append(
            cells + ("  (judges saw its training images)" if row["seen_by_judges"] else "")
        )
    return "\n".join(lines)


def _cell(row: Mapping[str, Any], column: str, between: bool = False) -> str:
    found = worst(row[column])
    if found is None:
        return "none"
    low, high = interval(found["right"], row["pictures"])
    ends = f" ({low:.3f} to {high:.3f})" if between else ""
    share = found["right"] / row["pictures"]
    return f"{share:.3f}{ends}, {found['judge']} {found['accuracy']:.3f}"
