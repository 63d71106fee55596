"""Activations of any layer of a model, and its output before the softmax. The model does not change."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.models import returned
from actmax.models.cutting import cut_behind
from actmax.models.groups import Classes
from actmax.models.heads import WITH_LOGITS, Head, head_of, in_front, saturated
from actmax.models.layout import channel_axis, order_to_last
from actmax.models.lookups import Lettered, lettered
from actmax.models.outputs import Output
from actmax.models.passes import PlainPass, TracedPass
from actmax.models.side_effects import Findings, findings
from actmax.models.structure import (
    arguments,
    fill,
    find_layer,
    is_keras,
    lasting,
    layers,
    leaves,
    split,
    split_result,
    symbolic_inputs,
)
from actmax.models.trace import Part, Trace, refuse_python, trace
from actmax.objectives import (
    BATCH_NORM,
    CHANNELS_LAST,
    GROUPS,
    LOGARITHMS,
    LOGITS,
    OUTPUT,
    PROBABILITIES,
    ROWS,
    Normalized,
)
from actmax.objectives.base import one_tensor
from actmax.types import IMAGES

Inputs: TypeAlias = Mapping[str, tf.Tensor]

# Names of values at the end of a model. They are passed with channels last.
_AT_THE_END = (LOGITS, LOGARITHMS, PROBABILITIES)
_HALF = (tf.float16, tf.bfloat16)


@dataclasses.dataclass(frozen=True)
class _Normalizer:
    """The input of a batch-norm layer's call, and the layer's path."""

    path: str
    given: int


class Taps:
    """Activations of a model by name: `inputs -> {name: [N, ...]}`, in a graph or eagerly.

    The model is traced once. The requested operations are made again in the current graph (an eager
    call runs its own graph).

    Args:
        model: a Keras model or a callable.
        names: the requested activations.
        letters: inputs of whole numbers that are given as one-hot rows, by name.

    Attributes:
        heads: the head of each output ("softmax", ..., see `heads.Head`), by output name ("" for
            the only one). Known after the first call.
        ends: the same by layer name, for layers that end with a head.
        shapes: static shape of every activation with the batch dimension, by name.
        paths: the path of each layer that is the same in every process, by name.
    """

    def __init__(
        self, model: Any, names: Sequence[str], letters: Mapping[str, Lettered] | None = None
    ) -> None:
        self.model = model
        self.letters = dict(letters or {})
        self.names = tuple(names)
        self.keras = is_keras(model)
        self.heads: dict[str, str] = {}
        self.ends: dict[str, str] = {}
        self._traced: Trace | None = None
        self._classes: dict[str, Classes] = {}
        self.shapes: dict[str, tuple[int | None, ...]] = {}
        self._plain = PlainPass()
        _refuse_state(model)
        self._structure = symbolic_inputs(model) if self.keras else None
        symbols = [] if self._structure is None else [t for _, t in leaves(self._structure)]
        self._rows = next((t.shape[0] for t in symbols if t.shape[0] is not None), None)
        inner = [name for name in names if not name.startswith(":")]
        known = layers(model) if inner else {}
        self.paths = {name: _in_every_process(model, name, known) for name in inner}
        self._layers = {
            name: find_layer(model, split_result(path, known)[0], known)
            for name, path in self.paths.items()
        }
        self._normalizers: dict[str, Any] = {}
        if BATCH_NORM in self.names:
            self._normalizers = _normalizers(model)
            _refuse_without(self._normalizers, model)

    def __call__(self, inputs: Inputs) -> dict[str, Any]:
        """Activations of every name."""
        return self.collect(inputs)

    def trace(self, like: Mapping[str, tf.TensorSpec]) -> None:
        """Traces a pass over inputs like these without running it.

        Raises:
            ValueError: if the pass does not call a requested layer.
        """
        self.tapped(self.traced(like))

    def traced(self, like: Mapping[str, Any]) -> Trace:
        """The model's trace for inputs like these, for any number of rows.

        Raises:
            ValueError: if an input has another shape than the model takes.
        """
        self._refuse_shapes(like)
        specs = {
            name: _open(value, self._rows, self.letters.get(name)) for name, value in like.items()
        }
        return lettered(trace(self.model, self.forward, specs, self._part()), self.letters)

    def _refuse_shapes(self, like: Mapping[str, Any]) -> None:
        pairs = [] if self._structure is None else leaves(self._structure)
        symbols = [(IMAGES, pairs[0][1])] if len(pairs) == 1 and IMAGES in like else pairs
        for name, symbol in symbols:
            if name not in like or name in self.letters:
                continue
            takes, given = (tuple(each.shape[1:]) for each in (symbol, like[name]))
            # Keras adds and removes axes of size 1.
            alike = (tf.TensorShape([s for s in shape if s != 1]) for shape in (takes, given))
            if not next(alike).is_compatible_with(next(alike)):
                raise ValueError(
                    checks.message(
                        f"input {name!r} of shape {takes}, as the model takes it",
                        f"shape {given}",
                        "If preprocess= returned it, let it return what the model takes.",
                    )
                )

    def collect(self, inputs: Inputs, way: TracedPass | None = None) -> dict[str, Any]:
        """Activations of every name, made in the current graph or by a separate graph.

        Args:
            inputs: by name.
            way: how the model is computed. None for its unchanged operations.
        """
        return self._collected(inputs, way)[0]

    def with_outputs(self, inputs: Inputs) -> tuple[dict[str, Any], dict[str, tf.Tensor]]:
        """Activations of every name, and the model's own outputs by position, as far as they are floats.

        Outputs that no activation needs are left out.
        """
        return self._collected(inputs, None)

    def _collected(
        self, inputs: Inputs, way: TracedPass | None
    ) -> tuple[dict[str, Any], dict[str, tf.Tensor]]:
        inputs = {name: tf.convert_to_tensor(value) for name, value in inputs.items()}
        found = self.traced(inputs)
        wanted, numbers = self.wanted(found)
        refuse_python(found.program, numbers)
        self._traced = found
        values = (way or self._plain).run(found, inputs, numbers)
        by_number = dict(zip(numbers, values, strict=True))
        picked = {
            name: self._filled(name, value, by_number, found) for name, value in wanted.items()
        }
        for key, classes in self._classes.items():
            if classes.groups is not None:
                picked[f"{GROUPS}/{key}" if key else GROUPS] = tf.constant(classes.groups)
        outputs = {
            str(output.position): _wide(by_number[output.number])
            for output in found.outputs.every
            if output.number in by_number and by_number[output.number].dtype.is_floating
        }
        if ROWS in self.names:
            picked[ROWS] = tf.range(tf.shape(next(iter(inputs.values())))[0])
        self.shapes = {
            name: tuple(value.shape) for name, value in picked.items() if tf.is_tensor(value)
        }
        return picked, outputs

    def answers(self, inputs: Inputs) -> dict[str, Any]:
        """The model's own outputs by position, as it answers when it is called from Python."""
        result = self.forward({name: tf.convert_to_tensor(value) for name, value in inputs.items()})
        values = [value for _, value in returned.outputs_of(result)]
        return {
            str(place): _wide(value) for place, value in enumerate(values) if tf.is_tensor(value)
        }

    @property
    def fixed_rows(self) -> bool:
        """Whether the model takes one number of rows alone."""
        return self._rows is not None

    def ahead(self, inputs: Mapping[str, Any], way: TracedPass) -> None:
        """Computes in the current graph what depends only on weights."""
        found = self.traced(inputs)
        way.prepare(found, list(inputs), self.wanted(found)[1])

    def wanted(self, found: Trace) -> tuple[dict[str, Any], list[int]]:
        """The result of `tapped`, and all tensor numbers in it."""
        wanted = self.tapped(found)
        return wanted, sorted({n for value in wanted.values() for n in _numbers(value)})

    def tapped(self, found: Trace) -> dict[str, Any]:
        """The tensor numbers of the trace for every name.

        Raises:
            ValueError: if the pass has nothing with the name.
        """
        wanted: dict[str, Any] = {}
        for name in self.names:
            if name == ROWS:
                continue
            if name == BATCH_NORM:
                wanted[name] = self._normalized(found)
            elif name.startswith(":"):
                wanted |= self._of_output(name, found)
            else:
                wanted[name] = _one_call(self.paths[name], found)
                if name.endswith(CHANNELS_LAST):
                    one_tensor(wanted[name], name.removesuffix(CHANNELS_LAST))
                self._look_at_end(name, wanted[name], found)
        return wanted

    def _of_output(self, name: str, found: Trace) -> dict[str, Any]:
        kind, _, key = name.partition("/")
        outputs = found.outputs
        if kind == OUTPUT and not key and len(outputs.every) > 1:
            # For a model with several outputs, a function of the output gets all of them.
            if outputs.distinct:
                return {name: {str(output.name): output.number for output in outputs.every}}
            return {name: outputs.structure}
        output = outputs.find(key or None)
        if kind == OUTPUT:
            return {name: output.number}
        head, logits, logarithms, probabilities = _in_front(found, output)
        self.heads[key] = head.kind
        self._classes[key] = head.classes
        rest = f"/{key}" if key else ""
        wanted = {name: logits}
        if head.kind in WITH_LOGITS:
            wanted |= {LOGARITHMS + rest: logarithms, PROBABILITIES + rest: probabilities}
        return wanted

    def _look_at_end(self, name: str, value: Any, found: Trace) -> None:
        if isinstance(value, int):
            kind = head_of(found.program, value).kind
            if kind != "linear":
                self.ends[name] = kind

    def _filled(self, name: str, value: Any, made: Mapping[int, tf.Tensor], found: Trace) -> Any:
        if isinstance(value, list) and name == BATCH_NORM:
            return tuple(self._statistics(entry, made) for entry in value)
        filled = returned.filled(lambda n: None if n is None else _wide(made[n]), value)
        if name.endswith(CHANNELS_LAST) or name.partition("/")[0] in _AT_THE_END:
            traced = found.program.outermost.get(value, found.program.tensors[value])
            filled = self._units_last(name, filled, traced)
        kind, _, key = name.partition("/")
        one = kind in _AT_THE_END and self.heads.get(key) in ("sigmoid", "logsigmoid")
        if one and filled.shape[-1] == 1:
            # One sigmoid unit is two classes: target 1 is the logit, target 0 its negative.
            if kind == LOGITS:
                return tf.concat([-filled, filled], axis=-1)
            if kind == PROBABILITIES:
                return tf.concat([1.0 - filled, filled], axis=-1)
            if kind == LOGARITHMS:
                other = tf.math.log1p(-tf.exp(filled))
                return tf.concat([other, filled], axis=-1)
        return filled

    def _units_last(self, name: str, filled: tf.Tensor, traced: tf.Tensor) -> tf.Tensor:
        """An activation with its classes or channels last. `[N] -> [N, 1]`, `[N, C, ...] -> [N, ..., C]`."""
        rank = traced.shape.rank
        if traced.dtype == tf.string:
            raise ValueError(
                checks.message(
                    f"numbers from {name.partition('|')[0].lstrip(':')!r}",
                    "text",
                    "Choose a layer in front of it, or another output.",
                )
            )
        if rank is None:
            return filled
        if rank == 0:
            raise ValueError(
                checks.message(
                    "a number for every image",
                    f"one number for the whole batch from {name.partition('|')[0]!r}",
                    "Choose a layer, or an output, that has a row for every image.",
                )
            )
        if rank == 1:
            return filled[:, None]
        kind, _, key = name.partition("/")
        said = self._classes[key].axis if kind in _AT_THE_END and key in self._classes else None
        axis = channel_axis(traced, self._layers.get(name)) if said is None else said
        return filled if axis == rank - 1 else tf.transpose(filled, order_to_last(rank, axis))

    def findings(self) -> Findings:
        """Random draws and states that affect the activations. Known after the first call."""
        found = self._traced
        if found is None:
            return Findings(None, (), ())
        return findings(found.program, found.written, self.wanted(found)[1], self.model)

    @property
    def half(self) -> bool:
        """Whether the model itself computes in float16; known after the first call."""
        return self._traced is not None and self._traced.half

    @property
    def paired(self) -> bool:
        """As in `Trace`; known after the first call, and True before it."""
        return self._traced is None or self._traced.paired

    @property
    def rough(self) -> bool:
        """Whether the model computes in half precision or whole numbers; known after the first call."""
        return self._traced is not None and self._traced.rough

    def saturation(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Where heads are flat: 1 for every saturated value, by name. `inputs -> {name: [N, ..., C]}`.

        For layers, and for outputs that are maximized directly. Outputs with logits are left out.
        """
        found = self.traced(inputs)
        wanted: dict[str, int] = {}
        for name, value in self.tapped(found).items():
            ended = name.partition("/")[0] == LOGITS or not name.startswith(":")
            head = head_of(found.program, value) if ended and isinstance(value, int) else None
            flat = None if head is None else saturated(found.program, head)
            if flat is not None:
                wanted[name] = flat
        if not wanted:
            return {}
        made = self._plain.run(found, inputs, list(wanted.values()))
        return {
            name: self._units_last(name, value, found.program.tensors[wanted[name]]).numpy()
            for name, value in zip(wanted, made, strict=True)
        }

    def first_normalized(self, inputs: Inputs) -> Normalized | None:
        """The input of the first traced batch-norm layer and its expected statistics. None without one."""
        self._normalizers = self._normalizers or _normalizers(self.model)
        found = self.traced(inputs)
        first = next(iter(self._entries(found)), None)
        if first is None:
            return None
        inputs = {name: tf.convert_to_tensor(value) for name, value in inputs.items()}
        (given,) = self._plain.run(found, inputs, [first.given])
        return self._statistics(first, {first.given: given})

    def _entries(self, found: Trace) -> list[_Normalizer]:
        return [
            _Normalizer(path, call.given)
            for path in self._normalizers
            for call in found.calls.get(path, ())
            if call.given is not None
        ]

    def _normalized(self, found: Trace) -> list[_Normalizer]:
        entries = self._entries(found)
        if not entries:
            raise ValueError(
                checks.message(
                    "a forward pass that calls a BatchNormalization layer",
                    f"no call of {list(self._normalizers)}",
                    "Take the prior from another network: BatchNormPenalty(model=...).",
                )
            )
        return entries

    def _statistics(self, entry: _Normalizer, made: Mapping[int, tf.Tensor]) -> Normalized:
        """The input of a batch-norm layer's call, and the layer's statistics.

        The moving statistics are read when the graph runs, not during tracing. They are never written.
        """
        layer = self._normalizers[entry.path]
        given = made[entry.given]
        axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
        if axis % given.shape.rank != given.shape.rank - 1:
            order = [a for a in range(given.shape.rank) if a != axis % given.shape.rank]
            given = tf.transpose(given, [*order, axis % given.shape.rank])
        rows = [tf.shape(given)[0], 1]
        statistics = [
            tf.tile(tf.cast(tf.convert_to_tensor(value), given.dtype)[None], rows)
            for value in (layer.moving_mean, layer.moving_variance)
        ]
        return Normalized(given, *statistics)

    def _part(self) -> Part | None:
        """The sufficient part of the model if only inner layers are requested."""
        if self._structure is None or any(n not in self._layers and n != ROWS for n in self.names):
            return None

        def forward() -> Callable[[dict[str, tf.Tensor]], Any] | None:
            part = cut_behind(self.model, self._structure, list(self._layers.values()))
            return None if part is None else functools.partial(self._run, part)

        return Part(self.names, forward)

    def _run(self, model: Any, inputs: dict[str, tf.Tensor]) -> Any:
        pairs = leaves(self._structure)
        if len(pairs) == 1:
            inputs = {pairs[0][0]: next(iter(inputs.values()))}
        return model(fill(self._structure, inputs), training=False)

    def forward(self, inputs: dict[str, tf.Tensor]) -> Any:
        """The outputs of the model for inputs by name."""
        if self._structure is not None:
            return self._run(self.model, inputs)
        first, named = arguments(self.model, inputs)
        settings = {"training": False} if self.keras else {}
        return self.model(*first, **named, **settings)


def _open(value: Any, rows: int | None, letters: Lettered | None) -> tf.TensorSpec:
    """A specification like a tensor, with the model's fixed number of rows or an open one."""
    shape = tf.TensorShape(value.shape)
    if letters is not None:
        return tf.TensorSpec([rows, *letters.numbers(shape.as_list())[1:]], letters.dtype)
    return tf.TensorSpec([rows, *shape[1:]] if shape.rank else shape, value.dtype)


def _refuse_state(model: Any) -> None:
    """Raises ValueError for layers that keep a state between calls."""
    for path, layer in layers(model).items():
        if getattr(layer, "stateful", False) is True:
            raise ValueError(
                checks.message(
                    "a model whose answer depends on its input alone",
                    f"layer {path!r} with stateful=True, which goes on from the call before",
                    "Build the model with stateful=False and give it the same weights.",
                )
            )


def _numbers(value: Any) -> list[int]:
    if isinstance(value, list) and value and isinstance(value[0], _Normalizer):
        return [entry.given for entry in value]
    return [number for number in returned.flat(value) if number is not None]


def _wide(value: tf.Tensor) -> tf.Tensor:
    """Casts half precision to float32, because sums of many half-precision values overflow or lose digits."""
    return tf.cast(value, tf.float32) if value.dtype in _HALF else value


def _in_front(found: Trace, output: Output) -> tuple[Head, int, int, int]:
    """Head, logits, logarithms and probabilities of an output, computed once per trace."""
    known = found.heads.get(output.number)
    if known is None:
        head = head_of(found.program, output.number)
        known = (head, *in_front(found.program, output.number, head))
        found.heads[output.number] = known
    return known


def _normalizers(model: Any) -> dict[str, Any]:
    """Every batch-norm layer of a model by one of its paths, in order of the model's layers."""
    import keras

    found = layers(model)
    kinds = {path: f for path, f in found.items() if isinstance(f, keras.layers.BatchNormalization)}
    unique = {id(layer): path for path, layer in reversed(kinds.items())}
    return {path: layer for path, layer in kinds.items() if unique[id(layer)] == path}


def _refuse_without(normalizers: Mapping[str, Any], model: Any) -> None:
    if not normalizers:
        raise ValueError(
            checks.message(
                "a model with BatchNormalization layers, for BatchNormPrior",
                f"{getattr(model, 'name', type(model).__name__)}, which has none",
                "Take the prior from another network that has some: BatchNormPenalty(model=...).",
            )
        )


def _one_call(name: str, found: Trace) -> Any:
    """The result of a call of a layer."""
    name = name.removesuffix(CHANNELS_LAST)
    whole, result = split_result(name, found.calls)
    path, index = split(whole, found.calls)
    calls = found.calls.get(path, ())
    if not calls:
        inside = path in found.inside
        raise ValueError(
            checks.message(
                f"layer {path!r} to be called by the model's forward pass",
                "calls inside of a loop, one for every step" if inside else "no call of it",
                "Choose the layer around it."
                if inside
                else "Choose a layer that the inference pass calls, or the layer around it where that one "
                "calls it by other means, as TimeDistributed does.",
            )
        )
    if index is None and len(calls) > 1:
        names = ", ".join(repr(f"{path}:{i}") for i in range(len(calls)))
        raise ValueError(
            checks.message(f"one of the calls {names}, because the layer is shared", repr(name))
        )
    if index is not None and index >= len(calls):
        raise ValueError(checks.message(f"a call of {path!r} in 0..{len(calls) - 1}", repr(name)))
    value = calls[index or 0].result
    if result is not None:
        flat = tf.nest.flatten(value)
        if result >= len(flat) or flat[result] is None:
            raise ValueError(
                checks.message(f"a result of {whole!r} in 0..{len(flat) - 1}", repr(name))
            )
        return flat[result]
    if value is None:
        raise ValueError(
            checks.message(
                f"layer {path!r} to return a tensor of the pass",
                "something else",
                "Choose a layer inside or behind it, or write an objective of the model's output.",
            )
        )
    return value


def _in_every_process(model: Any, name: str, known: Mapping[str, Any]) -> str:
    """The name of an activation with a path that is the same in every process."""
    whole, place = split_result(name, known)
    return lasting(model, whole, known) + ("" if place is None else f"[{place}]")
