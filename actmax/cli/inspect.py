"""`actmax inspect`: layers, inputs, range and head of a model."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actmax.cli import input_options
from actmax.cli.common import table
from actmax.cli.files import add_model, load_model


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    inspect = commands.add_parser("inspect", help="layers, inputs, range and head of a model")
    add_model(inspect)
    input_options.add_input(inspect)
    inspect.set_defaults(command=_inspect)


def _inspect(arguments: argparse.Namespace) -> int:
    from actmax import loading

    described = input_options.settings(arguments)
    if loading.is_saved_model(arguments.model) and not arguments.trust_model:
        return _signatures(arguments.model)
    model = load_model(arguments)
    from actmax import models

    rows = [
        (path, type(layer).__name__, _output_shape(layer), _parameters(layer))
        for path, layer in models.layers(model).items()
    ]
    print(table(("layer", "class", "output shape", "parameters"), rows))
    print(f"\n{_parameters(model)} parameters")
    for text in (loading.file_of(model) or {}).get("mended", ()):
        print(f"mended: {text}")
    specs = models.input_specs(model)
    for spec in specs or ():
        print(f"input {spec.name}: {_shape((None, *(spec.shape or ())))} {spec.dtype}")
    if specs is None:
        print("input: not known before the model is called; give --input-shape SIZE ...")
    found = models.detect_range(model)
    if described.get("input_range") is not None:
        print(f"input range: {described['input_range']}, as given")
    elif found is None and specs and _only_numbers(model, specs):
        print("input range: whole numbers that are looked up, so --letters ALPHABET is needed")
    elif found is None:
        print("input range: not found, so --input-range LO HI is needed")
    else:
        (low, high), layer = found
        print(f"input range: ({low:g}, {high:g}), read off the {layer}")
    for name, head in _heads(model, _sized(specs or (), described.get("input_shape"))).items():
        print(f"head{f' of output {name}' if name else ''}: {head}")
    return 0


def _only_numbers(model: Any, specs: Sequence[Any]) -> bool:
    """Whether all inputs of a model are whole numbers for an Embedding."""
    from actmax import models

    return all(models.only_looked_up(model, specs, spec.name) for spec in specs)


def _sized(specs: Sequence[Any], given_shape: Any) -> Sequence[Any]:
    """Inputs with the sizes of --input-shape, where they were given."""
    from actmax.models import InputSpec
    from actmax.types import IMAGES

    if given_shape is None:
        return specs
    named = given_shape if isinstance(given_shape, Mapping) else None
    if not specs:
        return [InputSpec(n, s, "float32") for n, s in (named or {IMAGES: given_shape}).items()]
    return [
        dataclasses.replace(
            spec, shape=(named or {spec.name: given_shape}).get(spec.name, spec.shape)
        )
        for spec in specs
    ]


def _signatures(folder: Path) -> int:
    """Describes a SavedModel without running anything in it."""
    from actmax import loading

    rows = [
        (name, kind, tensor, "unknown" if shape is None else _shape(shape), dtype)
        for name, signature in loading.signatures(folder).items()
        for kind, tensors in (("input", signature.inputs), ("output", signature.outputs))
        for tensor, (shape, dtype) in tensors.items()
    ]
    print(table(("endpoint", "", "tensor", "shape", "type"), rows))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"\n{size:,} bytes; a SavedModel is a program: --trust-model runs it")
    return 0


def _parameters(layer: Any) -> str:
    """Number of parameters. It is unknown for a layer that was never called."""
    try:
        return f"{layer.count_params():,}"
    except ValueError:
        return "-"


def _output_shape(layer: Any) -> str:
    import keras

    try:
        outputs = keras.tree.flatten(layer.output)
    except (AttributeError, ValueError):
        # A layer of a subclassed model has no symbolic output, a layer called twice has several.
        return "-"
    return ", ".join(_shape(tensor.shape) for tensor in outputs)


def _shape(shape: Iterable[int | None]) -> str:
    return "[" + ", ".join("N" if size is None else str(size) for size in shape) + "]"


def _heads(model: Any, specs: Sequence[Any]) -> dict[str, str]:
    """The head of every output, in words."""
    import tensorflow as tf

    from actmax import models
    from actmax.objectives import LOGITS

    if not specs:
        return {"": "not looked up, because the input shape is not known"}
    like = {spec.name: tf.TensorSpec([None, *spec.shape], spec.dtype) for spec in specs}
    names = models.Taps(model, []).traced(like).outputs.names
    taps = models.Taps(model, [f"{LOGITS}/{n}" for n in names] if len(names) > 1 else [LOGITS])
    taps.trace(like)
    words = {
        "softmax": "softmax, and scores are taken before it",
        "logsoftmax": "log softmax, and scores are taken before it",
        "sigmoid": "sigmoid, and scores are taken before it",
        "logsigmoid": "log sigmoid, and scores are taken before it",
        "linear": "linear, and scores are the output itself",
        "bounded": "clipped or scaled, and scores are the output itself",
    }
    other = "{}, and scores are the output itself"
    return {name: words.get(head, other.format(head)) for name, head in taps.heads.items()}
