"""A model run in segments, whose activations the backward pass computes anew: memory for time.

At a cut, one tensor carries all that comes later. Between two cuts only that tensor is kept, and the
backward pass runs the segment once more for the rest. The last segment is kept whole, because its
activations are wanted at once.

Source: Chen, Xu, Zhang and Guestrin, Training deep nets with sublinear memory cost, 2016,
https://arxiv.org/abs/1604.06174.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.models.structure import layers

# Tensors by the identity of the symbolic tensor that they stand for.
Values: TypeAlias = dict[int, Any]
During: TypeAlias = Callable[[], contextlib.AbstractContextManager[None]]
Function: TypeAlias = Callable[[tf.Tensor], tf.Tensor]
# Of a function and of what is to be open while it runs, the function whose gradient runs it again.
Again: TypeAlias = Callable[[Function, During], Function]

_LIMITS = 64
_NEVER = -1


@dataclasses.dataclass(frozen=True)
class Step:
    """One call of a layer: what it reads and writes, and how it is done."""

    layer: Any
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    run: Callable[[Values], None]


@dataclasses.dataclass(frozen=True)
class Segment:
    """Steps between two cuts: one tensor in, one tensor out, of the last segment all outputs."""

    steps: tuple[Step, ...]
    given: int
    result: int


class Segments:
    """A functional model as a chain of segments. `[N, ...] -> outputs` in the model's own structure.

    Called with the images and what is to be open while layers are called, which the backward pass
    opens again: by then the forward pass has closed its own.

    Args:
        model: Functional or Sequential, with one input. Models inside it are cut as well.
        kept: layers whose activations are needed as they are: what follows the first is not cut.
        again: makes of a segment one that the gradient runs again.

    Raises:
        ValueError: if the model is of another kind, or there is no place to cut.
    """

    def __init__(self, model: Any, kept: Sequence[Any], again: Again) -> None:
        if not _is_functional(model) or len(model.inputs) != 1:
            inputs = len(getattr(model, "inputs", None) or ())
            raise ValueError(
                checks.message(
                    "a Functional or Sequential Keras model with one input, which can be cut",
                    f"{type(model).__name__} with {inputs} inputs",
                    "Use compile='plain', and fewer images at a time.",
                )
            )
        self.model = model
        self._again = again
        self._steps = tuple(_steps(model, kept))
        self._ends = _cuts(model, self._steps, kept)
        if not self._ends:
            raise ValueError(
                checks.message(
                    "a place to cut before the layers whose activations are needed",
                    f"none in {model.name!r}",
                    "Nothing would be computed anew: use compile='plain'.",
                )
            )
        self._dtype = model.inputs[0].dtype
        self._chain: tuple[Segment, ...] = ()

    @property
    def chain(self) -> tuple[Segment, ...]:
        """The segments; known after `measure`."""
        return self._chain

    def measure(self, images: Any) -> None:
        """Chooses the cuts by the sizes of activations, from one trace in the graph that is open."""
        values = {id(self.model.inputs[0]): tf.cast(images, self._dtype)}
        for step in self._steps:
            step.run(values)
        sizes = {key: _size(value) for key, value in values.items()}
        self._chain = _choose(self._steps, self._ends, sizes, id(self.model.inputs[0]))

    def __call__(self, images: tf.Tensor, during: During) -> Any:
        """What the model returns."""
        value = tf.cast(images, self._dtype)
        for segment in self._chain[:-1]:
            value = self._again(functools.partial(_through, segment), during)(value)
        last = self._chain[-1]
        values = _all_of(last, value)
        structure = _graph(self.model)._outputs_struct
        outputs = tf.nest.map_structure(lambda output: values[id(output)], structure)
        alone = isinstance(outputs, (list, tuple)) and len(outputs) == 1
        return outputs[0] if alone else outputs


def _is_functional(model: Any) -> bool:
    """Whether a model is nothing but its graph of layers, whose nodes Keras keeps."""
    import keras

    if not isinstance(model, keras.Model):
        return False
    if isinstance(model, keras.Sequential):
        model = getattr(model, "_functional", None)
        return model is not None
    # A class of its own may do more in `call` than the graph says.
    return type(model) in (keras.Model, _functional_class())


@functools.cache
def _functional_class() -> Any:
    """Keras' class of functional models, which has no public name."""
    import keras

    inputs = keras.Input((1,))
    return type(keras.Model(inputs, inputs))


def _graph(model: Any) -> Any:
    return getattr(model, "_functional", None) or model


