#!/usr/bin/env bash
# Normalization with given statistics cannot be called in a Pipeline or in a subclassed model.
#
# Expected: keras.layers.Normalization(mean=..., variance=...) works wherever a layer works, as it does in a
#   Sequential model.
# Observed: In keras.layers.Pipeline, and as an attribute of a subclassed model, the first call, every later call
#   and predict raise an error: the tensor is out of scope. Keras builds the layer in a scratch graph to learn
#   its shapes, and the layer keeps tensors of this graph as its mean and variance. A layer that was adapted
#   works, and so does one that was built by hand before the model.
# Versions: Keras 3.15.1, TensorFlow 2.21.0, Python 3.11, a CPU
# Source: keras/src/layers/preprocessing/normalization.py, `build` and `finalize_state`.
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

layers = keras.layers
x = np.ones((1, 4), "float32")


def normalization():
    return layers.Normalization(mean=[0.5] * 4, variance=[0.25] * 4)


class Network(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, inputs):
        return self.layer(inputs)


def piped(layer):
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Pipeline([layer])(inputs))


def outcome(call):
    try:
        return np.asarray(call())[0, 0]
    except (TypeError, ValueError) as error:
        assert "out of scope" in str(error), error
        return "out of scope"


built = normalization()
built.build((None, 4))
found = {
    "Sequential": outcome(lambda: keras.Sequential([keras.Input((4,)), normalization()])(x)),
    "built by hand": outcome(lambda: Network(built)(x)),
    "subclass": outcome(lambda: Network(normalization())(x)),
    "subclass, predict": outcome(lambda: Network(normalization()).predict(x, verbose=0)),
    "Pipeline": outcome(lambda: piped(normalization())(x)),
}
for name, value in found.items():
    print(f"{name}: {value}")
assert found["Sequential"] == found["built by hand"] == 1.0
assert list(found.values())[2:] == ["out of scope"] * 3, "Expected errors: it changed."
PYTHON
