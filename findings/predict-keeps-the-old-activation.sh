#!/usr/bin/env bash
# `model.predict` keeps an activation that was replaced after its first call.
#
# Expected: After `model.layers[-1].activation = keras.activations.linear`, the usual way to take a softmax
#   off, `model(x)` and `model.predict(x)` both give logits.
# Observed: `model(x)` gives logits, and `model.predict(x)` the softmax, if it was called before: its function
#   was traced with the old activation. `model.compile()` or `make_predict_function(force=True)` traces it anew.
# Versions: TensorFlow 2.21.0, Keras 3.15.1, Python 3.11, a CPU
# Source: keras/src/backend/tensorflow/trainer.py, `make_predict_function` (Keras 3.15.1).
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1

"$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="softmax")])
x = np.ones((1, 3), "float32")
softmax = model.predict(x, verbose=0)
model.layers[-1].activation = keras.activations.linear
called, predicted = np.asarray(model(x)), model.predict(x, verbose=0)
model.make_predict_function(force=True)
forced = model.predict(x, verbose=0)
print(f"model(x) {called.round(3)}")
print(f"model.predict(x) {predicted.round(3)}, traced anew {forced.round(3)}")
assert not np.allclose(called, softmax, atol=1e-3)
assert np.allclose(forced, called, atol=1e-6)
assert np.array_equal(predicted, softmax), "Expected the softmax from predict: it changed."
PYTHON
