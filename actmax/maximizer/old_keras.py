"""Models of Keras 2 that are given as objects, made by `tf_keras`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from actmax import checks
from actmax.models import InputSpec
from actmax.types import IMAGES


def is_old(model: Any) -> bool:
    """Whether an object is a layer or model of Keras 2."""
    return any(
        kind.__name__ == "Layer" and kind.__module__.split(".")[0] == "tf_keras"
        for kind in type(model).__mro__
    )


class Inference:
    """A model of Keras 2 at inference, a callable like any other: dropout and augmentation are off."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.name = getattr(model, "name", type(model).__name__)

    def __call__(self, inputs: Any) -> Any:
        return self.model(inputs, training=False)


def at_inference(model: Any) -> Any:
    """The model itself, or a model of Keras 2 as `Inference`."""
    return Inference(model) if is_old(model) else model


def specs(model: Any) -> tuple[InputSpec, ...] | None:
    """Inputs of a model of Keras 2 that knows them; else None."""
    if not isinstance(model, Inference):
        return None
    tensors = getattr(model.model, "inputs", None)
    names = getattr(model.model, "input_names", None)
    if not tensors or not names or len(names) != len(tensors):
        return None
    if len(tensors) == 1:
        names = [IMAGES]
    return tuple(
        InputSpec(name, tuple(tensor.shape[1:]), tf.as_dtype(tensor.dtype).name)
        for name, tensor in zip(names, tensors, strict=True)
    )


def refuse_layers(model: Any, layers: Sequence[str]) -> None:
    """Raises for an objective of an inner layer of a model of Keras 2.

    Raises:
        ValueError: naming two ways that work.
    """
    inner = [name for name in layers if not name.startswith(":")]
    if not inner or not isinstance(model, Inference):
        return
    do = (
        "Save it and open it with Keras 3: model.save('old.h5'), actmax.load_model('old.h5'). Or hand over "
        f"the part that ends there: tf_keras.Model(model.input, model.get_layer({inner[0]!r}).output), "
        "with a function of the output as objective."
    )
    received = f"{inner[0]!r} of {model.name!r}, a model of tf_keras (Keras 2)"
    raise ValueError(checks.message("a Keras 3 model, for an objective of a layer", received, do))
