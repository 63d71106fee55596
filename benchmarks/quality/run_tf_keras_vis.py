"""tf-keras-vis on a job: run by the Python of its own environment, `python run_tf_keras_vis.py JOB.json`.

Imports nothing of ours. A job has `model`, `classes`, `seeds`, `settings` (a list; an empty dictionary
is the library's defaults on the subject's range), `passes` per image or `seconds`, and `out`, where
`<n>.npz` with images `[N, H, W, C]` in (0, 1), reported scores, seconds and passes go.
"""

import json
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from tf_keras_vis.activation_maximization import ActivationMaximization
from tf_keras_vis.activation_maximization.callbacks import Callback
from tf_keras_vis.activation_maximization.input_modifiers import Jitter, Rotate2D
from tf_keras_vis.activation_maximization.regularizers import Norm, TotalVariation2D
from tf_keras_vis.utils.scores import CategoricalScore

CALIBRATION = 10


class LastScores(Callback):
    """Keeps what the library reports."""

    def __call__(self, i, values, grads, scores, *rest, **more):
        self.scores = np.ravel(np.array([np.asarray(score) for score in scores]))


def run(maximization, shape, classes, seeds, settings, steps):
    tf.random.set_seed(int(seeds[0]))
    np.random.seed(int(seeds[0]))  # noqa: NPY002 - its modifiers draw from there
    start = np.stack(
        [np.random.default_rng([c, s]).random(shape) for c, s in zip(classes, seeds, strict=True)]
    )
    options = {"input_range": (0.0, 1.0), "steps": steps}
    if settings:
        options |= {
            "optimizer": keras.optimizers.Adam(settings["rate"]),
            "input_modifiers": [
                Jitter(int(settings["jitter"])),
                Rotate2D(float(settings["rotate"])),
            ],
            "regularizers": [
                TotalVariation2D(settings["total_variation"]),
                Norm(settings["norm"], 2),
            ],
        }
    last = LastScores()
    began = time.perf_counter()
    images = maximization(
        CategoricalScore([int(c) for c in classes]),
        seed_input=start.astype(np.float32),
        callbacks=[last],
        **options,
    )
    return np.asarray(images), last.scores, time.perf_counter() - began


def main(job):
    model = keras.models.load_model(job["model"])
    shape = model.input_shape[1:]
    # By hand: its ReplaceToLinear does not take a Sequential of Keras 3 (no `output_names`).
    weights = model.get_weights()
    model.layers[-1].activation = keras.activations.linear
    model = keras.models.clone_model(model)
    model.set_weights(weights)
    functional = keras.Model(model.inputs, model.outputs)
    maximization = ActivationMaximization(functional, clone=False)
    classes, seeds = np.array(job["classes"]), np.array(job["seeds"])
    for number, settings in enumerate(job["settings"]):
        steps = job.get("passes")
        if steps is None:
            run(maximization, shape, classes, seeds, settings, 2)
            seconds = run(maximization, shape, classes, seeds, settings, CALIBRATION)[-1]
            steps = max(int(job["seconds"] / seconds * CALIBRATION), 1)
        images, reported, seconds = run(maximization, shape, classes, seeds, settings, steps)
        np.savez(
            f"{job['out']}/{number}.npz",
            images=images, reported=reported, seconds=seconds, passes=steps,
        )  # fmt: skip


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        main(json.load(file))
