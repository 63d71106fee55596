"""Refuses environments and models without a gradient, with one message each, before any trace."""

from __future__ import annotations

import threading
from typing import Any

import tensorflow as tf

from actmax import checks, models

# Methods of a Keras model that return NumPy arrays.
_ARRAYS = ("predict", "predict_on_batch", "evaluate", "test_on_batch", "predict_step")


def refuse_surroundings() -> None:
    """Raises unless TensorFlow runs eagerly here, because the loop starts from eager code.

    Raises:
        ValueError: inside a `tf.function` or a `tf.Graph`, or if eager execution is disabled.
    """
    if tf.executing_eagerly():
        return
    if not _eager_elsewhere():
        do = (
            "Leave tf.compat.v1.disable_eager_execution() and disable_v2_behavior() out, or run actmax "
            "in a process of its own."
        )
        raise ValueError(checks.message("eager execution", "a process that has disabled it", do))
    if tf.inside_function():
        do = "Call it from Python, outside of the function: it compiles a loop of its own."
        raise ValueError(
            checks.message("a call outside of tf.function", "a call inside of one", do)
        )
    do = "Call it outside of `with tf.Graph().as_default():`, and build the model there too."
    raise ValueError(checks.message("a call outside of tf.Graph", "a call inside of one", do))


def _eager_elsewhere() -> bool:
    """Whether the process runs eagerly by default. It checks in another thread, without open graphs."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(tf.executing_eagerly()))
    thread.start()
    thread.join()
    return found[0]


def refuse_model(model: Any) -> None:
    """Raises for a model that cannot have a gradient with any layers.

    Raises:
        ValueError: for a Keras model on another backend than TensorFlow.
        TypeError: for a method such as `model.predict`, which returns NumPy.
    """
    owner = getattr(model, "__self__", None)
    name = getattr(model, "__name__", "")
    if name in _ARRAYS and hasattr(owner, "weights"):
        do = "Give the model itself: actmax.maximize(model, ...)."
        raise TypeError(
            checks.message(
                "a model that returns tensors, which have a gradient",
                f"its method {name}, which returns NumPy arrays",
                do,
            )
        )
    backend = _backend() if models.is_keras(model) else "tensorflow"
    if backend != "tensorflow":
        do = (
            'Set os.environ["KERAS_BACKEND"] = "tensorflow" before Keras is imported, and load the '
            "model again: a .keras file is the same on every backend."
        )
        expected = "a Keras model on the backend tensorflow"
        raise ValueError(checks.message(expected, f"the backend {backend}", do))


def _backend() -> str:
    import keras

    return str(keras.backend.backend())
