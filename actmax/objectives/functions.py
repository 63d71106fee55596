"""Plain functions as objectives."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.objectives.base import OUTPUT, Activations, Kind, Objective, check_layer
from regularizers.base import function_name


@dataclasses.dataclass(frozen=True)
class FunctionObjective(Objective):
    """A plain function of the model's output (or of named activations) as an objective.

    Args:
        function: `output [N, ...] -> [N]` or `(output, targets) -> [N]`; with `at`, the first
            argument is a dict of activations by name.
        at: paths of the layers that it needs; empty for the model's output as it is.
        takes_targets: whether the function takes targets.
        targets: what they are: "index", int `[N]`, or "vector", float `[N, C]`.
    """

    function: Callable[..., tf.Tensor]
    at: tuple[str, ...] = ()
    takes_targets: bool = False
    targets: Literal["index", "vector"] = "index"

    def __post_init__(self) -> None:
        checks.one_of(self.targets, "targets", ("index", "vector"))

    @property
    def layers(self) -> tuple[str, ...]:
        return self.at or (OUTPUT,)

    @property
    def kind(self) -> Kind:
        return self.targets if self.takes_targets else None

    @property
    def name(self) -> str:
        """The name of the function."""
        return function_name(self.function)

    def __call__(self, activations: Activations, targets: tf.Tensor | None) -> tf.Tensor:
        first = {name: activations[name] for name in self.at} if self.at else activations[OUTPUT]
        return self.function(first, targets) if self.takes_targets else self.function(first)


def objective(
    *, layers: Sequence[str] | None = None, targets: Literal["index", "vector"] = "index"
) -> Callable[[Callable[..., tf.Tensor]], FunctionObjective]:
    """Makes an objective of a function of named activations.

    Args:
        layers: paths of the layers; the function gets a dict of their activations, and `targets` if
            it takes a second argument. None for the model's output.
        targets: what the function takes as targets: "index" for int `[N]`, "vector" for float `[N, C]`,
            such as directions, soft labels, or a reference for each image.

    Example:
        >>> import tensorflow as tf
        >>> import actmax
        >>> @actmax.objective(layers=["conv"])
        ... def energy(activations):
        ...     return tf.reduce_sum(activations["conv"] ** 2, axis=(1, 2, 3))
        >>> energy.layers
        ('conv',)
    """
    if isinstance(layers, str) or (layers is not None and not layers):
        raise TypeError(
            checks.message("a list of layer paths", repr(layers), "Write layers=['name'].")
        )
    named = tuple(layers or ())
    for layer in named:
        check_layer(layer)

    def decorate(function: Callable[..., tf.Tensor]) -> FunctionObjective:
        return FunctionObjective(function, named, _takes_targets(function), targets)

    return decorate


def as_objective(value: Any) -> Objective:
    """Turns a plain function of the model's output into an objective; an objective stays as it is.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(value, Objective):
        return value
    if callable(value) and not isinstance(value, type):
        return FunctionObjective(value, (), _takes_targets(value))
    raise TypeError(
        checks.message(
            "an objective such as actmax.Logit() or a function of the model's output",
            f"{value!r} ({type(value).__name__})",
            _meant(value),
        )
    )


def _meant(value: Any) -> str:
    """What a value that is no objective was probably meant to be."""
    if isinstance(value, type):
        return "Write the parentheses: actmax.Logit()."
    if isinstance(value, str):
        return "A layer goes into an objective, as in actmax.Channel('conv'); a class into targets=['cat']."
    if isinstance(value, (int, np.integer, np.ndarray, Sequence)):
        return "Classes go into targets=, as in actmax.maximize(model, targets=[3])."
    return ""


def _takes_targets(function: Callable[..., Any]) -> bool:
    """Whether a function wants `(activations, targets)`; it must take one or two arguments."""
    signature = inspect.signature(function)
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        required = [
            p
            for p in signature.parameters.values()
            if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        return count == 2 and len(required) == 2
    raise TypeError(
        checks.message(
            "a function of (output) or (output, targets)", f"{function_name(function)}{signature}"
        )
    )
