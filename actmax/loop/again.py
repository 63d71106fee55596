"""Functions whose gradient runs them again, in place of keeping what they computed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def run_again(
    function: Callable[[tf.Tensor], tf.Tensor],
    during: Callable[[], contextlib.AbstractContextManager[None]],
) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function, of which the gradient keeps nothing but its input.

    Args:
        function: of one tensor.
        during: what is to be open while the gradient runs it.
    """

    @tf.custom_gradient
    def run(given: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor, variables: Any = None) -> Any:
            # Held back until the gradient is there, or it would be computed ahead, and kept.
            with during(), tf.control_dependencies([upstream]):
                again = tf.identity(given)
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(again)
                    result = function(again)
            found = tape.gradient(result, again, output_gradients=upstream)
            return found if variables is None else (found, [None] * len(variables))

        return function(given), gradient

    return run
