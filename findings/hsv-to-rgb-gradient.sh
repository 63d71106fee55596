#!/usr/bin/env bash
# keras.ops.image.hsv_to_rgb has no gradient and does not say so; its inverse has one.
#
# Expected: Both directions have a gradient, or an error says which operation has none, as for
#   tf.image.adjust_hue.
# Observed: The gradient through `rgb_to_hsv` is right; through `hsv_to_rgb` it is None. In a sum with another
#   path the gradient is that of the other path alone, which nothing tells.
# Versions: TensorFlow 2.21.0, Keras 3.15.1, Python 3.11, a CPU
# Source: keras/src/backend/tensorflow/image.py calls tf.image.hsv_to_rgb;
#   tensorflow/python/ops/image_ops_impl.py has `ops.NotDifferentiable('HSVToRGB')` (TensorFlow 2.21.0).
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
import tensorflow as tf

x = tf.constant(np.random.default_rng(0).uniform(0.2, 0.8, size=(1, 4, 4, 3)), tf.float32)


def gradient(function):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(function(x))
    return tape.gradient(value, x)


to_hsv = gradient(keras.ops.image.rgb_to_hsv)
to_rgb = gradient(keras.ops.image.hsv_to_rgb)
both = gradient(lambda image: keras.ops.image.hsv_to_rgb(image) + image)
up, down = (float(tf.reduce_sum(keras.ops.image.hsv_to_rgb(x + step))) for step in (1e-2, -1e-2))
print(f"rgb_to_hsv: a gradient of norm {float(tf.norm(to_hsv)):.2f}")
print(f"hsv_to_rgb: {to_rgb}; finite difference along all pixels {(up - down) / 2e-2:.2f}")
print(f"hsv_to_rgb(x) + x: gradient of all pixels {float(tf.reduce_sum(both)):.2f}, finite difference "
      f"{(up - down) / 2e-2 + 48:.2f}")
assert to_hsv is not None and abs(up - down) > 0.1
assert to_rgb is None, "Expected no gradient: there is one now."
assert np.all(both.numpy() == 1.0), "Expected the gradient of the other path alone: it changed."
PYTHON
