"""Taps: activations of any layer of a Keras model, and its output before the softmax.

The model is not rebuilt or changed. It is traced once into a graph of our own (`trace`), which is read as a
list of operations (`program`). The needed operations are made again in another graph (`replay`, `passes`),
unchanged or with some of them replaced (`rewriting`).
"""

from actmax.models.detect import (
    applications_preprocess,
    bad_weight,
    channels_of,
    detect_range,
    look_like_a_saturated_sigmoid,
    look_like_probabilities,
    may_come_first,
    only_looked_up,
    readings,
    taken,
    weights_digest,
)
from actmax.models.layer_activations import activations
from actmax.models.lookups import Lettered
from actmax.models.passes import Compute
from actmax.models.products import onednn
from actmax.models.ranges import Reading
from actmax.models.states import states
from actmax.models.structure import (
    InputSpec,
    built_specs,
    dtype_of,
    every_layer,
    input_specs,
    is_keras,
    layer_paths,
    layers,
    symbolic,
)
from actmax.models.taps import Taps
from actmax.models.untraceable import UntraceableError, explained
from actmax.models.variant import Variant

__all__ = [
    "Compute",
    "InputSpec",
    "Lettered",
    "Reading",
    "Taps",
    "UntraceableError",
    "Variant",
    "activations",
    "applications_preprocess",
    "bad_weight",
    "built_specs",
    "channels_of",
    "detect_range",
    "dtype_of",
    "every_layer",
    "explained",
    "input_specs",
    "is_keras",
    "layer_paths",
    "layers",
    "look_like_a_saturated_sigmoid",
    "look_like_probabilities",
    "may_come_first",
    "onednn",
    "only_looked_up",
    "readings",
    "states",
    "symbolic",
    "taken",
    "weights_digest",
]
