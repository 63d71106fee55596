"""What makes two calls the same: one fingerprint of parts, functions and networks, as JSON.

Checkpoints, catalogs and the memory of `compile="auto"` compare it. A part is the same if it computes the
same, whichever process made it: of a function its code and all that it reads, of a Keras object its
settings and weights without the names that Keras counts, of an array its bytes.
"""

from actmax.fingerprints.calls import advice, differences, environment, shown
from actmax.fingerprints.parts import listeners, of

__all__ = ["advice", "differences", "environment", "listeners", "of", "shown"]
