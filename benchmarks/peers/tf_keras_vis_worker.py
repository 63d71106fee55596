"""tf-keras-vis with its own defaults: jitter, rotation, total variation, an L1 norm, RMSprop."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import protocol


def first_steps(job):
    """Seconds from nothing to the images of the first steps, for someone who has a model file."""
    clock = [time.perf_counter()]
    import numpy as np
    import tensorflow as tf

    clock.append(time.perf_counter())
    import keras

    clock.append(time.perf_counter())
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    clock.append(time.perf_counter())
    model = keras.models.load_model(job["model"], compile=False)
    clock.append(time.perf_counter())
    # Its modifier of models reads `output_names`, which a Sequential of Keras 3 does not have.
    model = keras.Model(model.inputs, model.outputs)
    low, high = job["low"], job["high"]
    visualizer = ActivationMaximization(model, model_modifier=ReplaceToLinear(), clone=True)
    shape = [len(job["targets"]), *model.input_shape[1:]]
    visualizer(
        CategoricalScore(job["targets"]),
        seed_input=tf.constant(np.random.default_rng(0).uniform(low, high, shape), tf.float32),
        input_range=(low, high),
        steps=job["steps"],
    )
    clock.append(time.perf_counter())
    names = (
        "import tensorflow", "import keras", "import tf-keras-vis", "load the model", "first run"
    )  # fmt: skip
    return dict(zip(names, (b - a for a, b in itertools.pairwise(clock)), strict=True))


def build(job):
    if job["kind"] == "start-up":
        return {"runs": {}, "info": first_steps(job)}
    import importlib.metadata

    import keras
    import numpy as np
    import tensorflow as tf
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.scores import CategoricalScore

    model = keras.models.load_model(Path(job["folder"]) / "logits.keras", compile=False)
    visualizer = ActivationMaximization(model, clone=False)
    low, high = job["low"], job["high"]
    noise = np.random.default_rng(0).uniform(0.45, 0.55, [job["batch"], *job["shape"]])
    first = tf.constant(low + (high - low) * noise, tf.float32)
    score = CategoricalScore(job["targets"])

    def run(steps):
        found = visualizer(score, seed_input=first, input_range=(low, high), steps=steps)
        return np.asarray(found)

    names = ("tf-keras-vis", "tensorflow", "keras")
    probe = np.load(Path(job["folder"]) / "probe.npy")
    info = {
        "versions": {name: importlib.metadata.version(name) for name in names},
        "logits": model(probe, training=False).numpy().astype(float).tolist(),
    }
    return {"runs": {"defaults": run}, "info": info}


if __name__ == "__main__":
    sys.exit(protocol.serve(build))
