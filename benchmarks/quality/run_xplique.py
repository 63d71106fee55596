"""Xplique on a job: run by the Python of its own environment, `python run_xplique.py JOB.json`.

Imports nothing of ours but `budget`; jobs are as in run_tf_keras_vis.py. One run per seed, with all
classes in it, because the library draws one start for all. Its default canvas of 512 pixels is
replaced by the model's own size: at 28 or 32 pixels it would only be slow and blurred.
"""

import json
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from budget import steps_within  # lies beside this file
from xplique.features_visualizations import (
    Objective,
    compose_transformations,
    optimize,
    random_blur,
    random_jitter,
    random_scale,
    total_variation_reg,
)
from xplique.features_visualizations.transformations import random_blur_grayscale


def options_of(settings, shape):
    if not settings:
        return {}
    blur = random_blur_grayscale if shape[-1] == 1 else random_blur
    moves = [
        random_jitter(max(int(settings["jitter"]), 1)),
        random_scale((1 - settings["scale"], 1 + settings["scale"])),
    ]
    if settings["blur"] > 0:
        moves.append(blur(sigma_range=(0.5 * settings["blur"], settings["blur"])))
    return {
        "optimizer": keras.optimizers.Adam(settings["rate"]),
        "fft_decay": settings["decay"],
        "transformations": compose_transformations(moves),
        # The library itself adds a penalty to the loss, which it minimizes.
        "regularizers": [total_variation_reg(settings["total_variation"])],
    }


def run(model, classes, seeds, settings, steps):
    images = np.zeros((len(classes), *model.input_shape[1:]), np.float32)
    seconds = 0.0
    for seed in np.unique(seeds):
        rows = np.flatnonzero(seeds == seed)
        tf.random.set_seed(int(seed))
        objective = Objective.neuron(model, -1, [int(c) for c in classes[rows]])
        began = time.perf_counter()
        found, _ = optimize(
            objective, nb_steps=steps, values_range=(0, 1), custom_shape=None,
            **options_of(settings, model.input_shape[1:]),
        )  # fmt: skip
        seconds += time.perf_counter() - began
        images[rows] = np.asarray(found[-1])
    return images, seconds


def main(job):
    model = keras.models.load_model(job["model"])
    # The softmax is removed as in its tutorials.
    weights = model.get_weights()
    model.layers[-1].activation = keras.activations.linear
    model = keras.models.clone_model(model)
    model.set_weights(weights)
    classes, seeds = np.array(job["classes"]), np.array(job["seeds"])
    for number, settings in enumerate(job["settings"]):
        steps = job.get("passes")
        if steps is None:
            # Every call traces again, also in timed runs.
            steps = steps_within(
                job["seconds"],
                lambda n, settings=settings: run(model, classes, seeds, settings, n)[-1],
            )
        images, seconds = run(model, classes, seeds, settings, steps)
        np.savez(f"{job['out']}/{number}.npz", images=images, seconds=seconds, passes=steps)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        main(json.load(file))
