"""Taps: activations of any layer of a Keras model, and its output before the softmax.

Nothing about the model is rebuilt or changed. While our own function is traced, the layers in question
hand over what they return; the softmax is found by walking the traced graph back from the output.
"""

from actmax.models.adjoint import onednn
from actmax.models.detect import (
    applications_preprocess,
    bad_weight,
    detect_range,
    look_like_probabilities,
    weights_digest,
)
from actmax.models.seeing import activations
from actmax.models.structure import InputSpec, input_specs, is_keras, layer_paths, layers, symbolic
from actmax.models.taps import Taps, before_head
from actmax.models.variant import Compute, Variant

__all__ = [
    "Compute",
    "InputSpec",
    "Taps",
    "Variant",
    "activations",
    "applications_preprocess",
    "bad_weight",
    "before_head",
    "detect_range",
    "input_specs",
    "is_keras",
    "layer_paths",
    "layers",
    "look_like_probabilities",
    "onednn",
    "symbolic",
    "weights_digest",
]
