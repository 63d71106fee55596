"""Xplique at the model's own size: with its standard transformations in Fourier space, and without.

`optimize` traces its step anew in every call. Here the step is built once in the same way, so that
only steady steps are compared. This favors Xplique.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import numpy as np
import protocol

# Without this variable, tf.keras is Keras 3.
os.environ.pop("TF_USE_LEGACY_KERAS", None)


def build(job):
    import keras
    import tensorflow as tf
    from xplique.features_visualizations import Objective, optim, preconditioning
    from xplique.features_visualizations.transformations import generate_standard_transformations

    tf.random.set_seed(0)
    model = keras.models.load_model(Path(job["folder"]) / "logits.keras", compile=False)
    size, channels = job["shape"][0], job["shape"][-1]
    low, high = job["low"], job["high"]

    def runner(fourier, transformations):
        objective = Objective.neuron(model, -1, list(job["targets"]))
        tapped, function, _, shape = objective.compile()
        colors = (
            preconditioning.to_valid_rgb if channels == 3 else preconditioning.to_valid_grayscale
        )
        if fourier:
            params = tf.Variable(preconditioning.fft_image(shape, 0.01))
            scale = preconditioning.get_fft_scale(shape[1], shape[2], decay_power=0.85)

            def images(params):
                decoded = preconditioning.fft_to_rgb(shape, params, scale)
                return colors(decoded, "sigmoid", (low, high))
        else:
            params = tf.Variable(tf.random.normal(shape, 0.01))

            def images(params):
                return colors(params, "sigmoid", (low, high))

        step = optim._get_optimisation_step(
            function, len(tapped.outputs), images, shape, transformations, None
        )
        optimizer = keras.optimizers.Adam(0.05)

        def run(steps):
            for _ in range(steps):
                gradient = step(tapped, params)
                optimizer.apply_gradients([(-gradient, params)])
            return images(params).numpy()

        return run

    standard = generate_standard_transformations(size=size, channels=channels)
    runs = {
        "native size, Fourier, standard transformations": runner(True, standard),
        "native size, pixels, no transformations": runner(False, None),
    }
    names = ("xplique", "tensorflow", "keras")
    probe = np.load(Path(job["folder"]) / "probe.npy")
    info = {
        "versions": {name: importlib.metadata.version(name) for name in names},
        "logits": model(probe, training=False).numpy().astype(float).tolist(),
    }
    return {"runs": runs, "info": info}


if __name__ == "__main__":
    sys.exit(protocol.serve(build))
