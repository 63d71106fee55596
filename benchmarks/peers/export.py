"""Exports a Keras model as layers and arrays, with weights, for torch and JAX.

The other frameworks run the same architecture. A check compares their logits for a test image with
ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

# Layers that both interpreters support. Any other layer raises an error here.
_PLAIN = ("InputLayer", "Dropout", "Identity")


def export(model: keras.Model, folder: Path) -> None:
    """Writes graph.json and weights.npz."""
    arrays: dict[str, np.ndarray] = {}
    nodes = [_node(layer, arrays) for layer in model.layers]
    graph = {"nodes": nodes, "output": model.layers[-1].name}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.json").write_text(json.dumps(graph), encoding="utf-8")
    np.savez(folder / "weights.npz", **arrays)


def _node(layer: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    inputs = [] if isinstance(layer, keras.layers.InputLayer) else keras.tree.flatten(layer.input)
    node = {
        "name": layer.name,
        "inputs": [tensor._keras_history.operation.name for tensor in inputs],
        **_operation(layer),
    }
    for key, weight in _weights(layer).items():
        arrays[f"{layer.name}/{key}"] = np.asarray(weight)
    return node


def _operation(layer: Any) -> dict[str, Any]:
    kind = type(layer).__name__
    if kind in _PLAIN:
        return {"kind": "identity"}
    if kind in ("Conv2D", "DepthwiseConv2D"):
        assert layer.data_format == "channels_last" and tuple(layer.dilation_rate) == (1, 1)
        strides, kernel = list(layer.strides), list(layer.kernel_size)
        return {
            "kind": "depthwise" if kind == "DepthwiseConv2D" else "conv",
            "strides": strides,
            "padding": _padding(layer, kernel, strides),
            "activation": _activation(layer.activation),
        }
    if kind in ("MaxPooling2D", "AveragePooling2D"):
        size, strides = list(layer.pool_size), list(layer.strides)
        padding = _padding(layer, size, strides)
        assert kind == "MaxPooling2D" or not np.any(padding)
        return {
            "kind": "max_pool" if kind == "MaxPooling2D" else "average_pool",
            "size": size,
            "strides": strides,
            "padding": padding,
        }
    simple = {
        "Dense": lambda: {"kind": "dense", "activation": _activation(layer.activation)},
        "BatchNormalization": lambda: {"kind": "batch_norm", "epsilon": float(layer.epsilon)},
        "ReLU": lambda: {"kind": "activation", "activation": _relu(layer)},
        "Activation": lambda: {"kind": "activation", "activation": _activation(layer.activation)},
        "ZeroPadding2D": lambda: {"kind": "pad", "padding": [list(p) for p in layer.padding]},
        "GlobalAveragePooling2D": lambda: {"kind": "mean"},
        "Flatten": lambda: {"kind": "flatten"},
        "Add": lambda: {"kind": "add"},
        "Concatenate": lambda: {"kind": "concatenate"},
        "Rescaling": lambda: {
            "kind": "affine", "scale": float(layer.scale), "offset": float(layer.offset)
        },
    }  # fmt: skip
    if kind not in simple:
        raise ValueError(f"Expected a layer that torch and JAX are told about. Received: {kind}.")
    return simple[kind]()


def _padding(layer: Any, kernel: list[int], strides: list[int]) -> list[list[int]]:
    """Zeros before and after height and width, as TensorFlow pads."""
    if layer.padding == "valid":
        return [[0, 0], [0, 0]]
    padding = []
    for size, window, stride in zip(layer.input.shape[1:3], kernel, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        padding.append([total // 2, total - total // 2])
    return padding


def _activation(function: Any) -> str:
    name = function.__name__
    if name not in ("linear", "relu", "relu6"):
        raise ValueError(f"Expected linear, relu or relu6. Received: {name}.")
    return name


def _relu(layer: Any) -> str:
    assert not layer.negative_slope and not layer.threshold and layer.max_value in (None, 6.0)
    return "relu" if layer.max_value is None else "relu6"


def _weights(layer: Any) -> dict[str, Any]:
    if isinstance(layer, keras.layers.BatchNormalization):
        # In inference it is one product and one sum per channel. The other frameworks get the four
        # arrays of their own layer.
        ones = np.ones(layer.moving_mean.shape, np.float32)
        return {
            "gamma": layer.gamma if layer.scale else ones,
            "beta": layer.beta if layer.center else 0 * ones,
            "mean": layer.moving_mean,
            "variance": layer.moving_variance,
        }
    found = {}
    if hasattr(layer, "kernel"):
        found["kernel"] = layer.kernel
        if layer.use_bias:
            found["bias"] = layer.bias
    return found
