"""What a model returns, and how each output is named."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from actmax import checks
from actmax.models import returned
from actmax.models.program import Program


@dataclasses.dataclass(frozen=True)
class Output:
    """One output.

    Attributes:
        number: number of its tensor.
        path: its path in the structure that the model returns, such as `"a/p"`. Empty for a single
            output.
        name: its Keras name, or None.
        position: its position in `model.outputs`, from 0.
    """

    number: int
    path: str
    name: str | None
    position: int


@dataclasses.dataclass(frozen=True)
class Outputs:
    """All outputs, and the structure that the model returns them in.

    Attributes:
        every: all outputs in the order of `model.outputs`.
        structure: the structure that the model returns, with a number for each tensor.
    """

    every: tuple[Output, ...]
    structure: Any

    @classmethod
    def of(cls, model: Any, result: Any, program: Program) -> Outputs:
        """The outputs of a traced pass.

        Raises:
            TypeError: if an output is not a tensor.
        """
        found = list(returned.outputs_of(result)) or [("", result)]
        for path, value in found:
            if not tf.is_tensor(value) or isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
                raise TypeError(_no_tensor(path, value))
        names = getattr(model, "output_names", None) or ()
        named = list(names) if len(names) == len(found) else [None] * len(found)
        numbers = [program.number(value) for _, value in found]
        inner = returned.entries(result)
        if inner is not None and not isinstance(result, (list, tuple)):
            if all(returned.entries(value) is None for _, value in inner):
                # The keys of a dict and the fields of a dataclass are the names of its outputs.
                named = [path for path, _ in found]
        every = tuple(
            Output(number, path, None if name is None else str(name), place)
            for place, (number, (path, _), name) in enumerate(
                zip(numbers, found, named, strict=True)
            )
        )
        following = iter(numbers)
        return cls(every, returned.replaced(lambda _: next(following), result))

    @property
    def names(self) -> tuple[str, ...]:
        """A different name for each output."""
        return tuple(self._label(output) for output in self.every)

    def _label(self, output: Output) -> str:
        names = [other.name for other in self.every]
        if output.name is not None and names.count(output.name) == 1:
            return output.name
        return output.path or str(output.position)

    @property
    def distinct(self) -> bool:
        """Whether all outputs have different names."""
        names = [output.name for output in self.every]
        return None not in names and len(set(names)) == len(names)

    def find(self, key: str | None) -> Output:
        """The output of a name, a path, or a position.

        Raises:
            ValueError: if there is none, or more than one.
        """
        if key is None:
            if len(self.every) == 1:
                return self.every[0]
            raise ValueError(self._which("None", "Name one, as in actmax.Logit(output=...)."))
        for matches in (
            [output for output in self.every if output.path == key and key],
            [output for output in self.every if output.name == key],
            [output for output in self.every if str(output.position) == key],
        ):
            if len(matches) == 1:
                return matches[0]
            if matches:
                places = " or ".join(f"output={output.position}" for output in matches)
                raise ValueError(
                    checks.message(
                        f"one output, by its position: {places}",
                        f"{key!r}, the name of {len(matches)} outputs",
                        "Positions are those of model.outputs, from 0.",
                    )
                )
        raise ValueError(self._which(repr(key), "A position, as output=0, names one, too."))

    def _which(self, given: str, do: str) -> str:
        return checks.message(f"one of the outputs {list(self.names)}", given, do)


def _no_tensor(path: str, value: Any) -> str:
    given = f"{type(value).__name__} as output {path}".strip()
    do = "A model that calls predict or NumPy has no gradient: call it on tensors."
    if isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        how = "to_tensor(...)" if isinstance(value, tf.RaggedTensor) else "tf.sparse.to_dense(...)"
        do = f"Make a dense tensor of it at the end of the model, by {how}."
    if callable(getattr(value, "mean", None)) and callable(getattr(value, "sample", None)):
        do = (
            "It is a distribution: give a function of the model that returns a tensor, as "
            "lambda images: model(images, training=False).mean()."
        )
    return checks.message("a model that returns tensors", given, do)
