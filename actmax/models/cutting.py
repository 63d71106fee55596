"""A functional model up to the requested layers. Later layers are not traced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def cut_behind(model: Any, inputs: Any, layers: Sequence[Any]) -> Any | None:
    """A model of the same layers and inputs that ends with these layers, or None.

    None in these cases: the code of the model calls the layers; a layer is called several times or
    is inside another layer; nothing would be left out.

    Args:
        model: a Keras model.
        inputs: structure of its symbolic inputs.
        layers: the last layers to keep.
    """
    import keras

    kind = type(model)
    if kind.__name__ not in ("Functional", "Sequential") or not kind.__module__.startswith(
        "keras."
    ):
        return None
    graph = getattr(model, "_functional", None) or model
    depths = getattr(graph, "_nodes_by_depth", None) or {}
    nodes = [node for some in depths.values() for node in some]
    own = [[node for node in nodes if node.operation is layer] for layer in layers]
    if not own or any(len(found) != 1 for found in own):
        return None
    ends = [tensor for (node,) in own for tensor in tf.nest.flatten(node.output_tensors)]
    # Without a name, Keras would use up one number of its counter of models.
    part = keras.Model(inputs, ends, name=model.name)
    return part if len(part.operations) < len(graph.operations) else None
