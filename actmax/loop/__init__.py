"""THE compiled loop: every `tf.function`, every tape, and the only minus sign are here."""

from actmax.loop.engine import Arguments, Carry, Cause, Evaluation, Loop

__all__ = ["Arguments", "Carry", "Cause", "Evaluation", "Loop"]
