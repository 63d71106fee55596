"""State that a check must not change: weights, trainable flags, configuration, dtype policy."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from actmax import models


def dtype_policy() -> str:
    """Name of the process' dtype policy."""
    import keras

    return str(keras.config.dtype_policy().name)


def fingerprint(model: Any) -> dict[str, Any]:
    """What must be the same after the checks as before them."""
    weights = getattr(model, "weights", ())
    try:
        config = json.dumps(model.get_config(), default=str, sort_keys=True)
    except Exception:
        # A callable has no configuration, and a subclassed model need not have one.
        config = None
    known = models.layers(model) if models.is_keras(model) else {}
    return {
        "weights": [np.asarray(weight).tobytes() for weight in weights],
        "trainable flags": [(path, layer.trainable) for path, layer in known.items()],
        "configuration": config,
    }
