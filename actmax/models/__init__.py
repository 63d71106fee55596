"""Taps: activations of any layer of a Keras model, and its output before the softmax.

Nothing about the model is rebuilt or changed. While our own function is traced, the layers in question
hand over what they return; the softmax is found by walking the traced graph back from the output.
"""

from actmax.models.adjoint import onednn
from actmax.models.detect import (
    applications_preprocess,
    bad_weight,
    channels_of,
    detect_range,
    look_like_probabilities,
    may_come_first,
    readings,
    taken,
    weights_digest,
)
from actmax.models.ranges import Reading
from actmax.models.seeing import activations
from actmax.models.structure import InputSpec, input_specs, is_keras, layer_paths, layers, symbolic
from actmax.models.taps import Taps, before_head
from actmax.models.variant import Compute, Variant

__all__ = [
    "Compute",
    "InputSpec",
    "Reading",
    "Taps",
    "Variant",
    "activations",
    "applications_preprocess",
    "bad_weight",
    "before_head",
    "channels_of",
    "detect_range",
    "input_specs",
    "is_keras",
    "layer_paths",
    "layers",
    "look_like_probabilities",
    "may_come_first",
    "onednn",
    "readings",
    "symbolic",
    "taken",
    "weights_digest",
]
