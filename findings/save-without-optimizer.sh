#!/usr/bin/env bash
# `model.save('model.keras', include_optimizer=False)` keeps the optimizer, and does not say so.
#
# Expected: The file holds no optimizer and is a third as large as with one, or the argument is refused.
# Observed: Both files are equally large, three times as large as that of the same model without an optimizer,
#   and Adam's momenta come back with the model. The argument holds for .h5 only.
# Versions: TensorFlow 2.21.0, Keras 3.15.1, Python 3.11, a CPU
# Source: keras/src/saving/saving_api.py, `save_model` takes the argument and passes it on for HDF5 alone
#   (Keras 3.15.1).
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1

"$folder/venv/bin/python" - <<'PYTHON'
import os

import keras
import numpy as np

model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(1000)])
model.save("plain.keras")
model.compile("adam", "mse")
model.fit(np.ones((4, 100)), np.ones((4, 1000)), verbose=0)
model.save("with.keras", include_optimizer=True)
model.save("without.keras", include_optimizer=False)
plain, kept, without = (os.path.getsize(f"{name}.keras") for name in ("plain", "with", "without"))
restored = keras.models.load_model("without.keras").optimizer
print(f"never compiled {plain:,} bytes, include_optimizer=True {kept:,}, False {without:,}")
print(f"the model saved without: {restored.name} with {len(restored.variables)} variables")
assert without > 2.5 * plain, "Expected an optimizer in the file: it is gone now."
assert len(restored.variables) == 6
PYTHON
