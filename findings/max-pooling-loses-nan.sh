#!/usr/bin/env bash
# tf.nn.max_pool2d skips NaN, and a window of nothing else becomes the lowest number.
#
# Expected: The maximum of numbers with a NaN among them is NaN, as tf.reduce_max, tf.maximum and
#   GlobalMaxPooling2D have it.
# Observed: A window with one NaN gives the largest of the others; a window of NaN gives -3.4e38. What went
#   wrong before a MaxPooling2D layer is not seen behind it.
# Versions: TensorFlow 2.21.0, Keras 3.15.1, Python 3.11, a CPU
# Source: tensorflow/core/kernels/maxpooling_op.cc (TensorFlow 2.21.0).
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

one, all_ = np.zeros((2, 1, 2, 2, 1), "float32")
one[0, 0, 0, 0] = np.nan
all_[...] = np.nan
pool, whole = keras.layers.MaxPooling2D(2), keras.layers.GlobalMaxPooling2D()
for name, images in (("one NaN of four", one), ("four of four", all_)):
    local, everywhere = float(np.max(pool(images))), float(np.max(whole(images)))
    print(f"{name}: MaxPooling2D {local}, GlobalMaxPooling2D {everywhere}")
    assert np.isnan(everywhere)
    lost = 0.0 if name.startswith("one") else np.finfo("float32").min
    assert local == lost, "Expected that max pooling loses the NaN: it changed."
PYTHON
