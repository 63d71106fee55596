"""Fingerprints of parts, functions and networks as JSON: two calls are the same if theirs are equal.

Checkpoints, catalogs and the memory of `compile="auto"` compare fingerprints. Two parts are the same if
they compute the same, also in different processes. The fingerprint of a function has its code and
everything that it reads. That of a Keras object has its settings and weights, without names that Keras
counts. That of an array has its bytes.
"""

from actmax.fingerprints.calls import advice, differences, environment, shown
from actmax.fingerprints.values import listeners, of

__all__ = ["advice", "differences", "environment", "listeners", "of", "shown"]
