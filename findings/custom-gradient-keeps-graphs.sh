#!/usr/bin/env bash
# A function that uses `tf.custom_gradient` is never freed once it was traced, and keeps all it refers to.
#
# Expected: A `tf.function` and its graph are freed when nothing refers to them any more.
# Observed: Ten functions without `tf.custom_gradient` are freed. Ten with it stay for the life of the process,
#   each with its table of 40 MB: the process has some 400 MB more.
# Versions: TensorFlow 2.21.0, Python 3.11, a CPU
# Source: every use in a graph registers its gradient by a name of its own, in a registry that nothing empties:
#   `_graph_mode_decorator` in tensorflow/python/ops/custom_gradient.py
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow==2.21.0
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1

"$folder/venv/bin/python" - <<'PYTHON'
import gc
import weakref

import numpy as np
import tensorflow as tf


@tf.custom_gradient
def clipped(values):
    return tf.identity(values), lambda upstream: tf.clip_by_value(upstream, -1.0, 1.0)


def kept(function):
    """Number of graphs that are left of ten traced functions that nobody holds, and MB beside them."""
    graphs, before = [], memory()
    for place in range(10):

        @tf.function(autograph=False)
        def run(values):
            table = tf.constant(np.full([2, 5_000_000], place, np.float32))
            return function(values) + tf.reduce_sum(table)

        graphs.append(weakref.ref(run.get_concrete_function(tf.TensorSpec([2])).graph))
        del run
    gc.collect()
    return sum(one() is not None for one in graphs), memory() - before


def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


without, freed = kept(tf.identity)
with_it, grown = kept(clipped)
print(f"without tf.custom_gradient: {without} of 10 graphs are left, {freed:.0f} MB more are in use")
print(f"with tf.custom_gradient: {with_it} of 10 graphs are left, {grown:.0f} MB more are in use")
assert without == 0, "Expected functions without it to be freed: it changed."
assert with_it == 10 and grown > freed + 200, "Expected functions with it to be kept: it changed."
PYTHON
