#!/usr/bin/env bash
# A model of Keras 2 with hard_sigmoid computes something else in Keras 3, from the same file.
#
# Expected: Keras 3 opens an .h5 or .keras file of Keras 2 as the same function, or says what it cannot.
# Observed: Both open without a word. `hard_sigmoid` was clip(0.2 x + 0.5, 0, 1) and is relu6(x + 3) / 6: 0.7
#   becomes 0.667, and what was 0 at -2.7 becomes 0.05. Squeeze-and-excitation blocks and recurrent layers of
#   that time use it.
# Versions: tf-keras 2.21.0, TensorFlow 2.21.0, Keras 3.15.1, Python 3.11, a CPU
# Source: keras/src/backend/tensorflow/nn.py and tf_keras/src/backend.py, `hard_sigmoid`.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1 tf-keras==2.21.0
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1

"$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np
import tf_keras

x = np.array([[-2.7], [-1.0], [0.0], [1.0], [2.7]], "float32")
old = tf_keras.Sequential([tf_keras.layers.InputLayer((1,)), tf_keras.layers.Activation("hard_sigmoid")])
written = np.asarray(old(x)).ravel()
print(f"Keras 2: {written.round(3)}")
assert np.allclose(written, np.clip(0.2 * x.ravel() + 0.5, 0, 1))
for name in ("model.h5", "model.keras"):
    old.save(name)
    read = np.asarray(keras.models.load_model(name, compile=False)(x)).ravel()
    print(f"Keras 3, {name}: {read.round(3)}")
    other = np.clip(x.ravel() + 3, 0, 6) / 6
    assert np.allclose(read, other, atol=1e-6), "Expected the other function: it changed."
PYTHON
