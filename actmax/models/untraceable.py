"""Messages about code that TensorFlow cannot trace: NumPy, `predict`, Python on values of a graph."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

from actmax import checks

# Of errors of TensorFlow, Keras and NumPy, the words that speak of a tensor without a value.
_WORDS = (
    "symbolic tf.Tensor", "SymbolicTensor", "symbolic `tf.Tensor`", "KerasTensor", "EagerTensor",
    "has no attribute 'numpy'", "in graph mode", "NumPy call", "Graph execution",
)  # fmt: skip
# In a line of somebody's code; Keras takes its own frames out of a traceback.
_PREDICTS = re.compile(r"\.(predict|predict_on_batch|evaluate|fit)\(")
_LIBRARIES = ("tensorflow", "keras", "numpy", "actmax", "tf_keras")


class UntraceableError(TypeError):
    """Code that is to be traced needs the values of tensors, which a graph does not have."""


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """While open, an error that says that a tensor has no value yet becomes a sentence.

    Args:
        what: that is traced, as "the model".

    Raises:
        UntraceableError: in the place of such an error; others are raised as they are.
    """
    try:
        yield
    except UntraceableError:
        raise
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        if str(error).startswith("Expected "):  # a sentence of ours, which names the part
            raise
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


def _of_library(path: str) -> bool:
    parts = Path(path).parts
    return any(name in parts for name in _LIBRARIES) or path.startswith("<")
