#!/usr/bin/env bash
# A SavedModel that Keras 2 trained cannot be loaded by TensorFlow alone; it needs tf-keras, and does not say so.
#
# Expected: tf.saved_model.load needs TensorFlow only: a SavedModel is a program with its variables. If a package
#   is missing, the error names it.
# Observed: A compiled and trained model of Keras 2 has slot variables of its optimizer. Without tf-keras the load
#   ends with AttributeError: '_UserObject' object has no attribute 'add_slot'. With tf-keras installed, and not
#   imported, the same folder loads. keras.layers.TFSMLayer of Keras 3 ends in the same way.
# Versions: tf-keras 2.21.0, TensorFlow 2.21.0, Keras 3.15.1, Python 3.11, a CPU
# Source: tensorflow/python/saved_model/load.py, `_restore_checkpoint` and `_load_edges`.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1 tf-keras==2.21.0
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1

"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import tf_keras

model = tf_keras.Sequential([tf_keras.layers.InputLayer((3,)), tf_keras.layers.Dense(2)])
model.compile(tf_keras.optimizers.legacy.Adam(), "mse")
model.fit(np.ones((4, 3), "float32"), np.ones((4, 2), "float32"), verbose=0)
model.save("trained")
PYTHON

cat >load.py <<'PYTHON'
import tensorflow as tf

try:
    print("loaded", list(tf.saved_model.load("trained").signatures))
except AttributeError as error:
    print("AttributeError:", error)
PYTHON
with="$("$folder/venv/bin/python" load.py)"
"$folder/venv/bin/python" -m pip uninstall --quiet --yes tf-keras
without="$("$folder/venv/bin/python" load.py)"
printf 'with tf-keras: %s\nwithout: %s\n' "$with" "$without"
[[ "$with" == loaded* ]] || { echo "Expected it to load with tf-keras: it changed."; exit 1; }
[[ "$without" == *"no attribute 'add_slot'"* ]] || { echo "Expected an error without tf-keras: it changed."; exit 1; }
