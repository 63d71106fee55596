"""Messages about code that TensorFlow cannot trace: NumPy, `predict`, Python values of tensors."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

from actmax import checks

# Words with which errors of TensorFlow, Keras and NumPy mention a tensor without a value.
_WORDS = (
    "symbolic tf.Tensor", "SymbolicTensor", "symbolic `tf.Tensor`", "KerasTensor", "EagerTensor",
    "has no attribute 'numpy'", "in graph mode", "NumPy call", "Graph execution",
)  # fmt: skip
# The error of a layer that keeps a tensor of another graph, and the class of the layer.
_OTHER_GRAPH = "is out of scope"
_CALLING = re.compile(r"when calling (\w+)\.call\(\)")
# The error of layers that Keras rematerializes, in a graph.
_REMATERIALIZED = "custom_gradient decorator currently supports keywords"
# Names the line of the user's code. Keras removes its own frames from a traceback.
_PREDICTS = re.compile(r"\.(predict|predict_on_batch|evaluate|fit)\(")
_LIBRARIES = ("tensorflow", "keras", "numpy", "actmax", "tf_keras")


class UntraceableError(TypeError):
    """The traced code needs values of tensors, which do not exist in a graph."""


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """In this context, an error about a tensor without a value becomes a clear sentence.

    Args:
        what: what is traced, such as "the model".

    Raises:
        UntraceableError: instead of such an error. Other errors are not changed.
        ValueError: if Keras rematerializes layers, or a layer keeps a tensor of another graph.
    """
    try:
        yield
    except UntraceableError:
        raise
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        if str(error).startswith("Expected "):  # already one of our sentences, which names the part
            raise
        if _REMATERIALIZED in str(error):
            raise ValueError(
                checks.message(
                    f"{what} to run in a graph",
                    "layers of keras.RematScope, which TensorFlow runs eagerly only",
                    "Build the model without it: compile='recompute' keeps few activations, too.",
                )
            ) from error
        if _OTHER_GRAPH in str(error):
            raise _of_another_graph(what, str(error)) from error
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if not _of_library(frame.filename)]
        predicts = [found for f in own if (found := _PREDICTS.search(f.line or ""))]
        if not predicts and not any(word in str(error) for word in _WORDS):
            raise
        where = (
            f" in {own[-1].name} ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
        )
        if predicts:
            raise UntraceableError(
                checks.message(
                    f"{what} as TensorFlow operations on tensors",
                    f"a call of {predicts[0].group(1)}{where}, which returns arrays without a gradient",
                    "Give the model itself, or call it: lambda images: model(images, training=False).",
                )
            ) from error
        raise UntraceableError(
            checks.message(
                f"{what} as TensorFlow operations on tensors",
                f"NumPy or Python on the values of a tensor{where}",
                "A graph has no values yet: write it with keras.ops or tf operations, as tf.reduce_mean "
                "for np.mean.",
            )
        ) from error


def _of_another_graph(what: str, error: str) -> ValueError:
    named = _CALLING.search(error)
    return of_another_graph(what, named.group(1) if named else "a layer")


def of_another_graph(what: str, layer: str) -> ValueError:
    """The error for a layer that keeps a tensor of the graph in which Keras built it."""
    return ValueError(
        checks.message(
            f"{what} to answer outside of the graph in which Keras built it",
            f"{layer}, which keeps a tensor of that graph, so that the model itself cannot be called",
            "Build this layer by hand before the model, as in layer.build((None, *shape)).",
        )
    )


def _of_library(path: str) -> bool:
    parts = Path(path).parts
    return any(name in parts for name in _LIBRARIES) or path.startswith("<")
