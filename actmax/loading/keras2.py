"""Corrects a copy of a configuration that Keras 2 wrote, so that Keras 3 makes the same network from it.

Keras 3 (2023) renamed or removed parts of Keras 2, and changed `hard_sigmoid`. Nothing here imports
Keras or runs code from a file: the functions turn one tree of JSON into another.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import Any

from actmax.loading import nodes

# A network of Keras 2 is at most so deep in models and wrappers; the scan bounds the tree itself.
_MODELS = {
    "Model": "keras.src.models.functional",
    "Functional": "keras.src.models.functional",
    "Sequential": "keras.src.models.sequential",
}
_FAMILIES = {
    "_initializer": "keras.initializers",
    "_regularizer": "keras.regularizers",
    "_constraint": "keras.constraints",
}
# Where a layer stands in the settings of another.
_LAYERS = ("layer", "forward_layer", "backward_layer", "cell")
_NOT_KEPT = ("config", "name", "compile_config", "build_config")
_HARD_SIGMOID = "hard_sigmoid"
# Setting, and the values of it that change nothing; None for a setting that matters in training alone.
_DROPPED: dict[str, tuple[Any, ...] | None] = {
    "time_major": (False, None),
    "dynamic": (False, None),
    "ragged": (False, None),
    "input_length": None,
    "input_dtype": None,
    "rng_type": None,
    "force_generator": None,
    "softmax_robust_masking": None,
    "robust_masking": None,
    "fused": None,
    "virtual_batch_size": (None,),
    "adjustment": (None,),
    "experimental_autocast": None,
    "implementation": None,
    "noise_shape": (None,),
}
# The same, where a layer of the name ends or begins so.
_DROPPED_OF: dict[str, dict[str, tuple[Any, ...] | None]] = {
    "Transpose": {"groups": (1,)},
    "DepthwiseConv": {
        "groups": (1,), "filters": None, "kernel_initializer": None, "kernel_regularizer": None,
        "kernel_constraint": None,
    },
    "SeparableConv": {
        "groups": (1,), "kernel_initializer": None, "kernel_regularizer": None,
        "kernel_constraint": None,
    },
    "SpatialDropout": {"trainable": None, "noise_shape": (None,)},
    "Discretization": {"trainable": None},
    "Embedding": {"sparse": (False,)},
    "MultiHeadAttention": {"query_shape": None, "key_shape": None, "value_shape": None},
}  # fmt: skip
_KEPT = {"Dropout": ("noise_shape",), "LocallyConnected": ("implementation",)}
# Layers that only work in training; at inference they are the identity.
_IDENTITIES = ("RandomHeight", "RandomWidth")
# Layers of ours with the meaning that Keras 2 gave them (actmax/loading/old_layers.py).
_OURS = {
    "ThresholdedReLU": "ThresholdedReLU",
    "TFOpLambda": "TensorOperation",
    "SlicingOpLambda": "TensorOperation",
}
# Classes of Keras 2 that Keras 3 dropped, and that have no counterpart.
DROPPED = frozenset({
    "LocallyConnected1D", "LocallyConnected2D", "DenseFeatures", "AbstractRNNCell", "CuDNNLSTM",
    "CuDNNGRU", "RadialConstraint", "Merge", "MaxoutDense", "Highway",
})  # fmt: skip
ITSELF = (
    "Load it with Keras 2 and hand the object over: pip install tf_keras, then "
    "model = tf_keras.models.load_model(path) and "
    "actmax.maximize(model, input_shape=..., input_range=...)."
)
# By these names Keras finds the layers and the function of `actmax/loading/old_layers.py`.
OURS = frozenset(
    {"actmax>ThresholdedReLU", "actmax>TensorOperation", "actmax>hard_sigmoid_of_keras_2"}
)


def is_old(version: Any) -> bool:
    """Whether a file's `keras_version` is one of Keras 2; files of before 2016 have none."""
    text = version.decode("ascii", "replace") if isinstance(version, bytes) else str(version)
    return text.startswith("2.")


