"""Passes of a traced model: unchanged, rewritten, in another type, or in segments."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import tensorflow as tf

from actmax.models.precision import Retyped
from actmax.models.program import Node, Program
from actmax.models.replay import Replay, Values, through
from actmax.models.rewriting import Options, rewritten
from actmax.models.segments import Segment, segments
from actmax.models.trace import Trace

Compute: TypeAlias = Literal["float64", "bfloat16", "float16", "mixed"]

PLAIN = Options()
# Operations that cost nothing to read again.
_READS = ("ReadVariableOp", "Const")


class Pass(abc.ABC):
    """How the requested tensors are computed."""

    @abc.abstractmethod
    def run(
        self, found: Trace, inputs: Mapping[str, tf.Tensor], wanted: Sequence[int]
    ) -> list[tf.Tensor]:
        """The tensors with these numbers, in the current graph. A tape gets their gradient."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The operations that are needed for some tensors of a trace.

    Attributes:
        program: the rewritten program.
        sources: numbers of the inputs.
        wanted: numbers of the results.
        moving: numbers of tensors that depend on the inputs.
        nodes: nodes that depend on the inputs, in order.
        ahead: numbers of tensors that depend only on weights and cost more than a read.
        segments: parts of the nodes. Empty to run all nodes at once.
    """

    program: Program
    sources: tuple[int, ...]
    wanted: tuple[int, ...]
    moving: frozenset[int]
    nodes: tuple[Node, ...]
    ahead: tuple[int, ...]
    segments: tuple[Segment, ...]


class TracedPass(Pass):
    """A model's operations, computed according to options.

    Args:
        options: which operations are replaced.
        compute: type of the computation; None for the model's own. "mixed" for convolutions and
            products in bfloat16, and everything else in float32.
        recompute: whether the backward pass computes activations again, segment by segment.
    """

    def __init__(
        self,
        options: Options = PLAIN,
        compute: Compute | None = None,
        *,
        recompute: bool = False,
    ) -> None:
        self.options = dataclasses.replace(options, half=compute == "mixed")
        self.dtype = None if compute in (None, "mixed") else tf.as_dtype(compute)
        self.recompute = recompute
        self.ready: tuple[Trace | None, Values] = (None, {})
        self.left_out: tuple[str, ...] = ()
        self._compiled: dict[Any, Any] = {}

    def plan(self, found: Trace, names: Sequence[str], wanted: Sequence[int]) -> Plan:
        """The plan, computed once per trace."""
        sources = tuple(found.inputs[name] for name in names)
        key = ("plan", sources, tuple(wanted), self.options, self.recompute)
        if key not in found.rewritten:
            program = rewritten(found, sources, wanted, self.options)
            nodes = program.reachable(wanted, sources)
            moving = program.behind(sources, nodes)
            runs = tuple(node for node in nodes if not moving.isdisjoint(node.inputs))
            read = {n for node in runs for n in node.inputs} | set(wanted)
            ahead = tuple(
                n
                for n in sorted(read - moving)
                if n in program.makers and program.makers[n].kind not in _READS
            )
            cut = segments(program, runs, sources, wanted) if self.recompute else ()
            found.rewritten[key] = Plan(
                program, sources, tuple(wanted), frozenset(moving), runs, ahead, cut
            )
        plan: Plan = found.rewritten[key]
        self.left_out = plan.program.left_out
        return plan

    def prepare(self, found: Trace, names: Sequence[str], wanted: Sequence[int]) -> None:
        """Computes tensors that depend only on weights, in the current graph. `run` uses them."""
        plan = self.plan(found, names, wanted)
        replay = Replay(plan.program, {})
        replay.make(plan.ahead)
        self.ready = found, {n: self._typed(replay.value(n)) for n in plan.ahead}

    def run(
        self, found: Trace, inputs: Mapping[str, tf.Tensor], wanted: Sequence[int]
    ) -> list[tf.Tensor]:
        plan = self.plan(found, list(inputs), wanted)
        if found.rows is not None:
            return self._in_batches(plan, list(inputs.values()), found.rows)
        if tf.executing_eagerly():
            return self._eagerly(plan, list(inputs.values()))
        ready = self.ready[1] if self.ready[0] is found else {}
        if plan.segments:
            return self._in_segments(plan, list(inputs.values()), ready)
        replays: list[Replay] = []

        def forward(*given: tf.Tensor) -> list[tf.Tensor]:
            known = dict(zip(plan.sources, map(self._typed, given), strict=True))
            replay = self._replay(plan, {**ready, **known})
            replay.make(plan.wanted)
            replays.append(replay)
            return [replay.value(number) for number in plan.wanted]

        def backward(*upstream: tf.Tensor | None) -> list[tf.Tensor | None]:
            slopes = replays[0].gradient(plan.wanted, upstream, plan.sources)
            return [_as(slope, value) for slope, value in zip(slopes, inputs.values(), strict=True)]

        return through(forward, list(inputs.values()), backward)

    def _eagerly(self, plan: Plan, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The pass and the backward pass, each as a separate graph."""
        specs = [tf.TensorSpec([None] * bool(v.shape.rank) + v.shape[1:], v.dtype) for v in inputs]
        key = (id(plan), tuple((tuple(spec.shape), spec.dtype) for spec in specs))
        if key not in self._compiled:
            forward, backward = _Forward(self, plan), _Backward(self, plan)
            # `tf.config.run_functions_eagerly` does not affect concrete functions.
            made = tf.function(forward, autograph=False).get_concrete_function(*specs)
            slopes = tf.function(backward, autograph=False, reduce_retracing=True)
            self._compiled[key] = (plan, made, slopes)
        _, made, slopes = self._compiled[key]

        def back(*upstream: tf.Tensor | None) -> list[tf.Tensor | None]:
            arrived = [
                tf.zeros_like(result) if slope is None else slope
                for slope, result in zip(upstream, results, strict=True)
            ]
            likes = [tf.TensorSpec(slope.shape, slope.dtype) for slope in arrived]
            found = slopes.get_concrete_function(specs, likes)(list(inputs), arrived)
            return [found.get(str(place)) for place in range(len(inputs))]

        results = through(made, inputs, back)
        return results

    def _in_batches(self, plan: Plan, inputs: Sequence[tf.Tensor], rows: int) -> list[tf.Tensor]:
        """The pass of a model with a fixed number of rows, batch by batch. The last batch is padded."""
        specs = [
            tf.TensorSpec([rows, *tensor.shape[1:]], tensor.dtype)
            for tensor in (plan.program.tensors[number] for number in plan.wanted)
        ]
        likes = [tf.TensorSpec([rows, *value.shape[1:]], value.dtype) for value in inputs]
        count = tf.shape(inputs[0])[0]

        def forward(*given: tf.Tensor) -> list[tf.Tensor]:
            parts = [_batches(value, rows) for value in given]
            found = tf.map_fn(
                lambda batch: self.pushed(plan, batch), parts, fn_output_signature=specs,
                parallel_iterations=1,
            )  # fmt: skip
            return [_rejoined(value, count) for value in found]

        def backward(*upstream: tf.Tensor | None) -> list[tf.Tensor | None]:
            arrived = [
                tf.zeros_like(result) if slope is None else slope
                for slope, result in zip(upstream, results, strict=True)
            ]
            parts = [[_batches(v, rows) for v in each] for each in (inputs, arrived)]

            def pulled(batch: Any) -> list[tf.Tensor]:
                slopes = self.pulled(plan, *batch)
                return [slopes.get(str(n), tf.zeros_like(v)) for n, v in enumerate(batch[0])]

            found = tf.map_fn(pulled, parts, fn_output_signature=likes, parallel_iterations=1)
            return [_rejoined(slope, count) if slope.dtype.is_floating else None for slope in found]

        if tf.executing_eagerly():
            forward = tf.function(forward, autograph=False)
        results = through(forward, inputs, _made_once(backward, len(inputs)))
        return results

    def pulled(
        self, plan: Plan, inputs: Sequence[tf.Tensor], upstream: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Gradients with respect to the inputs, by position, from the gradients of the results."""
        known = dict(zip(plan.sources, map(self._typed, inputs), strict=True))
        replay = self._replay(plan, known)
        replay.make(plan.wanted)
        slopes = replay.gradient(plan.wanted, upstream, plan.sources)
        return {
            str(place): tf.cast(slope, value.dtype)
            for place, (slope, value) in enumerate(zip(slopes, inputs, strict=True))
            if slope is not None
        }

    def pushed(self, plan: Plan, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The results."""
        known = dict(zip(plan.sources, map(self._typed, inputs), strict=True))
        replay = self._replay(plan, known)
        replay.make(plan.wanted)
        return [tf.identity(replay.value(number)) for number in plan.wanted]

    def _replay(self, plan: Plan, given: Values) -> Replay:
        if self.dtype is None:
            return Replay(plan.program, given)
        replay = Retyped(plan.program, given)
        replay.moving, replay.dtype = set(plan.moving), self.dtype
        return replay

    def _typed(self, value: tf.Tensor) -> tf.Tensor:
        if self.dtype is None or not value.dtype.is_floating:
            return value
        return tf.cast(value, self.dtype)

    def _in_segments(
        self, plan: Plan, inputs: Sequence[tf.Tensor], ready: Values
    ) -> list[tf.Tensor]:
        """Runs the segments in order. For the gradient, all but the last run again."""
        given = [self._typed(value) for value in inputs]
        carried: Values = dict(zip(plan.sources, given, strict=True))
        for segment in plan.segments:
            sources = [number for number in segment.given if number in carried]
            values = [carried[number] for number in sources]
            results = self._segment(plan, segment, sources, values, ready)
            # Keep inputs that a later segment reads, and the results of the segment.
            carried = {**carried, **dict(zip(segment.results, results, strict=True))}
        return [carried[number] for number in plan.wanted]

    def _segment(
        self,
        plan: Plan,
        segment: Segment,
        sources: Sequence[int],
        values: Sequence[tf.Tensor],
        ready: Values,
    ) -> list[tf.Tensor]:
        kept: list[Replay] = []

        def made(given: Sequence[tf.Tensor]) -> Replay:
            replay = self._replay(plan, {**ready, **dict(zip(sources, given, strict=True))})
            replay.make(segment.results, plan.program.reachable(segment.results, replay.values))
            return replay

        def forward(*given: tf.Tensor) -> list[tf.Tensor]:
            replay = made(given)
            if segment.last:
                kept.append(replay)
            return [replay.value(number) for number in segment.results]

        def backward(*upstream: tf.Tensor | None) -> list[tf.Tensor | None]:
            if kept:
                return kept[0].gradient(segment.results, upstream, sources)
            # Wait for the gradient. Otherwise TensorFlow computes this early and keeps it in
            # memory.
            arrived = [slope for slope in upstream if slope is not None]
            with tf.control_dependencies(arrived):
                again = [tf.identity(value) for value in values]
                replay = made(again)
            return replay.gradient(segment.results, upstream, sources)

        return through(forward, values, backward)


@dataclasses.dataclass(frozen=True)
class _Forward:
    """A pass as a function of inputs. It is a separate object, so TensorFlow counts its own traces."""

    way: TracedPass
    plan: Plan

    def __call__(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        return self.way.pushed(self.plan, inputs)


@dataclasses.dataclass(frozen=True)
class _Backward:
    """The backward pass as a function of the inputs and the gradients of the results."""

    way: TracedPass
    plan: Plan

    def __call__(self, inputs: list[tf.Tensor], upstream: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        return self.way.pulled(self.plan, inputs, upstream)


class PlainPass(TracedPass):
    """The model's operations, unchanged except for gradients that TensorFlow computes wrongly."""


def _made_once(backward: Any, count: int) -> Any:
    """The backward pass as a function for tapes. It always runs as a graph, also in eager mode."""

    def back(*upstream: tf.Tensor | None) -> list[tf.Tensor | None]:
        if not tf.executing_eagerly():
            return backward(*upstream)
        places: list[int] = []

        def run() -> list[tf.Tensor]:
            found = backward(*upstream)
            places[:] = [n for n, slope in enumerate(found) if slope is not None]
            return [slope for slope in found if slope is not None]

        made = tf.function(run, autograph=False)()
        slopes = dict(zip(places, made, strict=True))
        return [slopes.get(n) for n in range(count)]

    return back


def _batches(value: tf.Tensor, rows: int) -> tf.Tensor:
    """Rows in batches, the last one filled up with copies of the last row. `[N, ...] -> [K, rows, ...]`."""
    count = tf.shape(value)[0]
    wanted = (count + rows - 1) // rows * rows
    filled = tf.gather(value, tf.minimum(tf.range(wanted), count - 1))
    return tf.reshape(filled, tf.concat([[-1, rows], tf.shape(value)[1:]], 0))


def _rejoined(value: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """`[K, rows, ...] -> [N, ...]`."""
    joined = tf.reshape(value, tf.concat([[-1], tf.shape(value)[2:]], 0))[:count]
    joined.set_shape([None, *value.shape[2:]])
    return joined


def _as(slope: tf.Tensor | None, value: tf.Tensor) -> tf.Tensor | None:
    return slope if slope is None or slope.dtype == value.dtype else tf.cast(slope, value.dtype)
