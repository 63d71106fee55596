"""Writes the call that repeats a run from an older record without the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_WIDTH = 88
# Defaults that the call leaves out.
_DEFAULTS = {"copies": 1, "balance": False, "weights": {}, "learning_rate": None, "keep": "last"}


def from_record(
    config: Mapping[str, Any], targets: np.ndarray | None, labels: Sequence[str] | None
) -> str:
    """The call of `actmax.maximize` that repeats a run, `-> str`, with every part written out.

    Functions and arrays that the record has only by name are named in a comment.

    Args:
        config: `Result.config`.
        targets: `Result.targets`.
        labels: `Result.labels`, for the comment.
    """
    inputs: Mapping[str, Any] = config.get("inputs", {})
    own: list[str] = []
    arguments = ["model", _code(config.get("objective"), own)]

    def by_input(key: str) -> str:
        parts = {name: _code(entry.get(key), own) for name, entry in inputs.items()}
        if len(parts) == 1:
            return next(iter(parts.values()))
        return "{" + ", ".join(f"{name!r}: {part}" for name, part in parts.items()) + "}"

    call = dict(config.get("call", {}))
    if targets is not None:
        arguments.append(f"targets={np.asarray(targets).tolist()!r}")
    elif call.get("images") is not None:
        arguments.append(f"images={call['images']!r}")
    if inputs:
        arguments.append(f"input_range={by_input('constraint')}")
        arguments.append(f"parameterization={by_input('parameterization')}")
        if any(entry.get("preprocess") is not None for entry in inputs.values()):
            arguments.append(f"preprocess={by_input('preprocess')}")
    parts = _in_order(config)
    inner = "".join(f"\n        {_code(part, own)}," for part in parts)
    arguments.append(f"regularizers=[{inner}\n    ]" if parts else "regularizers=[]")
    arguments.append(f"optimizer={_code(config.get('optimizer'), own)}")
    if config.get("gradients"):
        arguments.append(f"gradients={_code(config['gradients'], own)}")
    if config.get("fixed"):
        arguments.append(f"fixed={_code(config['fixed'], own)}")
    settings = {
        **{name: config.get(name) for name in ("copies", "balance", "precision")},
        **{name: call.get(name) for name in ("steps", "seed", "weights", "learning_rate", "keep")},
    }
    for name, value in settings.items():
        if name in _DEFAULTS and value == _DEFAULTS[name]:
            continue
        if value is not None:
            arguments.append(f"{name}={_code(value, own)}")
    lines = ["import actmax", "from actmax import *", "from regularizers import *", ""]
    lines.append(f"# model: {', '.join(map(_comment, config.get('model', ['?'])))}")
    if labels is not None:
        lines.append(f"# labels: {', '.join(map(_comment, labels[:20]))}")
    if own:
        lines.append(f"# yours, not in the record: {', '.join(dict.fromkeys(map(_comment, own)))}")
    body = "".join(f"\n    {argument}," for argument in arguments)
    return "\n".join([*lines, f"result = actmax.maximize({body}\n)"])


def _in_order(config: Mapping[str, Any]) -> list[Any]:
    """Penalties and transforms in their original order, because draws depend on a transform's position."""
    penalties = list(dict(config.get("penalties", {})).values())
    transforms = list(config.get("transforms", ()))
    positions = config.get("positions", range(len(transforms)))
    placed = dict(zip(positions, transforms, strict=True))
    rest = iter(penalties)
    count = len(penalties) + len(transforms)
    return [placed[place] if place in placed else next(rest) for place in range(count)]


def _code(part: Any, own: list[str]) -> str:
    """A part of a record as Python. Parts known only by name are also added to `own`."""
    if isinstance(part, Mapping):
        if "class" in part:
            fields = [
                f"{key}={_value(value, own)}" for key, value in part.items() if key != "class"
            ]
            return f"{part['class']}({', '.join(fields)})"
        if "array" in part:
            own.append(f"an array of shape {part['array']}")
            return "..."
        return "{" + ", ".join(f"{k!r}: {_code(v, own)}" for k, v in part.items()) + "}"
    if isinstance(part, (list, tuple)):
        return "[" + ", ".join(_code(value, own) for value in part) + "]"
    if isinstance(part, str) and part not in ("last", "best", "float32", "float64"):
        own.append(part)
        return part if part.isidentifier() else "..."
    return repr(part)


def _value(value: Any, own: list[str]) -> str:
    """A field of a part. A text in it is the name of a layer, not of a function."""
    return repr(value) if isinstance(value, str) else _code(value, own)


def _comment(text: Any) -> str:
    return " ".join(str(text).split())
