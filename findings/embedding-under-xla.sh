#!/usr/bin/env bash
# An embedding answers for an index that it does not have, if the model is compiled with XLA.
#
# Expected: An index beyond the table is an error, as it is without XLA, or a value that cannot be mistaken.
# Observed: With `jit_compile=False` and 'auto' on a CPU: InvalidArgumentError. With `jit_compile=True`: the
#   last row of the table, without a word. A vocabulary that is one word too short goes unnoticed.
# Versions: TensorFlow 2.21.0, Keras 3.15.1, Python 3.11, a CPU
# Source: XLA's gather clamps its indices: https://openxla.org/xla/operation_semantics#gather
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

table = keras.layers.Embedding(4, 1)
model = keras.Sequential([keras.Input((2,), dtype="int32"), table])
table.set_weights([np.array([[10.0], [11.0], [12.0], [13.0]])])
words = np.array([[1, 9]])
for jit in (False, "auto", True):
    model.compile(jit_compile=jit)
    try:
        found = model.predict(words, verbose=0).ravel().tolist()
    except Exception as error:
        found = type(error).__name__
    print(f"jit_compile={jit}: {found}")
    wanted = [11.0, 13.0] if jit is True else "InvalidArgumentError"
    assert found == wanted, f"Expected {wanted}: it changed."
PYTHON
