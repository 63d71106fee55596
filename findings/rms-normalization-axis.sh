#!/usr/bin/env bash
# keras.layers.RMSNormalization applies its scale along the last axis, whatever `axis` is.
#
# Expected: `RMSNormalization(axis=1)` normalizes along axis 1 and multiplies by its scale, one number for
#   every place of axis 1, as LayerNormalization(axis=1) does.
# Observed: It normalizes along axis 1 and multiplies along the last axis. Where both axes are as long as each
#   other, a wrong result without a word; where they are not, an error.
# Versions: TensorFlow 2.21.0, Keras 3.15.1, Python 3.11, a CPU
# Source: keras/src/ops/nn.py, `_rms_normalization` (Keras 3.15.1); LayerNormalization gives gamma the shape
#   of the input first.
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

x = np.random.default_rng(0).normal(size=(2, 4, 4)).astype("float32")
scale = np.array([1.0, 2.0, 3.0, 4.0], "float32")
layer = keras.layers.RMSNormalization(axis=1)
layer.build(x.shape)
layer.set_weights([scale])
received = np.asarray(layer(x))
normal = x / np.sqrt(np.mean(np.square(x), axis=1, keepdims=True) + 1e-6)
along_1 = np.abs(received - normal * scale[:, None]).max()
along_last = np.abs(received - normal * scale).max()
print(f"difference from the scale along axis 1: {along_1:.6f}, along the last axis: {along_last:.6f}")
assert along_1 > 1.0 and along_last < 1e-5, "Expected the scale along the last axis: it changed."
try:
    keras.layers.RMSNormalization(axis=1)(np.ones((2, 4, 3), "float32"))
except Exception as error:
    print(f"shape (2, 4, 3): {type(error).__name__}")
else:
    raise SystemExit("Expected an error for axes of other lengths: there was none.")
PYTHON
