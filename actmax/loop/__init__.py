"""THE compiled loop: every `tf.function`, every tape, and the only minus sign are here."""

from actmax.loop.comparison import RELATIVE, Agreement, agreement, check_fold, check_segments
from actmax.loop.engine import Loop
from actmax.loop.highest import remembers
from actmax.loop.records import Arguments, Carry, Cause, Evaluation
from actmax.loop.ways import PLAIN, Way

__all__ = [
    "Agreement",
    "Arguments",
    "Carry",
    "Cause",
    "Evaluation",
    "Loop",
    "PLAIN",
    "RELATIVE",
    "Way",
    "agreement",
    "check_fold",
    "check_segments",
    "remembers",
]
