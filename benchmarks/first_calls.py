"""First calls: how long does the first picture of a network take, in a new process?

    python -m benchmarks.first_calls --rounds 9 --out first_calls.json
    python -m benchmarks.first_calls --only MobileNetV2 --onednn off

Every sample has its own process, in which the network is loaded and TensorFlow has computed something. The
clock runs from `actmax.maximize(` to its result with one step. The unit is the floor: the first call of a
compiled function with the network's forward pass and input gradient, also in its own process. Processes of
a case run in turn, and their ratio is taken within each round. Networks have random weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import environment
from benchmarks.measure import paired_ratio

ROOT = Path(__file__).resolve().parents[1]
FLOOR = "floor"


@dataclasses.dataclass(frozen=True)
class Case:
    """A first call.

    Attributes:
        network: name of a network in `NETWORKS`.
        what: name of a call in `CALLS`.
        layer: the layer whose channels are asked for. None for the logit of a class.
        size: width and height of the images.
    """

    network: str
    what: str
    layer: str | None = None
    size: int = 224

    @property
    def name(self) -> str:
        asked = "a logit" if self.layer is None else f"channels of {self.layer}"
        return f"{self.network} {self.size}, {asked}, {self.what}"


def _application(name: str) -> Callable[[int], Any]:
    def build(size: int) -> Any:
        import keras

        make = getattr(keras.applications, name)
        return make(input_shape=(size, size, 3), weights=None, classifier_activation=None)

    return build


def _transformer(size: int) -> Any:
    from benchmarks.models import vision_transformer

    return vision_transformer(size, patch=4, width=64, depth=4, heads=4).model


def _u_net(size: int) -> Any:
    import keras

    layers = keras.layers
    settings = {"padding": "same", "activation": "relu"}
    images = keras.Input((size, size, 3))
    found, skipped = images, []
    for width in (16, 32, 64):
        found = layers.Conv2D(width, 3, **settings)(layers.Conv2D(width, 3, **settings)(found))
        skipped.append(found)
        found = layers.MaxPooling2D()(found)
    found = layers.Conv2D(128, 3, **settings)(found)
    for width, skip in zip((64, 32, 16), reversed(skipped), strict=True):
        found = layers.Conv2DTranspose(width, 3, strides=2, **settings)(found)
        found = layers.Conv2D(width, 3, **settings)(layers.Concatenate()([found, skip]))
    return keras.Model(images, layers.GlobalAveragePooling2D()(layers.Conv2D(10, 1)(found)))


def _thousand(size: int) -> Any:
    import keras

    layers = keras.layers
    blocks = [
        layer
        for width in (32, 64, 128)
        for layer in (
            layers.Conv2D(width, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
        )
    ]
    top = [layers.GlobalAveragePooling2D(), layers.Dense(1000)]
    return keras.Sequential([keras.Input((size, size, 3)), *blocks, *top])


NETWORKS: dict[str, Callable[[int], Any]] = {
    "MobileNetV2": _application("MobileNetV2"),
    "ResNet50": _application("ResNet50"),
    "a vision transformer": _transformer,
    "a U-Net": _u_net,
    "1,000 classes": _thousand,
}
DEFAULT, NONE, GIVEN, FOLD = "default", "regularizers=[]", "penalties given", "compile='fold'"
SECOND, CATALOG, BARE = "a second Maximizer", "a catalog of 64", "a catalog of 64, penalties given"
_EARLY = "conv2_block1_1_conv"
CASES = (
    Case("MobileNetV2", DEFAULT),
    Case("MobileNetV2", NONE),
    Case("ResNet50", DEFAULT),
    Case("ResNet50", GIVEN, _EARLY),
    Case("ResNet50", DEFAULT, _EARLY),
    Case("a vision transformer", DEFAULT, size=32),
    Case("a U-Net", DEFAULT, size=64),
    Case("1,000 classes", DEFAULT, size=32),
    Case("MobileNetV2", FOLD),
    Case("ResNet50", FOLD),
    Case("MobileNetV2", SECOND),
    Case("ResNet50", BARE, _EARLY, 96),
    Case("ResNet50", CATALOG, _EARLY, 96),
)


def _given() -> list[Any]:
    from regularizers import L2, Jitter, TotalVariation

    return [TotalVariation(0.1), L2(0.01), Jitter(2)]


def floor(model: Any, case: Case) -> float:
    """Seconds of the first call of a compiled pass with its gradient.

    For a catalog, these are 16 calls with 64 images.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    if case.layer is not None:
        model = keras.Model(model.inputs, model.get_layer(case.layer).output)
    rows, steps = (64, 16) if "catalog" in case.what else (1, 1)
    start = np.random.default_rng(0).uniform(-1, 1, (rows, case.size, case.size, 3))

    @tf.function
    def step(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            units = model(images, training=False)
            scores = tf.reduce_mean(units, axis=tuple(range(1, len(units.shape) - 1)))
            total = tf.reduce_sum(scores[:, 0])
        return scores, tape.gradient(total, images)

    images = tf.constant(start, tf.float32)
    began = time.perf_counter()
    for _ in range(steps):
        _, slope = step(images)
    slope.numpy()
    return time.perf_counter() - began


def ours(model: Any, case: Case) -> float:
    """Seconds of the call of actmax. The second Maximizer's are divided by those of the first."""
    import actmax

    maximize = actmax.maximize  # names are imported when they are first used
    objective = actmax.Logit() if case.layer is None else actmax.Channel(case.layer)
    settings: dict[str, Any] = {"input_range": (-1.0, 1.0)}
    if case.what in (NONE, SECOND):
        settings["regularizers"] = []
    if case.what in (GIVEN, FOLD, BARE):
        settings["regularizers"] = _given()
    if case.what == FOLD:
        settings["compile"] = "fold"
    began = time.perf_counter()
    if case.what in (CATALOG, BARE):
        with tempfile.TemporaryDirectory() as folder:
            actmax.catalog(
                model, [objective], out=folder, batch_size=64, steps=16, seeds=[0], **settings
            )
        return time.perf_counter() - began
    maximize(model, objective, targets=[0], steps=1, **settings)
    first = time.perf_counter() - began
    if case.what != SECOND:
        return first
    settings["regularizers"] = _given()
    began = time.perf_counter()
    maximize(model, objective, targets=[0], steps=1, **settings)
    return (time.perf_counter() - began) / first


def sample(case: Case, kind: str) -> float:
    """Seconds in this process."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model = NETWORKS[case.network](case.size)
    tf.reduce_sum(tf.ones(8))
    return floor(model, case) if kind == FLOOR else ours(model, case)


def measure(case: Case, rounds: int, onednn: str) -> dict[str, Any]:
    """The samples of a case, and the summary of their ratios."""
    kinds = ["ours"] if case.what == SECOND else [FLOOR, "ours"]
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    settings = {"TF_ENABLE_ONEDNN_OPTS": str(int(onednn == "on")), "TF_CPP_MIN_LOG_LEVEL": "2"}
    for number in range(rounds):
        for kind in kinds if number % 2 else reversed(kinds):
            job = json.dumps({"case": dataclasses.asdict(case), "kind": kind})
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.first_calls", "--job", job]
            text = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | settings,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            seconds[kind].append(float(text.splitlines()[-1]))
    base = seconds.get(FLOOR, [1.0] * rounds)
    found = paired_ratio(seconds["ours"], base)
    return {
        "case": dataclasses.asdict(case),
        "onednn": onednn,
        "seconds": seconds,
        "ratio": [found.median, found.low, found.high],
    }


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints a line per case, and writes the record."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.first_calls",
        description="Seconds of a first call over those of the bare pass.",
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--onednn", choices=("on", "off"), default="off")
    parser.add_argument("--only", default="", help="part of the name of a case")
    parser.add_argument("--out", type=Path, help="JSON file for the record")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.job:
        job = json.loads(given.job)
        print(sample(Case(**job["case"]), job["kind"]))
        return
    rows = []
    for case in CASES:
        if given.only.lower() in case.name.lower():
            row = measure(case, given.rounds, given.onednn)
            rows.append(row)
            median, low, high = row["ratio"]
            print(f"{case.name}: {median:.2f} [{low:.2f}, {high:.2f}]", flush=True)
    if given.out is not None:
        environment.save(given.out, {"rounds": given.rounds, "rows": rows})


if __name__ == "__main__":
    main()
