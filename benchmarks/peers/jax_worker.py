"""The same network and the same step in JAX: a jitted step, and the whole loop in `fori_loop`."""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path

import numpy as np
import protocol

# The driver's framework may use the same GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
from jax import lax

NHWC = ("NHWC", "HWIO", "NHWC")


def load(folder):
    graph = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
    kinds = {node["name"]: node["kind"] for node in graph["nodes"]}
    weights = {}
    with np.load(folder / "weights.npz") as arrays:
        for key, stored in arrays.items():
            array = stored
            if kinds[key.rpartition("/")[0]] == "depthwise" and array.ndim == 4:
                array = array.reshape(*array.shape[:2], 1, -1)
            weights[key] = jnp.asarray(array)
    return graph, weights


def network(graph, weights, images):
    """The exported graph, `[N, H, W, C] -> [N, classes]`."""
    values = {}
    for node in graph["nodes"]:
        given = [values[name] for name in node["inputs"]] or [images]
        values[node["name"]] = apply_node(node, weights, given)
    return values[graph["output"]]


def apply_node(node, weights, given):
    kind, x = node["kind"], given[0]

    def weight(part):
        return weights.get(f"{node['name']}/{part}")

    if kind in ("conv", "depthwise"):
        groups = x.shape[-1] if kind == "depthwise" else 1
        x = lax.conv_general_dilated(
            x, weight("kernel"), node["strides"], [tuple(p) for p in node["padding"]],
            dimension_numbers=NHWC, feature_group_count=groups,
        )  # fmt: skip
        bias = weight("bias")
        return activated(x if bias is None else x + bias, node["activation"])
    if kind == "dense":
        x = x @ weight("kernel")
        bias = weight("bias")
        return activated(x if bias is None else x + bias, node["activation"])
    if kind == "batch_norm":
        scale = weight("gamma") * lax.rsqrt(weight("variance") + node["epsilon"])
        return x * scale + (weight("beta") - weight("mean") * scale)
    if kind == "activation":
        return activated(x, node["activation"])
    if kind == "pad":
        return jnp.pad(x, [(0, 0), *map(tuple, node["padding"]), (0, 0)])
    if kind in ("max_pool", "average_pool"):
        window, strides = (1, *node["size"], 1), (1, *node["strides"], 1)
        padding = [(0, 0), *map(tuple, node["padding"]), (0, 0)]
        if kind == "max_pool":
            return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)
        return lax.reduce_window(x, 0.0, lax.add, window, strides, padding) / np.prod(node["size"])
    if kind == "mean":
        return x.mean((1, 2))
    if kind == "flatten":
        return x.reshape(x.shape[0], -1)
    if kind == "add":
        return sum(given[1:], x)
    if kind == "concatenate":
        return jnp.concatenate(given, -1)
    if kind == "affine":
        return x * node["scale"] + node["offset"]
    assert kind == "identity", kind
    return x


def activated(x, name):
    if name == "linear":
        return x
    return jnp.maximum(x, 0.0) if name == "relu" else jnp.clip(x, 0.0, 6.0)


def build(job):
    folder = Path(job["folder"])
    platform = "gpu" if job["device"].startswith("GPU") else "cpu"
    device = jax.devices(platform)[0]
    precision = {"float32": "highest", "tf32": "tensorfloat32"}.get(job["precision"])
    if precision is None:
        raise ValueError(f"Expected float32 or tf32. Received: {job['precision']}.")
    if platform == "gpu":
        jax.config.update("jax_default_matmul_precision", precision)
    with jax.default_device(device):
        graph, weights = load(folder)
        probe = np.load(folder / "probe.npy")
        logits = np.asarray(jax.jit(functools.partial(network, graph))(weights, probe))
        runs = {
            "jitted step": stepwise(job, graph, weights),
            "fori_loop": looped(job, graph, weights),
        }
    info = {
        "versions": {"jax": jax.__version__},
        "device": str(device),
        "logits": logits.astype(float).tolist(),
    }
    return {"runs": runs, "info": info}


def start(job):
    low, high = job["low"], job["high"]
    noise = np.random.default_rng(0).uniform(0.45, 0.55, [job["batch"], *job["shape"]])
    images = jnp.asarray(low + (high - low) * noise, jnp.float32)
    first, second = jnp.zeros(images.shape), jnp.zeros(images.shape)
    return images, first, second, jnp.asarray(0), jax.random.PRNGKey(0)


def one_step(job, graph, weights, state):
    """Jitter, total variation, L2, Adam with its usual constants, the box."""
    images, first, second, count, key = state
    targets = jnp.asarray(job["targets"])
    values = float(np.prod(job["shape"]))
    key, draw = jax.random.split(key)
    shift = jax.random.randint(draw, [2], -job["jitter"], job["jitter"] + 1)

    def objective(images):
        shifted = jnp.roll(images, shift, (1, 2))
        logits = network(graph, weights, shifted)
        scores = jnp.take_along_axis(logits, targets[:, None], 1)[:, 0]
        variation = jnp.abs(images[:, 1:] - images[:, :-1]).sum((1, 2, 3))
        variation += jnp.abs(images[:, :, 1:] - images[:, :, :-1]).sum((1, 2, 3))
        penalty = job["total_variation"] * variation / values
        penalty += job["l2"] * jnp.square(images).mean((1, 2, 3))
        return (penalty - scores).sum(), scores

    gradient, scores = jax.grad(objective, has_aux=True)(images)
    count = count + 1
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * jnp.square(gradient)
    corrected = first / (1 - 0.9**count)
    size = jnp.sqrt(second / (1 - 0.999**count)) + 1e-7
    rate = job["learning_rate"] * (job["high"] - job["low"])
    images = jnp.clip(images - rate * corrected / size, job["low"], job["high"])
    return (images, first, second, count, key), scores


def stepwise(job, graph, weights):
    step = jax.jit(functools.partial(one_step, job, graph), donate_argnums=1)
    kept = [start(job)]

    def run(steps):
        for _ in range(steps):
            kept[0], scores = step(weights, kept[0])
        return np.asarray(scores), np.asarray(kept[0][0])

    return run


def looped(job, graph, weights):
    @functools.partial(jax.jit, donate_argnums=1)
    def loop(weights, state, steps):
        scores = jnp.zeros([job["batch"]])

        def body(_, carry):
            return one_step(job, graph, weights, carry[0])

        return lax.fori_loop(0, steps, body, (state, scores))

    kept = [start(job)]

    def run(steps):
        kept[0], scores = loop(weights, kept[0], jnp.asarray(steps))
        return np.asarray(scores), np.asarray(kept[0][0])

    return run


if __name__ == "__main__":
    sys.exit(protocol.serve(build))
