#!/usr/bin/env bash
# keras.layers.Normalization ignores the mean and variance that `set_weights` gives it.
#
# Expected: A clone of a model with the same weights, by `clone_model` and `set_weights`, computes the same.
# Observed: All weights are equal, and the clone normalizes by mean 0 and variance 1. `call` uses copies of
#   the statistics that `adapt`, `load_weights` and `load_model` bring up to date, and `set_weights` does not.
# Versions: TensorFlow 2.21.0, Keras 3.15.1, Python 3.11, a CPU
# Source: keras/src/layers/preprocessing/normalization.py, `finalize_state` and `load_own_variables` (Keras
#   3.15.1).
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

draws = np.random.default_rng(0)
data = draws.normal(100.0, 30.0, size=(1000, 3)).astype("float32")
normalization = keras.layers.Normalization()
normalization.adapt(data)
model = keras.Sequential([keras.Input((3,)), normalization])
clone = keras.models.clone_model(model)
clone.set_weights(model.get_weights())

equal = all(np.array_equal(a, b) for a, b in zip(model.get_weights(), clone.get_weights()))
before, after = (np.asarray(each(data)) for each in (model, clone))
print(f"weights equal: {equal}")
print(f"model: mean {before.mean():.2f}, deviation {before.std():.2f}")
print(f"clone: mean {after.mean():.2f}, deviation {after.std():.2f}")
assert equal
assert abs(before.mean()) < 0.01 and abs(before.std() - 1.0) < 0.01
assert np.array_equal(after, data), "Expected the clone to normalize by nothing: it changed."
PYTHON