def _nodes(model: Any) -> Iterator[Any]:
    """Calls of layers in an order in which each finds its inputs."""
    graph = _graph(model)
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from (node for node in graph._nodes_by_depth[depth] if not node.is_input)


def _steps(model: Any, kept: Sequence[Any]) -> Iterator[Step]:
    """Every step of a model; of models inside it that are called once and not asked for, theirs."""
    nodes = list(_nodes(model))
    often = [id(node.operation) for node in nodes]
    for node in nodes:
        inner = node.operation
        reads = tuple(id(tensor) for tensor in node.arguments.keras_tensors)
        writes = tuple(id(tensor) for tensor in node.outputs)
        opened = (
            _is_functional(inner)
            and len(inner.inputs) == len(inner.outputs) == len(reads) == 1
            and often.count(id(inner)) == 1
            and all(inner is not layer for layer in kept)
        )
        if not opened:
            yield Step(inner, reads, writes, functools.partial(_call, node))
            continue
        first, last = id(inner.inputs[0]), id(inner.outputs[0])
        yield _renamed(inner, reads[0], first, inner.inputs[0].dtype)
        yield from _steps(inner, kept)
        yield _renamed(inner, last, writes[0], None)


def _call(node: Any, values: Values) -> None:
    arguments, keywords = node.arguments.fill_in(values)
    if _takes_training(type(node.operation).call):
        keywords["training"] = False
    results = tf.nest.flatten(node.operation(*arguments, **keywords))
    for tensor, result in zip(node.outputs, results, strict=True):
        values[id(tensor)] = result


@functools.cache
def _takes_training(call: Callable[..., Any]) -> bool:
    return "training" in inspect.signature(call).parameters


def _renamed(layer: Any, old: int, new: int, dtype: Any) -> Step:
    def run(values: Values) -> None:
        values[new] = values[old] if dtype is None else tf.cast(values[old], dtype)

    return Step(layer, (old,), (new,), run)


def _cuts(model: Any, steps: Sequence[Step], kept: Sequence[Any]) -> tuple[int, ...]:
    """Numbers of the steps behind which one tensor is all that is still to be read."""
    last: dict[int, int] = {}
    for number, step in enumerate(steps):
        last.update(dict.fromkeys(step.reads, number))
    last.update({id(output): len(steps) for output in model.outputs})
    live = {id(model.inputs[0])}
    found = []
    wanted = {id(layer) for layer in kept}
    for number, step in enumerate(steps[:-1]):
        inside = {id(layer) for layer in (step.layer, *layers(step.layer).values())}
        if wanted & inside:
            break
        live = {key for key in (*live, *step.writes) if last.get(key, _NEVER) > number}
        if live == set(step.writes):
            found.append(number)
    return tuple(found)


def _size(value: Any) -> int:
    """Values of one image."""
    return int(np.prod([side or 1 for side in value.shape[1:]])) if tf.is_tensor(value) else 0


def _choose(
    steps: Sequence[Step], ends: Sequence[int], sizes: Mapping[int, int], given: int
) -> tuple[Segment, ...]:
    """The cuts that keep least: all tensors at cuts, and one whole segment."""
    marks = [0, *(end + 1 for end in ends), len(steps)]
    written = [sum(sizes[key] for key in step.writes) for step in steps]
    units = [sum(written[a:b]) for a, b in itertools.pairwise(marks)]
    totals = np.concatenate([[0], np.cumsum(units)])

    def packed(limit: float) -> list[int]:
        """Borders between units, of segments that are not above the limit where units are not."""
        borders = [0]
        for number in range(1, len(units)):
            if totals[number + 1] - totals[borders[-1]] > limit:
                borders.append(number)
        return [*borders, len(units)]

    def cost(borders: list[int]) -> float:
        whole = max(totals[b] - totals[a] for a, b in itertools.pairwise(borders))
        return float(whole + sum(written[marks[border] - 1] for border in borders[1:-1]))

    limits = np.geomspace(max(*units, 1), max(totals[-1], 1), _LIMITS)
    best = min((packed(limit) for limit in limits), key=cost)
    segments = []
    for a, b in itertools.pairwise(best):
        part = tuple(steps[marks[a] : marks[b]])
        segments.append(Segment(part, given, part[-1].writes[0]))
        given = part[-1].writes[0]
    return tuple(segments)


def _all_of(segment: Segment, value: tf.Tensor) -> Values:
    values: Values = {segment.given: value}
    for step in segment.steps:
        step.run(values)
    return values


def _through(segment: Segment, value: tf.Tensor) -> tf.Tensor:
    return _all_of(segment, value)[segment.result]
