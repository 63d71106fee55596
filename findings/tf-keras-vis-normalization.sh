#!/usr/bin/env bash
# tf-keras-vis visualizes another network where a model begins with Normalization.
#
# Expected: `ActivationMaximization(model, ReplaceToLinear())` maximizes the logits of the model that it is
#   given.
# Observed: It clones the model by `clone_model` and `set_weights`, which leaves keras.layers.Normalization
#   without its statistics (see normalization-after-set-weights.sh): the cloned logits are those of another
#   input, a hundred times as large here. Nothing is said.
# Versions: tf-keras-vis 0.8.7, TensorFlow 2.21.0, Keras 3.15.1, Python 3.11, a CPU
# Source: tf_keras_vis/__init__.py, lines 39 and 40 (tf-keras-vis 0.8.7).
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1 tf-keras-vis==0.8.7
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1

"$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np
from tf_keras_vis.activation_maximization import ActivationMaximization
from tf_keras_vis.utils.model_modifiers import ReplaceToLinear

draws = np.random.default_rng(0)
images = draws.normal(100.0, 30.0, size=(200, 4, 4, 1)).astype("float32")
normalization = keras.layers.Normalization()
normalization.adapt(images)
inputs = keras.Input((4, 4, 1))
logits = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(normalization(inputs)))
model = keras.Model(inputs, keras.layers.Softmax()(logits))
true = np.asarray(keras.Model(inputs, logits)(images))

# The modifier is theirs for a Dense layer with a softmax; the same weights, in one layer.
head = keras.layers.Dense(3, activation="softmax", name="head")
fused = keras.Model(inputs, head(keras.layers.Flatten()(normalization(inputs))))
head.set_weights(model.get_layer("logits").get_weights())
assert np.allclose(fused(images), model(images), atol=1e-5)

visualizer = ActivationMaximization(fused, ReplaceToLinear())
theirs = np.asarray(visualizer.model(images))
print(f"logits of the model: deviation {true.std():.2f}")
print(f"logits that tf-keras-vis maximizes: deviation {theirs.std():.2f}, mean {theirs.mean():.2f}")
kernel, bias = head.get_weights()
unnormalized = images.reshape(len(images), -1) @ kernel + bias
assert not np.allclose(theirs, true, atol=1.0), "Expected other logits: they are the model's now."
assert np.allclose(theirs, unnormalized, atol=1e-2), "Expected the logits of unnormalized images."
PYTHON
