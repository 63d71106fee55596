"""A bound on the weights that a model makes while it is loaded."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

from actmax.loading.errors import refuse

# A layer's method is replaced for a moment; two loads at once must not interleave.
_LOADING = threading.RLock()
# Seeds, counters and the like are made beside the weights.
_BESIDE = 1 << 20


@contextlib.contextmanager
def weights(stored: int, where: str) -> Iterator[None]:
    """Inside the block, layers make at most twice the weights that a file stores, in bytes.

    A layer may say that it has a thousand million units, and Keras makes them before it looks whether
    the file has values for them.

    Raises:
        ModelFileError: from the layer that goes beyond it, before anything is allocated.
    """
    import keras

    with _LOADING:
        real = keras.layers.Layer.add_weight
        made = 0

        def add_weight(layer: Any, shape: Any = None, *args: Any, **kwargs: Any) -> Any:
            nonlocal made
            sizes = [shape] if isinstance(shape, int) else list(shape or ())
            made += 4 * math.prod(size for size in sizes if isinstance(size, int))
            if made > 2 * stored + _BESIDE:
                received = f"{made} bytes and more, up to the layer {layer.name!r}"
                raise refuse(f"about the {stored} bytes of weights that {where} stores", received)
            return real(layer, shape, *args, **kwargs)

        keras.layers.Layer.add_weight = add_weight
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = real