class Mend:
    """One configuration of Keras 2, mended.

    Attributes:
        tree: the mended copy, in the format of Keras 3.
        classes: names of the classes of its layers that are Keras' own or nobody's.
        notes: what was changed, a sentence each, in order.
        renamed: new names of layers, by old name, where a name had to change.
    """

    def __init__(
        self, tree: Mapping[str, Any], known: Callable[[str], bool] = lambda name: False
    ) -> None:
        self._known = known
        self._notes: collections.Counter[str] = collections.Counter()
        self.renamed: dict[str, str] = {}
        self.classes: dict[str, None] = {}
        self.tree = self._object(tree)
        if tree.get("compile_config"):
            self._say("settings of the training (optimizer, loss, metrics) left out")

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for every kind of change, with how often it was made."""
        return tuple(
            text if count == 1 else f"{text} ({count} times)" for text, count in self._notes.items()
        )

    def _say(self, text: str) -> None:
        self._notes[text] += 1

    def _object(self, entry: Mapping[str, Any], module: str = "keras.layers") -> dict[str, Any]:
        """A layer, model, initializer ... and everything in it."""
        name = str(entry.get("class_name"))
        settings = entry.get("config")
        own = {key: value for key, value in entry.items() if key not in _NOT_KEPT}
        registered = entry.get("registered_name")
        if not isinstance(registered, str) or ">" not in registered:
            # Keras 2 wrote the bare class name of its own classes; Keras 3 takes it for a user's.
            own["registered_name"] = None
        old = str(entry.get("module") or "")
        if self._known(name):  # The user's own class, by its name.
            return {**own, "module": None, "registered_name": name, "config": settings}
        if name in _MODELS:
            own["class_name"] = "Functional" if name == "Model" else name
            own["module"] = _MODELS[name]
            built = entry.get("build_config")
            return self._model(own, settings, built if isinstance(built, Mapping) else {})
        if not old or old.startswith(("keras.", "tf_keras.")) or old in ("keras", "tf_keras"):
            own["module"] = old if old.startswith("keras.") and ".src." not in old else module
        if not isinstance(settings, Mapping):
            return {**own, "config": settings}
        if module != "keras.layers":
            return {**own, "config": dict(settings)}
        found = self._layer(own, name, settings)
        if found["module"] == "keras.layers":
            self.classes[found["class_name"]] = None
        return found

    def _model(
        self, own: dict[str, Any], settings: Any, built: Mapping[str, Any]
    ) -> dict[str, Any]:
        if isinstance(settings, list):  # Sequential models of Keras before 2.2.3
            settings = {"name": "sequential", "layers": settings}
        if not isinstance(settings, Mapping) or not isinstance(settings.get("layers"), list):
            return {**own, "config": settings}
        kept = {key: settings[key] for key in ("name", "trainable", "dtype") if key in settings}
        if isinstance(kept.get("dtype"), Mapping):
            kept["dtype"] = self._policy(kept["dtype"])
        kept["name"] = self._name(str(kept.get("name", own["class_name"].lower())))
        entries = [entry for entry in settings["layers"] if isinstance(entry, Mapping)]
        if own["class_name"] == "Sequential":
            shape = settings.get("build_input_shape") or built.get("input_shape")
            return {**own, "config": {**kept, "layers": self._sequence(entries, shape)}}
        made = []
        for entry in entries:
            layer = self._object(entry)
            layer["name"] = self._name(str(entry.get("name") or layer["config"].get("name")))
            made.append(layer)
        old = {str(entry.get("name")): layer for entry, layer in zip(entries, made, strict=True)}
        graph = nodes.Graph(old, self.renamed)
        for entry, layer in zip(entries, made, strict=True):
            layer["inbound_nodes"] = graph.calls(entry.get("inbound_nodes") or [])
        ends = {
            key: graph.ends(settings.get(key) or []) for key in ("input_layers", "output_layers")
        }
        return {**own, "config": {**kept, "layers": made, **ends}}

    def _sequence(self, entries: list[Any], shape: Any) -> list[dict[str, Any]]:
        made = [self._object(entry) for entry in entries]
        first = entries[0].get("config") if entries else None
        if isinstance(first, Mapping):
            shape = first.get("batch_input_shape") or shape
        inner = first if isinstance(first, Mapping) else {}
        if not shape and isinstance(inner.get("layers"), list) and inner["layers"]:
            return made  # A model inside brings its own input.
        if made and made[0]["class_name"] != "InputLayer" and isinstance(shape, list):
            dtype = inner.get("dtype") if isinstance(inner.get("dtype"), str) else "float32"
            settings_of_input = {"batch_shape": shape, "dtype": dtype, "name": "input_of_keras_2"}
            made.insert(
                0,
                {
                    "module": "keras.layers",
                    "class_name": "InputLayer",
                    "config": settings_of_input,
                    "registered_name": None,
                },
            )
            self._say("batch_input_shape of the first layer made an InputLayer")
        return made

    def _layer(self, own: dict[str, Any], name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        config = {key: self._value(key, value) for key, value in settings.items()}
        if "name" in config:
            config["name"] = self._name(str(config["name"]))
        if name == "InputLayer":
            if "batch_input_shape" in config:
                config["batch_shape"] = config.pop("batch_input_shape")
        else:
            config.pop("batch_input_shape", None)
        self._drop(name, config)
        self._rename(name, config)
        if name == "Lambda":
            config = self._function(config)
        config = self._replace(own, name, config)
        return {**own, "config": config}

    def _drop(self, name: str, config: dict[str, Any]) -> None:
        """Leaves out settings that Keras 3 does not have, where their value changes nothing."""
        dropped = dict(_DROPPED)
        for part, more in _DROPPED_OF.items():
            if part in name:
                dropped |= more
        kept = [key for part, keys in _KEPT.items() if name.startswith(part) for key in keys]
        for key, neutral in dropped.items():
            if key in config and key not in kept and (neutral is None or config[key] in neutral):
                del config[key]
                self._say(f"{key}= of {name} left out")

    def _rename(self, name: str, config: dict[str, Any]) -> None:
        """Settings that Keras 3 writes otherwise, or takes another value for when they are missing."""
        if name == "BatchNormalization" and isinstance(config.get("axis"), list):
            if len(config["axis"]) == 1:
                config["axis"] = config["axis"][0]
                self._say("axis=[n] of BatchNormalization made axis=n")
        if name == "LeakyReLU" and "alpha" in config:
            config["negative_slope"] = _number(config.pop("alpha"))
            self._say("alpha= of LeakyReLU renamed to negative_slope=")
        if name in ("GRU", "GRUCell") and "reset_after" not in config:
            config["reset_after"] = False
            self._say("reset_after=False, which was the rule of the time, written down")

    def _replace(self, own: dict[str, Any], name: str, config: dict[str, Any]) -> dict[str, Any]:
        """Settings of the layer that stands for one which Keras 3 dropped or changed."""
        if name in _IDENTITIES:
            self._say(f"{name}, which does nothing at inference, made the identity")
            config = {key: config[key] for key in ("name", "dtype") if key in config}
            own["class_name"] = "Identity"
        if name == "RandomCrop":
            # Keras 2 resizes at inference and Keras 3 leaves the picture as large as it is.
            self._say("RandomCrop, which resizes at inference, made Resizing")
            kept = ["name", "dtype", "height", "width"]
            config = {key: config[key] for key in kept if key in config}
            config["crop_to_aspect_ratio"] = True
            own["class_name"] = "Resizing"
        if name in _OURS:
            self._say(f"{name}, which Keras 3 dropped, made a layer of actmax")
            own |= {"class_name": _OURS[name], "module": None}
            own["registered_name"] = f"actmax>{_OURS[name]}"
        return config

    def _function(self, config: dict[str, Any]) -> dict[str, Any]:
        """Settings of a Lambda layer; whether its code may run is not decided here."""
        for key in ("function_type", "module", "output_shape_type", "output_shape_module"):
            config.pop(key, None)
        written = config.get("function")
        if isinstance(written, list) and len(written) == 3:
            code = dict(zip(("code", "defaults", "closure"), written, strict=True))
            config["function"] = {"class_name": "__lambda__", "config": code}
            self._say("code of a Lambda layer put into the format of Keras 3")
        return config

    def _value(self, key: str, value: Any) -> Any:
        """One setting of a layer."""
        if key == "dtype" and isinstance(value, Mapping):
            return self._policy(value)
        if key.endswith("activation") and _is_function(value, _HARD_SIGMOID):
            self._say("hard_sigmoid as Keras 2 had it: clip(0.2 x + 0.5, 0, 1)")
            return {
                "module": "builtins", "class_name": "function",
                "config": "actmax>hard_sigmoid_of_keras_2", "registered_name": "function",
            }  # fmt: skip
        if isinstance(value, Mapping) and "class_name" in value:
            for ending, module in _FAMILIES.items():
                if key.endswith(ending):
                    return self._object(value, module)
            if key in _LAYERS:
                return self._inner(value)
        if key == "cells" and isinstance(value, list):
            return [self._inner(each) if isinstance(each, Mapping) else each for each in value]
        if key == "cell" and isinstance(value, list):
            return [self._inner(each) for each in value if isinstance(each, Mapping)]
        return value

    def _inner(self, value: Mapping[str, Any]) -> dict[str, Any]:
        if not value.get("module"):
            self._say(f"{value.get('class_name')} inside a layer given its module")
        return self._object(value)

    def _policy(self, value: Mapping[str, Any]) -> Any:
        settings = value.get("config")
        if isinstance(settings, Mapping) and isinstance(settings.get("name"), str):
            self._say("Policy made the name of a type")
            return settings["name"]
        return value

    def _name(self, name: str) -> str:
        """A name without "/", which Keras 3 refuses."""
        if "/" not in name:
            return name
        if name not in self.renamed:
            taken = set(self.renamed.values())
            new = name.replace("/", "_")
            while new in taken:
                new += "_"
            self.renamed[name] = new
            self._say(f"layer {name!r} named {new!r}")
        return self.renamed[name]


def _is_function(value: Any, name: str) -> bool:
    if isinstance(value, Mapping):
        return value.get("class_name") == "function" and value.get("config") == name
    return bool(value == name)


def _number(value: Any) -> Any:
    """A number that may be wrapped as an array."""
    if isinstance(value, Mapping):
        settings = value.get("config")
        value = settings.get("value") if isinstance(settings, Mapping) else value.get("value")
    return value
