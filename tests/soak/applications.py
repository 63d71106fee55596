"""Every layer of the networks of `keras.applications`: `python -m tests.soak.applications [--only NAME]`.

Random weights, small inputs. Every layer must be found by its path, and its mean square must have a
finite gradient with respect to the image. It may be exactly zero only where the layer is as silent for
this image: then nothing could be maximized there. Ends with 1 if one is not.
"""

from __future__ import annotations

import argparse
import os
import time

import keras
import numpy as np
import tensorflow as tf

import actmax
from actmax.models import Taps

# The smallest inputs that each takes without its head; ViTs of Keras layers are in the model matrix.
NETWORKS = {
    "MobileNetV2": 32, "MobileNetV3Small": 32, "EfficientNetB0": 32, "EfficientNetV2B0": 32,
    "ResNet50": 32, "ResNet50V2": 32, "VGG16": 32, "DenseNet121": 32, "InceptionV3": 75,
    "Xception": 71, "NASNetMobile": 32, "ConvNeXtTiny": 32,
}  # fmt: skip


def look(name: str, size: int) -> tuple[int, list[str], list[str]]:
    """Number of layers, those that failed with the reason, and those that are silent for this image."""
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), include_top=False
    )
    paths = list(actmax.layer_paths(model))
    taps = Taps(model, paths)
    pixels = np.random.default_rng(0).uniform(-1, 1, [1, size, size, 3]).astype(np.float32)
    images = tf.constant(pixels)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        found = taps.collect({"images": images})
        scores = {path: tf.reduce_mean(tf.square(value)) for path, value in found.items()}
    failed, silent = [], []
    for path in paths:
        gradient = tape.gradient(scores[path], images)
        if gradient is None or not np.all(np.isfinite(gradient)):
            failed.append(f"{path}: {'no' if gradient is None else 'no finite'} gradient")
        elif not np.any(gradient):
            spread = float(tf.math.reduce_std(found[path]))
            (silent if spread == 0.0 else failed).append(f"{path}: zero gradient")
    return len(paths), failed, silent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(NETWORKS), nargs="+", default=list(NETWORKS))
    bad = total = 0
    for name in parser.parse_args().only:
        began = time.perf_counter()
        count, failed, silent = look(name, NETWORKS[name])
        seconds = time.perf_counter() - began
        total += count
        bad += len(failed)
        print(
            f"{name}: {count} layers, {len(failed)} failed, {len(silent)} silent, {seconds:.0f} s"
        )
        for line in (*failed, *(f"silent {each}" for each in silent)):
            print("   ", line)
        keras.backend.clear_session()
    print(f"{total} layers, {bad} failed")
    return int(bad > 0)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    raise SystemExit(main())
