"""`Loop`: the compiled loop, its functions, and one step of it.

The loop minimizes `-J`. One step: draw and transform, model, score, penalties, gradient, gradient
functions, optimizer, projection, guards, history. Everything that differs between runs is a tensor,
and the batch dimension is open. So one trace serves every run of a `Maximizer`.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from actmax.feeding import first_states, next_states, tile
from actmax.loop.connectivity import check_connected, has_gradient
from actmax.loop.draws_ahead import run_steps
from actmax.loop.highest import higher, remembered
from actmax.loop.penalties import (
    PenaltyAndGradient,
    burden,
    check_penalty_gradients,
    penalty_and_gradient,
    weigh_penalties,
    weights_at,
)
from actmax.loop.records import (
    Arguments,
    Bounds,
    Carry,
    Cause,
    Evaluation,
    RemainingGain,
    hidden,
)
from actmax.loop.remaining_gain import at_most, end_of_step, most_gained, ways_up
from actmax.loop.tensors import (
    arrays_spec,
    choose,
    first_cause,
    means,
    minus,
    same_shape,
    silence,
    sizes,
    spec,
    split_scores,
    sums,
)
from actmax.loop.ways import CAPACITY, PLAIN, Way, run_in_chunks, scaled_back
from actmax.problem import Judged, Problem
from actmax.types import Images, Params

# Functions that look at penalties beside the loop, which has their states in its carry.
_WITH_STATES = ("slope", "end_of_step", "value_and_gradient")


class Loop:
    """A problem's compiled functions.

    Attributes:
        traces: number of times that the loop's body was traced.
    """

    def __init__(self, problem: Problem, way: Way = PLAIN) -> None:
        self.problem = problem
        self.way = way
        self.compiled = way.compiled
        self.models = way.models(problem)
        self.traces = 0
        self._functions: dict[tuple[str, Any], Callable[..., Any]] = {}
        self._lock = threading.RLock()
        self._lazy = {place: self._lazy_penalty(place) for place in problem.lazy}
        self._called = way.called(self._ascend_once, self.models)
        self._fast_tail = tf.function(self._finish_step, jit_compile=True, autograph=False)

    @property
    def compilations(self) -> int:
        """Number of graphs of the loop: one, or one per N if the optimizer or XLA needs to know N."""
        return sum(name == "run" for name, _ in self._functions)

    def start(self, seeds: tf.Tensor, initial: Images) -> Params:
        """Params before the first step, from noise or from given images. They are inside the set."""
        if initial:  # The host may compute an inverse.
            return self.problem.start(seeds, initial)
        return self._compile("start", self.problem.start, seeds, initial)

    def begin(self, params: Params, arguments: Arguments) -> Carry:
        """The carry before the first step."""
        rows = tf.shape(tf.nest.flatten(params)[0])[:1]
        off = tf.zeros(rows, tf.bool)
        return Carry(
            params,
            hidden(self.problem, params),
            self.problem.optimizer.init(params),
            live=tf.ones(rows, tf.bool),
            moved=off,
            still=off,
            cause=tf.zeros(rows, tf.int32),
            done=tf.zeros(rows, tf.int32),
            steep=(tf.zeros(rows, self.problem.dtype),) * 2,
            held=(tf.zeros(rows, self.problem.dtype),) * len(self.problem.lazy),
            best=remembered(self.problem, params),
            states=self._states(params, arguments),
        )

    def _states(self, params: Params, arguments: Arguments) -> Any:
        """States of penalties: those of the arguments, or the first ones; nothing if none has one."""
        if arguments.states or not self.problem.remembers:
            return arguments.states
        images = self.problem.decode(params, arguments.kept)
        return first_states(self.problem.penalties, images, arguments.seeds)

    def run(
        self, carry: Carry, arguments: Arguments, start: int, stop: int, *, alive: bool = False
    ) -> tuple[Carry, tf.Tensor]:
        """Steps `start, ..., stop - 1`.

        Args:
            carry: before the first of them.
            arguments: of the run.
            start: number of the first step.
            stop: number of the step after the last one.
            alive: True to end after the first step if the score of a row has no gradient in it.

        Returns:
            The new carry, and history `[stop - start, series, N]`, NaN after a row stopped.
        """
        if self.way.xla:
            return run_in_chunks(self._chunk, carry, arguments, start, stop)
        return self._steps(carry, arguments, start, stop, alive=alive)[:2]

    def _chunk(
        self, carry: Carry, arguments: Arguments, start: int, stop: int
    ) -> tuple[Carry, tf.Tensor]:
        return self._steps(carry, arguments, start, stop)[:2]

    def _steps(
        self,
        carry: Carry,
        arguments: Arguments,
        start: int,
        stop: int,
        *,
        alive: bool = False,
        still: bool = False,
        with_gradient: bool = False,
    ) -> tuple[Carry, tf.Tensor, Images]:
        """As `run`, and the sum of the score's gradients over the steps, for all rows or none."""
        flags = (tf.constant(alive), tf.constant(still))
        bounds = Bounds(tf.constant(start, tf.int32), tf.constant(stop, tf.int32), *flags)
        # Ways that compile for every shape need a fixed shape.
        every = with_gradient or self.way.xla or self.problem.optimizer.fixed_rows
        rows = tf.shape(carry.live)[0] if every else 0
        gradient = {
            entry.name: tf.zeros([rows, *entry.shape], self.problem.dtype)
            for entry in self.problem.inputs
        }
        if not self.compiled:
            return self._run(carry, arguments, bounds, gradient)
        return self._compile("run", self._run, carry, arguments, bounds, gradient)

    def score_and_gradient(self, images: Images, arguments: Arguments) -> tuple[tf.Tensor, Images]:
        """Scores `[N]` and their gradient with respect to images, with the draws of step 0."""
        return self._compile("gradient", self._score_and_gradient, images, self.alone(arguments))

    def images(self, params: Params, arguments: Arguments) -> Images:
        """Images from params. They are inside the set."""
        return self._compile("images", self.problem.finish, params, arguments.kept)

    def alone(self, arguments: Arguments) -> Arguments:
        """Arguments without penalties of layers, so that the gradient of a pass is that of the score."""
        if not self.problem.inner:
            return arguments
        return arguments._replace(weights=tf.zeros_like(arguments.weights))

    def prepare(self, images: Images, arguments: Arguments) -> None:
        """Traces scores and penalties once, for the shapes of activations and a check of the gradients."""
        self._function("judge", self._judge, images, arguments)
        self._function("penalties", self._check_penalties, images, arguments.arrays)

    def judge(self, images: Images, arguments: Arguments) -> Judged:
        """Scores without transforms, and the outputs of the models. `[N, ...]`."""
        return self._compile("judge", self._judge, images, arguments)

    def members(self, images: Images, arguments: Arguments) -> tf.Tensor | None:
        """Scores of each model of an ensemble. None for a single model. `[N, ...] -> [N, models]`."""
        if len(self.problem.models) == 1:
            return None
        return self._compile("members", self._members, images, arguments)

    def robust_scores(self, images: Images, arguments: Arguments, seeds: tf.Tensor) -> tf.Tensor:
        """Mean scores over transformed copies, drawn with `seeds`. `[N, ...], [N, 2] -> [N]`."""
        return self._compile("robust_scores", self._robust_score, images, arguments, seeds)

    def sensitivity(self, params: Params, arguments: Arguments, draws: int) -> tf.Tensor:
        """Sum over values of `|mean over draws of the score's gradient|` at given params. `[N]`.

        A penalty that is a mean over pixels has a gradient of about `1 / (H W C)` per value. So a
        weight of 1 in units of this number is about as strong as the score.
        """
        # These are steps of the loop in which no row moves. So no other function is compiled.
        first = self.begin(params, arguments)
        first = first._replace(live=tf.zeros_like(first.live))
        total = self._steps(first, self.alone(arguments), 0, draws, still=True, with_gradient=True)[
            2
        ]
        return sizes(total) / tf.cast(draws, self.problem.dtype)

    def value_and_gradient(
        self, params: Params, arguments: Arguments, step: int = 0
    ) -> tuple[tf.Tensor, Params]:
        """J and the gradient of J, per image, with the transforms drawn for `step`."""
        at = tf.constant(step, tf.int32)
        kept = arguments.kept | self.problem.moment(arguments.seeds, at)
        arguments = arguments._replace(states=self._states(params, arguments), kept=kept)
        return self._compile("value_and_gradient", self._value_and_gradient, params, arguments, at)

    def remaining_gain(
        self, params: Params, images: Images, scores: tf.Tensor, arguments: Arguments, step: int
    ) -> RemainingGain:
        """How much images can still gain after the last step, from one step of the loop and three scores.

        Args:
            params: the params of the images.
            images: `[N, ...]` by name.
            scores: scores of the images without transforms, `[N]`.
            arguments: at the end of the run, whose models and judge are traced already.
            step: of the weights and of the draws.
        """
        at = tf.constant(step, tf.int32)
        # It runs one step of the loop and drops the result, so that no other function with the
        # model is compiled.
        first = self.begin(params, arguments)
        ascent = self._steps(first, arguments, step, step + 1, with_gradient=True)[2]
        given = (params, images, ascent, arguments, at)
        taken, descent, ways, bound = self._compile("slope", self._slope, *given)
        if self.problem.inner:  # Their values without transforms need a separate pass.
            taken += self._taken(self.judge(images, arguments), arguments, step)
        here = np.asarray(scores - taken)

        def end(length: np.ndarray, way: Params) -> tuple[np.ndarray, np.ndarray]:
            given = (params, descent, way, tf.constant(length), arguments, at)
            there, taken, line = self._compile("end_of_step", self._end_of_step, *given)
            judged = self.judge(there, arguments)
            taken += self._taken(judged, arguments, step)
            return np.asarray(judged.scores - taken), np.asarray(line)

        return RemainingGain(here, most_gained(here, params, ways, end), np.asarray(bound))

    def _taken(self, judged: Judged, arguments: Arguments, step: int) -> Any:
        """The weighted sum of the penalties of layers, without transforms. `[N]`, or 0 without any."""
        if not self.problem.inner:
            return 0.0
        weights = arguments.weights[:, min(step, int(arguments.weights.shape[1]) - 1)]
        pairs = zip(self.problem.inner, judged.inner, strict=True)
        return tf.add_n([weights[place] * value for place, value in pairs])

    def _compile(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        if name not in _WITH_STATES:
            arguments = tuple(
                each.stateless() if isinstance(each, Arguments) else each for each in arguments
            )
        return self._function(name, function, *arguments)(*arguments)

    def _function(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        fixed_rows = self.problem.optimizer.fixed_rows
        key: Any = (name, tf.nest.flatten(arguments[0])[0].shape[0] if fixed_rows else None)
        xla = self.way.xla and name == "run"
        if xla:  # compiles for every shape, but is not marked so
            key = (name, tuple(tuple(leaf.shape) for leaf in tf.nest.flatten(arguments)))
        arrays = [each.arrays for each in arguments if isinstance(each, Arguments)]
        if arrays and arrays[0]:  # images of another shape need a separate trace
            key = (name, (key[1], arrays_spec(arrays[0])))
        with self._lock:  # two threads must not prepare kernels of one model at the same time
            if key not in self._functions:
                signature = [spec(a, open_rows=not fixed_rows, closed=xla) for a in arguments]
                # TensorFlow warns of retracing per function code. A partial has no code, so it is counted
                # separately.
                own = functools.partial(function)
                made = tf.function(
                    own, input_signature=signature, autograph=False, jit_compile=xla or None
                )
                # A concrete function is not affected by `tf.config.run_functions_eagerly`.
                self._functions[key] = made.get_concrete_function()
        return self._functions[key]

    def _prepared(self, arguments: Arguments) -> contextlib.AbstractContextManager[Any]:
        """In this context, values that depend only on weights are computed once."""
        return self.way.prepared(self.models, self.problem, arguments.fixed)

    def _judge(self, images: Images, arguments: Arguments) -> Judged:
        given = arguments.given(self.problem, tf.constant(0))
        return self.problem.judge(images, arguments.fixed, arguments.targets, given)

    def _members(self, images: Images, arguments: Arguments) -> tf.Tensor:
        return self.problem.members(images, arguments.fixed, arguments.targets)

    def _lazy_penalty(self, place: int) -> PenaltyAndGradient:
        """A separate function, because lazy penalties are large. One trace serves the check and the loop."""
        once = functools.partial(penalty_and_gradient, self.problem, place)
        return tf.function(once, autograph=False) if self.compiled else once

    def _check_penalties(self, images: Images, arrays: Images) -> None:
        check_penalty_gradients(self.problem, images, arrays, self._lazy)

    def _robust_score(self, images: Images, arguments: Arguments, seeds: tf.Tensor) -> tf.Tensor:
        copies = self.problem.transform(images, self.problem.part_seeds(seeds), tf.constant(0))
        found = self._copy_scores(copies, arguments, tf.constant(0))[0]
        return means(found, self.problem.copies)

    def _score_and_gradient(self, images: Images, arguments: Arguments) -> tuple[tf.Tensor, Images]:
        seeds = self.problem.part_seeds(arguments.seeds)
        with self._prepared(arguments):
            heard, ascent = self._ascend(images, arguments, seeds, tf.constant(0))
        return split_scores(self.problem, heard)[0], ascent

    def _copy_scores(
        self, copies: Images, arguments: Arguments, step: tf.Tensor
    ) -> list[tf.Tensor]:
        """Scores of all copies, and the penalties of layers. `[K * N]` each."""
        targets = arguments.targets
        count = self.problem.copies
        if count > 1:
            targets = tile(targets, count)
        return self.problem.hear(
            copies,
            arguments.fixed,
            targets,
            arguments.given(self.problem, step),
            self.models,
            count,
        )

    def _ascend(
        self, images: Images, arguments: Arguments, seeds: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, Images]:
        """Mean scores over copies `[N]`, and their gradient with respect to images.

        Penalties of layers are computed in the same pass, `[1 + P, N]`, and are part of the gradient. The
        backward pass carries a unit score; weights and copies are applied after it, in the images' own
        precision, so that no weight overflows in a model of half precision.
        """
        once = functools.partial(self._called, images, arguments.stateless(), seeds, step)
        rows = tf.shape(arguments.seeds)[0]
        # The trace of the scores has shown whether the model computes in float16.
        half = self.way.scaled or any(taps.half for taps in self.problem.models)
        return scaled_back(once, rows, images, silence(self.problem, rows)) if half else once(None)

    def _ascend_once(
        self,
        images: Images,
        arguments: Arguments,
        seeds: tf.Tensor,
        step: tf.Tensor,
        scale: tf.Tensor | None,
    ) -> tuple[tf.Tensor, Images]:
        """Like `_ascend`, with the gradient of row n multiplied by `scale[n]`."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            copies = self.problem.transform(images, seeds, step)
            found = self._copy_scores(copies, arguments, step)
            total = tf.reduce_sum(found[0])  # the only reduction over N
        count = self.problem.copies
        if scale is None and len(found) == 1:
            ascent = tape.gradient(total, images)
        else:
            upstream = tf.ones_like(found[0]) if scale is None else tf.tile(scale, [count])
            rows = tf.shape(arguments.seeds)[0]
            weights = weights_at(self.problem, arguments, step, rows) if len(found) > 1 else []
            gradients_of = [
                -upstream * tf.tile(weights[place], [count]) for place in self.problem.inner
            ]
            ascent = tape.gradient(found, images, output_gradients=[upstream, *gradients_of])
        check_connected(total, images, ascent)
        if count > 1:
            ascent = tf.nest.map_structure(lambda g: g / count, ascent)
        every = [means(each, count) for each in found]
        return every[0] if len(every) == 1 else tf.stack(every), ascent

    def _value_and_gradient(
        self, params: Params, arguments: Arguments, step: tf.Tensor
    ) -> tuple[tf.Tensor, Params]:
        seeds = self.problem.part_seeds(arguments.seeds)
        with self._prepared(arguments):
            found = self._evaluate(params, arguments, seeds, step, None)
        return found.objective, tf.nest.map_structure(tf.negative, found.descent)

    def _slope(
        self,
        params: Params,
        images: Images,
        ascent: Images,
        arguments: Arguments,
        step: tf.Tensor,
    ) -> tuple[tf.Tensor, Params, tuple[Params, ...], tf.Tensor]:
        """Penalties, the gradient of -J, the ways up and the bound, from the score's gradient."""
        with tf.GradientTape(watch_accessed_variables=False) as decode_tape:
            decode_tape.watch(params)
            decoded = self.problem.decode(params, arguments.kept)
        heard = silence(self.problem, tf.shape(arguments.seeds)[0])
        found = self._assess(params, decoded, decode_tape, heard, ascent, arguments, step, None)
        bound = at_most(self.problem, params, found.descent, images, found.slope, arguments)
        ways = ways_up(self.problem, found.descent, found.slope)
        return found.score - found.objective, found.descent, ways, bound

    def _end_of_step(
        self,
        params: Params,
        descent: Params,
        way: Params,
        length: tf.Tensor,
        arguments: Arguments,
        step: tf.Tensor,
    ) -> tuple[Images, tf.Tensor, tf.Tensor]:
        """Images after a projected step, their penalties, and the gain predicted by the gradient."""
        end, line = end_of_step(self.problem, params, descent, way, length, arguments)
        images = self.problem.finish(end, arguments.kept)
        return images, burden(self.problem, images, arguments, step, self._lazy), line

    def _evaluate(
        self, params: Params, arguments: Arguments, seeds: tf.Tensor, step: tf.Tensor, held: Any
    ) -> Evaluation:
        """J, its parts and its gradient at one step. `held` is as in `weigh_penalties`."""
        with tf.GradientTape(watch_accessed_variables=False) as decode_tape:
            decode_tape.watch(params)
            images = self.problem.decode(params, arguments.kept)
        heard, ascent = self._ascend(images, arguments, seeds, step)
        return self._assess(params, images, decode_tape, heard, ascent, arguments, step, held)

    def _finish_step(
        self,
        carry: Carry,
        heard: tf.Tensor,
        ascent: Images,
        arguments: Arguments,
        step: tf.Tensor,
    ) -> tuple[Carry, tf.Tensor]:
        """Everything in a step after the model, as one function for XLA."""
        with tf.GradientTape(watch_accessed_variables=False) as decode_tape:
            decode_tape.watch(carry.params)
            images = self.problem.decode(carry.params, arguments.kept)
        found = self._assess(
            carry.params, images, decode_tape, heard, ascent, arguments, step, carry.held
        )
        return self._update(found, arguments, carry, step)

    def _assess(
        self,
        params: Params,
        images: Images,
        decode_tape: tf.GradientTape,
        heard: tf.Tensor,
        ascent: Images,
        arguments: Arguments,
        step: tf.Tensor,
        held: Any,
    ) -> Evaluation:
        """Adds penalties, metrics and the gradient with respect to params to the score and its gradient."""
        problem = self.problem
        score, inner = split_scores(problem, heard)
        penalties, weighted, penalty_slope = weigh_penalties(
            problem, images, arguments, score, step, held, self._lazy, inner
        )
        slope = {name: minus(ascent[name], penalty_slope[name]) for name in images}
        descent: Params = slope
        if any(images[entry.name] is not params[entry.name] for entry in problem.inputs):
            descent = decode_tape.gradient(images, params, output_gradients=slope)
        last = tuple(penalties[place] for place in problem.lazy)
        metrics = problem.measure(images)
        return Evaluation(
            images, score, score - weighted, penalties, last, metrics, descent, ascent, slope
        )

    def _run(
        self,
        carry: Carry,
        arguments: Arguments,
        bounds: Bounds,
        gradient: Images,
    ) -> tuple[Carry, tf.Tensor, Images]:
        self.traces += int(self.compiled)
        seeds = self.problem.part_seeds(arguments.seeds)
        shape = [len(self.problem.series), carry.live.shape[0]]
        dtype = self.problem.dtype
        start, stop = bounds.start, bounds.stop
        size = CAPACITY if self.way.xla else stop - start
        history = tf.TensorArray(dtype, size=size, element_shape=shape)

        def once(seeds: Any, step: tf.Tensor, carry: Carry, kept: Any) -> tuple[Any, ...]:
            history, gradient = kept
            now = arguments.now(self.problem, carry, step)
            if self.way.tail:
                images = self.problem.decode(carry.params, now.kept)
                heard, ascent = self._ascend(images, now, seeds, step)
                carry, recorded = self._fast_tail(carry, heard, ascent, now, step)
                recorded.set_shape(shape)
            else:
                found = self._evaluate(carry.params, now, seeds, step, carry.held)
                ascent = found.ascent
                carry, recorded = self._update(found, now, carry, step)
            # All rows of the score's gradient if they are requested, otherwise none.
            gradient = {
                name: same_shape(total + ascent[name][: tf.shape(total)[0]], total)
                for name, total in gradient.items()
            }
            return step + 1, carry, (history.write(step - start, recorded), gradient)

        def blank(step: tf.Tensor, history: Any) -> tuple[Any, ...]:
            nothing = tf.fill([shape[0], tf.shape(carry.live)[0]], tf.constant(float("nan"), dtype))
            return step + 1, history.write(step - start, nothing)

        with self._prepared(arguments):
            first = (carry, (history, gradient))
            step, carry, (history, gradient) = run_steps(
                self.problem, once, seeds, bounds, first, ahead=not self.way.xla
            )
        _, history = tf.while_loop(lambda step, history: step < stop, blank, (step, history))
        return carry, history.stack(), gradient

    def _update(
        self,
        found: Evaluation,
        arguments: Arguments,
        carry: Carry,
        step: tf.Tensor,
    ) -> tuple[Carry, tf.Tensor]:
        """The carry after a step, and its values for the history, `[series, N]`."""
        problem = self.problem
        rows = tf.stack([found.score, found.objective, *found.penalties, *found.metrics])
        size = sizes(found.descent)
        given = arguments.given(problem, step)
        descent = problem.shape_gradients(found.descent, found.images, given)
        has_own_gradient = has_gradient(problem, found.ascent, size)
        shaped = sizes(descent) if problem.gradients else size
        rate = arguments.rate(step)
        params, state = problem.update(descent, carry.state, carry.params, rate, given)
        params = problem.settle(params, carry.params, arguments.kept)
        params = tf.nest.map_structure(same_shape, params, carry.params)
        state = tf.nest.map_structure(same_shape, state, carry.state)
        updated = sums(params)
        # If params are images, they were checked when they were made.
        entries = [e for e in problem.inputs if found.images[e.name] is not carry.params[e.name]]
        seen = [sums(found.images[entry.name]) for entry in entries]

        def all_fine() -> tuple[Any, ...]:
            before = hidden(self.problem, carry.params)
            return (params, before, carry.live, has_own_gradient, size == 0, carry.cause, rows)

        def some_not() -> tuple[Any, ...]:
            cause = first_cause(found, size, shaped, updated)
            fine = carry.live & (cause == 0)
            kept = tf.nest.map_structure(
                lambda new, old: choose(fine, new, old), params, carry.params
            )
            before = hidden(self.problem, carry.params)
            undone = carry.live & (cause == int(Cause.IMAGE))
            if before:
                kept |= tf.nest.map_structure(
                    lambda old, new: choose(undone, old, new),
                    carry.before,
                    hidden(self.problem, kept),
                )
            return (
                kept,
                before,
                fine,
                fine & has_own_gradient,
                tf.where(fine, size == 0, carry.still),
                tf.where(carry.live, cause, carry.cause),
                tf.where(carry.live, rows, tf.constant(float("nan"), rows.dtype)),
            )

        # A sum is finite only if all its terms are. The cause is searched only if a sum is not
        # finite.
        total = tf.add_n(
            [found.objective, size, updated, *seen, *([shaped] * (shaped is not size))]
        )
        kept, before, live, moving, still, cause, recorded = tf.cond(
            tf.reduce_all(carry.live & tf.math.is_finite(total)), all_fine, some_not
        )
        after = Carry(
            tf.nest.map_structure(same_shape, kept, carry.params),
            tf.nest.map_structure(same_shape, before, carry.before),
            state,
            live=same_shape(live, carry.live),
            moved=carry.moved | moving,
            still=same_shape(still, carry.still),
            cause=same_shape(cause, carry.cause),
            done=carry.done + tf.cast(live, tf.int32),
            steep=(tf.maximum(carry.steep[0], shaped), shaped),
            held=tf.nest.map_structure(same_shape, found.held, carry.held),
            best=higher(carry.best, carry.params, found.objective, carry.live),
            states=next_states(problem.penalties, found.images, given) or carry.states,
        )
        return after, recorded
