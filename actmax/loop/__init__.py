"""THE compiled loop: every `tf.function`, every tape, and the only minus sign are here."""

from actmax.loop.engine import Loop
from actmax.loop.records import Arguments, Carry, Cause, Evaluation

__all__ = ["Arguments", "Carry", "Cause", "Evaluation", "Loop"]
