#!/usr/bin/env bash
# keras.ops.add puts a channels-first bias on the last axis where that axis is as long as the channels.
#
# Expected: keras.ops.add(x, bias) of shapes [2, 5, 7, 5] and [1, 5, 1, 1] is what NumPy gives: bias along axis 1.
#   A channels-first Conv2D without spatial weights (kernel zero) gives its bias in every channel.
# Observed: The bias runs along the last axis, in ops.add and so in Conv1D, Conv2D and Conv3D with
#   data_format="channels_first": as many filters as columns are enough. With 6 columns the answer is right.
# Versions: Keras 3.15.1, TensorFlow 2.21.0, Python 3.11
# Source: keras/src/backend/tensorflow/numpy.py, add: takes tf.nn.bias_add with "NHWC" if the last axis fits.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1
cd "$folder"
export KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1

"$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np

bias = np.arange(5, dtype="float32")


def gaps(columns):
    """Largest difference to NumPy: of ops.add, and of a Conv2D whose kernel is zero."""
    x = np.zeros((2, 5, 7, columns), "float32")
    right = x + bias.reshape(1, 5, 1, 1)
    added = keras.ops.convert_to_numpy(keras.ops.add(x, bias.reshape(1, 5, 1, 1)))
    layer = keras.layers.Conv2D(5, 1, data_format="channels_first")
    layer.build(x.shape)
    layer.set_weights([np.zeros((1, 1, 5, 5), "float32"), bias])
    return np.abs(added - right).max(), np.abs(keras.ops.convert_to_numpy(layer(x)) - right).max()


six, five = gaps(6), gaps(5)
print(f"6 columns: ops.add {six[0]:.1f}, Conv2D {six[1]:.1f}")
print(f"5 columns: ops.add {five[0]:.1f}, Conv2D {five[1]:.1f}")
assert max(six) == 0.0
assert min(five) > 1.0, "Expected the bias along the last axis: it is along the channels now."
PYTHON
