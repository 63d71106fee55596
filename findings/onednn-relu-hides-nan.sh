#!/usr/bin/env bash
# With oneDNN, a convolution with bias and ReLU turns NaN into 0 in a graph.
#
# Expected: relu(bias_add(conv2d(x))) of NaN is NaN, in a tf.function as outside of one.
# Observed: Eagerly it is NaN, and in a tf.function with oneDNN off. With oneDNN on, the default on many
#   processors, a tf.function fuses the three operations, and the fused one gives 0: what is broken looks like a
#   dead unit.
# Versions: TensorFlow 2.21.0, Python 3.11, a CPU with AVX2 or AVX512
# Source: tensorflow/core/grappler/optimizers/remapper.cc fuses; tensorflow/core/kernels/mkl/mkl_conv_ops.cc
#   computes (TensorFlow 2.21.0).
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow==2.21.0
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1

"$folder/venv/bin/python" - <<'PYTHON'
import os
import subprocess
import sys

PROGRAM = """
import numpy as np, tensorflow as tf
kernel, bias = np.ones((3, 3, 1, 4), "float32"), np.ones(4, "float32")
def block(x):
    return tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias))
image = np.full((1, 8, 8, 1), np.nan, "float32")
print(float(tf.reduce_max(block(image))), float(tf.reduce_max(tf.function(block)(image))))
"""
found = {}
for switch in ("0", "1"):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": switch},
        capture_output=True, text=True, check=True,
    )
    found[switch] = done.stdout.split()[-2:]
    print(f"oneDNN {switch}: eager {found[switch][0]}, tf.function {found[switch][1]}")
wanted = {"0": ["nan", "nan"], "1": ["nan", "0.0"]}
assert found == wanted, "Expected NaN, and 0 in a graph with oneDNN: it changed."
PYTHON
