"""Records which layers a model calls while it is traced, without changing the layers.

Our own graph class notices when a name scope of Keras closes. At that moment `keras.Layer.__call__` is
on the stack, with the layer, its arguments and its result. Code inside a nested `tf.function` is traced
into a graph of TensorFlow. There Python's profiler is used, in this thread only.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph
from tensorflow.python.ops.control_flow_ops import XLAControlFlowContext


class Heard(NamedTuple):
    """A finished call of a layer: the layer, its arguments and its result."""

    layer: Any
    given: Any
    result: Any


# Characters that TensorFlow does not allow in the name of a scope.
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_.\\/>-]")


class RecordingGraph(FuncGraph):
    """A function's graph that records every call of a Keras layer while it is the default graph.

    Attributes:
        heard: the calls.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.heard: list[Heard] = []
        self._last: FrameType | None = None

    @contextlib.contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """TensorFlow's name scope. When it closes, the call of its layer is recorded.

        Keras accepts names that TensorFlow refuses in a graph, such as that of a private class.
        """
        allowed = name and _NOT_ALLOWED.sub("_", name)
        if allowed and allowed[0] in "_\\/>-" and not self.get_name_scope():
            allowed = f".{allowed}"
        with super().name_scope(allowed) as scope:
            yield scope
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not _layer_call():
            frame = frame.f_back
        # A scope inside a call closes before the call has a result.
        if frame is None or frame is self._last or "outputs" not in frame.f_locals:
            return
        self._last = frame
        self.heard.append(_heard(frame, frame.f_locals["outputs"]))

    def forget(self) -> None:
        """Deletes the references to the layers, so that a trace does not keep them alive."""
        self.heard, self._last = [], None


class Afresh(XLAControlFlowContext):
    """A graph context with one effect: every nested function is traced again.

    TensorFlow traces functions again for every context that requests it.
    """

    def AddOp(self, op: tf.Operation) -> None:
        """Does nothing."""

    def AddValue(self, val: tf.Tensor) -> tf.Tensor:
        """Returns the value unchanged."""
        return val

    def IsXLAContext(self) -> bool:
        """Returns False: this is no XLA context."""
        return False

    def to_control_flow_context_def(self, *_: Any, **__: Any) -> None:
        """Returns nothing, because the context is never stored."""

    def RequiresUniqueFunctionRetracing(self) -> bool:
        """Returns True: functions get a separate trace for this context."""
        return True


@contextlib.contextmanager
def everywhere(heard: list[Heard]) -> Iterator[None]:
    """In this context, layer calls of this thread are recorded, also inside nested functions."""
    code, before = _layer_call(), sys.getprofile()

    def note(frame: FrameType, event: str, result: Any) -> None:
        if event == "return" and frame.f_code is code and result is not None:
            heard.append(_heard(frame, result))

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


def _heard(frame: FrameType, result: Any) -> Heard:
    values = frame.f_locals
    given = values.get("args") or tuple((values.get("kwargs") or {}).values())
    return Heard(values["self"], given[0] if given else None, result)


@functools.cache
def _layer_call() -> CodeType:
    """The code of `keras.Layer.__call__`, without the decorators that shorten tracebacks."""
    import keras

    function: Any = keras.Layer.__call__
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function.__code__


def placeholder(dtype: Any, shape: Any) -> tf.Tensor:
    """A new input of the current graph."""
    return tf.raw_ops.Placeholder(dtype=dtype, shape=shape)
